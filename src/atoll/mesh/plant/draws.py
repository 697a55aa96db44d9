"""Random numbers that belong to a row: functions of seed, table, purpose and row number alone.

So any range of rows can be made again, in pieces of any size, by any number of processes. They are
made by hashing, not by numpy's generators, whose streams change between versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one table.

    In every method, `what` names the purpose: the same name gives the same numbers. `numbers` are
    row numbers, from 0.
    """

    seed: int
    table: str

    def bits(self, what: str, numbers: Ints) -> NDArray[np.uint64]:
        """Draw 64 random bits for each row.

        Source: Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators".
        """
        key = np.uint64(_key(self.seed, self.table, what))
        found = (numbers.astype(np.uint64) + np.uint64(1)) * _GOLDEN + key
        for shift, factor in _MIX:
            found = (found ^ (found >> np.uint64(shift))) * factor
        return found ^ (found >> np.uint64(31))

    def uniform(self, what: str, numbers: Ints, low: float = 0.0, high: float = 1.0) -> Floats:
        """Draw evenly from low, included, to high, excluded."""
        share = (self.bits(what, numbers) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + share * (high - low)

    def normal(self, what: str, numbers: Ints, mean: float = 0.0, deviation: float = 1.0) -> Floats:
        """Draw from a normal distribution.

        Source: Box, Muller (1958), "A note on the generation of random normal deviates".
        """
        length = np.sqrt(-2 * np.log1p(-self.uniform(f"{what}/length", numbers)))
        turn = np.cos(2 * np.pi * self.uniform(f"{what}/turn", numbers))
        return np.asarray(mean + deviation * length * turn)

    def integers(self, what: str, numbers: Ints, low: int, high: int) -> Ints:
        """Draw whole numbers from low, included, to high, excluded."""
        # Added afterwards: a large `low` would round the sum up to `high`.
        return low + np.floor(self.uniform(what, numbers, 0, high - low)).astype(np.int64)

    def pick(self, what: str, numbers: Ints, weights: Sequence[float]) -> Ints:
        """Draw places in a list, in proportion to weights."""
        stairs = np.cumsum(weights)
        found = np.searchsorted(stairs, self.uniform(what, numbers, 0, stairs[-1]), side="right")
        return np.minimum(found, len(stairs) - 1)

    def spots(self, what: str, places: Ints, rows: int, count: int) -> Ints:
        """Tell which rows are chosen: of all, `count`, one in each of as many equal stretches.

        Args:
            what: the purpose.
            places: which of the chosen ones, from 0.
            rows: how many rows the table has.
            count: how many are chosen, at most `rows`.
        """
        start, stop = places * rows // count, (places + 1) * rows // count
        return start + np.floor(self.uniform(what, places) * (stop - start)).astype(np.int64)

    def places(self, what: str, numbers: Ints, rows: int, count: int) -> Ints:
        """Tell which of the chosen rows each row is, -1 where it is none; see `spots`."""
        places = -(-(numbers + 1) * count // rows) - 1
        return np.where(self.spots(what, places, rows, count) == numbers, places, -1)


@lru_cache(maxsize=4096)
def _key(seed: int, table: str, what: str) -> int:
    text = f"{seed}/{table}/{what}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
