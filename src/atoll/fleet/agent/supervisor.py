"""Keeps one daemon of an instance running, and knows how it is.

A Spark master that worked and leaves by itself is a normal event (it lost its leadership): it is
started again. What keeps failing, or runs and does not answer, makes the instance unhealthy; what
then becomes of the instance is the controller's to decide.
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
from atoll.fleet.agent.children import has_children, spawn
from atoll.fleet.engine.daemon import Daemon as Program
from atoll.fleet.life.records import Daemon

logger = logging.getLogger(__name__)

PROBE_EVERY_SECONDS = 1.0
START_SECONDS = 60.0
"""A daemon that has not answered yet may take so long before its silence counts."""
PAUSE_SECONDS = 1.0
_WINDOW_SECONDS = 60.0
_LEAVES_A_WINDOW = 6


@dataclass(frozen=True)
class Answer:
    """What a daemon said when it was asked.

    Attributes:
        detail: its own word for its part.
        busy: of a worker, the processors that executors hold.
        sessions: of a master, its sessions with ZooKeeper.
    """

    detail: str
    busy: int = 0
    sessions: tuple[int, ...] = ()


class Supervised:
    """One daemon."""

    def __init__(
        self,
        program: Program,
        probe: Callable[[int], Answer],
        marker: dict[str, str],
        *,
        on_end: Callable[[Daemon], None] = lambda _: None,
        may_leave: bool = False,
    ) -> None:
        """Take what to start, and how to ask it; nothing is started yet.

        Args:
            program: the daemon.
            probe: asks the process of that id; raises `AtollError` where it does not answer.
            marker: environment by which all processes of the instance are known.
            on_end: called with its last health when its process is gone, before it is started
                again.
            may_leave: whether it is well all the same when it worked and ends with status 0, six
                times a minute at most.
        """
        self.program = program
        self._probe, self._marker, self._on_end = probe, marker, on_end
        self._may_leave = may_leave
        self._failures: deque[float] = deque(maxlen=16)
        self._leaves: deque[float] = deque(maxlen=16)
        self._health = Daemon()
        self._answered = False
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> None:
        """Start it, the thread that starts it again, and the thread that asks how it is."""
        self._launch()
        for work in (self._keep_running, self._keep_asking):
            name = f"{self.program.name}-{work.__name__.removeprefix('_keep_')}"
            threading.Thread(target=work, name=name, daemon=True).start()

    def health(self) -> Daemon:
        """Return how it is."""
        since = time.monotonic() - _WINDOW_SECONDS
        failures = sum(at > since for at in self._failures)
        leaves = sum(at > since for at in self._leaves)
        failures += max(0, leaves - _LEAVES_A_WINDOW)
        return replace(self._health, failures=failures)

    def is_at_work(self) -> bool:
        """Tell whether its process has children, at this moment: a worker's are executors."""
        return self._process is not None and has_children(self._process.pid)

    def signal(self, number: int) -> None:
        """Send it a signal; one that is just being started again gets none."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _launch(self) -> None:
        self.program.prepare()
        self._answered = False
        # Its own words go to its log; what it prints beyond that is kept beside.
        console = self.program.folders[0] / f"{self.program.name}.console"
        self._process = spawn(
            self.program.argv, env={**self.program.env, **self._marker}, output=console
        )
        self._started_at = time.monotonic()

    def _keep_running(self) -> None:
        while True:
            assert self._process is not None
            status = self._process.wait()
            has_left = self._may_leave and self._answered and status == 0
            (self._leaves if has_left else self._failures).append(time.monotonic())
            logger.warning("daemon ended name=%s status=%d", self.program.name, status)
            threading.Thread(target=self._tell_end, args=(self._health,), daemon=True).start()
            self._health = Daemon()
            time.sleep(max(0.0, PAUSE_SECONDS - self._uptime_s()))
            while not self._is_launched():
                time.sleep(PAUSE_SECONDS)

    def _tell_end(self, last: Daemon) -> None:
        try:
            self._on_end(last)
        except AtollError as error:
            logger.warning("end not told name=%s error=%s", self.program.name, error)

    def _is_launched(self) -> bool:
        try:
            self._launch()
        except (OSError, AtollError) as error:
            # A full disk, mostly: it cannot even be prepared.
            logger.warning("daemon not started name=%s error=%s", self.program.name, error)
            self._failures.append(time.monotonic())
            return False
        return True

    def _keep_asking(self) -> None:
        while True:
            time.sleep(PROBE_EVERY_SECONDS)
            self._ask()

    def _ask(self) -> None:
        assert self._process is not None
        try:
            answer = self._probe(self._process.pid)
        except (OSError, AtollError) as error:
            logger.info("probe failed name=%s error=%s", self.program.name, error)
            is_starting = not self._answered and self._uptime_s() < START_SECONDS
            before = self._health
            failing = 0 if is_starting else before.failing_probes + 1
            self._health = replace(before, detail="", is_up=False, failing_probes=failing)
            return
        self._answered = True
        # A session outlives its connection, and is the process's until that ends.
        sessions = answer.sessions or self._health.sessions
        self._health = Daemon(answer.detail, is_up=True, busy=answer.busy, sessions=sessions)

    def _uptime_s(self) -> float:
        return time.monotonic() - self._started_at
