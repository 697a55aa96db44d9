"""Sees to it that the master that gives out work knows an instance's worker as it is.

Two things go wrong in Spark 4.3 where a master takes over, and a worker that is started again mends
both, for it asks all masters and begins with nothing held:

- A worker that lost its master asks that one again, and no other: the next calls the workers that
  it finds in ZooKeeper (`Worker.reregisterWithMaster`). An ensemble that was begun anew has none on
  record, and there such a worker stays idle for a quarter of an hour, unless the same master is
  elected.
- A worker that comes back to a master that is still recovering is told to end its executors, and
  to start them again under the same numbers. When the old one has ended, worker and master forget
  the new one, but not that it holds processors: whatever is handed in next waits for them.
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
PATIENCE_SECONDS = 15.0
"""A master that was just elected has called its workers long before, an executor has started."""


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
        self._mistaken_since: float | None = None

    def run(self) -> None:
        """Look again and again."""
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Look once; end a worker that is idle and stays mistaken, so that it is started again.

        Executors that still run belong to a job that can go on without a master: they may end.
        """
        health, now = self._worker.health(), self._clock()
        mistake = self._mistake() if health.is_up and not health.busy else ""
        if not mistake:
            self._mistaken_since = None
            return
        if self._mistaken_since is None:
            self._mistaken_since = now
        if now - self._mistaken_since >= PATIENCE_SECONDS:
            logger.warning("worker ended, the active master %s", mistake)
            self._worker.signal(signal.SIGTERM)
            self._mistaken_since = None

    def _mistake(self) -> str:
        """Tell what the active master takes an idle worker for; empty: for what it is."""
        for master in self._masters:
            try:
                health = self._ask(master)
            except AtollError:
                continue
            if health.is_active:
                ours = [one for one in health.workers if one.host == self._address]
                listed = [one for one in ours if one.state != "DEAD"]
                if not listed:
                    return "does not know it"
                return "takes it for busy" if any(one.coresused for one in listed) else ""
        return ""
