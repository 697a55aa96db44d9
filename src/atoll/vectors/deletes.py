"""Deletes rows, by id or by predicate: one manifest commit, whoever else commits meanwhile.

Of a bucket that loses rows only the list of deleted ones changes, and its table gets a version that
stock clients read alike; one that loses all of them leaves the collection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.cache import ByteCache
from atoll.core.errors import NotFound
from atoll.core.text import counted, some_of
from atoll.storage import Storage, Threads, count_usage
from atoll.vectors import blobs, leases, manifests, store
from atoll.vectors.adopted import bucket_table
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.idcheck import LiveIds
from atoll.vectors.model import Bucket, CollectionSpec, Manifest
from atoll.vectors.reader import Reader

logger = logging.getLogger(__name__)

SHOWN_IDS = 5

Rows: TypeAlias = Mapping[str, NDArray[np.int64]]
"""Rows of buckets, by the buckets' names."""

Find: TypeAlias = Callable[[Sequence[Bucket]], Rows]
"""Finds the rows that shall go, among those that are live."""


@dataclass(frozen=True)
class DeleteReport:
    """What a delete did, or would do.

    Attributes:
        version: of the collection, now.
        rows: how many were deleted.
        buckets: how many held them.
        missing: ids that were not there.
        requests, size_bytes: what finding the rows read, apart from what Lance reads by itself.
    """

    version: int
    rows: int
    buckets: int
    missing: tuple[str, ...] = ()
    requests: int = 0
    size_bytes: int = 0


def delete_ids(
    storage: Storage,
    manifest: Manifest,
    ids: Iterable[str],
    *,
    allow_missing: bool,
    dry_run: bool,
    threads: int,
) -> tuple[Manifest, DeleteReport]:
    """Delete the rows that have these ids, in whichever buckets.

    Args:
        storage, manifest: the collection.
        ids: which; one that is named twice counts once.
        allow_missing: whether ids may be absent.
        dry_run: only say what would go.
        threads: buckets looked into at once.

    Raises:
        NotFound: an id is not there; nothing is deleted then.
    """
    wanted = pa.array(dict.fromkeys(ids), pa.string())
    finder = IdFinder(storage, manifest.spec, wanted, threads, allow_missing=allow_missing)
    manifest, report = _delete(storage, manifest, finder, dry_run)
    return manifest, replace(report, missing=finder.missing or ())


def delete_where(
    storage: Storage, manifest: Manifest, where: str, *, dry_run: bool, threads: int
) -> tuple[Manifest, DeleteReport]:
    """Delete the rows that pass a predicate.

    Args:
        storage, manifest: the collection.
        where: as `lanceerrors.predicate` returns it.
        dry_run: only say what would go.
        threads: buckets looked into at once.

    Raises:
        InvalidInput: the predicate does not parse.
    """

    def passing(bucket: Bucket) -> NDArray[np.int64]:
        return np.flatnonzero(bucket_table(storage, bucket, manifest.spec).allowed(where))

    def find(buckets: Sequence[Bucket]) -> Rows:
        with Threads(threads) as pool:
            found = list(pool.map(passing, buckets))
        return {b.name: rows for b, rows in zip(buckets, found, strict=True) if len(rows)}

    return _delete(storage, manifest, find, dry_run)


class IdFinder:
    """Finds rows by id.

    Attributes:
        missing: ids that were not there at the first look; later others may have deleted some.
    """

    def __init__(
        self,
        storage: Storage,
        spec: CollectionSpec,
        ids: pa.Array,
        threads: int,
        *,
        allow_missing: bool = True,
    ) -> None:
        """Look nothing up yet; no id may be there twice."""
        self._storage, self._spec, self._ids, self._threads = storage, spec, ids, threads
        self._hashes = hash_ids(ids)
        self._allow_missing = allow_missing
        self.missing: tuple[str, ...] | None = None

    def __call__(self, buckets: Sequence[Bucket]) -> Rows:
        """Find the rows that are live.

        Raises:
            NotFound: ids are not there, and must be.
        """
        live = LiveIds(self._storage, self._spec, buckets, self._threads)
        is_missing = np.ones(len(self._ids), np.bool_)
        rows = {}
        for positions, found, name in live.rows(self._hashes, self._ids):
            is_missing[positions] = False
            rows[name] = np.sort(found)
        if self.missing is None:
            self.missing = tuple(self._ids.filter(pa.array(is_missing)).to_pylist())
            if self.missing and not self._allow_missing:
                raise self._not_found()
        return rows

    def _not_found(self) -> NotFound:
        assert self.missing
        shown = [repr(name) for name in self.missing[:SHOWN_IDS]]
        return NotFound(
            f"{self._storage} has no row with the id "
            f"{some_of(shown, total=len(self.missing))}, so nothing was deleted; leave them out, "
            "or accept that with allow_missing=True",
            missing=len(self.missing),
        )


def _delete(
    storage: Storage, manifest: Manifest, find: Find, dry_run: bool
) -> tuple[Manifest, DeleteReport]:
    if dry_run:
        with count_usage() as usage:
            rows = find(manifest.buckets)
        return manifest, _report(manifest, rows, usage.reads, usage.bytes_read)
    with leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        report = _report(manifest, {}, 0, 0)

        def less(current: Manifest) -> Manifest:
            nonlocal report
            with count_usage() as usage:
                rows = find(current.buckets)
            report = _report(current, rows, usage.reads, usage.bytes_read)
            if not rows:
                return current
            left = without(storage, current.spec, current.buckets, rows)
            return manifests.next_manifest(current, "delete", buckets=left)

        manifest, _ = manifests.commit_next(storage, manifest, less, lease)
        return manifest, replace(report, version=manifest.version)


def drop_bucket(storage: Storage, manifest: Manifest, name: str) -> Manifest:
    """Take a bucket out of a collection; its files stay until `gc`.

    Returns:
        The manifest in force.

    Raises:
        NotFound: no live bucket has that name.
        Conflict: `gc` is running.
    """

    def less(current: Manifest) -> Manifest:
        left = tuple(bucket for bucket in current.buckets if bucket.name != name)
        if len(left) == len(current.buckets):
            raise NotFound(f"{storage} has no live bucket {name!r}; `atoll info` lists them")
        return manifests.next_manifest(current, "drop-bucket", buckets=left)

    with leases.hold(storage, "build") as lease:
        return manifests.commit_next(storage, manifest, less, lease)[0]


def _report(manifest: Manifest, rows: Rows, requests: int, size_bytes: int) -> DeleteReport:
    count = sum(map(len, rows.values()))
    return DeleteReport(manifest.version, count, len(rows), (), requests, size_bytes)


def without(
    storage: Storage, spec: CollectionSpec, buckets: Sequence[Bucket], rows: Rows
) -> tuple[Bucket, ...]:
    """Take rows out of buckets; nothing is live before a manifest says so.

    Args:
        storage, spec: the collection.
        buckets: as a manifest has them.
        rows: live rows to take out, by bucket.

    Returns:
        The buckets that have rows left, in the order given.
    """
    left = []
    for bucket in buckets:
        gone = rows.get(bucket.name, ())
        if not len(gone):
            left.append(bucket)
        elif len(gone) < bucket.rows:
            left.append(_less(storage, spec, bucket, np.asarray(gone, np.int64)))
        else:
            logger.info("bucket emptied bucket=%s %s", bucket.name, counted(bucket.rows, "row"))
    return tuple(left)


def _less(
    storage: Storage, spec: CollectionSpec, bucket: Bucket, gone: NDArray[np.int64]
) -> Bucket:
    deleted = np.union1d(_deleted(storage, bucket), gone)
    number = store.delete_rows(storage, bucket_table(storage, bucket, spec), gone)
    return replace(
        bucket,
        version=number,
        deleted=blobs.put_rows(storage, deleted),
        deleted_rows=len(deleted),
        first_version=bucket.first_version or bucket.version,
    )


def carried(
    storage: Storage,
    spec: CollectionSpec,
    old: Sequence[Bucket],
    live: Mapping[str, Bucket],
    built: Bucket,
) -> tuple[Bucket, ...] | None:
    """Delete from a bucket what was deleted from those it was made of, since it was begun.

    Args:
        storage, spec: the collection.
        old: buckets as they were when it was begun.
        live: what is live now, by name.
        built: has the rows of the old ones, in any order.

    Returns:
        What is left of it, at most one bucket; None where an old one is not live, or has rows again
        that it had not: what was built is then of no use.
    """
    gone: list[pa.Array] = []
    for bucket in old:
        now = live.get(bucket.name)
        before = _deleted(storage, bucket)
        after = _deleted(storage, now) if now is not None else before
        if now is None or now.all_rows_at != bucket.all_rows_at or len(np.setdiff1d(before, after)):
            return None
        if len(rows := np.setdiff1d(after, before)):
            # Its ids, before they were deleted.
            gone.append(Reader(storage, spec, ByteCache(0)).bucket(bucket).ids(rows))
    if not gone:
        return (built,)
    ids = pa.concat_arrays(gone)
    return without(storage, spec, [built], IdFinder(storage, spec, ids, 1)([built]))


def _deleted(storage: Storage, bucket: Bucket) -> NDArray[np.int64]:
    if bucket.deleted is None:
        return np.empty(0, np.int64)
    return blobs.get_rows(storage, bucket.deleted)
