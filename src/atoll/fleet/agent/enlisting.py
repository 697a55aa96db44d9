"""Sees to it that the master that gives out work knows an instance's worker as it is.

Two things go wrong in Spark 4.3 where a master takes over, and a worker that is started again mends
both, for it asks all masters and begins with nothing held:

- A worker that lost its master asks that one again, and no other: the next calls the workers that
  it finds in ZooKeeper (`Worker.reregisterWithMaster`). An ensemble that was begun anew has none on
  record, and there such a worker stays idle for a quarter of an hour, unless the same master is
  elected.
- A worker that comes back to a master that is still recovering is told to end its executors, and
  to start them again under the same numbers. When an old one has ended, worker and master forget
  the new one, but not that it holds processors: whatever is handed in next waits for them. The new
  one works on for its job, so only a worker without any child process is idle.
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
"""A master that was just elected has called its workers long before; and executors start sooner."""


class Enlisting(threading.Thread):
    """Looks after one worker, as long as the agent lives."""

    def __init__(
        self,
        worker: Supervised,
        address: str,
        masters: Sequence[str],
        *,
        is_leaving: Callable[[], bool],
        ask: Callable[[str], MasterHealth] = probe_master,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what to look after.

        Args:
            worker: the daemon.
            address: its own.
            masters: addresses of all of them.
            is_leaving: whether it is being drained: then nothing is mended any more.
            ask: asks a master how it is.
            clock: seconds.
        """
        super().__init__(name="enlisting", daemon=True)
        self._worker, self._address, self._masters = worker, address, masters
        self._is_leaving, self._ask, self._clock = is_leaving, ask, clock
        self._mistake, self._since = "", 0.0

    def run(self) -> None:
        """Look again and again."""
        while True:
            time.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Look once; end a worker that is idle and stays mistaken, so that it is started again.

        Executors that still run belong to a job that can go on without a master: they may end.
        """
        is_idle = self._worker.health().is_up and not self._worker.is_at_work()
        mistake = self._found() if is_idle and not self._is_leaving() else ""
        if mistake != self._mistake:
            self._mistake, self._since = mistake, self._clock()
        if not mistake or self._clock() - self._since < PATIENCE_SECONDS:
            return
        # Masters take their time to answer.
        if not self._worker.is_at_work():
            logger.warning("worker ended mistake=%s", mistake)
            self._worker.signal(signal.SIGTERM)
        self._mistake = ""

    def _found(self) -> str:
        """Tell what the active master takes an idle worker for; empty: for what it is."""
        for master in self._masters:
            try:
                health = self._ask(master)
            except AtollError:
                continue
            if health.is_active:
                ours = [one for one in health.workers if one.host == self._address]
                if all(one.state == "DEAD" for one in ours):
                    return "unknown"
                is_held = any(one.coresused for one in ours if one.state == "ALIVE")
                return "busy" if is_held else ""
        return ""
