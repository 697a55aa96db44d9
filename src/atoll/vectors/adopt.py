"""Takes the tables of a LanceDB database as buckets of a collection, as they are.

Nothing of the tables is rewritten. Their ids are read, since those must be unique and be found, and
a sample of their vectors, which trains the index model of later buckets. Written are objects below
`_atoll/` and, in each table, the tag on the version that searches read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import counted, some_of
from atoll.storage import Storage
from atoll.vectors import blobs, index, lanceerrors, leases, manifests, paths, store, training
from atoll.vectors import ids as id_index
from atoll.vectors.adopted import AdoptedTable
from atoll.vectors.digest import ColumnDigest
from atoll.vectors.duplicates import Duplicate, IdChecker, hash_ids
from atoll.vectors.fitting import AdoptOptions, Fitted, TableFacts, fit
from atoll.vectors.idcheck import LiveIds
from atoll.vectors.ivfpq import indexes_on
from atoll.vectors.model import (
    DISTANCE_TYPES,
    Blob,
    Bucket,
    CollectionSpec,
    DistanceType,
    IndexSpec,
    Manifest,
)
from atoll.vectors.storedrows import StoredRows

logger = logging.getLogger(__name__)

IDS_AT_ONCE = 1 << 16
SHOWN_DUPLICATES = 5
SEED = 0


def adopt(
    storage: Storage, options: AdoptOptions, settings: Settings, on_progress: OnProgress
) -> Manifest:
    """Make a collection of the tables at a place, or bring one up to date with them.

    Called again, tables that are new or have a newer version are taken up; where there are none,
    nothing is written. Killed anywhere, what was there is untouched.

    Returns:
        The manifest in force.

    Raises:
        NotFound: there are no tables.
        InvalidInput: tables do not fit, or an id occurs twice.
        Conflict: the place is a collection that was created, or somebody else is at work there.
    """
    with leases.hold(storage, "build") as lease:
        while True:
            found = manifests.latest_manifest(storage)
            _refuse_created(storage, found)
            tables = _changed(storage, _open_tables(storage, options), found)
            if not tables and found is not None:
                return found
            storage.probe_conditional_put()
            following = _adopted(storage, found, tables, options, settings, on_progress)
            if following is found:
                return found
            lease.require()
            if manifests.commit_manifest(storage, following):
                logger.info(
                    "tables adopted collection=%s version=%d tables=%d rows=%d",
                    *(storage, following.version, len(tables), following.rows),
                )
                return following


def _refuse_created(storage: Storage, found: Manifest | None) -> None:
    if found is not None and not any(bucket.is_adopted for bucket in found.buckets):
        raise Conflict(
            f"{storage} is a collection already ({counted(found.rows, 'row')}) and holds no "
            "adopted table; add to it with `atoll add`, or adopt a database elsewhere",
            uri=str(storage),
        )


def _open_tables(storage: Storage, options: AdoptOptions) -> dict[str, lance.LanceDataset]:
    """Open the newest version of each table that is not ours."""
    there = {
        top.removesuffix(paths.TABLE_SUFFIX)
        for top, _, rest in (entry.path.partition("/") for entry in storage.list())
        if top.endswith(paths.TABLE_SUFFIX)
        and rest.startswith("_versions/")
        and not re.fullmatch(paths.TABLE_PATTERN, top)
    }
    missing = sorted(set(options.tables) - there)
    if missing or not there:
        raise NotFound(
            f"{storage} has no table {some_of(missing)}; it has {some_of(sorted(there)) or 'none'}"
            if missing
            else f"{storage} holds no LanceDB table to adopt",
            uri=str(storage),
        )
    return {name: store.open_table(storage, name) for name in sorted(options.tables or there)}


def _changed(
    storage: Storage, tables: Mapping[str, lance.LanceDataset], found: Manifest | None
) -> dict[str, lance.LanceDataset]:
    """Leave out tables that are live in their newest version, but for deletes of ours."""
    live = {bucket.name: bucket.version for bucket in found.buckets} if found else {}
    return {
        name: table
        for name, table in tables.items()
        if name not in live
        or not store.has_our_rows(store.open_table(storage, name, live[name]), int(table.version))
    }


def _adopted(
    storage: Storage,
    found: Manifest | None,
    tables: Mapping[str, lance.LanceDataset],
    options: AdoptOptions,
    settings: Settings,
    on_progress: OnProgress,
) -> Manifest:
    """Write all that the next manifest names."""
    fitted = fit([_facts(n, t) for n, t in tables.items()], options, found.spec if found else None)
    _report_unfit(storage, fitted, options)
    if found is not None and not fitted.indexes:
        return found
    opened = {
        name: AdoptedTable(storage, _bare_bucket(name, tables[name], how), fitted.spec)
        for name, how in fitted.indexes.items()
    }
    kept = tuple(b for b in found.buckets if b.name not in opened) if found else ()
    with IdChecker(settings.scratch, settings.memory_bytes // 4) as checker:
        live = LiveIds(storage, fitted.spec, kept, settings.threads)
        reading = _Reading(storage, fitted.spec, checker, live, on_progress)
        buckets = reading.buckets(list(opened.values()))
        reading.refuse_duplicates(opened)
    if found:
        model, models = found.model, found.models
    else:
        blob = _trained(list(opened.values()), on_progress)
        model, models = blob.key, {blob.key: blob}
    for name in opened:
        store.pin_table(tables[name])
    return Manifest(
        version=found.version + 1 if found else 1,
        created_at=manifests.now(),
        spec=fitted.spec,
        models=models,
        model=model,
        buckets=_in_place(found.buckets if found else (), buckets),
        created_by=manifests.created_by(),
        action="adopt",
        indexed=found.indexed if found else (),
    )


def _in_place(old: Sequence[Bucket], new: Sequence[Bucket]) -> tuple[Bucket, ...]:
    """Replace buckets of the same name where they stand; put the others behind."""
    left = {bucket.name: bucket for bucket in new}
    replaced = [left.pop(bucket.name, bucket) for bucket in old]
    return (*replaced, *left.values())


def _report_unfit(storage: Storage, fitted: Fitted, options: AdoptOptions) -> None:
    shown = [f"{name}: {why}" for name, why in fitted.unfit.items()]
    if shown and not options.skip_unfit:
        raise InvalidInput(
            f"{counted(len(shown), 'table')} of {storage} cannot be adopted: "
            f"{some_of(shown, separator='; ')}; mend what is wrong, name the others with --table, "
            "or leave these out with --skip-unfit",
            tables=list(fitted.unfit),
        )
    for text in shown:
        logger.warning("table left out, %s", text)
    if fitted.hidden:
        names = some_of(fitted.hidden)
        logger.warning("columns left out, not all tables have them alike columns=%s", names)


def _facts(name: str, table: lance.LanceDataset) -> TableFacts:
    indexes: dict[str, tuple[str, IndexSpec]] = {}
    metrics: dict[str, DistanceType] = {}
    with lanceerrors.lance_errors(f"table {name}"):
        for field in table.schema:
            for index_name, kind in indexes_on(table, field.name).items():
                if not kind.startswith("IVF_"):
                    continue
                part = table.stats.index_stats(index_name)["indices"][0]
                subs = part.get("sub_index", {}).get("num_sub_vectors")
                spec = IndexSpec("ivf_pq", int(part["num_partitions"]), subs)
                indexes[field.name] = (kind, spec)
                if (metric := str(part["metric_type"]).lower()) in DISTANCE_TYPES:
                    metrics[field.name] = metric
        rows, stable = table.count_rows(), bool(table.has_stable_row_ids)
    return TableFacts(name, rows, table.schema, stable, indexes, metrics)


def _bare_bucket(name: str, table: lance.LanceDataset, how: IndexSpec) -> Bucket:
    """Describe a table before its ids are read."""
    return Bucket(
        name=name,
        version=int(table.version),
        stored_rows=table.count_rows(),
        skipped=0,
        digest={},
        plan="",
        model=None,
        layout=None,
        ids=Blob("not read yet", 0, ""),
        names=None,
        sources=(),
        index=how,
    )


@dataclass
class _Reading:
    """Reads the ids of tables: indexes them and looks for those that occur twice."""

    storage: Storage
    spec: CollectionSpec
    checker: IdChecker
    live: LiveIds
    on_progress: OnProgress

    def buckets(self, tables: Sequence[AdoptedTable]) -> list[Bucket]:
        total = sum(table.bucket.rows for table in tables)
        done, found = 0, []
        for table in tables:
            found.append(self._bucket(table, done, total))
            done += table.bucket.rows
        return found

    def _bucket(self, table: AdoptedTable, done: int, total: int) -> Bucket:
        digest, row = ColumnDigest(), 0
        hashes = np.empty(table.bucket.rows, np.uint64)
        for _, batch in table.batches([self.spec.id_column], batch_rows=IDS_AT_ONCE):
            ids = batch[self.spec.id_column]
            self._refuse_missing(table.bucket.name, row, ids)
            digest.update(batch)
            mine = hashes[row : row + len(ids)]
            mine[:] = hash_ids(ids)
            self._refuse_live(table.bucket.name, ids, mine)
            self.checker.add_hashes(mine, table.bucket.name, row)
            row += len(ids)
            self.on_progress(Progress("read ids", done + row, total, "rows"))
        blob = blobs.put_blob(self.storage, "blobs", id_index.pack(hashes))
        return replace(table.bucket, digest=digest.hexdigest(), ids=blob)

    def _refuse_missing(self, name: str, row: int, ids: pa.Array) -> None:
        if ids.null_count:
            at = row + int(np.flatnonzero(np.asarray(ids.is_null()))[0])
            raise InvalidInput(
                f"row {at} of table {name} has no id; give it one, delete it, or leave the table "
                "out: name the others with --table",
                table=name,
                row=at,
            )

    def _refuse_live(self, name: str, ids: pa.Array, hashes: NDArray[np.uint64]) -> None:
        for positions, bucket in self.live.find(hashes, ids):
            shown = [f"{ids[int(i)].as_py()!r} of {name} is in {bucket} already" for i in positions]
            if shown:
                raise _duplicates(shown, len(shown))

    def refuse_duplicates(self, tables: Mapping[str, AdoptedTable]) -> None:
        """Raise where an id occurs twice.

        Raises:
            InvalidInput: it does; names both places.
        """

        def ids_at(name: str, rows: NDArray[np.int64]) -> list[str]:
            column = self.spec.id_column
            found: list[str] = tables[name].take(rows, [column])[column].to_pylist()
            return found

        duplicates = self.checker.duplicates(ids_at)
        shown = [_describe(duplicate) for duplicate in islice(duplicates, SHOWN_DUPLICATES)]
        if shown:
            raise _duplicates(shown, len(shown) + sum(1 for _ in duplicates))


def _describe(duplicate: Duplicate) -> str:
    first, second = duplicate.first, duplicate.second
    return f"{duplicate.id!r} at {first.source} row {first.row}, {second.source} row {second.row}"


def _duplicates(shown: Sequence[str], count: int) -> InvalidInput:
    return InvalidInput(
        f"{counted(count, 'duplicate id')}: "
        f"{some_of(shown, SHOWN_DUPLICATES, total=count, separator='; ')}; a collection holds each "
        "once: delete the others in their tables, or leave a table out by naming the others with "
        "--table",
        duplicates=count,
    )


def _trained(tables: Sequence[AdoptedTable], on_progress: OnProgress) -> Blob:
    """Train the model of buckets to come on the vectors that are there."""
    storage, spec = tables[0].storage, tables[0].spec
    on_progress(Progress("train", 0, None, "rows"))
    sources = [StoredRows(storage, spec, table.bucket) for table in tables]
    sample = training.training_sample(sources, spec, SEED)
    model = blobs.put_model(storage, index.train(sample, spec.index, spec.distance_type, SEED))
    on_progress(Progress("train", len(sample), len(sample), "rows"))
    return model
