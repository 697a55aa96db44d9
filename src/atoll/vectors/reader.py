"""Opens what a collection is read through, and keeps it open: tables, models, offsets."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.storage import Storage
from atoll.vectors import store
from atoll.vectors.ids import IdIndex
from atoll.vectors.index import IndexModel
from atoll.vectors.model import CODE_COLUMN, Blob, Bucket, CollectionSpec
from atoll.vectors.store import Table


class Reader:
    """Open handles on the immutable parts of a collection; for several threads at once."""

    def __init__(self, storage: Storage, spec: CollectionSpec) -> None:
        """Open nothing yet."""
        self.storage, self.spec = storage, spec
        self._tables: dict[tuple[str, int], Table] = {}
        self._models: dict[str, IndexModel] = {}
        self._offsets: dict[str, NDArray[np.uint64]] = {}

    @cached_property
    def schema(self) -> pa.Schema:
        """The tables' schema."""
        return store.decode_schema(self.spec.arrow_schema)

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are not ours."""
        return [name for name in self.schema.names if name != CODE_COLUMN]

    def table(self, bucket: Bucket) -> Table:
        """Open a bucket at its pinned version."""
        key = (bucket.name, bucket.version)
        if key not in self._tables:
            self._tables[key] = Table(self.storage, bucket)
        return self._tables[key]

    def forget(self, buckets: Iterable[Bucket]) -> None:
        """Close tables, to be opened anew: one may have been collected and built again."""
        for bucket in buckets:
            self._tables.pop((bucket.name, bucket.version), None)

    def model(self, blob: Blob) -> IndexModel:
        """Read an index model."""
        if blob.sha256 not in self._models:
            self._models[blob.sha256] = store.get_model(self.storage, blob)
        return self._models[blob.sha256]

    def offsets(self, bucket: Bucket) -> NDArray[np.uint64]:
        """Read where each partition starts: (num_partitions + 1,) rows."""
        assert bucket.offsets is not None
        key = bucket.offsets.sha256
        if key not in self._offsets:
            self._offsets[key] = np.frombuffer(store.get_blob(self.storage, bucket.offsets), "<u8")
        return self._offsets[key]

    def id_index(self, bucket: Bucket) -> IdIndex:
        """Open the id index of a bucket."""
        return IdIndex(bucket.ids, bucket.rows, partial(store.get_blob_range, self.storage))
