"""The executor of one machine: a few worker processes, each replaced when it dies.

Every worker has a pipe of its own, so it is known which task a dead one was running: only that task
is tried again, and the others' work (an hour's indexing, perhaps) goes on.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from atoll.compute.port import Outcome
from atoll.core.errors import AtollError, InvalidInput, Unavailable
from atoll.core.resources import available_threads, limit_threads

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MAX_ATTEMPTS = 3
_FAREWELL_SECONDS = 5.0
_READY = b"ready"
_spawn = multiprocessing.get_context("spawn")


class ProcessExecutor:
    """Runs tasks in worker processes of this machine.

    Workers are spawned, never forked (obstore and Lance hang in forked children), so a script that
    uses this must guard its main part with `if __name__ == "__main__":`.

    """

    is_local = True

    def __init__(self, workers: int, *, threads: int | None = None) -> None:
        """Choose the size; nothing is started yet.

        Args:
            workers: how many tasks run at once.
            threads: processors for all workers together, by default those of this process; each
                worker's libraries get an equal share, at least one.
        """
        if workers < 1:
            raise InvalidInput(f"workers={workers} cannot run anything; give 1 or more")
        self.workers = workers
        self.threads = threads or available_threads()

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
        team: list[_Worker] = []
        try:
            team.extend(_Worker(share) for _ in range(count))
            while run.unfinished:
                _step(run, team, share)
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
                packed = pickle.dumps((self.task, self.items[index]), pickle.HIGHEST_PROTOCOL)
            except (pickle.PicklingError, TypeError, AttributeError) as error:
                self.end(index, None, _unsendable(self.label(index), "sent to", error))
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
        message = (
            f"{self.label(index)} ended its worker process {MAX_ATTEMPTS} times ({how}); it may "
            "need more memory than there is: use fewer workers, or look at this input alone"
        )
        self.end(index, None, Unavailable(message, task=self.label(index)))

    def lost_at_start(self, how: str) -> None:
        self.failed_starts += 1
        if self.failed_starts >= MAX_ATTEMPTS:
            raise Unavailable(
                f"worker processes end before they can work ({how}); a script must guard its main "
                'part with `if __name__ == "__main__":`, and there must be memory for them'
            )

    def label(self, index: int) -> str:
        return self.name(self.items[index])


class _Worker:
    """One process and the parent's end of its pipe."""

    def __init__(self, threads: int) -> None:
        self.connection, theirs = _spawn.Pipe()
        self.process: BaseProcess = _spawn.Process(
            target=_serve, args=(theirs, threads), name="atoll-worker", daemon=True
        )
        with _interrupts_held():
            self.process.start()
        theirs.close()
        self.is_ready = False
        self.index: int | None = None

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.index is None

    def hear(self) -> bytes | None:
        """Read one message; None when the worker is dead."""
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def dismiss(self) -> None:
        self.connection.close()
        self.process.join(_FAREWELL_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    def how_it_ended(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _step(run: _Run[T, R], team: list[_Worker], share: int) -> None:
    """Give idle workers something to do, then wait for one message or death."""
    for worker in team:
        if worker.is_idle and (job := run.next_packed()):
            worker.index, packed = job
            # A worker that is dead already shows it in the wait below.
            with suppress(OSError):
                worker.connection.send_bytes(packed)
    busy = {worker.connection: worker for worker in team if not worker.is_idle}
    for connection in wait(busy, timeout=None if run.unfinished else 0):
        worker = busy[connection]  # type: ignore[index]  # only connections went in
        message = worker.hear()
        if message is None:
            _replace(run, team, worker, share)
        elif not worker.is_ready:
            worker.is_ready = True
            run.failed_starts = 0
        elif worker.index is not None:
            index, worker.index = worker.index, None
            value, error = _unpack(message, run.label(index))
            run.end(index, value, error)


def _replace(run: _Run[T, R], team: list[_Worker], dead: _Worker, share: int) -> None:
    dead.kill()
    team.remove(dead)
    logger.warning("worker replaced ended=%s", dead.how_it_ended())
    if dead.index is None:
        run.lost_at_start(dead.how_it_ended())
    else:
        run.lost(dead.index, dead.how_it_ended())
    team.append(_Worker(share))


def _unpack(message: bytes, label: str) -> tuple[Any, Exception | None]:
    try:
        value, error, told = pickle.loads(message)
    # What a foreign class does when it is rebuilt here is anybody's guess.
    except Exception as broken:
        return None, _unsendable(label, "sent back by", broken)
    if error is not None and told:
        error.add_note(told)
    return value, error


def _unsendable(label: str, direction: str, error: Exception) -> AtollError:
    return InvalidInput(
        f"{label} cannot be {direction} a worker process: {type(error).__name__}: {error}; use a "
        "function at the top of a module, and plain data"
    )


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts: it inherits the mask, and dies only by our hand."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, threads: int) -> None:
    """Be a worker: answer each task until the parent hangs up or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    limit_threads(threads)
    with suppress(EOFError, OSError):
        connection.send_bytes(_READY)
        while True:
            connection.send_bytes(_answer(connection.recv_bytes()))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _answer(packed: bytes) -> bytes:
    try:
        task, item = pickle.loads(packed)
        return _packed_result(task(item))
    # Whatever a task raises is its outcome; that is the port's promise.
    except Exception as error:
        told = "" if isinstance(error, AtollError) else traceback.format_exc()
        return _packed_error(error, told)


def _packed_result(value: Any) -> bytes:
    try:
        return pickle.dumps((value, None, ""), pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _unsendable(f"a {type(value).__name__}", "sent back by", error) from error


def _packed_error(error: Exception, told: str) -> bytes:
    try:
        packed = pickle.dumps((None, error, told), pickle.HIGHEST_PROTOCOL)
        pickle.loads(packed)
    # An exception class may forbid either step in any way it likes.
    except Exception:
        stand_in = AtollError(f"{type(error).__name__}: {error}")
        return pickle.dumps((None, stand_in, told), pickle.HIGHEST_PROTOCOL)
    return packed
