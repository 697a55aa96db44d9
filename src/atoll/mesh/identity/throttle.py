"""Slows down whoever guesses: waits that grow with each attempt and have an end.

An attempt counts before it is known to be wrong, so many at once gain nothing; one that was right
is taken back. Counted are a name at a place, the place for all names, and the name for all places,
which is free for longer: whoever tries a name from one place holds nobody up elsewhere. A browser
in which somebody has signed in before counts by itself, so strangers at many places, or at the same
one, do not keep them out either.

Source: OWASP, "Slow Down Online Guessing Attacks with Device Cookies"; NIST SP 800-63B-4, 3.2.2.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from atoll.core.errors import TooManyRequests

MOST_COUNTED = 20_000  # some 300 bytes each
_MAX_DOUBLINGS = 16


@dataclass(frozen=True)
class Pace:
    """How attempts of one kind are slowed down.

    Attributes:
        of: the kind.
        free: attempts that nobody waits after.
        forgets_s: seconds in which one attempt is forgotten.
        longest_s: no wait is longer.
    """

    of: str
    free: int
    forgets_s: float
    longest_s: float


NAME = Pace("name", free=50, forgets_s=600, longest_s=300)
NAME_AT_PLACE = Pace("name at a place", free=5, forgets_s=3_600, longest_s=3_600)
PLACE = Pace("place", free=20, forgets_s=60, longest_s=3_600)
DEVICE = Pace("device", free=10, forgets_s=600, longest_s=300)
OWN = Pace("own password", free=5, forgets_s=600, longest_s=300)
# Tokens and logins cannot be guessed, only tried again and again.
SECRET = Pace("secret", free=100, forgets_s=1, longest_s=60)
BEGINNING = Pace("beginning", free=100, forgets_s=2, longest_s=60)

Key: TypeAlias = tuple[Pace, str]


def of_name(name: str, place: str) -> list[Key]:
    """Return what counts when somebody tries a name."""
    return [(NAME, name), (NAME_AT_PLACE, f"{place} {name}")]


@dataclass(frozen=True)
class _Count:
    level: float
    at_s: float
    free_from_s: float


_NONE = _Count(0.0, -math.inf, -math.inf)


class Throttle:
    """Counts attempts, in memory, of so many at most; safe from any thread."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, most: int = MOST_COUNTED
    ) -> None:
        """Count nothing yet; `clock` gives seconds, monotonic."""
        self._clock, self._most = clock, most
        self._counts: OrderedDict[Key, _Count] = OrderedDict()
        self._lock = threading.Lock()

    def attempt(self, *keys: Key) -> None:
        """Count an attempt under each key, before it is made.

        Raises:
            TooManyRequests: it comes too early, and is not counted.
        """
        with self._lock:
            now = self._clock()
            wait_s = max(self._counts.get(key, _NONE).free_from_s for key in keys) - now
            if wait_s > 0:
                after_s = math.ceil(wait_s)
                raise TooManyRequests(
                    f"too many attempts; try again in {after_s} s", retry_after_s=after_s
                )
            for key in keys:
                self._keep(key, _counted(key[0], self._counts.get(key, _NONE), now))

    def was_right(self, *keys: Key) -> None:
        """Take an attempt back: it was no guess."""
        with self._lock:
            now = self._clock()
            for key in keys:
                if found := self._counts.get(key):
                    self._keep(key, _Count(max(found.level - 1, 0), found.at_s, now))

    def forget(self, *keys: Key) -> None:
        """Count from the beginning."""
        with self._lock:
            for key in keys:
                self._counts.pop(key, None)

    def _keep(self, key: Key, count: _Count) -> None:
        self._counts[key] = count
        self._counts.move_to_end(key)
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)


def place_of(address: str) -> str:
    """Return what counts as one place: an address; of IPv6 the network that a customer is given.

    >>> place_of("192.0.2.7"), place_of("::ffff:192.0.2.7"), place_of("2001:db8:1:2:3::4")
    ('192.0.2.7', '192.0.2.7', '2001:db8:1:2::')
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64))


def _counted(pace: Pace, before: _Count, now: float) -> _Count:
    left = max(before.level - (now - before.at_s) / pace.forgets_s, 0.0)
    # No higher: what was tried for a year shall not be remembered for one.
    level = min(left + 1, pace.free + _MAX_DOUBLINGS)
    is_free = level <= pace.free
    wait_s = 0.0 if is_free else min(2.0 ** (level - pace.free), pace.longest_s)
    return _Count(level, now, now + wait_s)
