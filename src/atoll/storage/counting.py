"""Counts what is read from stores: requests and bytes, over all threads of the process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Reads:
    """Reads so far.

    Attributes:
        requests: requests that read: objects, ranges, listings, also those that found nothing.
        bytes: what came back.
    """

    requests: int = 0
    bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, requests: int, size_bytes: int = 0) -> None:
        """Count some more."""
        with self._lock:
            self.requests += requests
            self.bytes += size_bytes


READS = Reads()


@contextmanager
def count_reads() -> Iterator[Reads]:
    """Count the reads that this process makes within the block; known when it ends.

    What Lance reads by itself (predicates, further columns) is not in it.
    """
    before = READS.requests, READS.bytes
    counted = Reads()
    try:
        yield counted
    finally:
        counted.add(READS.requests - before[0], READS.bytes - before[1])
