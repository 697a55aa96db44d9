"""Something fetched, kept for a while, and not asked for again and again when that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, Never, TypeVar

from atoll.core.errors import AtollError

T = TypeVar("T")

KEEP_SECONDS = 3_600.0
RENEW_SECONDS = 60.0
FAILED_SECONDS = 5.0


class Remembered(Generic[T]):
    """One value that threads share: whoever comes while it is fetched waits for it."""

    def __init__(self, fetch: Callable[[], T], clock: Callable[[], float]) -> None:
        """Fetch nothing yet; `clock` gives seconds, monotonic."""
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._outcome: Callable[[], T] = fetch
        self._since_s = self._keep_s = 0.0

    def get(self) -> T:
        """Give the value, at most KEEP_SECONDS old.

        Raises:
            AtollError: what fetching it raised, now or in the last FAILED_SECONDS.
        """
        return self._at_most(KEEP_SECONDS)

    def renewed(self) -> T:
        """Give the value, at most RENEW_SECONDS old: it may have changed; raises as `get`."""
        return self._at_most(RENEW_SECONDS)

    def _at_most(self, seconds: float) -> T:
        with self._lock:
            if self._clock() - self._since_s >= min(seconds, self._keep_s):
                self._outcome, self._keep_s = self._fetched()
                self._since_s = self._clock()
            return self._outcome()

    def _fetched(self) -> tuple[Callable[[], T], float]:
        try:
            value = self._fetch()
        except AtollError as error:
            return partial(_fail, error), FAILED_SECONDS
        return lambda: value, KEEP_SECONDS


def _fail(error: AtollError) -> Never:
    # Anew: each thread has a traceback of its own.
    raise type(error)(error.message, **error.details) from error
