"""Asks a Spark worker how it is, by the JSON of its web page."""

from __future__ import annotations

import msgspec

from atoll.compute.asking import TIMEOUT_SECONDS
from atoll.compute.sparkmaster import page, parse
from atoll.fleet.engine.spark import WORKER_UI_PORT


class WorkerHealth(msgspec.Struct, frozen=True):
    """What a worker says of itself.

    Attributes:
        masterurl: the active master it has registered with; empty before that.
        coresused: processors that executors hold.
    """

    masterurl: str
    coresused: int


def probe_worker(address: str, *, timeout_s: float = TIMEOUT_SECONDS) -> WorkerHealth:
    """Ask the worker at `address`.

    Raises:
        Unavailable: it did not answer in time.
        Corrupt: what answered is no Spark worker.
    """
    return parse(page(address, WORKER_UI_PORT, "Spark worker", timeout_s), WorkerHealth)
