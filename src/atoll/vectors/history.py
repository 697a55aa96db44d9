"""Versions of a collection: which there were, which can still be opened, how one comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from atoll.core.errors import Corrupt, NotFound
from atoll.storage import Storage, Threads
from atoll.vectors import leases, manifests, store
from atoll.vectors.model import Bucket, Manifest


@dataclass(frozen=True)
class PastVersion:
    """One line of a collection's history.

    Attributes:
        version: its number.
        created_at: UTC, ISO 8601.
        action: what made it.
        created_by: which Atoll.
        rows, buckets: how many it has.
        is_kept: whether it can be opened and restored; `gc` ends that.
    """

    version: int
    created_at: str
    action: str
    created_by: str
    rows: int
    buckets: int
    is_kept: bool


def needs(manifest: Manifest) -> set[str]:
    """Name what a version reads: tables in their Lance versions, and objects."""
    blobs = [blob.path for bucket in manifest.buckets for blob in bucket.blobs]
    own = [blob.path for blob in manifest.blobs]
    tables = [f"{b.name}@{number}" for b in manifest.buckets for number in b.versions]
    return {*blobs, *own, *tables}


def kept_manifests(storage: Storage, newest: Manifest, keep: int | None = None) -> list[Manifest]:
    """Read the versions nothing of which `gc` has removed, the newest first.

    Args:
        storage: the collection.
        newest: the current version.
        keep: how many at most; None is all.
    """
    first = manifests.oldest_kept(storage)
    if keep is not None:
        first = max(first, newest.version - keep + 1)
    found = [newest]
    for number in range(newest.version - 1, first - 1, -1):
        try:
            found.append(manifests.load_manifest(storage, number))
        except NotFound:
            continue  # somebody removed it: then nothing of it is kept
    return found


def history(storage: Storage, newest: Manifest) -> list[PastVersion]:
    """List all versions, the newest first.

    Args:
        storage: the collection.
        newest: the current version.
    """
    first, there = manifests.oldest_kept(storage), set[str]()
    found = []
    for manifest in _manifests(storage, newest):
        # Of an older version all may be there still, because a kept one needs it too.
        if manifest.version >= first:
            there |= needs(manifest)
        found.append(
            PastVersion(
                manifest.version,
                manifest.created_at,
                manifest.action,
                manifest.created_by,
                manifest.rows,
                len(manifest.buckets),
                needs(manifest) <= there,
            )
        )
    return found


def _manifests(storage: Storage, newest: Manifest) -> Iterator[Manifest]:
    yield newest
    for number in reversed(manifests.listed_versions(storage)):
        if number < newest.version:
            yield manifests.load_manifest(storage, number)


def open_version(storage: Storage, newest: Manifest, version: int) -> Manifest:
    """Read an older version that can still be searched.

    Raises:
        NotFound: there is none of that number, or `gc` has removed what it needs.
    """
    try:
        manifest = manifests.load_manifest(storage, version)
    except NotFound as error:
        raise NotFound(
            f"{storage} has no version {version}; `atoll history` lists them", version=version
        ) from error
    if version < manifests.oldest_kept(storage):
        there = {name for kept in kept_manifests(storage, newest) for name in needs(kept)}
        if not needs(manifest) <= there:
            raise NotFound(
                f"what version {version} of {storage} needs was removed by `atoll gc`; "
                "`atoll history` lists the versions that can be opened, and "
                "`gc --keep-versions` keeps more",
                version=version,
            )
    return manifest


def restore(storage: Storage, version: int, threads: int) -> Manifest:
    """Make a new version that is equal to an older one.

    Returns:
        The manifest in force; the one found, where it has those very buckets already.

    Raises:
        NotFound: there is no such version, or what it needs is gone.
        Conflict: `gc` is running.
    """
    with leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        newest = manifests.latest_manifest(storage)
        if newest is None:
            raise NotFound(f"{storage} is no collection", uri=str(storage))

        def restored(current: Manifest) -> Manifest:
            old = open_version(storage, current, version)
            if (old.buckets, old.models, old.model, old.spec) == (
                *(current.buckets, current.models, current.model, current.spec),
            ):
                return current
            _require_there(storage, old, threads)
            return manifests.next_manifest(
                replace(old, version=current.version), f"restore {version}"
            )

        manifest, is_ours = manifests.commit_next(storage, newest, restored, lease)
        if is_ours:
            _show(storage, manifest.buckets, threads)
        return manifest


def _require_there(storage: Storage, manifest: Manifest, threads: int) -> None:
    """Look for what a version needs.

    Raises:
        NotFound: something is gone.
    """

    def missing(bucket: Bucket) -> str | None:
        for blob in bucket.blobs:
            if not storage.exists(blob.path):
                return blob.path
        try:
            store.open_table(storage, bucket.name, bucket.version)
        except (NotFound, Corrupt):
            return f"version {bucket.version} of table {bucket.name}"
        return None

    with Threads(threads) as pool:
        gone = [what for what in pool.map(missing, manifest.buckets) if what]
    gone += [blob.path for blob in manifest.blobs if not storage.exists(blob.path)]
    if gone:
        raise NotFound(
            f"version {manifest.version} of {storage} cannot be restored: {gone[0]} is gone",
            missing=gone,
        )


def _show(storage: Storage, buckets: Sequence[Bucket], threads: int) -> None:
    with Threads(threads) as pool:
        list(pool.map(lambda bucket: store.show_pinned(storage, bucket), buckets))
