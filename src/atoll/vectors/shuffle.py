"""Brings the rows of a bucket into partition order, in memory or through sorted runs on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing

# Arrow's strings hold 2 GiB an array; joining more fails.
MAX_REST_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Ordered:
    """Some rows with all that belongs to them, position by position.

    Attributes:
        vectors: (n, dim) in the stored dtype.
        rest: ids and further columns.
        id_hash: (n,) uint64.
        codes: (n,) packed codes; None where the index has none.
        partition: (n,) uint32.
    """

    vectors: NDArray[np.generic]
    rest: pa.RecordBatch
    id_hash: NDArray[np.uint64]
    codes: NDArray[np.void] | None
    partition: NDArray[np.uint32]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.partition)

    def take(self, order: NDArray[np.int64]) -> Ordered:
        """Pick rows by position."""
        return Ordered(
            self.vectors[order],
            self.rest.take(pa.array(order)),
            self.id_hash[order],
            None if self.codes is None else self.codes[order],
            self.partition[order],
        )


def _join(parts: list[Ordered]) -> Ordered:
    if len(parts) == 1:
        return parts[0]
    codes = [part.codes for part in parts if part.codes is not None]
    return Ordered(
        np.concatenate([part.vectors for part in parts]),
        pa.concat_batches([part.rest for part in parts]),
        np.concatenate([part.id_hash for part in parts]),
        np.concatenate(codes) if codes else None,
        np.concatenate([part.partition for part in parts]),
    )


class Shuffle:
    """Takes rows in any order of partitions, gives them back partition by partition.

    Rows of one partition keep the order in which they came. While they fit in `memory_bytes` they
    stay there; beyond, sorted runs go to files below `scratch` (None: the system's temporary
    folder), which are removed on leaving the context.
    """

    def __init__(self, scratch: Path | None, memory_bytes: int) -> None:
        """Start empty; nothing is written before memory is used up."""
        self._scratch, self._memory = scratch, memory_bytes
        self._folder: Path | None = None
        self._opened = ExitStack()
        self._parts: list[Ordered] = []
        self._held = 0
        self._held_rest = 0
        self._runs: list[_Run] = []
        self._count = np.zeros(0, np.int64)
        self.rows = 0

    def __enter__(self) -> Shuffle:
        """Return the shuffle itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the spill files."""
        self._runs.clear()
        self._opened.close()

    def add(self, part: Ordered) -> None:
        """Take rows.

        Raises:
            InvalidInput, Forbidden, Unavailable: the scratch folder cannot be written or is full.
        """
        count = np.bincount(part.partition)
        if len(count) > len(self._count):
            self._count = np.concatenate(
                [self._count, np.zeros(len(count) - len(self._count), np.int64)]
            )
        self._count[: len(count)] += count
        self.rows += len(part)
        self._parts.append(part)
        self._held += _size(part)
        self._held_rest += part.rest.nbytes
        if self._held > self._memory or self._held_rest > MAX_REST_BYTES:
            self._spill()

    def offsets(self, num_partitions: int) -> NDArray[np.int64]:
        """Return the first row of each partition, and the row count: (num_partitions + 1,)."""
        count = np.zeros(num_partitions + 1, np.int64)
        count[1 : len(self._count) + 1] = self._count
        return np.cumsum(count)

    def ordered(self, batch_rows: int) -> Iterator[Ordered]:
        """Give the rows back in partition order, about `batch_rows` at a time."""
        if self._runs and self._parts:
            self._spill()
        runs: list[_Run | _Held] = [*self._runs] if self._runs else [_Held(self._parts)]
        self._parts = []
        for first, last in _groups(self._count, batch_rows):
            slices = [run.slice(first, last) for run in runs]
            total = sum(stop - start for start, stop in slices)
            if total <= 2 * batch_rows or last - first > 1:
                parts = [
                    run.read(*at) for run, at in zip(runs, slices, strict=True) if at[0] < at[1]
                ]
                whole = _join(parts)
                yield whole.take(np.argsort(whole.partition, kind="stable"))
                continue
            for run, (start, stop) in zip(runs, slices, strict=True):
                for at in range(start, stop, batch_rows):
                    yield run.read(at, min(stop, at + batch_rows))

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = self._opened.enter_context(scratch_folder(self._scratch, "shuffle"))
        folder = self._folder / f"run-{len(self._runs)}"
        with writing(folder, mend=OTHER_SCRATCH):
            folder.mkdir()
            self._runs.append(_Run.write(folder, _Held(self._parts)))
        self._parts, self._held, self._held_rest = [], 0, 0


def _size(part: Ordered) -> int:
    codes = 0 if part.codes is None else part.codes.nbytes
    return int(part.vectors.nbytes + codes + part.rest.nbytes + 12 * len(part))


def _groups(count: NDArray[np.int64], batch_rows: int) -> Iterator[tuple[int, int]]:
    """Cut the partitions into runs of about `batch_rows` rows: [first, last) pairs."""
    first, rows = 0, 0
    for partition, more in enumerate(count):
        # Empty partitions in front would hide that a single large one must come in pieces.
        if not rows:
            first = partition
        if rows and rows + more > batch_rows:
            yield first, partition
            first, rows = partition, 0
        rows += int(more)
    if rows:
        yield first, len(count)


class _Held:
    """Rows in memory, addressed in partition order."""

    def __init__(self, parts: list[Ordered]) -> None:
        # Vectors stay in the batches they came in: joining them would need their memory twice.
        self._vectors = [part.vectors for part in parts]
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self._rest = pa.concat_batches([part.rest for part in parts])
        self._id_hash = np.concatenate([part.id_hash for part in parts])
        codes = [part.codes for part in parts if part.codes is not None]
        self._codes = np.concatenate(codes) if codes else None
        partition = np.concatenate([part.partition for part in parts])
        self._order = np.argsort(partition, kind="stable")
        self.partition = partition[self._order]

    def slice(self, first: int, last: int) -> tuple[int, int]:
        start, stop = np.searchsorted(self.partition, [first, last])
        return int(start), int(stop)

    def read(self, start: int, stop: int) -> Ordered:
        rows = self._order[start:stop]
        return Ordered(
            self._take_vectors(rows),
            self._rest.take(pa.array(rows)),
            self._id_hash[rows],
            None if self._codes is None else self._codes[rows],
            self.partition[start:stop],
        )

    def _take_vectors(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        out = np.empty((len(rows), self._vectors[0].shape[1]), self._vectors[0].dtype)
        part = np.searchsorted(self._starts, rows, "right") - 1
        by_part = np.argsort(part, kind="stable")
        for group in np.split(by_part, np.flatnonzero(np.diff(part[by_part])) + 1):
            index = part[group[0]]
            out[group] = self._vectors[index][rows[group] - self._starts[index]]
        return out


class _Run:
    """Rows in files, sorted by partition; all but the partition numbers is mapped, not read."""

    def __init__(self, folder: Path, like: Ordered, partition: NDArray[np.uint32]) -> None:
        rows, dim = len(partition), like.vectors.shape[1]
        self._partition = partition
        self._vectors = np.memmap(folder / "vectors", like.vectors.dtype, "r", shape=(rows, dim))
        self._id_hash = np.memmap(folder / "id_hash", np.uint64, "r", shape=(rows,))
        self._codes = None
        if like.codes is not None:
            self._codes = np.memmap(folder / "codes", like.codes.dtype, "r", shape=(rows,))
        with pa.memory_map(str(folder / "rest")) as file:
            self._rest = pa.ipc.open_file(file).read_all()

    @classmethod
    def write(cls, folder: Path, held: _Held, batch_rows: int = 8192) -> _Run:
        """Write rows in partition order, a batch at a time.

        Plain writes: a full disk under a memory map would kill the process.
        """
        like, rows = held.read(0, 1), len(held.partition)
        with (
            (folder / "vectors").open("wb") as vectors,
            (folder / "id_hash").open("wb") as id_hash,
            (folder / "codes").open("wb") as codes,
            pa.OSFile(str(folder / "rest"), "wb") as file,
            pa.ipc.new_file(file, like.rest.schema) as rest,
        ):
            for at in range(0, rows, batch_rows):
                part = held.read(at, min(rows, at + batch_rows))
                vectors.write(np.ascontiguousarray(part.vectors).data)
                id_hash.write(part.id_hash.data)
                rest.write_batch(part.rest)
                if part.codes is not None:
                    codes.write(part.codes.tobytes())
        return cls(folder, like, held.partition)

    def slice(self, first: int, last: int) -> tuple[int, int]:
        start, stop = np.searchsorted(self._partition, [first, last])
        return int(start), int(stop)

    def read(self, start: int, stop: int) -> Ordered:
        rest = self._rest.slice(start, stop - start).combine_chunks().to_batches()
        return Ordered(
            np.asarray(self._vectors[start:stop]),
            rest[0],
            np.asarray(self._id_hash[start:stop]),
            None if self._codes is None else np.asarray(self._codes[start:stop]),
            self._partition[start:stop],
        )
