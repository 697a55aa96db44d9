"""Holds the ids that a bucket keeps beside its table, and the index of them, against its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute

from atoll.core.cache import ByteCache
from atoll.core.files import OTHER_SCRATCH, writing
from atoll.storage import Storage
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.ids import HashWriter, open_runs, write_index
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.openbucket import OpenBucket

# Blocks of ids are read once, but for those that lie across two batches.
CACHE_BYTES = 1 << 20


class KeptIds:
    """Takes the ids of a bucket's rows in stored order; says where what it keeps differs.

    About 24 bytes a row lie in a scratch folder meanwhile, 50 bytes a row of some in memory.
    """

    def __init__(
        self, storage: Storage, spec: CollectionSpec, bucket: Bucket, scratch: Path
    ) -> None:
        """Start before the first row; the bytes of the bucket's objects have been checked."""
        self._bucket, self._runs, self._index = bucket, scratch / "runs", scratch / "index"
        self._opened = OpenBucket(storage, spec, bucket, ByteCache(CACHE_BYTES))
        with writing(self._runs, mend=OTHER_SCRATCH):
            self._file = self._runs.open("wb")
        self._hashes = HashWriter(self._file, 0)
        self._rows = 0
        self._first_other: int | None = None

    def __enter__(self) -> KeptIds:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the scratch file."""
        self._file.close()

    def update(self, ids: pa.Array) -> None:
        """Take the ids of some more rows."""
        with writing(self._runs, mend=OTHER_SCRATCH):
            self._hashes.add(hash_ids(ids))
        if self._bucket.names is not None and self._first_other is None:
            kept = self._opened.ids(np.arange(self._rows, self._rows + len(ids)))
            if not kept.equals(ids):
                other = np.asarray(pa.compute.not_equal(kept, ids))
                self._first_other = self._rows + int(np.flatnonzero(other)[0])
        self._rows += len(ids)

    def faults(self) -> Iterator[str]:
        """Say what differs, once all rows were taken."""
        with writing(self._runs, mend=OTHER_SCRATCH):
            counts = self._hashes.finish()
            self._file.flush()
        if self._first_other is not None:
            yield f"the ids kept for searches are not its rows', first of row {self._first_other}"
        # Built anew from the same ids, the index is the same to the byte.
        with writing(self._index, mend=OTHER_SCRATCH), self._index.open("w+b") as file:
            write_index(open_runs(self._runs, counts), file)
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != self._bucket.ids.sha256:
                yield "its id index does not lead to its rows"
