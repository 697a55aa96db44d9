"""Reads the live rows of a bucket in stored order, numbered without the deleted ones.

LiveRows      as a run in partition order, codes included: to be merged with others
StoredRows    as a source of vectors, ids and columns: to be built anew under another model
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.cache import ByteCache
from atoll.storage import Storage
from atoll.vectors import blobs, byteranges
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.reader import Reader
from atoll.vectors.shuffle import Ordered
from atoll.vectors.sources.columns import ID, VECTOR, vector_array

# Ids are read in order, so that few of their blocks are wanted again.
CACHE_BYTES = 4 << 20


@dataclass(frozen=True)
class LiveRows:
    """Names the live rows of a bucket as a run; picklable.

    Attributes:
        storage, spec: the collection.
        bucket: one whose rows lie in partition order.
    """

    storage: Storage
    spec: CollectionSpec
    bucket: Bucket

    def open(self) -> LiveRun:
        """Open it."""
        return LiveRun(self.storage, self.spec, self.bucket)


@dataclass(frozen=True)
class StoredRows:
    """Reads the live rows of a bucket as if it were a file; picklable, with no open file.

    Attributes:
        storage, spec: the collection.
        bucket: any.
    """

    storage: Storage
    spec: CollectionSpec
    bucket: Bucket

    @property
    def uri(self) -> str:
        """Where its table is."""
        return f"{self.storage}/{self.bucket.name}.lance"

    @property
    def version(self) -> str:
        """Tell its content from another."""
        return str(self.bucket.version)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.bucket.rows

    def read(
        self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows [start, stop) as `Source.read` does; vectors in the stored dtype."""
        rows = _Rows(self.storage, self.spec, self.bucket)
        wanted = list(self.spec.columns) if columns is None else list(columns)
        for at in range(start, stop, batch_rows):
            positions = rows.positions(at, min(stop, at + batch_rows))
            vectors = vector_array(np.ascontiguousarray(rows.vectors(positions)))
            rest = rows.rest(positions, wanted)
            yield pa.RecordBatch.from_arrays(
                [vectors, *rest.columns], names=[VECTOR, *rest.schema.names]
            )

    def vectors_in(
        self, ranges: Sequence[tuple[int, int]], batch_rows: int = 8192
    ) -> Iterator[NDArray[np.float32]]:
        """Stream the vectors of several ranges; see `Source.vectors_in`."""
        rows = _Rows(self.storage, self.spec, self.bucket)
        wanted = np.concatenate([np.arange(*bounds) for bounds in ranges])
        for at in range(0, len(wanted), batch_rows):
            vectors = rows.vectors(rows.numbered(wanted[at : at + batch_rows]))
            yield vectors.astype(np.float32)


class LiveRun:
    """The live rows of a bucket, in partition order.

    Attributes:
        offsets: (num_partitions + 1,) first row of each partition, and the row count at the end.
        row_bytes: about how many bytes a row takes.
    """

    def __init__(self, storage: Storage, spec: CollectionSpec, bucket: Bucket) -> None:
        """Read where its rows are."""
        self._storage, self._columns = storage, list(spec.columns)
        self._rows = _Rows(storage, spec, bucket)
        self._layout = self._rows.bucket.layout
        self.offsets = self._rows.live_before(self._layout.offsets)
        codes = self._layout.codes
        self.row_bytes = self._layout.vectors.width + (codes.width if codes else 0) + 64

    def read(self, start: int, stop: int) -> Ordered:
        """Read rows [start, stop)."""
        positions = self._rows.positions(start, stop)
        rest = self._rows.rest(positions, self._columns)
        partition = np.searchsorted(self.offsets, np.arange(start, stop), "right") - 1
        codes = None
        if self._layout.codes is not None:
            codes = byteranges.get_rows(
                self._storage, self._layout.files, self._layout.codes, positions
            )
        return Ordered(
            self._rows.vectors(positions),
            rest,
            hash_ids(rest[ID]),
            codes,
            partition.astype(np.uint32),
        )


class _Rows:
    """An open bucket, whose live rows are numbered from 0."""

    def __init__(self, storage: Storage, spec: CollectionSpec, bucket: Bucket) -> None:
        self._reader = Reader(storage, spec, ByteCache(CACHE_BYTES))
        self.bucket = self._reader.bucket(bucket)
        deleted = np.empty(0, np.int64)
        if bucket.deleted is not None:
            deleted = blobs.get_rows(storage, bucket.deleted)
        self._deleted = deleted
        # How many live rows come before each deleted one.
        self._before = deleted - np.arange(len(deleted))

    def positions(self, start: int, stop: int) -> IntArray:
        """Find where live rows [start, stop) are stored."""
        return self.numbered(np.arange(start, stop))

    def numbered(self, rows: IntArray) -> IntArray:
        """Find where live rows are stored."""
        found: IntArray = rows + np.searchsorted(self._before, rows, "right")
        return found

    def live_before(self, positions: IntArray) -> IntArray:
        """Count the live rows before stored ones."""
        found: IntArray = positions - np.searchsorted(self._deleted, positions)
        return found

    def vectors(self, positions: IntArray) -> NDArray[np.generic]:
        return self.bucket.vectors(positions)

    def rest(self, positions: IntArray, columns: Sequence[str]) -> pa.RecordBatch:
        """Read ids and further columns."""
        arrays = [self.bucket.ids(positions)]
        if columns and len(positions):
            table = self._reader.table(self.bucket.bucket).take(positions, columns)
            arrays += [table[name].combine_chunks() for name in columns]
        elif columns:
            arrays += [pa.array([], self._reader.schema.field(name).type) for name in columns]
        return pa.RecordBatch.from_arrays(arrays, names=[ID, *columns])
