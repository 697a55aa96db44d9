"""When a store that fails time after time is given up."""

from __future__ import annotations

from typing import Any

from atoll.compute.port import Outcome
from atoll.core.errors import Unavailable

# Each has been asked for again and again: the store is gone.
GIVE_UP_AFTER = 16


class Losses:
    """Counts what was lost since the store last answered."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lost = 0

    def told(self, _index: int, outcome: Outcome[Any]) -> None:
        """Hear of one outcome.

        Raises:
            Unavailable: the store fails time after time.
        """
        # One that ends its process is tried more than once, and says nothing of the store.
        is_lost = isinstance(outcome.error, Unavailable) and outcome.attempts == 1
        self._lost = self._lost + 1 if is_lost else 0
        if self._lost >= GIVE_UP_AFTER:
            assert outcome.error is not None
            raise outcome.error
