"""Asks a fleet host: what the command line does."""

from __future__ import annotations

from atoll.fleet.rpc.client import Caller

PREFIX = "/v1/fleet"


class FleetClient(Caller):
    """Makes calls of `FleetService`."""

    prefix = PREFIX
    reads = frozenset(
        ("preview", "warnings", "clusters", "cluster", "find", "events", "told", "steps")
    ) | {"measures", "advice"}
