"""The nouns of a generated plant: tables, their columns, keys and deliberate dirt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, gcd, sqrt
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.core.errors import InvalidInput
from atoll.mesh.plant.draws import Draws, Flags, Floats, Ints

# At scale 1: vehicles, and rows that each machine's sensors send in a day.
VEHICLES, TICKS_PER_DAY = 5_000, 200
MAX_SCALE = 10_000
DAYS = 20
FIRST_DAY = "2026-03-02"


@dataclass(frozen=True)
class Column:
    """A column of a table, as the catalog should come to know it.

    Attributes:
        type: Arrow's.
        personal: the kind of personal data in it, as `atoll.mesh.pii` names kinds; "" where none.
    """

    name: str
    type: pa.DataType
    description: str
    personal: str = ""


@dataclass(frozen=True)
class Dirt:
    """Rows that are wrong on purpose.

    Attributes:
        name: unique in its table.
        columns: whose values are wrong together.
        what: how to recognise such a row.
        rows: exactly how many there are; no row has two kinds of dirt.
    """

    name: str
    columns: tuple[str, ...]
    what: str
    rows: int


@dataclass(frozen=True)
class Reference:
    """A key to another table: each value of the column, dirt aside, is found there."""

    column: str
    table: str
    key: str


@dataclass(frozen=True)
class Rows:
    """A range of rows that is being made, and the random numbers that belong to it.

    Attributes:
        numbers: from 0, consecutive.
        total: rows that the table has.
        dirty: by name of the dirt, how many of them have it.
    """

    draws: Draws
    numbers: Ints
    total: int
    dirty: Mapping[str, int]

    def uniform(self, what: str, low: float = 0.0, high: float = 1.0) -> Floats:
        """Draw evenly; see `Draws`."""
        return self.draws.uniform(what, self.numbers, low, high)

    def normal(self, what: str, mean: float = 0.0, deviation: float = 1.0) -> Floats:
        """Draw from a normal distribution; see `Draws`."""
        return self.draws.normal(what, self.numbers, mean, deviation)

    def integers(self, what: str, low: int, high: int) -> Ints:
        """Draw whole numbers; see `Draws`."""
        return self.draws.integers(what, self.numbers, low, high)

    def pick(self, what: str, *weights: float) -> Ints:
        """Draw places in a list; see `Draws`."""
        return self.draws.pick(what, self.numbers, weights)

    def is_dirty(self, name: str) -> Flags:
        """Tell which of these rows have that dirt."""
        count = sum(self.dirty.values())
        places = self.draws.places("dirt", self.numbers, self.total, count)
        # A step that shares no factor with the count mixes the kinds, and keeps how many there are.
        step = next(step for step in range(count * 5 // 8, count + 2) if gcd(step, count) == 1)
        order = places * step % count
        names = list(self.dirty)
        first = sum(self.dirty[one] for one in names[: names.index(name)])
        return (places >= 0) & (first <= order) & (order < first + self.dirty[name])


@dataclass(frozen=True)
class Recipe:
    """How a table is made.

    Attributes:
        name: unique in the plant; also that of its file or folder.
        system: where such data come from ("SAP", "MES", ...); its folder in small letters.
        domain: who is responsible for it.
        rows: how many there are.
        make: returns values by column, for any range of rows.
        delimiter: of a CSV file; "" makes Parquet.
        days: into how many partitions by day it is cut, of equally many rows; 0 for none.
    """

    name: str
    system: str
    domain: str
    description: str
    columns: tuple[Column, ...]
    rows: int
    make: Callable[[Rows], Mapping[str, Any]]
    references: tuple[Reference, ...] = ()
    dirt: tuple[Dirt, ...] = ()
    delimiter: str = ""
    days: int = 0

    @property
    def schema(self) -> pa.Schema:
        """Return the names and types of its columns."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    def batches(self, seed: int, start: int, stop: int, most: int) -> Iterator[pa.RecordBatch]:
        """Make the rows from start, included, to stop, excluded; at most so many at once."""
        draws = Draws(seed, self.name)
        dirty = {one.name: one.rows for one in self.dirt}
        for first in range(start, stop, most):
            numbers = np.arange(first, min(first + most, stop), dtype=np.int64)
            made = self.make(Rows(draws, numbers, self.rows, dirty))
            arrays = [_array(made[column.name], column.type) for column in self.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def few(rows: int, share: float) -> int:
    """Choose how many rows of a table are dirty: a share of them, at least one."""
    return max(1, round(rows * share))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


@dataclass(frozen=True)
class Plant:
    """How large a plant is.

    Attributes:
        seed: of all random numbers.
        scale: 1 has 5,000 vehicles and 192,000 rows of sensors; 500 times as many at 500.

    Raises:
        InvalidInput: the scale is not above 0 and at most 10,000; the seed not 0 to 2^63 - 1.
    """

    seed: int
    scale: float

    def __post_init__(self) -> None:
        """Check both."""
        if not 0 <= self.seed < 2**63:
            raise InvalidInput(f"seed {self.seed} is not from 0 to 2^63 - 1; give another one")
        if not 0 < self.scale <= MAX_SCALE:
            raise InvalidInput(
                f"scale {self.scale:g} is no size of a plant; give one above 0, at most "
                f"{MAX_SCALE:,}",
                scale=self.scale,
            )

    @property
    def vehicles(self) -> int:
        """Count the vehicles it builds."""
        return max(200, round(VEHICLES * self.scale))

    @property
    def orders(self) -> int:
        """Count the production orders, each of ten vehicles."""
        return ceil(self.vehicles / 10)

    @property
    def workers(self) -> int:
        """Count the workers: a plant with four times the vehicles has twice as many."""
        return max(60, round(400 * sqrt(self.scale)))

    @property
    def ticks(self) -> int:
        """Count the rows that the sensors of one machine send in a day."""
        return max(24, round(TICKS_PER_DAY * self.scale))

    @cached_property
    def epoch(self) -> int:
        """Return when its first day began, in seconds since 1970, UTC."""
        return int(np.datetime64(FIRST_DAY, "s").astype(np.int64))
