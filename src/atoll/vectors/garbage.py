"""Garbage collection: removes what no live bucket needs, under a lease that keeps builds out."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from datetime import timedelta

from atoll.storage import Storage
from atoll.vectors import leases, store
from atoll.vectors.ingest import report_path
from atoll.vectors.model import Manifest

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


def collect(storage: Storage, manifest: Manifest, *, dry_run: bool) -> GcReport:
    """Remove tables, models, blobs, reports and builds that `manifest`, the current one, does not
    name.

    Readers that still use an older manifest lose what it named. A killed build that has not been
    finished is garbage too.

    Raises:
        Conflict: a build is running.
    """
    holder = f"gc, process {os.getpid()} on {socket.gethostname()}"
    with leases.hold(storage, "gc", holder):
        current = store.latest_manifest(storage, manifest) or manifest
        tables, objects = _garbage(storage, current)
        size = sum(objects.values()) + sum(sum(files.values()) for files in tables.values())
        if not dry_run:
            # Tables first: one whose build records are gone could not be taken up again.
            for path in [*(path for files in tables.values() for path in files), *objects]:
                storage.delete(path)
            for bucket in current.buckets:
                size += _clean_table(storage, bucket.name)
        return GcReport(tuple(sorted(tables)), tuple(sorted(objects)), size)


def _garbage(
    storage: Storage, manifest: Manifest
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    live = {bucket.name for bucket in manifest.buckets}
    plans = {bucket.plan for bucket in manifest.buckets}
    needed = {blob.path for blob in manifest.models.values()}
    for bucket in manifest.buckets:
        needed |= {blob.path for blob in (bucket.ids, bucket.offsets) if blob}
        needed.add(report_path(bucket.name))
    tables: dict[str, dict[str, int]] = {}
    objects: dict[str, int] = {}
    for entry in storage.list():
        top, _, rest = entry.path.partition("/")
        if top == store.FOLDER:
            kind, _, name = rest.partition("/")
            if kind == "builds" and _is_record_of(name, plans, live):
                continue
            is_ours = kind in ("models", "blobs", "builds", "reports") or rest.startswith("probe-")
            if is_ours and entry.path not in needed:
                objects[entry.path] = entry.size_bytes
        elif re.fullmatch(TABLE_PATTERN, top) and top.removesuffix(TABLE_SUFFIX) not in live:
            tables.setdefault(top, {})[entry.path] = entry.size_bytes
    objects |= {entry.path: entry.size_bytes for entry in leases.expired(storage)}
    return tables, objects


def _is_record_of(name: str, plans: set[str], live: set[str]) -> bool:
    """Tell whether a build's object is of a live table: dropped later, it may be taken up again."""
    plan, _, record = name.partition("/")
    return plan in plans and (record == "model.json" or record.split(".")[0] in live)


def _clean_table(storage: Storage, name: str) -> int:
    """Remove what no version of a live table needs; tagged versions stay."""
    table = store.open_table(storage, name)
    with store.lance_errors(f"cleaning table {name}"):
        removed = table.cleanup_old_versions(
            older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
        )
    return int(removed.bytes_removed)
