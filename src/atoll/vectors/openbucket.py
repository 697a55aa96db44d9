"""A bucket opened for searching: codes, vectors and ids by position, straight from its files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.cache import ByteCache
from atoll.storage import Storage
from atoll.vectors import names, store
from atoll.vectors.layout import Layout
from atoll.vectors.model import Bucket, CollectionSpec

IntArray = NDArray[np.int64]


class OpenBucket:
    """The immutable parts of one bucket; for several threads at once.

    What was read is kept in a cache that all buckets share: codes by partition, ids by block.
    """

    def __init__(
        self, storage: Storage, spec: CollectionSpec, bucket: Bucket, cache: ByteCache
    ) -> None:
        """Read nothing yet."""
        self._storage, self._spec, self.bucket, self._cache = storage, spec, bucket, cache

    @cached_property
    def layout(self) -> Layout:
        """Where its rows lie."""
        return store.get_layout(self._storage, self.bucket.layout)

    @cached_property
    def live(self) -> NDArray[np.bool_] | None:
        """Which stored rows are not deleted: (stored_rows,) bool; None where all are there."""
        if self.bucket.deleted is None:
            return None
        mask = np.ones(self.bucket.stored_rows, np.bool_)
        mask[store.get_rows(self._storage, self.bucket.deleted)] = False
        return mask

    def codes(self, partitions: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Read the packed codes of whole partitions: for each (rows, width) uint8."""
        pages, offsets = self.layout.codes, self.layout.offsets
        assert pages is not None
        found = {number: self._cache.get((self, "codes", number)) for number in partitions}
        missing = [number for number, codes in found.items() if codes is None]
        if missing:
            spans = [(int(offsets[number]), int(offsets[number + 1])) for number in missing]
            read = store.raw_spans(self._storage, self.layout, pages, spans)
            for number, data in zip(missing, read, strict=True):
                codes = np.frombuffer(data, np.uint8).reshape(-1, pages.width)
                found[number] = codes
                self._cache.put((self, "codes", number), codes, codes.nbytes)
        return [found[number] for number in partitions]

    def vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read vectors: (n, dim) in the stored dtype, in the order of `rows`."""
        raw = store.raw_rows(self._storage, self.layout, self.layout.vectors, rows)
        return raw.view(self._spec.dtype)

    def ids(self, rows: IntArray) -> pa.Array:
        """Read ids, in the order of `rows`."""
        block = rows // names.BLOCK_ROWS
        numbers, which = np.unique(block, return_inverse=True)
        blocks = self._id_blocks(numbers.tolist())
        if not blocks:
            return pa.array([], pa.string())
        starts = np.cumsum([0, *(len(part) for part in blocks)])[:-1]
        return pa.concat_arrays(blocks).take(
            pa.array(starts[which] + rows - block * names.BLOCK_ROWS)
        )

    def _id_blocks(self, numbers: Sequence[int]) -> list[pa.Array]:
        found = {number: self._cache.get((self, "ids", number)) for number in numbers}
        missing = [number for number, block in found.items() if block is None]
        at = self.layout.names
        path = self.bucket.names.path
        frames = store.get_joined_ranges(
            self._storage, path, at[missing], at[np.add(missing, 1)] - at[missing]
        )
        for number, frame in zip(missing, frames, strict=True):
            rows = min(names.BLOCK_ROWS, self.bucket.stored_rows - number * names.BLOCK_ROWS)
            found[number] = block = names.read_block(frame, rows, path)
            self._cache.put((self, "ids", number), block, block.nbytes)
        return [found[number] for number in numbers]
