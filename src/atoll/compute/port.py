"""The Executor port: run independent tasks, survive the loss of whoever ran one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of one task: a value or an error, never both.

    Attributes:
        value: what the task returned; None where it failed.
        error: why it failed; None where it did not. A task that keeps killing its worker carries
            an `Unavailable` that names it.
        attempts: how often it was started.
    """

    value: R | None
    error: Exception | None
    attempts: int


class Executor(Protocol):
    """Runs tasks somewhere. Every adapter passes `atoll.testing.executor_contract`.

    A task may run more than once (its worker died, its first answer was lost), so it must be
    idempotent. `task` and `items` travel by pickle: a module-level function and plain data.
    """

    workers: int
    is_local: bool
    """Whether tasks see the files of the caller's machine."""

    def map(
        self,
        task: Callable[[T], R],
        items: Sequence[T],
        *,
        name: Callable[[T], str] = str,
        on_done: Callable[[int, Outcome[R]], None] | None = None,
    ) -> list[Outcome[R]]:
        """Run `task` on every item.

        Args:
            task: a picklable function of one item.
            items: the work, in any number.
            name: what to call an item in messages.
            on_done: called in the caller's process with (index, outcome) as each one ends.

        Returns:
            One outcome per item, in the order of the items. An exception raised by the task is an
            outcome, not an end; a dead worker is replaced and the task tried again, 3 times in all.
        """
        ...
