"""The executor of a Spark cluster: its masters may change, its machines may vanish.

spark          this: attempts, outcomes
sparkdriver    the application, by which Spark knows us
sparkjvm       the JVM it takes
sparkcluster   what there is to work with
sparkworker    the far end
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from atoll.compute.packing import pack, unpack
from atoll.compute.port import MAX_ATTEMPTS, Outcome, Room, always_lost
from atoll.compute.sparkcluster import Cluster, find_cluster, own_address
from atoll.compute.sparkdriver import Cancelled, Driver, DriverOptions, ProcessLost
from atoll.core.errors import AtollError, InvalidInput, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# That a machine is lost is no fault of the task it had, unless it happens again and again.
MAX_LOSSES = 10
# Tasks handed to Spark for each core: none waits for us, and cores that join find work.
AHEAD = 2
# How long nothing may happen before we say why.
SILENCE_SECONDS = 30.0


class SparkExecutor:
    """Runs tasks on a Spark cluster, each in a worker process on one core of one of its machines.

    The application starts with the first task and ends with `close`, or with this process; a
    process has one at a time. The cluster's machines need the same Python and Atoll; what tasks
    reach of stores is in the tasks.
    """

    def __init__(
        self,
        master: str,
        *,
        shares_files: bool = False,
        driver_host: str | None = None,
        python: str = sys.executable,
        scratch: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Find the cluster; nothing is started yet.

        Args:
            master: "spark://host:7077,host:7077,host:7077", all its masters.
            shares_files: whether its machines see this one's files, scratch folders included.
            driver_host: address of this machine for the cluster; None takes the one from which
                the masters are reached.
            python: Python on its machines.
            scratch: folder for the driver's files; None is the system's temporary folder.
            environment: where Java is looked for (JAVA_HOME, PATH); None is this process's.

        Raises:
            InvalidInput: `master` is no such URL.
            Unavailable: no master answers, or there is no worker.
        """
        found = find_cluster(master)
        self.workers = found.cores
        self.room: Room | None = found.room
        self.is_local = shares_files
        self._options = DriverOptions(
            master=master,
            name="atoll",
            address=driver_host or own_address(master),
            python=python,
            shares_files=shares_files,
            scratch=scratch,
            environment=os.environ if environment is None else environment,
        )
        self._lock = threading.Lock()
        self._driver: Driver | None = None

    def __enter__(self) -> SparkExecutor:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the application; the next task would start another."""
        with self._lock:
            driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def map(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        *,
        name: Callable[[T], str] = str,
        on_done: Callable[[int, Outcome[R]], None] | None = None,
    ) -> list[Outcome[R]]:
        """Run `task` on every item; see `atoll.compute.port.Executor.map`.

        Without a core to work on it waits, and says so in the log: machines may be on their way.
        A task loses its machine at most 10 times.

        Raises:
            Unavailable: the application could not start, or ended; machines cannot run tasks.
            Conflict: this process has another application.
        """
        if not items:
            return []
        self._look_again()
        run = _Run(self._started(), task, items, name)
        team = [
            threading.Thread(target=run.work, name="atoll-spark", daemon=True)
            for _ in range(min(len(items), AHEAD * self.workers))
        ]
        outcomes: dict[int, Outcome[R]] = {}
        try:
            for thread in team:
                thread.start()
            while len(outcomes) < len(items):
                index, outcome = run.next_end()
                outcomes[index] = outcome
                if on_done:
                    on_done(index, outcome)
        except Unavailable:
            self.close()
            raise
        finally:
            run.stop()
            for thread in team:
                thread.join()
        return [outcomes[index] for index in range(len(items))]

    def _started(self) -> Driver:
        with self._lock:
            if self._driver is None:
                self._driver = Driver(self._options)
            return self._driver

    def _look_again(self) -> None:
        """Take notice of machines that came or went."""
        with suppress(AtollError):
            found: Cluster = find_cluster(self._options.master, wait_s=0)
            self.workers, self.room = found.cores, found.room


@dataclass
class _Run(Generic[T, R]):
    """One call of map; threads take items until none is left."""

    driver: Driver
    task: Callable[[T], R]
    items: Sequence[T]
    name: Callable[[T], str]
    group: str = field(default_factory=lambda: f"atoll-{uuid.uuid4().hex}")

    def __post_init__(self) -> None:
        self._waiting = iter(range(len(self.items)))
        self._ends: queue.SimpleQueue[tuple[int, Outcome[R]] | Exception] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_stopped = False

    def work(self) -> None:
        """Be one of the threads."""
        try:
            while (index := self._take()) is not None:
                self._ends.put((index, self._carried_out(index)))
        except Cancelled:
            return
        # It ends the whole map, there where map was called.
        except Exception as error:
            self._ends.put(error)

    def next_end(self) -> tuple[int, Outcome[R]]:
        """Wait for a task to end; raise what no task can help."""
        while True:
            try:
                end = self._ends.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                self._break_silence()
                continue
            if isinstance(end, Exception):
                raise end
            return end

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            self._is_stopped = True
        self.driver.cancel(self.group)

    def _take(self) -> int | None:
        with self._lock:
            return None if self._is_stopped else next(self._waiting, None)

    def _carried_out(self, index: int) -> Outcome[R]:
        label = self.name(self.items[index])
        try:
            packed = pack(self.task, self.items[index], label)
        except InvalidInput as error:
            return Outcome(None, error, attempts=0)
        attempts = deaths = losses = 0
        while True:
            attempts += 1
            try:
                answer = self.driver.attempt(packed, self.group)
            except ProcessLost as lost:
                losses += 1
                logger.warning("task lost its machine task=%s why=%s", label, lost)
                if losses >= MAX_LOSSES:
                    return Outcome(None, _always_gone(label, lost), attempts)
                continue
            attempts += answer.earlier
            if answer.message is not None:
                return Outcome(*unpack(answer.message, label), attempts)
            deaths += 1
            logger.warning("task ended its worker process task=%s how=%s", label, answer.how)
            if deaths >= MAX_ATTEMPTS:
                return Outcome(None, always_lost(label, answer.how), attempts)

    def _break_silence(self) -> None:
        with suppress(Exception):
            if not self.driver.executors:
                logger.warning(
                    "no machine of the cluster works for us yet: another application may have all "
                    "cores, or machines are being replaced; waiting"
                )


def _always_gone(label: str, lost: ProcessLost) -> Unavailable:
    return Unavailable(
        f"{label} lost the machine it ran on {MAX_LOSSES} times: {lost}; look at the machines, or "
        "at this input alone",
        task=label,
    )
