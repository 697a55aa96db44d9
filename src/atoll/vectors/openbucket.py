"""Buckets opened for searching: vectors and ids by position, straight from their files."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.cache import ByteCache
from atoll.storage import Storage
from atoll.vectors import blobs, byteranges
from atoll.vectors.layout import Layout
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.shelf import Shelf


class OpenBucket:
    """The immutable parts of one bucket; for several threads at once."""

    def __init__(
        self, storage: Storage, spec: CollectionSpec, bucket: Bucket, cache: ByteCache
    ) -> None:
        """Read nothing yet."""
        self._storage, self._spec, self.bucket, self._cache = storage, spec, bucket, cache

    @cached_property
    def layout(self) -> Layout:
        """Where its rows lie."""
        return blobs.get_layout(self._storage, self.bucket.layout)

    @property
    def files(self) -> tuple[str, ...]:
        """The data files that it is read from by byte ranges."""
        return self.layout.files

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

    def open(self) -> None:
        """Read what every search needs of it."""
        if not self.bucket.is_adopted:
            _ = self.layout, self.live

    @cached_property
    def alone(self) -> Shelf:
        """The bucket as a shelf of one."""
        return Shelf(self._storage, self._spec, [self], self._cache)

    def vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read vectors of rows, ascending, each once: (n, dim) in the stored dtype."""
        raw = byteranges.get_rows(self._storage, self.layout.files, self.layout.vectors, rows)
        return raw.view(self._spec.dtype)

    def vectors_between(self, start: int, stop: int) -> NDArray[np.generic]:
        """Read the vectors of rows [start, stop): (n, dim) in the stored dtype."""
        files, pages = self.layout.files, self.layout.vectors
        if self._storage.cache is not None:
            rows = np.arange(start, stop)
            found, is_kept = byteranges.kept_rows(self._storage, files, pages, rows)
            if is_kept.all():
                return found.view(self._spec.dtype)
        # Of a scan nothing is kept on disk: it would displace what searches want.
        storage = self._storage.cached(None, 0)
        (data,) = byteranges.get_spans(storage, files, pages, [(start, stop)])
        return np.frombuffer(data, self._spec.dtype).reshape(stop - start, -1)

    def ids(self, rows: IntArray) -> pa.Array:
        """Read ids, in the order of `rows`."""
        return self.alone.ids(rows)
