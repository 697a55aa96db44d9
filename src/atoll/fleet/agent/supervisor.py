"""Keeps one daemon of an instance running, and knows how it is.

A Spark master that leaves by itself is a normal event (it lost its leadership): it is started
again. What keeps ending, or runs and does not answer, makes the instance unhealthy; what then
becomes of the instance is the controller's to decide.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from atoll.core.errors import AtollError
from atoll.fleet.agent.children import spawn
from atoll.fleet.engine.daemon import Daemon as Program
from atoll.fleet.life.records import Daemon

logger = logging.getLogger(__name__)

PROBE_EVERY_SECONDS = 1.0
START_SECONDS = 60.0
"""A daemon that has not answered yet may take so long before its silence counts."""
PAUSE_SECONDS = 1.0
_WINDOW_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What a daemon said when it was asked.

    Attributes:
        detail: its own word for its part.
        busy: of a worker, the processors that jobs hold.
    """

    detail: str
    busy: int = 0


class Supervised:
    """One daemon."""

    def __init__(
        self, program: Program, probe: Callable[[], Answer], marker: dict[str, str]
    ) -> None:
        """Take what to start, and how to ask it; nothing is started yet.

        Args:
            program: the daemon.
            probe: asks it; raises `AtollError` where it does not answer.
            marker: environment by which all processes of the instance are known.
        """
        self.program = program
        self._probe = probe
        self._marker = marker
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._ends: deque[float] = deque(maxlen=16)
        self._health = Daemon()
        self._answered = False
        self._halted = threading.Event()

    def start(self) -> None:
        """Start it and the thread that asks how it is."""
        self._launch()
        name = f"probe-{self.program.name}"
        threading.Thread(target=self._keep_asking, name=name, daemon=True).start()

    def _launch(self) -> None:
        self.program.prepare()
        self._answered = False
        # Its own words go to its log; what it prints beyond that is kept beside.
        console = self.program.folders[0] / f"{self.program.name}.console"
        self._process = spawn(
            self.program.argv, env={**self.program.env, **self._marker}, output=console
        )
        self._started_at = time.monotonic()

    def look_after(self) -> str:
        """Start it again where it ended; call this about once a second from one thread.

        Returns:
            What happened, in words; empty: nothing did.
        """
        assert self._process is not None
        status = self._process.poll()
        now = time.monotonic()
        if status is None or now - self._started_at < PAUSE_SECONDS:
            return ""
        self._ends.append(now)
        self._launch()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        message = f"{self.program.name} ended {how} and was started again"
        logger.warning("daemon restarted name=%s status=%d", self.program.name, status)
        return message

    def health(self) -> Daemon:
        """Return how it is."""
        since = time.monotonic() - _WINDOW_SECONDS
        restarts = sum(1 for at in self._ends if at > since)
        return replace(self._health, restarts=restarts)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _keep_asking(self) -> None:
        while not self._halted.wait(PROBE_EVERY_SECONDS):
            self._ask()

    def _ask(self) -> None:
        try:
            answer = self._probe()
        except AtollError as error:
            logger.info("probe failed name=%s error=%s", self.program.name, error)
            is_starting = not self._answered and self._uptime_s() < START_SECONDS
            failing = 0 if is_starting else self._health.failing_probes + 1
            self._health = Daemon("", is_up=False, failing_probes=failing)
            return
        self._answered = True
        self._health = Daemon(answer.detail, is_up=True, busy=answer.busy)

    def _uptime_s(self) -> float:
        return time.monotonic() - self._started_at
