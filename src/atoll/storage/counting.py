"""Counts what stores are asked for: requests of each kind and bytes, for whoever wants to know.

Counts follow the code that asks, also into `Threads` that it starts; what others do at the same
time is not in them. A request is counted before it is made, with the bytes that it will bring as
soon as they are known, so that a limit is kept and not only found to be broken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, fields
from typing import ParamSpec, TypeAlias, TypeVar

# Told what the counts are about to be, by name; raises where that is too much.
Check: TypeAlias = Callable[[dict[str, int]], None]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Usage:
    """What was asked of stores.

    Attributes:
        gets: requests that read an object, a part of it or its size, also those that found none.
        lists: listings; each page of a long one counts where the store tells.
        puts: requests that wrote an object, or a part of one.
        deletes: requests that removed one.
        retries: of all these, those made because an earlier one had failed.
        bytes_read, bytes_written: what came back, and what was sent.
        check: keeps them within a limit; None allows all.
    """

    gets: int = 0
    lists: int = 0
    puts: int = 0
    deletes: int = 0
    retries: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    check: Check | None = field(default=None, repr=False, compare=False)

    @property
    def reads(self) -> int:
        """Requests that read."""
        return self.gets + self.lists

    def facts(self) -> dict[str, int]:
        """Return all counts, JSON-ready."""
        with _lock:
            return self._and({})

    def _and(self, counts: dict[str, int]) -> dict[str, int]:
        """Return all counts with so many more; call it with the lock."""
        return {name: getattr(self, name) + counts.get(name, 0) for name in COUNTS}

    def _add(self, counts: dict[str, int]) -> None:
        for name, more in counts.items():
            setattr(self, name, getattr(self, name) + more)


COUNTS = tuple(one.name for one in fields(Usage) if one.name != "check")
_counting: ContextVar[tuple[Usage, ...]] = ContextVar("counting", default=())
# Of all counts: what one check allows is counted before another asks, everywhere or nowhere.
_lock = threading.Lock()


def count(**counts: int) -> None:
    """Count what is about to be asked for, by the names of `Usage`, for all who count here.

    Raises:
        AtollError: a check does not allow it; nothing is counted then, and nothing may be asked.
    """
    counting = _counting.get()
    with _lock:
        for usage in counting:
            if usage.check is not None:
                usage.check(usage._and(counts))
        for usage in counting:
            usage._add(counts)


def count_made(**counts: int) -> None:
    """Count what was asked for already, whatever is allowed; less than nothing takes it back."""
    with _lock:
        for usage in _counting.get():
            usage._add(counts)


@contextmanager
def count_usage(check: Check | None = None) -> Iterator[Usage]:
    """Count what stores are asked for within the block; the counts grow as it goes on.

    Args:
        check: raises before a request is made that is one too many. Those that Lance makes by
            itself are counted afterwards.
    """
    usage = Usage(check=check)
    token = _counting.set((*_counting.get(), usage))
    try:
        yield usage
    finally:
        _counting.reset(token)


class Threads(ThreadPoolExecutor):
    """Threads that count for whoever starts a call in them."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Start a call."""
        counting = copy_context()
        return super().submit(lambda: counting.run(fn, *args, **kwargs))
