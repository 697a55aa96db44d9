"""Opens what a collection is read through, and keeps it open: buckets, tables, models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from operator import is_not
from typing import Any

import pyarrow as pa

from atoll.core.cache import ByteCache
from atoll.storage import Storage, Threads
from atoll.vectors import blobs, byteranges, schemas
from atoll.vectors.adopted import AdoptedBucket, AdoptedTable, bucket_table
from atoll.vectors.ids import IdIndex
from atoll.vectors.index import IndexModel
from atoll.vectors.model import CODE_COLUMN, Blob, Bucket, CollectionSpec
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.shelf import Shelf
from atoll.vectors.store import Table

# Starts a call; what it returns waits for the result.
Start = Callable[..., Callable[[], Any]]


class Reader:
    """Open handles on the immutable parts of a collection; for several threads at once."""

    def __init__(
        self,
        storage: Storage,
        spec: CollectionSpec,
        cache: ByteCache,
        *,
        is_strangers: bool = False,
    ) -> None:
        """Open nothing yet; see `store.open_table`."""
        self.storage, self.spec, self._cache = storage, spec, cache
        self._is_strangers = is_strangers
        self._buckets: dict[tuple[str, int, str], OpenBucket] = {}
        self._tables: dict[tuple[str, int], Table] = {}
        self._models: dict[str, IndexModel] = {}
        self._searched: tuple[tuple[Bucket, ...], Shelf] | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """The tables' schema, as a user sees it."""
        return schemas.seen_schema(self.spec)

    @property
    def is_remote(self) -> bool:
        """Whether each read waits for a network."""
        return self.storage.root is None

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are not ours."""
        return [name for name in self.schema.names if name != CODE_COLUMN]

    def bucket(self, bucket: Bucket) -> OpenBucket:
        """Open a bucket for searching."""
        key = _key(bucket)
        # Another thread may forget it at any moment.
        if (found := self._buckets.get(key)) is None:
            found = self._buckets[key] = self._opened(bucket)
        return found

    def _opened(self, bucket: Bucket) -> OpenBucket:
        if bucket.is_adopted:
            table = self.table(bucket)
            assert isinstance(table, AdoptedTable)
            return AdoptedBucket(table, self._cache)
        return OpenBucket(self.storage, self.spec, bucket, self._cache)

    def shelf(
        self, buckets: tuple[Bucket, ...], open_all: Callable[[], object] | None = None
    ) -> Shelf:
        """Put buckets beside each other, to be searched together; the last such shelf is kept.

        Args:
            buckets: of one version.
            open_all: opens each of them, by `OpenBucket.open`; else that is done when needed.
        """
        held = self._searched
        # Their number is large, so that comparing identities counts.
        if held is None or len(held[0]) != len(buckets) or any(map(is_not, held[0], buckets)):
            if open_all is not None:
                open_all()
            opened = [self.bucket(bucket) for bucket in buckets]
            shelf = Shelf(self.storage, self.spec, opened, self._cache)
            held = self._searched = (buckets, shelf)
        return held[1]

    def table(self, bucket: Bucket) -> Table:
        """Open a bucket's table at its pinned version."""
        key = (bucket.name, bucket.version)
        if (found := self._tables.get(key)) is None:
            found = self._tables[key] = bucket_table(
                self.storage, bucket, self.spec, is_strangers=self._is_strangers
            )
        return found

    def forget(self, buckets: Iterable[Bucket]) -> None:
        """Close buckets, to be opened anew: one may have been collected and built again."""
        for bucket in buckets:
            self._searched = None
            self._tables.pop((bucket.name, bucket.version), None)
            self._buckets.pop(_key(bucket), None)

    def run(self, works: Sequence[Callable[[], None]], threads: int) -> None:
        """Do all of it, in up to so many threads."""
        with self.threads(min(threads, len(works))) as start:
            for done in [start(work) for work in works]:
                done()

    @contextmanager
    def threads(self, count: int) -> Iterator[Start]:
        """Start calls in up to `count` threads, at once where that is none or one.

        After an exception, an interrupt for one, nobody wants the calls that still wait.
        """
        if count <= 1:
            yield lambda action, *given: partial(action, *given)
            return
        pool = Threads(count)
        try:
            yield lambda action, *given: pool.submit(action, *given).result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def model(self, blob: Blob) -> IndexModel:
        """Read an index model."""
        if blob.sha256 not in self._models:
            self._models[blob.sha256] = blobs.get_model(self.storage, blob)
        return self._models[blob.sha256]

    def id_index(self, bucket: Bucket) -> IdIndex:
        """Open the id index of a bucket."""
        return IdIndex(bucket.ids, bucket.stored_rows, partial(byteranges.get_range, self.storage))


def _key(bucket: Bucket) -> tuple[str, int, str]:
    return bucket.name, bucket.all_rows_at, bucket.deleted.sha256 if bucket.deleted else ""
