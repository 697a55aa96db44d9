"""Holds what is stored against what the manifest says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from atoll.core.errors import AtollError
from atoll.core.files import scratch_folder
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import counted
from atoll.storage import Storage
from atoll.vectors import blobs, manifests, schemas, store
from atoll.vectors.adopted import AdoptedTable, bucket_table
from atoll.vectors.digest import ColumnDigest
from atoll.vectors.ivfpq import indexes_on, read_ivf_pq
from atoll.vectors.keptids import KeptIds
from atoll.vectors.model import (
    CODE_COLUMN,
    Bucket,
    CollectionSpec,
    Issue,
    Manifest,
    VerifyReport,
)
from atoll.vectors.paths import FOLDER


def verify(
    storage: Storage, manifest: Manifest, scratch: Path | None, on_progress: OnProgress
) -> VerifyReport:
    """Read every live bucket, its objects and the models; nothing is changed.

    Args:
        storage: the collection.
        manifest: the version to check.
        scratch: folder for about 24 bytes for each row of a bucket.
        on_progress: told after each bucket.
    """
    issues: list[Issue] = []
    notes: list[Issue] = []
    done = 0
    for bucket in manifest.buckets:
        try:
            # Opened anew: what a cache still knows is not what is there.
            table = bucket_table(storage, bucket, manifest.spec)
            issues += faults_of(storage, manifest.spec, table, scratch)
            notes += _unsearchable(table)
            notes += _foreign_changes(table)
        except AtollError as error:
            issues.append(Issue(bucket.name, error.message))
        done += bucket.rows
        on_progress(Progress("verify", done, manifest.rows, "rows"))
    for blob in manifest.blobs:
        try:
            blobs.get_blob(storage, blob)
        except AtollError as error:
            issues.append(Issue("", error.message))
    issues += _lost_versions(storage, manifest)
    buckets = len(manifest.buckets)
    return VerifyReport(manifest.version, buckets, done, tuple(issues), tuple(notes))


def faults_of(
    storage: Storage, spec: CollectionSpec, table: store.Table, scratch: Path | None
) -> Iterator[Issue]:
    """Read a bucket and hold it against what the manifest says of it.

    Args:
        storage: where it lies.
        spec: of the collection.
        table: the bucket, opened.
        scratch: folder for about 24 bytes for each row.
    """
    bucket: Bucket = table.bucket
    faulty = [*_faulty_blobs(storage, bucket)]
    yield from faulty
    stored = _stored(storage, spec, table)
    if (rows := stored.dataset.count_rows()) != bucket.stored_rows:
        yield Issue(
            bucket.name, f"holds {counted(rows, 'row')}, the manifest says {bucket.stored_rows:,}"
        )
    else:
        with (
            scratch_folder(scratch, "verify") as folder,
            KeptIds(storage, spec, bucket, folder) as kept,
        ):
            yield from _other_rows(spec, stored, None if faulty else kept)
    if bucket.deleted is not None and not faulty:
        left = np.setdiff1d(np.arange(bucket.stored_rows), blobs.get_rows(storage, bucket.deleted))
        if not np.array_equal(table.live_rows(), left):
            yield Issue(bucket.name, "its table has other rows deleted than the manifest says")
    if spec.index_of(bucket).kind == "ivf_pq":
        indexes = indexes_on(table.dataset, spec.vector_column)
        for name in indexes:
            read_ivf_pq(table.dataset, name)
        if not indexes:
            yield Issue(bucket.name, "its index is missing; build the bucket again")


def _faulty_blobs(storage: Storage, bucket: Bucket) -> Iterator[Issue]:
    for blob in bucket.blobs:
        try:
            blobs.check_blob(storage, blob)
        except AtollError as error:
            yield Issue(bucket.name, error.message)


def _other_rows(spec: CollectionSpec, stored: store.Table, kept: KeptIds | None) -> Iterator[Issue]:
    """Read all rows; hold columns against their checksums, ids against what is kept of them."""
    bucket, digest = stored.bucket, ColumnDigest()
    for _, batch in stored.batches(_columns(spec, bucket)):
        digest.update(batch)
        if kept is not None:
            kept.update(batch[spec.id_column])
    found = digest.hexdigest()
    for column, expected in bucket.digest.items():
        if found.get(column) != expected:
            yield Issue(bucket.name, f"column {column!r} is not what was written")
    for what in kept.faults() if kept is not None else ():
        yield Issue(bucket.name, what)


def _columns(spec: CollectionSpec, bucket: Bucket) -> list[str]:
    names = schemas.decode_schema(spec.arrow_schema).names
    return [name for name in names if not (bucket.is_adopted and name == CODE_COLUMN)]


def _unsearchable(table: store.Table) -> Iterator[Issue]:
    """Note the rows of an adopted table that no search returns; builds let none in."""
    if isinstance(table, AdoptedTable):
        column = [table.spec.vector_column]
        lost = sum(table.count_lost(batch) for _, batch in table.batches(column))
        if lost:
            what = f"{counted(lost, 'row')} without a vector that can be searched; no search "
            what += "returns them"
            yield Issue(table.bucket.name, what)


def _stored(storage: Storage, spec: CollectionSpec, table: store.Table) -> store.Table:
    """Open a table with all its rows, deleted ones included."""
    if table.bucket.first_version is None:
        return table
    whole = replace(table.bucket, version=table.bucket.first_version)
    return bucket_table(storage, whole, spec)


def _lost_versions(storage: Storage, manifest: Manifest) -> Iterator[Issue]:
    hinted = manifests.hinted_version(storage)
    if hinted is None or hinted <= manifest.version:
        return
    if not storage.exists(manifests.manifest_path(hinted)):
        what = f"version {hinted} was committed, but {manifests.manifest_path(hinted)} is gone; "
        yield Issue("", f"{what}restore it, or delete {FOLDER}/hint to stay with this one")


def _foreign_changes(table: store.Table) -> Iterator[Issue]:
    for number in store.unpinned(table.dataset, table.bucket.versions):
        what = f"version {number} has lost its tag, so that others may clean it up, though "
        yield Issue(table.bucket.name, f"{what}searches need it; `atoll gc` sets it again")
    ours, newest = table.bucket.version, table.dataset.latest_version
    if newest != ours and not store.is_made_by_us(table.dataset, newest):
        what = f"another writer made version {newest}; searches read {ours}"
        yield Issue(table.bucket.name, what)
