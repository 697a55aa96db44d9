"""The executor of one machine: a few worker processes, each replaced when it dies.

Every worker has a pipe of its own, so it is known which task a dead one was running: only that task
is tried again, and the others' work (an hour's indexing, perhaps) goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Generic, TypeVar

from atoll.compute.packing import pack, unpack
from atoll.compute.port import MAX_ATTEMPTS, Outcome, Room, always_lost
from atoll.compute.worker import Worker
from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.resources import available_threads

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class ProcessExecutor:
    """Runs tasks in worker processes of this machine.

    Workers are spawned, never forked (obstore and Lance hang in forked children), so a script that
    uses this must guard its main part with `if __name__ == "__main__":`.

    """

    is_local = True
    room: Room | None = None

    def __init__(
        self, workers: int, *, threads: int | None = None, memory_bytes: int | None = None
    ) -> None:
        """Choose the size; nothing is started yet.

        Args:
            workers: how many tasks run at once.
            threads: processors for all workers together, by default those of this process; each
                worker's libraries get an equal share, at least one.
            memory_bytes: of data in each worker's memory, for tasks that open foreign files: some
                are small and unpack into more than a machine has. None: any number.
        """
        if workers < 1:
            raise InvalidInput(f"workers={workers} cannot run anything; give 1 or more")
        self.workers = workers
        self.threads = threads or available_threads()
        self._memory_bytes = memory_bytes

    def map(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        *,
        name: Callable[[T], str] = str,
        on_done: Callable[[int, Outcome[R]], None] | None = None,
    ) -> list[Outcome[R]]:
        """Run `task` on every item; see `atoll.compute.port.Executor.map`.

        The workers are started here and gone when this returns or raises (an interrupt, or an
        exception of `on_done`).

        Raises:
            Unavailable: worker processes die before they can take a task.
        """
        run = _Run(task, items, name, on_done)
        count = min(self.workers, len(items))
        share = max(1, self.threads // self.workers)
        team: list[_Member] = []
        try:
            team.extend(_Member(share, self._memory_bytes) for _ in range(count))
            while run.unfinished:
                _step(run, team)
            for worker in team:
                worker.dismiss()
        finally:
            for worker in team:
                worker.kill()
        return [run.outcomes[index] for index in range(len(items))]


@dataclass
class _Run(Generic[T, R]):
    """One call of map: what waits, what has ended."""

    task: Callable[[T], R]
    items: Sequence[T]
    name: Callable[[T], str]
    on_done: Callable[[int, Outcome[R]], None] | None
    outcomes: dict[int, Outcome[R]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting = deque(range(len(self.items)))
        self.attempts = [0] * len(self.items)
        self.failed_starts = 0

    @property
    def unfinished(self) -> bool:
        return len(self.outcomes) < len(self.items)

    def next_packed(self) -> tuple[int, bytes] | None:
        """Take the next task that can be sent; those that cannot have ended."""
        while self.waiting:
            index = self.waiting.popleft()
            try:
                packed = pack(self.task, self.items[index], self.label(index))
            except InvalidInput as error:
                self.end(index, None, error)
                continue
            self.attempts[index] += 1
            return index, packed
        return None

    def end(self, index: int, value: R | None, error: Exception | None) -> None:
        outcome = Outcome(value, error, self.attempts[index])
        self.outcomes[index] = outcome
        if self.on_done:
            self.on_done(index, outcome)

    def lost(self, index: int, how: str) -> None:
        """Note that the worker of a task died; try again, but not for ever."""
        if self.attempts[index] < MAX_ATTEMPTS:
            self.waiting.append(index)
            return
        self.end(index, None, always_lost(self.label(index), how))

    def lost_at_start(self, how: str) -> None:
        self.failed_starts += 1
        if self.failed_starts >= MAX_ATTEMPTS:
            raise Unavailable(
                f"worker processes end before they can work ({how}); a script must guard its main "
                'part with `if __name__ == "__main__":`, and there must be memory for them'
            )

    def label(self, index: int) -> str:
        return self.name(self.items[index])


class _Member(Worker):
    """A worker that knows which task it has."""

    index: int | None = None

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.index is None


def _step(run: _Run[T, R], team: list[_Member]) -> None:
    """Give idle workers something to do, then wait for one message or death."""
    for worker in team:
        if worker.is_idle and (job := run.next_packed()):
            worker.index, packed = job
            worker.send(packed)
    busy = {worker.connection: worker for worker in team if not worker.is_idle}
    for connection in wait(busy, timeout=None if run.unfinished else 0):
        worker = busy[connection]  # type: ignore[index]  # only connections went in
        message = worker.hear()
        if message is None:
            _replace(run, team, worker)
        elif not worker.is_ready:
            worker.is_ready = True
            run.failed_starts = 0
        elif worker.index is not None:
            index, worker.index, worker.is_ready = worker.index, None, False
            value, error = unpack(message, run.label(index))
            run.end(index, value, error)


def _replace(run: _Run[T, R], team: list[_Member], dead: _Member) -> None:
    dead.kill()
    team.remove(dead)
    logger.warning("worker replaced ended=%s", dead.how_it_ended())
    if dead.index is None:
        run.lost_at_start(dead.how_it_ended())
    else:
        run.lost(dead.index, dead.how_it_ended())
    team.append(_Member(dead.threads, dead.memory_bytes))
