"""Counts what stores are asked for: requests of each kind and bytes, for whoever wants to know.

Counts follow the code that asks, also into `Threads` that it starts; what others do at the same
time is not in them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

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
    """

    gets: int = 0
    lists: int = 0
    puts: int = 0
    deletes: int = 0
    retries: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    _lock: threading.Lock = field(
        default_factory=threading.Lock, repr=False, compare=False, init=False
    )

    @property
    def reads(self) -> int:
        """Requests that read."""
        return self.gets + self.lists

    def add(
        self,
        *,
        gets: int = 0,
        lists: int = 0,
        puts: int = 0,
        deletes: int = 0,
        retries: int = 0,
        bytes_read: int = 0,
        bytes_written: int = 0,
    ) -> None:
        """Count some more; for several threads at once."""
        with self._lock:
            self.gets += gets
            self.lists += lists
            self.puts += puts
            self.deletes += deletes
            self.retries += retries
            self.bytes_read += bytes_read
            self.bytes_written += bytes_written

    def require(self, **counts: int) -> None:
        """Raise where so much more may not be asked."""

    def facts(self) -> dict[str, int]:
        """Return all counts, JSON-ready."""
        with self._lock:
            return {name: getattr(self, name) for name in COUNTS}


class Limited(Usage):
    """Counts as far as a check lets it: each request is counted before it is made."""

    def __init__(self, check: Callable[[Usage], None]) -> None:
        """Start at nothing; `check` raises where no more may be asked, and nothing is."""
        super().__init__()
        self._check = check

    def require(self, **counts: int) -> None:
        """Raise where so much more may not be asked."""
        with self._lock:
            wanted = {name: getattr(self, name) + counts.get(name, 0) for name in COUNTS}
        self._check(Usage(**wanted))


COUNTS = (
    "gets", "lists", "puts", "deletes", "retries", "bytes_read", "bytes_written",
)  # fmt: skip
_counting: ContextVar[tuple[Usage, ...]] = ContextVar("counting", default=())


def count(**counts: int) -> None:
    """Count requests or bytes, by the names of `Usage`, for all who count here."""
    counting = _counting.get()
    for usage in counting:
        usage.require(**counts)
    for usage in counting:
        usage.add(**counts)


@contextmanager
def count_usage(check: Callable[[Usage], None] | None = None) -> Iterator[Usage]:
    """Count what stores are asked for within the block; the counts grow as it goes on.

    Args:
        check: is told what the counts are about to be, before a request is made; raises where that
            is too much. Requests that Lance makes by itself are counted afterwards.
    """
    usage = Usage() if check is None else Limited(check)
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
