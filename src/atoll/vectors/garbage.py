"""Garbage collection: removes what no live bucket needs, under a lease that keeps builds out."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import lance
import msgspec

from atoll.storage import Storage
from atoll.vectors import leases, store
from atoll.vectors.model import Blob, Bucket, Manifest

logger = logging.getLogger(__name__)

TABLE_SUFFIX = ".lance"
# As `build` names them; whatever else lies in the folder is not ours to remove.
TABLE_PATTERN = r"bucket_\d{5,}_[0-9a-f]{8}\.lance"


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


def collect(storage: Storage, *, dry_run: bool) -> GcReport:
    """Remove tables, models, blobs, reports and builds that the current manifest does not name.

    Readers that still use an older manifest lose what it named. A killed build that has not been
    finished is garbage too.

    Raises:
        Conflict: a build is running.
    """
    with leases.hold(storage, "gc") as lease:
        manifest = store.latest_manifest(storage)
        tables, objects = _garbage(storage, _needed(storage, manifest))
        objects |= {entry.path: entry.size_bytes for entry in leases.expired(storage)}
        size = sum(objects.values()) + sum(sum(files.values()) for files in tables.values())
        if not dry_run:
            _remove(storage, tables, objects, lease)
            for bucket in manifest.buckets if manifest else ():
                lease.require()
                size += _clean_table(storage, bucket)
            logger.info("garbage collected tables=%d bytes=%d", len(tables), size)
        return GcReport(tuple(sorted(tables)), tuple(sorted(objects)), size)


def discard(storage: Storage, plan: str) -> None:
    """Remove what a build made that can never be finished, because its rows were refused.

    What live buckets and other builds need stays, whether those builds run, were killed or wait.

    Raises:
        Conflict: a build is running.
    """
    with leases.hold(storage, "gc") as lease:
        manifest = store.latest_manifest(storage)
        needed = _needed(storage, manifest)
        for entry in storage.list(f"{store.FOLDER}/builds"):
            if entry.path.split("/")[2] != plan:
                needed |= {entry.path, *_named_in(storage, entry.path)}
        _remove(storage, *_garbage(storage, needed), lease)


def _needed(storage: Storage, manifest: Manifest | None) -> set[str]:
    """List the folders of tables and the objects that the live buckets need."""
    if manifest is None:
        return set()
    live = {bucket.name for bucket in manifest.buckets}
    plans = {bucket.plan for bucket in manifest.buckets}
    needed = {blob.path for blob in (*manifest.models.values(), manifest.calibration) if blob}
    for bucket in manifest.buckets:
        needed |= _of_bucket(bucket)
    for entry in storage.list(f"{store.FOLDER}/builds"):
        if _is_record_of(entry.path.removeprefix(f"{store.FOLDER}/builds/"), plans, live):
            needed.add(entry.path)
    return needed


def _of_bucket(bucket: Bucket) -> set[str]:
    blobs = {b.path for b in (bucket.layout, bucket.ids, bucket.names, bucket.deleted) if b}
    return {f"{bucket.name}{TABLE_SUFFIX}", store.report_path(bucket.name), *blobs}


def _named_in(storage: Storage, path: str) -> set[str]:
    """List what an object of a build names."""
    if "/shuffle/" in path or not path.endswith(".json"):
        return set()
    record = storage.get(path)
    if path.endswith("/model.json"):
        return {msgspec.json.decode(record, type=Blob).path}
    return _of_bucket(msgspec.json.decode(record, type=Bucket))


def _garbage(
    storage: Storage, needed: set[str]
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Find our tables and objects that are not needed, with the sizes of their files."""
    tables: dict[str, dict[str, int]] = {}
    objects: dict[str, int] = {}
    unfinished = {entry.path: entry for entry in storage.list_unfinished()}
    for entry in (*storage.list(), *unfinished.values()):
        top, _, rest = entry.path.partition("/")
        if top == store.FOLDER:
            kind = rest.partition("/")[0]
            is_ours = kind in ("models", "blobs", "builds", "reports") or kind.startswith("probe-")
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


def _clean_table(storage: Storage, bucket: Bucket) -> int:
    """Remove what no version of a live table needs; tagged versions stay."""
    table = store.open_table(storage, bucket.name, bucket.version)
    # Another client may have taken the tag away, without which our version would be removed.
    store.pin_table(table)
    if bucket.is_adopted:
        return 0  # old versions of a table are its owner's
    newest = store.open_table(storage, bucket.name)
    with store.lance_errors(f"cleaning table {bucket.name}"):
        if _is_of_lost_builder(newest, table):
            table.restore()  # type: ignore[no-untyped-call]
        removed = store.open_table(storage, bucket.name).cleanup_old_versions(
            older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
        )
    return int(removed.bytes_removed)


def _is_of_lost_builder(newest: lance.LanceDataset, ours: lance.LanceDataset) -> bool:
    """Tell whether the newest version holds the same rows, written once more by another builder.

    Lance lets several writers create one table, each with a version of its own; the newest stays
    when old ones are removed.
    """
    last, first = store.table_metadata(newest), store.table_metadata(ours)
    return (
        last.get(store.FINGERPRINT) == first.get(store.FINGERPRINT)
        and last.get(store.WRITER) != first.get(store.WRITER)
        and newest.count_rows() == ours.count_rows()
    )
