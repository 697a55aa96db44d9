"""Brings the rows of a bucket into partition order, in memory or through sorted runs in files.

Ordered    some rows with all that belongs to them
Run        rows in partition order, read by position: in memory, in a file, or a whole bucket
Shuffle    takes rows as they come, makes runs of them
merged     reads any range of rows from runs, in partition order
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.vectors.sources.columns import pool_array

Arrange: TypeAlias = Callable[[NDArray[np.generic]], IntArray]
"""Rows in, their order out: (n, dim) to (n,) positions."""

# Arrow's strings hold 2 GiB an array; joining more fails.
MAX_REST_BYTES = 1 << 30
READERS = 8


@dataclass(frozen=True, eq=False)
class Ordered:
    """Some rows with all that belongs to them, position by position.

    Attributes:
        vectors: (n, dim) in the stored dtype.
        rest: ids ("id") and further columns.
        id_hash: (n,) uint64.
        codes: (n, width) uint8, packed; None where the index has none.
        partition: (n,) uint32.
    """

    vectors: NDArray[np.generic]
    rest: pa.RecordBatch
    id_hash: NDArray[np.uint64]
    codes: NDArray[np.uint8] | None
    partition: NDArray[np.uint32]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.partition)

    def take(self, rows: IntArray) -> Ordered:
        """Pick rows by position."""
        return Ordered(
            gathered(self.vectors, rows),
            self.rest.take(pa.array(rows)),
            self.id_hash[rows],
            None if self.codes is None else self.codes[rows],
            self.partition[rows],
        )

    def slice(self, start: int, stop: int) -> Ordered:
        """View rows [start, stop)."""
        return Ordered(
            self.vectors[start:stop],
            self.rest.slice(start, stop - start),
            self.id_hash[start:stop],
            None if self.codes is None else self.codes[start:stop],
            self.partition[start:stop],
        )


class Run(Protocol):
    """Rows in partition order, read by position."""

    @property
    def offsets(self) -> IntArray:
        """(num_partitions + 1,) first row of each partition, and the row count at the end."""

    @property
    def row_bytes(self) -> int:
        """About how many bytes a row takes."""

    def read(self, start: int, stop: int) -> Ordered:
        """Read rows [start, stop)."""


class RunRef(Protocol):
    """Names a run, so that it can be opened elsewhere; picklable."""

    def open(self) -> Run:
        """Open it."""


class HeldRun:
    """A run in memory: rows as they came, and the order they belong in."""

    def __init__(
        self, vectors: NDArray[np.generic], parts: Sequence[Ordered], num_partitions: int
    ) -> None:
        """Order rows; `vectors` holds those of all parts, whose own are not looked at."""
        self._vectors = vectors
        self._rest = pa.concat_batches([part.rest for part in parts])
        self._id_hash = np.concatenate([part.id_hash for part in parts])
        codes = [part.codes for part in parts if part.codes is not None]
        self._codes = np.concatenate(codes) if codes else None
        partition = np.concatenate([part.partition for part in parts])
        self._order = np.argsort(partition, kind="stable")
        self._partition = partition[self._order]
        self.offsets: IntArray = np.searchsorted(
            self._partition, np.arange(num_partitions + 1)
        ).astype(np.int64)
        values = [vectors, self._codes, self._rest]
        self.row_bytes = sum(v.nbytes for v in values if v is not None) // max(len(partition), 1)

    def open(self) -> HeldRun:
        """Return itself."""
        return self

    def read(self, start: int, stop: int) -> Ordered:
        """Read rows [start, stop)."""
        rows = self._order[start:stop]
        return Ordered(
            gathered(self._vectors, rows),
            self._rest.take(pa.array(rows)),
            self._id_hash[rows],
            None if self._codes is None else self._codes[rows],
            self._partition[start:stop],
        )


def gathered(values: NDArray[Any], rows: IntArray) -> NDArray[Any]:
    """Copy rows of a matrix to memory of Arrow's pool."""
    out = pool_array((len(rows), values.shape[1]), values.dtype)
    # Clipping spares numpy a buffered copy; the rows are all there.
    np.take(values, rows, axis=0, out=out, mode="clip")
    return out


class Shuffle:
    """Takes rows in any order of partitions, makes runs of them.

    Rows of one partition keep the order in which they came. While they fit in `memory_bytes` they
    stay there; beyond, each filling becomes a run that `spill` writes.
    """

    def __init__(
        self,
        num_partitions: int,
        memory_bytes: int,
        expected_rows: int,
        spill: Callable[[HeldRun], RunRef],
    ) -> None:
        """Start empty; nothing is written before memory is used up."""
        self._num_partitions, self._memory = num_partitions, memory_bytes
        self._expected, self._spill_to = expected_rows, spill
        self._vectors: NDArray[np.generic] | None = None
        self._parts: list[Ordered] = []
        self._held = 0
        self._held_rest = 0
        self._rest_room = 0
        self._runs: list[RunRef] = []

    def add(self, part: Ordered) -> None:
        """Take rows.

        Raises:
            InvalidInput, Forbidden, Unavailable: what `spill` raises.
        """
        vectors = self._room_for(part)
        at = 0
        while at < len(part):
            # No sooner than there is no room for more: all rows may be there.
            if self._held == len(vectors) or self._held_rest > self._rest_room:
                self._spill()
            stop = min(len(part), at + len(vectors) - self._held)
            piece = part.slice(at, stop)
            vectors[self._held : self._held + len(piece)] = piece.vectors
            self._parts.append(
                Ordered(vectors[:0], piece.rest, piece.id_hash, piece.codes, piece.partition)
            )
            self._held += len(piece)
            self._held_rest += piece.rest.nbytes
            at = stop

    def runs(self, *, in_files: bool) -> list[RunRef]:
        """Return the runs, in the order their rows came; give up what is held.

        Args:
            in_files: none of them in this process's memory.
        """
        if self._parts and (self._runs or in_files):
            self._spill()
        runs = self._runs
        if self._parts:
            runs = [self._held_run()]
        self._parts, self._vectors, self._held, self._runs = [], None, 0, []
        return runs

    def _room_for(self, part: Ordered) -> NDArray[np.generic]:
        """Make one array for all vectors; memory that is not written to is not used."""
        if self._vectors is None:
            codes = 0 if part.codes is None else part.codes.shape[1]
            row_bytes = part.vectors.shape[1] * part.vectors.itemsize + codes + 24
            row_bytes += part.rest.nbytes // max(len(part), 1)
            rows = min(self._expected, max(1, self._memory // row_bytes))
            self._rest_room = min(MAX_REST_BYTES, max(self._memory // 2, 1))
            self._vectors = np.empty((max(rows, 1), part.vectors.shape[1]), part.vectors.dtype)
        return self._vectors

    def _held_run(self) -> HeldRun:
        assert self._vectors is not None
        return HeldRun(self._vectors[: self._held], self._parts, self._num_partitions)

    def _spill(self) -> None:
        self._runs.append(self._spill_to(self._held_run()))
        self._parts, self._held, self._held_rest = [], 0, 0


def total_offsets(runs: Sequence[Run]) -> IntArray:
    """Return the offsets of all runs together, of which there is one."""
    total = runs[0].offsets.copy()
    for run in runs[1:]:
        total += run.offsets
    return total


def merged(
    runs: Sequence[Run],
    start: int,
    stop: int,
    group_bytes: int,
    arrange: Arrange | None = None,
    arrange_rows: int = 0,
) -> Iterator[Ordered]:
    """Read rows [start, stop) of the merged order: by partition, then by run, then as in the run.

    Args:
        runs: all of them.
        start, stop: positions among all rows.
        group_bytes: about how much comes at a time.
        arrange: orders the vectors of one partition anew; only where it has up to `arrange_rows`.
    """
    if start == stop:
        return
    offsets = total_offsets(runs)
    batch_rows = max(1, group_bytes // max(run.row_bytes for run in runs))
    with ThreadPoolExecutor(READERS) as pool:
        for first, last, low, high in _groups(offsets, start, stop, batch_rows):
            whole = last - first > 1 or offsets[last] - offsets[first] <= arrange_rows
            if arrange is None or not whole:
                yield _read(pool, _ranges(runs, offsets, first, last, low, high))
                continue
            begin, end = int(offsets[first]), int(offsets[last])
            group = _read(pool, _ranges(runs, offsets, first, last, begin, end))
            order = _arranged(
                group.vectors, offsets[first : last + 1] - begin, arrange, arrange_rows
            )
            yield group.take(order[low - begin : high - begin])


def _read(pool: ThreadPoolExecutor, wanted: Sequence[tuple[Run, tuple[int, int]]]) -> Ordered:
    parts = list(pool.map(lambda piece: piece[0].read(*piece[1]), wanted))
    return parts[0] if len(parts) == 1 else _joined(parts)


def _arranged(
    vectors: NDArray[np.generic], offsets: IntArray, arrange: Arrange, arrange_rows: int
) -> IntArray:
    """Order the rows of each partition of a group."""
    orders = [
        start + arrange(vectors[start:stop])
        if stop - start <= arrange_rows
        else np.arange(start, stop)
        for start, stop in pairwise(offsets.tolist())
        if start < stop
    ]
    return np.concatenate(orders)


def _groups(
    offsets: IntArray, start: int, stop: int, batch_rows: int
) -> Iterator[tuple[int, int, int, int]]:
    """Cut rows into groups: whole partitions [first, last), or rows [low, high) of a single one."""
    low, first = start, int(np.searchsorted(offsets, start, "right")) - 1
    while low < stop:
        # The last partition that ends within reach; at least the one that `low` is in.
        reach = int(np.searchsorted(offsets, min(stop, low + batch_rows), "right")) - 1
        if low == offsets[first] and reach > first:
            high = int(offsets[reach])
            yield first, reach, low, high
        else:
            high = min(int(offsets[first + 1]), stop, low + batch_rows)
            yield first, first + 1, low, high
        low, first = high, int(np.searchsorted(offsets, high, "right")) - 1


def _ranges(
    runs: Sequence[Run], offsets: IntArray, first: int, last: int, low: int, high: int
) -> list[tuple[Run, tuple[int, int]]]:
    """Find which rows of which run a group is made of."""
    wanted = []
    before = int(offsets[first])
    for run in runs:
        begin, end = int(run.offsets[first]), int(run.offsets[last])
        if last - first == 1:
            # Rows of one partition follow each other run by run.
            cut = max(low - before, 0), min(high - before, end - begin)
            before += end - begin
            begin, end = begin + cut[0], begin + cut[1]
        if begin < end:
            wanted.append((run, (begin, end)))
    return wanted


def _joined(parts: Sequence[Ordered]) -> Ordered:
    """Join rows of several runs and bring them in order of partitions; vectors are copied once."""
    partition = np.concatenate([part.partition for part in parts])
    order = np.argsort(partition, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    codes = [part.codes for part in parts if part.codes is not None]
    return Ordered(
        _scattered([part.vectors for part in parts], place),
        pa.concat_batches([part.rest for part in parts]).take(pa.array(order)),
        np.concatenate([part.id_hash for part in parts])[order],
        _scattered(codes, place) if codes else None,
        partition[order],
    )


def _scattered(parts: Sequence[NDArray[Any]], place: IntArray) -> NDArray[Any]:
    out = pool_array((len(place), parts[0].shape[1]), parts[0].dtype)
    at = 0
    for part in parts:
        out[place[at : at + len(part)]] = part
        at += len(part)
    return out
