"""Garbage collection: removes what no kept version needs, under a lease that keeps builds out."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from atoll.core.records import decoded
from atoll.storage import Storage
from atoll.vectors import lanceerrors, leases, manifests, store
from atoll.vectors.history import kept_manifests
from atoll.vectors.model import Blob, Bucket, Manifest
from atoll.vectors.paths import FOLDER, TABLE_PATTERN, TABLE_SUFFIX, report_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GcReport:
    """What was removed, or would be.

    Attributes:
        tables: folders of tables that are not live.
        objects: other objects, and data files inside live tables that no version needs.
        size_bytes: of all of them.
    """

    tables: tuple[str, ...]
    objects: tuple[str, ...]
    size_bytes: int


def collect(storage: Storage, *, keep_versions: int = 1, dry_run: bool) -> GcReport:
    """Remove tables, models, blobs, reports and builds that no kept version names.

    Readers that still use an older version lose what it named. A killed build that has not been
    finished is garbage too.

    Args:
        storage: the collection.
        keep_versions: how many versions stay, the current one included.
        dry_run: only say what would go.

    Raises:
        Conflict: a build is running.
    """
    with leases.hold(storage, "gc") as lease:
        newest = manifests.latest_manifest(storage)
        kept = kept_manifests(storage, newest, keep_versions) if newest else []
        tables, objects = _garbage(storage, _needed(storage, kept))
        objects |= {entry.path: entry.size_bytes for entry in leases.expired(storage)}
        size = sum(objects.values()) + sum(sum(files.values()) for files in tables.values())
        if not dry_run:
            if newest is not None and newest.version >= keep_versions:
                _note_oldest(storage, newest.version - keep_versions + 1)
            _remove(storage, tables, objects, lease)
            for pinned in _by_table(kept):
                lease.require()
                size += _clean_table(storage, pinned)
            logger.info("garbage collected tables=%d bytes=%d", len(tables), size)
        return GcReport(tuple(sorted(tables)), tuple(sorted(objects)), size)


def _note_oldest(storage: Storage, version: int) -> None:
    # Before anything goes: a version whose data may be gone is never shown as whole.
    if manifests.oldest_kept(storage) < version:
        manifests.put_oldest(storage, version)


def _by_table(kept: Sequence[Manifest]) -> list[list[Bucket]]:
    """Sort the buckets of some versions out by table, the newest version's first."""
    found: dict[str, list[Bucket]] = {}
    for manifest in kept:
        for bucket in manifest.buckets:
            found.setdefault(bucket.name, []).append(bucket)
    return list(found.values())


def discard(storage: Storage, plan: str) -> None:
    """Remove what a build made that can never be finished, because its rows were refused.

    What versions that can be opened and other builds need stays, whether those builds run, were
    killed or wait.

    Raises:
        Conflict: a build is running.
    """
    with leases.hold(storage, "gc") as lease:
        newest = manifests.latest_manifest(storage)
        needed = _needed(storage, kept_manifests(storage, newest) if newest else [])
        for entry in storage.list(f"{FOLDER}/builds"):
            if entry.path.split("/")[2] != plan:
                needed |= {entry.path, *_named_in(storage, entry.path)}
        _remove(storage, *_garbage(storage, needed), lease)


def _needed(storage: Storage, kept: Sequence[Manifest]) -> set[str]:
    """List the folders of tables and the objects that some versions need."""
    buckets = [bucket for manifest in kept for bucket in manifest.buckets]
    live = {bucket.name for bucket in buckets}
    plans = {bucket.plan for bucket in buckets}
    needed = {blob.path for manifest in kept for blob in manifest.blobs}
    for bucket in buckets:
        needed |= _of_bucket(bucket)
    for entry in storage.list(f"{FOLDER}/builds") if kept else ():
        if _is_record_of(entry.path.removeprefix(f"{FOLDER}/builds/"), plans, live):
            needed.add(entry.path)
    return needed


def _of_bucket(bucket: Bucket) -> set[str]:
    blobs = {blob.path for blob in bucket.blobs}
    return {f"{bucket.name}{TABLE_SUFFIX}", report_path(bucket.name), *blobs}


def _named_in(storage: Storage, path: str) -> set[str]:
    """List what an object of a build names."""
    names_nothing = path.endswith(("/partitions.json", "/plan.json"))
    if "/shuffle/" in path or names_nothing or not path.endswith(".json"):
        return set()
    record = storage.get(path)
    if path.endswith("/model.json"):
        return {decoded(record, Blob).path}
    return _of_bucket(decoded(record, Bucket))


def _garbage(
    storage: Storage, needed: set[str]
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Find our tables and objects that are not needed, with the sizes of their files."""
    tables: dict[str, dict[str, int]] = {}
    objects: dict[str, int] = {}
    unfinished = {entry.path: entry for entry in storage.list_unfinished()}
    for entry in (*storage.list(), *unfinished.values()):
        top, _, rest = entry.path.partition("/")
        if top == FOLDER:
            kind = rest.partition("/")[0]
            is_ours = kind in ("models", "blobs", "builds", "reports") or kind.startswith("probe-")
            # Manifests and hints that were never whole; leases may be written meanwhile.
            is_ours |= entry.path in unfinished and kind != "leases"
            if is_ours and entry.path not in needed:
                objects[entry.path] = entry.size_bytes
        elif re.fullmatch(TABLE_PATTERN, top):
            if top not in needed:
                tables.setdefault(top, {})[entry.path] = entry.size_bytes
            elif entry.path in unfinished:
                objects[entry.path] = entry.size_bytes
    return tables, objects


def _remove(
    storage: Storage,
    tables: Mapping[str, Mapping[str, int]],
    objects: Mapping[str, int],
    lease: leases.Held,
) -> None:
    # Tables first: one whose build records are gone could not be taken up again. Of a table its
    # versions first: without the rest of its files it must not open.
    files = sorted((path for table in tables.values() for path in table), key=_is_no_version)
    for path in [*files, *objects]:
        # Held up for too long, what was garbage may have been taken up by a build.
        lease.require()
        storage.delete(path)


def _is_no_version(path: str) -> bool:
    return "/_versions/" not in path


def _is_record_of(name: str, plans: set[str], live: set[str]) -> bool:
    """Tell whether a build's object is of a live table: dropped later, it may be taken up again."""
    plan, _, record = name.partition("/")
    return plan in plans and (record == "model.json" or record.split(".")[0] in live)


def _clean_table(storage: Storage, pinned: Sequence[Bucket]) -> int:
    """Remove what no kept version of a table needs; versions that others tagged stay."""
    versions = {number for bucket in pinned for number in bucket.versions}
    for number in versions:
        # Another client may have taken the tag away, without which the version would be removed.
        store.pin_table(store.open_table(storage, pinned[0].name, number))
    if pinned[0].is_adopted:
        return 0  # old versions of a table are its owner's
    store.show_pinned(storage, pinned[0])
    table = store.open_table(storage, pinned[0].name)
    store.unpin_others(table, versions)
    with lanceerrors.lance_errors(f"cleaning table {pinned[0].name}"):
        removed = table.cleanup_old_versions(
            older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
        )
    return int(removed.bytes_removed)
