"""A cache in memory, bounded by the bytes it holds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any


class ByteCache:
    """Keeps what was used last; for several threads at once."""

    def __init__(self, limit_bytes: int) -> None:
        """Start empty; a limit of 0 keeps nothing."""
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.size_bytes = 0

    def get_all(self, keys: Sequence[Hashable]) -> list[Any]:
        """Return what was put under each key, None where it is not held."""
        held = self._held
        found: list[Any] = []
        with self._lock:
            for key in keys:
                entry = held.get(key)
                if entry is None:
                    found.append(None)
                else:
                    held.move_to_end(key)
                    found.append(entry[0])
        return found

    def put(self, key: Hashable, value: Any, size_bytes: int) -> None:
        """Hold a value, at the cost of those that were not used for the longest time."""
        if size_bytes > self._limit:
            return
        with self._lock:
            self._drop(key)
            self._held[key] = (value, size_bytes)
            self.size_bytes += size_bytes
            while self.size_bytes > self._limit:
                self._drop(next(iter(self._held)))

    def _drop(self, key: Hashable) -> None:
        if key in self._held:
            self.size_bytes -= self._held.pop(key)[1]
