"""What several commands of fleets take and print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import click
import msgspec

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.tables import clock
from atoll.fleet.host.client import FleetClient
from atoll.fleet.host.home import serving, start, token_of
from atoll.fleet.life.records import Event
from atoll.fleet.registry import ClusterRecord, Told

WATCH_SECONDS = 1.0

cluster_argument = click.argument("cluster")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
watch_option = click.option("--watch", is_flag=True, help="Print again whenever it changes.")


def host(settings: Settings) -> FleetClient:
    """Return this machine's fleet host, started if need be, or the one that settings name.

    Raises:
        InvalidInput: a host is named without a token.
        Unavailable: it could not be started.
    """
    if settings.fleet_url is not None:
        if settings.fleet_token is None:
            raise InvalidInput(
                f"{settings.fleet_url} wants a token; set ATOLL_FLEET_TOKEN to the one in "
                "host.json of its folder"
            )
        return FleetClient(settings.fleet_url, settings.fleet_token)
    home = settings.fleet_home
    assert home is not None
    found = serving(home)
    if found is None:
        if not settings.quiet:
            # The first start on a machine prepares Java's classes, which takes a while.
            click.echo(f"note: starting this machine's fleet host, in {home}", err=True)
        found = start(home)
    return FleetClient(found.url, token_of(home))


def warn(settings: Settings, warnings: Iterable[str]) -> None:
    """Say on stderr what speaks against a cluster, unless that is not wanted."""
    for warning in () if settings.quiet else warnings:
        click.echo(f"warning: {warning}", err=True)


def found(client: FleetClient, cluster: str) -> ClusterRecord:
    """Return a cluster by id or name."""
    return client.call("find", ClusterRecord, name_or_id=cluster)


class News:
    """A cluster's events as they come."""

    def __init__(self, client: FleetClient, cluster_id: str) -> None:
        """Take whose they are; nothing was told yet."""
        self._client, self._cluster_id = client, cluster_id
        self._told: set[tuple[str, int]] = set()

    def fresh(self) -> list[Event]:
        """Return the events that were not returned before, by their time."""
        found = self._client.call("told", list[Told], cluster_id=self._cluster_id)
        fresh = [one for one in found if (one.source, one.number) not in self._told]
        self._told |= {(one.source, one.number) for one in fresh}
        return [one.event for one in fresh]


def shown(make: Callable[[], tuple[Any, list[str]]], *, as_json: bool, watch: bool) -> None:
    """Print something once, or whenever it changes.

    Args:
        make: returns what JSON shows, and the lines that people see.
        as_json: whether to print JSON.
        watch: whether to go on until interrupted.
    """
    before = None
    while True:
        value, lines = make()
        text = json.dumps(msgspec.to_builtins(value), indent=2) if as_json else "\n".join(lines)
        if text != before:
            if before is not None and not as_json:
                click.echo(f"-- {clock(time.time())}")
            click.echo(text)
            before = text
        if not watch:
            return
        time.sleep(WATCH_SECONDS)
