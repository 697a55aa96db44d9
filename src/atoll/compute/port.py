"""The Executor port: run independent tasks, survive the loss of whoever ran one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from atoll.core.config import Settings
from atoll.core.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

MAX_ATTEMPTS = 3
# Of the memory of a run, what an open collection may keep of what it read.
_CACHE_SHARE = 1 / 4


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


@dataclass(frozen=True)
class Room:
    """What the machines of an executor have for tasks, all together.

    Attributes:
        threads: processors.
        memory_bytes: so much that each of `workers` tasks may have its share, wherever it runs.
    """

    threads: int
    memory_bytes: int


class Executor(Protocol):
    """Runs tasks somewhere. Every adapter passes `atoll.testing.executor_contract`.

    A task may run more than once (its worker died, its first answer was lost), so it must be
    idempotent. `task` and `items` travel by pickle: a module-level function and plain data.
    """

    workers: int
    is_local: bool
    """Whether tasks see the files of the caller's machine."""
    room: Room | None
    """What tasks may use; None where they run on the caller's machine, as its settings say."""

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


def settings_for(executor: Executor, settings: Settings, share: int) -> Settings:
    """Return what one of so many tasks at a time may use.

    Args:
        executor: where they run.
        settings: of the caller's machine; its scratch folder is a path of theirs, too.
        share: how many tasks at a time share what there is.
    """
    if room := executor.room:
        # Machines that are this one, under other names, have no more memory than it.
        memory = min(room.memory_bytes, settings.memory_bytes if executor.is_local else math.inf)
        settings = replace(
            settings,
            threads=room.threads,
            memory_bytes=int(memory),
            cache_bytes=min(settings.cache_bytes, int(memory * _CACHE_SHARE)),
            disk_cache=settings.disk_cache if executor.is_local else None,
            # Tasks have working folders of their own.
            scratch=settings.scratch and settings.scratch.absolute(),
        )
    return replace(
        settings,
        threads=max(1, settings.threads // share),
        memory_bytes=settings.memory_bytes // share,
        cache_bytes=settings.cache_bytes // share,
    )


def always_lost(label: str, how: str) -> Unavailable:
    """Say that a task ended its worker process every time it was tried."""
    return Unavailable(
        f"{label} ended its worker process {MAX_ATTEMPTS} times ({how}); it may need more memory "
        "than there is: use fewer workers, or look at this input alone",
        task=label,
    )
