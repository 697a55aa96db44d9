"""Which classes of things somebody may see: decided by the policies, and remembered.

Things of one class look alike to the policies, so one decision stands for all of them. It is made
again when whoever asks is something else by now, or a project or domain unit has changed: all that
the policies know of these things comes from there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from atoll.mesh.model.record import Record
from atoll.mesh.policies.decisions import Standing

REMEMBERED = 1000
_Key = tuple[Standing, type[Record]]


class Visibility:
    """Remembers which classes people may see."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: OrderedDict[_Key, tuple[int, frozenset[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def classes(
        self, who: Standing, kind: type[Record], number: int, decide: Callable[[], frozenset[str]]
    ) -> frozenset[str]:
        """Name the classes of a kind that somebody may see.

        Args:
            who: they, as they stand now.
            kind: of the things.
            number: of the last change of a project or domain unit.
            decide: finds it out, where it is not known.
        """
        key = (who, kind)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                of, found = self._known[key]
                if of == number:
                    return found
        found = decide()
        with self._lock:
            self._known[key] = number, found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found
