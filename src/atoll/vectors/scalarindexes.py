"""Indexes of further columns, for predicates: Lance's, made on request, kept up by every build.

A bucket with an index is another Lance version of the same data files, so all else that is known of
it stays true. Which columns have one is the manifest's to say.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import lance
import pyarrow as pa
import pyarrow.compute as pc

from atoll.core.errors import Conflict, InvalidInput, Unavailable
from atoll.core.progress import OnProgress, Progress
from atoll.storage import Storage
from atoll.vectors import lanceerrors, leases, manifests, schemas, store
from atoll.vectors.model import Bucket, CollectionSpec, Manifest

# A bitmap keeps a list of rows for each value; with more values a tree is smaller and as quick.
MAX_BITMAP_VALUES = 256
BATCH_ROWS = 1 << 16
_ATTEMPTS = 20
_WAIT_SECONDS = 0.05


def set_indexes(
    storage: Storage,
    manifest: Manifest,
    columns: Sequence[str],
    *,
    drop: bool,
    on_progress: OnProgress,
) -> Manifest:
    """Index columns of all buckets, or drop their indexes, in one manifest commit.

    Adopted tables are left as they are: their owner indexes them.

    Returns:
        The manifest in force; the one found, where there is nothing to do.

    Raises:
        InvalidInput: a column that is not there, has no order, or has no index to drop.
        Conflict: `gc` is running.
    """
    with leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()

        def indexed(current: Manifest) -> Manifest:
            wanted = _wanted(current, columns, drop)
            changed = replace(current, indexed=wanted)
            buckets = with_indexes(storage, changed, current.buckets, on_progress)
            if (wanted, buckets) == (current.indexed, current.buckets):
                return current
            action = "drop index" if drop else "index"
            return manifests.next_manifest(changed, action, buckets=buckets, plan=current.plan)

        return manifests.commit_next(storage, manifest, indexed, lease)[0]


def with_indexes(
    storage: Storage,
    manifest: Manifest,
    buckets: Sequence[Bucket],
    on_progress: OnProgress | None = None,
) -> tuple[Bucket, ...]:
    """Bring buckets to the indexes that a manifest wants; nothing is live before one says so."""
    found = []
    for number, bucket in enumerate(buckets):
        if on_progress is not None:
            on_progress(Progress("index columns", number, len(buckets), "buckets"))
        if not bucket.is_adopted and bucket.indexed != manifest.indexed:
            version = _set_on_table(storage, bucket, manifest.indexed)
            bucket = replace(bucket, version=version, indexed=manifest.indexed)
        found.append(bucket)
    return tuple(found)


def _wanted(manifest: Manifest, columns: Sequence[str], drop: bool) -> tuple[str, ...]:
    if manifest.buckets and all(bucket.is_adopted for bucket in manifest.buckets):
        raise InvalidInput(
            "all tables here are adopted; index them with LanceDB, then run `atoll adopt` again"
        )
    for name in columns:
        _check_column(manifest.spec, name)
        if drop and name not in manifest.indexed:
            raise InvalidInput(f"column {name!r} has no index to drop", column=name)
    if drop:
        return tuple(name for name in manifest.indexed if name not in columns)
    return tuple(sorted({*manifest.indexed, *columns}))


def _check_column(spec: CollectionSpec, name: str) -> None:
    there = [spec.id_column, *spec.columns]
    if name not in there:
        raise InvalidInput(
            f"there is no column {name!r} to index; there are {', '.join(there)}", column=name
        )
    kind = schemas.decode_schema(spec.arrow_schema).field(name).type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise InvalidInput(
            f"column {name!r} is a {kind}, which has no index; choose one of numbers, text or "
            "times",
            column=name,
        )


def _set_on_table(storage: Storage, bucket: Bucket, wanted: Sequence[str]) -> int:
    """Make a version of a table that is the pinned one with other indexes, and pin it.

    Killed, it leaves a version that nobody reads.
    """
    for attempt in range(_ATTEMPTS):
        table = store.open_table(storage, bucket.name)
        if table.version != bucket.version:
            table = store.restored(storage, bucket)
        first = int(table.version)
        try:
            with lanceerrors.lance_errors(f"indexing table {bucket.name}"):
                changes = _change(table, bucket.indexed, wanted)
        except Conflict:
            changes = -1
        # Lance lets other changes pass in between, a delete say: this is then not our version.
        if table.version == first + changes:
            store.pin_table(table)
            return int(table.version)
        time.sleep(random.uniform(0, _WAIT_SECONDS * attempt))
    raise Unavailable(
        f"table {bucket.name} changes all the time; wait for the others, then try again"
    )


def _change(table: lance.LanceDataset, there: Sequence[str], wanted: Sequence[str]) -> int:
    """Make and drop indexes; returns how many versions that takes."""
    dropped = [name for name in there if name not in wanted]
    made = [name for name in wanted if name not in there]
    for name in dropped:
        table.drop_index(_index_name(name))
    for name in made:
        table.create_scalar_index(name, _kind(table, name), name=_index_name(name))
    return len(dropped) + len(made)


def _index_name(column: str) -> str:
    # Not as Lance would: the vector index is named so.
    return f"{column}_scalar_idx"


def _kind(table: lance.LanceDataset, column: str) -> Literal["BTREE", "BITMAP"]:
    """Choose a bitmap where values are few, else a tree; reads until that is known."""
    values = pa.array([], table.schema.field(column).type)
    for batch in table.to_batches(columns=[column], batch_size=BATCH_ROWS):
        values = pc.unique(pa.concat_arrays([values, pc.unique(batch[column])]))
        if len(values) > MAX_BITMAP_VALUES:
            return "BTREE"
    return "BITMAP"
