"""Reads a table that somebody else wrote as if it were a bucket of ours.

Its rows are numbered without those that are deleted, its columns come in the collection's types,
and rows whose vectors have no distances are no hits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from lance.fragment import LanceFragment
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.cache import ByteCache
from atoll.storage import Storage
from atoll.vectors import lanceerrors, schemas, store
from atoll.vectors.distance import unsearchable
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.openbucket import OpenBucket

_ADDRESSES_AT_ONCE = 1 << 16


def bucket_table(
    storage: Storage, bucket: Bucket, spec: CollectionSpec, *, is_strangers: bool = False
) -> store.Table:
    """Open the table of any bucket at its pinned version; see `store.open_table`."""
    if bucket.is_adopted:
        return AdoptedTable(storage, bucket, spec, is_strangers=is_strangers)
    return store.Table(storage, bucket, is_strangers=is_strangers)


class AdoptedTable(store.Table):
    """An open table of somebody else's; rows are addressed by their number among the live ones."""

    def __init__(
        self, storage: Storage, bucket: Bucket, spec: CollectionSpec, *, is_strangers: bool = False
    ) -> None:
        """Open the pinned version; of fragments with deletions read which rows are left."""
        super().__init__(storage, bucket, is_strangers=is_strangers)
        self.storage, self.spec = storage, spec
        self._schema = schemas.decode_schema(spec.arrow_schema)
        with lanceerrors.lance_errors(f"reading deletions of table {bucket.name}"):
            self._deleted = [_deleted_rows(fragment) for fragment in self._fragments]
        live = [
            fragment.physical_rows - len(deleted)
            for fragment, deleted in zip(self._fragments, self._deleted, strict=True)
        ]
        self._starts = np.concatenate([[0], np.cumsum(live, dtype=np.int64)])
        # A stock client's compaction may leave fragments in any order.
        self._ids = np.array([f.fragment_id for f in self._fragments], np.uint64)
        self._by_id = np.argsort(self._ids)

    def addresses(self, rows: IntArray) -> NDArray[np.uint64]:
        """Turn row numbers into Lance row addresses."""
        fragment = np.searchsorted(self._starts, rows, "right") - 1
        offset = rows - self._starts[fragment]
        for number in np.unique(fragment).tolist():
            deleted, mine = self._deleted[number], fragment == number
            before = deleted - np.arange(len(deleted))
            offset[mine] += np.searchsorted(before, offset[mine], "right")
        found: NDArray[np.uint64] = (self._ids[fragment] << np.uint64(32)) | offset.astype("u8")
        return found

    def positions(self, address: pa.Array | pa.ChunkedArray) -> IntArray:
        """Turn Lance row addresses of live rows into row numbers."""
        value = np.asarray(address).astype(np.uint64)
        place = np.searchsorted(self._ids, value >> np.uint64(32), sorter=self._by_id)
        fragment = self._by_id[place]
        offset = (value & np.uint64(0xFFFFFFFF)).astype(np.int64)
        for number in np.unique(fragment).tolist():
            mine = fragment == number
            offset[mine] -= np.searchsorted(self._deleted[number], offset[mine])
        found: IntArray = self._starts[fragment] + offset
        return found

    def take(self, rows: IntArray, columns: Sequence[str]) -> pa.Table:
        """Read some rows, in the order given."""
        found = super().take(rows, columns)
        return found.cast(self._seen(found.schema.names))

    def vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read the vectors of some rows: (n, dim); NaN where one has no distances."""
        column = self.spec.vector_column
        found = self.take(rows, [column])[column].combine_chunks()
        vectors = schemas.vectors_of(found, self.spec.dim).copy()
        vectors[self._lost(found)] = np.nan
        return vectors

    def batches(
        self, columns: Sequence[str], *, batch_rows: int = 8192, where: str | None = None
    ) -> Iterator[tuple[IntArray, pa.RecordBatch]]:
        """Scan in stored order: (row numbers, batch) pairs, of the rows that pass `where`."""
        for positions, batch in super().batches(columns, batch_rows=batch_rows, where=where):
            yield positions, batch.cast(self._seen(batch.schema.names))

    def count_lost(self, batch: pa.RecordBatch) -> int:
        """Count the rows of a batch whose vectors have no distances."""
        return int(self._lost(batch[self.spec.vector_column]).sum())

    def _seen(self, names: Sequence[str]) -> pa.Schema:
        return pa.schema([self._schema.field(name) for name in names])

    def _lost(self, column: pa.Array) -> NDArray[np.bool_]:
        # What stands where a vector is null is anything.
        lost: NDArray[np.bool_] = np.asarray(column.is_null())
        vectors = schemas.vectors_of(column, self.spec.dim).astype(np.float32, copy=False)
        for bad in unsearchable(vectors, self.spec.distance_type).values():
            lost = lost | bad
        return lost


class AdoptedBucket(OpenBucket):
    """An adopted table opened for searching: what other buckets read by ranges, Lance reads."""

    def __init__(self, table: AdoptedTable, cache: ByteCache) -> None:
        """Read nothing yet."""
        super().__init__(table.storage, table.spec, table.bucket, cache)
        self._table = table

    @property
    def files(self) -> tuple[str, ...]:
        """None: Lance knows them."""
        return ()

    def vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read vectors; NaN where one has no distances."""
        return self._table.vectors(rows)

    def vectors_between(self, start: int, stop: int) -> NDArray[np.generic]:
        """Read the vectors of rows [start, stop), as `vectors` does."""
        return self._table.vectors(np.arange(start, stop))

    def ids(self, rows: IntArray) -> pa.Array:
        """Read ids, in the order of `rows`."""
        column = self._table.spec.id_column
        return self._table.take(rows, [column])[column].combine_chunks()


def _deleted_rows(fragment: LanceFragment) -> IntArray:
    """List the deleted rows of a fragment, by their offset in it, ascending."""
    if not fragment.num_deletions:
        return np.empty(0, np.int64)
    is_deleted = np.ones(fragment.physical_rows, np.bool_)
    for batch in fragment.to_batches(
        columns=[], with_row_address=True, batch_size=_ADDRESSES_AT_ONCE
    ):
        is_deleted[np.asarray(batch["_rowaddr"]) & np.uint64(0xFFFFFFFF)] = False
    return np.flatnonzero(is_deleted)
