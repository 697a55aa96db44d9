"""An executor without processes: tasks run one after the other, right here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from atoll.compute.port import Outcome, Room

T = TypeVar("T")
R = TypeVar("R")


class InlineExecutor:
    """Runs each task in the caller's thread: for tests, small work and debuggers.

    What a task needs of the machine it takes from the caller; one that kills its process kills us.
    """

    workers = 1
    is_local = True
    room: Room | None = None

    def map(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        *,
        name: Callable[[T], str] = str,
        on_done: Callable[[int, Outcome[R]], None] | None = None,
    ) -> list[Outcome[R]]:
        """Run `task` on every item, in order; see `atoll.compute.port.Executor.map`."""
        outcomes = []
        for index, item in enumerate(items):
            outcome = _run(task, item)
            if on_done:
                on_done(index, outcome)
            outcomes.append(outcome)
        return outcomes


def _run(task: Callable[[T], R], item: T) -> Outcome[R]:
    try:
        return Outcome(task(item), None, attempts=1)
    # Whatever a task raises is its outcome; that is the port's promise.
    except Exception as error:
        return Outcome(None, error, attempts=1)
