"""A bucket opened for searching: codes, vectors and ids by position, straight from its files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.cache import ByteCache
from atoll.storage import Storage
from atoll.vectors import blobs, byteranges, names
from atoll.vectors.layout import Layout
from atoll.vectors.model import Bucket, CollectionSpec

IntArray = NDArray[np.int64]
# So few ids are picked one by one sooner than by Arrow's calls.
FEW_ROWS = 64


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
        return blobs.get_layout(self._storage, self.bucket.layout)

    @cached_property
    def partition_rows(self) -> IntArray:
        """Rows stored in each partition: (num_partitions,)."""
        return np.diff(self.layout.offsets)

    @cached_property
    def live(self) -> NDArray[np.bool_] | None:
        """Which stored rows are not deleted: (stored_rows,) bool; None where all are there."""
        if self.bucket.deleted is None:
            return None
        mask = np.ones(self.bucket.stored_rows, np.bool_)
        mask[blobs.get_rows(self._storage, self.bucket.deleted)] = False
        return mask

    def codes(self, partitions: IntArray) -> tuple[list[NDArray[np.uint8]], IntArray]:
        """Read the packed codes of whole partitions.

        Returns:
            For each partition (rows, width) uint8, and (m,) the addresses of their first bytes.
        """
        wanted = partitions.tolist()
        found = [self._cache.get((self, "codes", number)) for number in wanted]
        missing = [index for index, codes in enumerate(found) if codes is None]
        if missing:
            pages, offsets = self.layout.codes, self.layout.offsets
            assert pages is not None
            spans = [(offsets[wanted[i]], offsets[wanted[i] + 1]) for i in missing]
            read = byteranges.raw_spans(self._storage, self.layout, pages, spans)
            for index, data in zip(missing, read, strict=True):
                # A copy: a view would keep all alive that the same request brought.
                codes = np.frombuffer(data, np.uint8).copy().reshape(-1, pages.width)
                found[index] = entry = (codes, codes.ctypes.data)
                self._cache.put((self, "codes", wanted[index]), entry, codes.nbytes)
        held = [entry for entry in found if entry is not None]
        return [codes for codes, _ in held], np.array([at for _, at in held], np.int64)

    def vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read vectors of rows, ascending, each once: (n, dim) in the stored dtype."""
        raw = byteranges.raw_rows(self._storage, self.layout, self.layout.vectors, rows)
        return raw.view(self._spec.dtype)

    def vectors_between(self, start: int, stop: int) -> NDArray[np.generic]:
        """Read the vectors of rows [start, stop): (n, dim) in the stored dtype."""
        pages = self.layout.vectors
        # Of a scan nothing is kept on disk: it would displace what searches want.
        storage = self._storage.cached(None, 0)
        (data,) = byteranges.raw_spans(storage, self.layout, pages, [(start, stop)])
        return np.frombuffer(data, self._spec.dtype).reshape(stop - start, -1)

    def ids(self, rows: IntArray) -> pa.Array:
        """Read ids, in the order of `rows`."""
        if len(rows) <= FEW_ROWS:
            places = [divmod(row, names.BLOCK_ROWS) for row in rows.tolist()]
            held = self._id_blocks(sorted({block for block, _ in places}))
            return pa.array([held[block][at].as_py() for block, at in places], pa.string())
        block = rows // names.BLOCK_ROWS
        numbers, which = np.unique(block, return_inverse=True)
        blocks = list(self._id_blocks(numbers.tolist()).values())
        starts = np.cumsum([0, *(len(part) for part in blocks)])[:-1]
        return pa.concat_arrays(blocks).take(
            pa.array(starts[which] + rows - block * names.BLOCK_ROWS)
        )

    def _id_blocks(self, numbers: Sequence[int]) -> dict[int, pa.Array]:
        found = {number: self._cache.get((self, "ids", number)) for number in numbers}
        missing = [number for number, block in found.items() if block is None]
        if missing:
            assert self.bucket.names is not None
            at, path = self.layout.names, self.bucket.names.path
            first = np.array(missing)
            frames = byteranges.get_joined_ranges(
                self._storage, path, at[first], at[first + 1] - at[first]
            )
            for number, frame in zip(missing, frames, strict=True):
                rows = min(names.BLOCK_ROWS, self.bucket.stored_rows - number * names.BLOCK_ROWS)
                found[number] = block = names.read_block(frame, rows, path)
                self._cache.put((self, "ids", number), block, block.nbytes)
        return found
