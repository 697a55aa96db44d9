"""Sees to it that the master that gives out work knows of an instance's worker.

A worker that lost its master asks that one again, and no other: the next calls the workers that it
finds in ZooKeeper (Spark 4.3, `Worker.reregisterWithMaster`). An ensemble that was begun anew has
none on record, and there such a worker stays idle for a quarter of an hour, unless the same master
is elected. A worker that is started again asks all masters.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence

from atoll.compute.sparkmaster import MasterHealth, probe_master
from atoll.core.errors import AtollError
from atoll.fleet.agent.supervisor import Supervised

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
UNKNOWN_SECONDS = 15.0
"""A master that was just elected has called its workers long before."""


class Enlisting(threading.Thread):
    """Looks after one worker, as long as the agent lives."""

    def __init__(
        self,
        worker: Supervised,
        address: str,
        masters: Sequence[str],
        *,
        ask: Callable[[str], MasterHealth] = probe_master,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the worker, its address, those of all masters, how to ask one, and a clock."""
        super().__init__(name="enlisting", daemon=True)
        self._worker, self._address, self._masters = worker, address, masters
        self._ask, self._clock = ask, clock
        self._unknown_since: float | None = None

    def run(self) -> None:
        """Look again and again."""
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Look once; end a worker that is idle and stays unknown, so that it is started again.

        Executors that still run belong to a job that can go on without a master: they may end.
        """
        health, now = self._worker.health(), self._clock()
        if not health.is_up or health.busy or not self._is_unknown():
            self._unknown_since = None
            return
        if self._unknown_since is None:
            self._unknown_since = now
        if now - self._unknown_since >= UNKNOWN_SECONDS:
            logger.warning("worker ended, the active master does not know it")
            self._worker.signal(signal.SIGTERM)
            self._unknown_since = None

    def _is_unknown(self) -> bool:
        """Tell whether there is an active master, and it does not list the worker."""
        for master in self._masters:
            try:
                health = self._ask(master)
            except AtollError:
                continue
            if health.is_active:
                listed = [one.host for one in health.workers if one.state != "DEAD"]
                return self._address not in listed
        return False
