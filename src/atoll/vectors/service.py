"""The use cases of a collection, one method each: what the command line and Python call."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.compute.port import Executor
from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Conflict, Incomplete, InvalidInput, NotFound
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.text import counted, some_of
from atoll.storage import Storage
from atoll.vectors import (
    adopt,
    blobs,
    build,
    calibrate,
    calibration,
    compact,
    deletes,
    drift,
    garbage,
    history,
    leases,
    manifests,
    partitions,
    partitiontrials,
    planning,
    retrain,
    scalarindexes,
    search,
    store,
    upserts,
)
from atoll.vectors.calibrate import Wanted
from atoll.vectors.compact import CompactReport
from atoll.vectors.deletes import DeleteReport
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.export import ExportOptions, ExportReport, export
from atoll.vectors.exportfiles import Format
from atoll.vectors.fitting import AdoptOptions
from atoll.vectors.history import PastVersion
from atoll.vectors.idcheck import matching
from atoll.vectors.mapreduce import BucketsFailed, MapReduce
from atoll.vectors.model import (
    Bucket,
    BuildOptions,
    Calibration,
    CalibrationPoint,
    CollectionSpec,
    CompactOptions,
    Manifest,
    PartitionChoice,
    RetrainOptions,
    SearchOptions,
    VerifyReport,
    given_options,
)
from atoll.vectors.paths import FOLDER
from atoll.vectors.queries import QueryBatch, as_queries
from atoll.vectors.reader import Reader
from atoll.vectors.upserts import UpsertReport
from atoll.vectors.verify import verify

# Of the memory, what candidates may take, and bytes each takes until it is refined.
CANDIDATE_SHARE = 0.25
CANDIDATE_BYTES = 96
METADATA_KEY = b"atoll"


class Collection:
    """An open collection.

    A handle opened without a version follows the collection: each search looks for a newer manifest
    (one read). One opened at a version stays there and changes nothing. Safe to use from several
    threads.
    """

    def __init__(
        self, storage: Storage, manifest: Manifest, settings: Settings, *, is_fixed: bool = False
    ) -> None:
        """Use `atoll.open` or `atoll.create`."""
        self._storage, self._settings, self._is_fixed = storage, settings, is_fixed
        self._manifest = manifest
        self._cache = ByteCache(settings.cache_bytes)
        self._reader = self._new_reader(manifest.spec)
        self._calibration: tuple[str, Calibration] | None = None

    # -- what it is -------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """Where it is."""
        return str(self._storage)

    @property
    def version(self) -> int:
        """Number of the manifest last read."""
        return self._manifest.version

    @property
    def spec(self) -> CollectionSpec:
        """What holds for every bucket."""
        return self._manifest.spec

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The live buckets."""
        return self._manifest.buckets

    def __len__(self) -> int:
        """Count the rows over all live buckets."""
        return self._manifest.rows

    def __repr__(self) -> str:
        """Show address and size."""
        return f"Collection({self.uri!r}, rows={len(self)}, buckets={len(self.buckets)})"

    def refresh(self) -> None:
        """Read the newest manifest; of a handle at a version nothing changes."""
        if self._is_fixed:
            return
        found = manifests.latest_manifest(self._storage, self._manifest) or self._manifest
        if found.spec != self._manifest.spec:
            self._reader = self._new_reader(found.spec)
        live = {bucket.name: bucket for bucket in found.buckets}
        self._reader.forget(b for b in self._manifest.buckets if live.get(b.name) != b)
        self._manifest = found

    @property
    def calibration(self) -> Calibration | None:
        """Measured recall of the version last read; None where nobody has calibrated."""
        blob = self._manifest.calibration
        if blob is None:
            return None
        if self._calibration is None or self._calibration[0] != blob.sha256:
            self._calibration = blob.sha256, blobs.get_calibration(self._reader.storage, blob)
        return self._calibration[1]

    @property
    def partition_choice(self) -> PartitionChoice | None:
        """How the number of partitions was chosen; None where it was given or is the default."""
        blob = self._manifest.partitions
        return None if blob is None else blobs.get_choice(self._reader.storage, blob)

    def info(self) -> dict[str, Any]:
        """Describe the collection: JSON-ready, sizes in rows and bytes.

        Returns:
            uri, version, rows, dim, dtype, distance_type, columns, embedder, index, the columns
            indexed for predicates, and per bucket its name, rows, deleted, skipped rows, sources,
            the root-mean-square float16 error, its index and whether it is an adopted table;
            recall: what is calibrated, the drift since, what to do about it; partitions: how their
            number was chosen, None where it was not.
        """
        self.refresh()
        spec, choice = self.spec, self.partition_choice
        return {
            "uri": self.uri,
            "version": self.version,
            "created_at": self._manifest.created_at,
            "rows": len(self),
            "dim": spec.dim,
            "dtype": spec.dtype,
            "distance_type": spec.distance_type,
            "vector_column": spec.vector_column,
            "id_column": spec.id_column,
            "columns": spec.columns,
            "embedder": None if spec.embedder is None else vars(spec.embedder),
            "index": vars(spec.index),
            "indexed": list(self._manifest.indexed),
            "recall": self._recall_info(),
            "partitions": None if choice is None else partitions.facts(choice),
            "buckets": [
                {
                    "name": bucket.name,
                    "table": f"{self.uri}/{bucket.name}.lance",
                    "rows": bucket.rows,
                    "deleted": bucket.deleted_rows,
                    "skipped": bucket.skipped,
                    "rounding_error": bucket.rounding_error,
                    "index": vars(self.spec.index_of(bucket)),
                    "adopted": bucket.is_adopted,
                    "sources": [
                        {"uri": part.uri, "start": part.start, "stop": part.stop}
                        for part in bucket.sources
                    ],
                }
                for bucket in self.buckets
            ],
        }

    def _recall_info(self) -> dict[str, Any] | None:
        """Describe what is known of recall; None where tables have no model of ours."""
        if any(bucket.model is None for bucket in self.buckets):
            return None
        known = self.calibration
        advice = drift.advise(known, len(self), [bucket.name for bucket in self.buckets])
        facts: dict[str, Any] = {"advice": advice.action, "why": advice.why}
        if known is not None:
            facts["defaults"] = vars(drift.at_defaults(known))
            facts |= {name: getattr(known, name) for name in ("created_at", "queries", "rows")}
            facts["drift"] = [vars(each) for each in known.drift]
            facts["spread"] = known.spread
        return facts

    # -- reading ----------------------------------------------------------------------------------

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        nprobes: int | None = None,
        refine_factor: int | None = None,
        recall: float | None = None,
        exact: bool = False,
        max_distance: float | None = None,
        where: str | None = None,
        columns: Sequence[str] = (),
        with_vectors: bool = False,
        exclude_self: bool = False,
        group_by: str | None = None,
        allow_partial: bool = False,
        on_progress: OnProgress = silent,
    ) -> pa.Table:
        """Find the k nearest rows of each query.

        Args:
            queries: (n, dim) or (dim,) array; or a path: FASTA (embedded with the collection's own
                model), HDF5, .npy, .fvecs or Parquet; or a `QueryBatch`.
            k: hits per query; fewer rows than that are all returned.
            nprobes: partitions read per bucket. None starts at 20 and widens until k rows (that
                pass `where`) can be found.
            refine_factor: candidates that get exact distances, as a multiple of k; over all buckets
                together for "rabitq", in each bucket for "ivf_pq"; None is 5.
            recall: share of the true k nearest to find, e.g. 0.95: takes the cheapest calibrated
                nprobes and refine factor that hold it. 1 is exact. Calibrated without `where` and
                `group_by`, with which it is no promise.
            exact: compare with every row instead.
            max_distance: leave out hits beyond it, by their exact distance.
            where: SQL predicate on stored columns, e.g. "length > 300 AND description LIKE
                '%kinase%'".
            columns: further columns to return.
            with_vectors: return the stored vectors, in the vector column's name.
            exclude_self: leave out the hit whose id is the query's own.
            group_by: keep only the nearest hit for each value of this column (tiles by protein).
            allow_partial: answer from the buckets that did answer; the others are in the metadata.
            on_progress: told as queries are done.

        Returns:
            Columns query_id, rank (from 1), id, _distance (float32, exact, as LanceDB defines it
            for the collection's distance_type), then those asked for; ordered by query, distance,
            id. The schema's metadata "atoll" tells version, nprobes, refine_factor, failed buckets
            as JSON.

        Raises:
            InvalidInput: k below 1, two queries of one id, a query of another dimension or model,
                zero under cosine, NaN, an unknown column, a predicate that does not parse; a
                recall beside settings of one's own, or one that no calibrated setting holds.
            Incomplete: a bucket failed three times; its `partial` holds the answer of the others.
        """
        if recall is not None and (nprobes is not None or refine_factor is not None or exact):
            raise InvalidInput(
                "recall chooses nprobes and the refine factor itself; give either recall, or "
                "nprobes and refine_factor, or exact"
            )
        options = SearchOptions(
            k=k,
            nprobes=nprobes,
            refine_factor=SearchOptions.refine_factor if refine_factor is None else refine_factor,
            recall=recall,
            exact=exact,
            max_distance=max_distance,
            where=None if where is None else store.predicate(where),
            columns=tuple(columns),
            with_vectors=with_vectors,
            exclude_self=exclude_self,
            group_by=group_by,
            allow_partial=allow_partial,
        )
        return self._search(queries, options, on_progress)

    def get(self, ids: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Read rows by id.

        Args:
            ids: wanted ids.
            columns: which columns; None reads all but the packed code.

        Returns:
            The rows in the order of `ids`.

        Raises:
            NotFound: an id is not there.
            InvalidInput: an unknown column.
        """
        self.refresh()
        names = list(columns) if columns is not None else self._reader.columns
        self._check_columns(names)
        asked = pa.array([str(name) for name in ids], pa.string())
        hashes = hash_ids(asked)
        found, places = [], []
        for bucket in self.buckets:
            positions, rows = self._reader.id_index(bucket).find(hashes)
            if len(positions):
                opened = self._reader.bucket(bucket)
                place, mine = matching(opened, rows.astype(np.int64), positions, asked)
                found.append(self._reader.table(bucket).take(mine, names))
                places.append(place)
        place = np.concatenate([np.empty(0, np.int64), *places])
        missing = np.setdiff1d(np.arange(len(asked)), place)
        if len(missing):
            first = [repr(asked[int(i)].as_py()) for i in missing[:5]]
            raise NotFound(
                f"{self.uri} has no row with the id {some_of(first, total=len(missing))}",
                missing=len(missing),
            )
        schema = pa.schema([self._reader.schema.field(name) for name in names])
        if not found:
            return schema.empty_table()
        rows = pa.concat_tables(found).take(pa.array(np.argsort(place, kind="stable")))
        return store.seen(rows, schema)

    def queries(
        self, given: Any, *, ids: str | Path | None = None, model_path: str | Path | None = None
    ) -> QueryBatch:
        """Read queries as `search` does, to search with them more than once.

        Args:
            given: as for `search`.
            ids: text file of one id per line, for .npy and .fvecs.
            model_path: folder of the model's published weights, for FASTA where the model has any.

        Raises:
            InvalidInput: they do not fit the collection.
        """
        return as_queries(given, self.spec, self._settings, ids=ids, model_path=model_path)

    def count(self, where: str | None = None) -> int:
        """Count rows, of all live buckets or those that pass an SQL predicate.

        Raises:
            InvalidInput: the predicate does not parse.
        """
        self.refresh()
        if where is None:
            return len(self)
        asked = store.predicate(where)
        return sum(self._reader.table(bucket).count(asked) for bucket in self.buckets)

    def export(
        self,
        target: str | Path,
        *,
        format: Format | None = None,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        rows_per_file: int | None = None,
        force: bool = False,
        on_progress: OnProgress = silent,
    ) -> ExportReport:
        """Write all live rows to Parquet or HDF5, as `create` reads them, in bounded memory.

        Vectors are written as float32, ids and further columns as they are, in stored order. What
        made the vectors is written down in the files. Killed anywhere, nothing complete is there,
        and the same call starts anew.

        Args:
            target: a file, or with `rows_per_file` a folder; local or a URL.
            format: "parquet" (zstd) or "hdf5"; None goes by the target's name, a folder's is
                Parquet.
            where: SQL predicate on stored columns; only rows that pass are written.
            columns: further columns; None is all of them.
            rows_per_file: makes the target a folder of files of at most so many rows.
            force: replace an earlier export or a file.
            on_progress: told as rows are written.

        Raises:
            InvalidInput: no such column or format, a predicate that does not parse, a column that
                HDF5 cannot hold.
            Conflict: something is there.
            Unavailable, Forbidden: the disk is full, the target may not be written.
        """
        self.refresh()
        self._check_columns(columns or ())
        options = ExportOptions(
            format, where, None if columns is None else tuple(columns), rows_per_file, force
        )
        return export(
            self._reader,
            self.buckets,
            self.version,
            target,
            options=options,
            settings=self._settings,
            on_progress=on_progress,
        )

    def verify(self, on_progress: OnProgress = silent) -> VerifyReport:
        """Read every live bucket and hold it against the manifest: rows, checksums, index.

        Returns:
            What was read and each fault found; nothing is changed.
        """
        self.refresh()
        return verify(self._storage, self._manifest, self._settings.scratch, on_progress)

    def calibrate(
        self,
        queries: Any = None,
        *,
        k: Sequence[int] | None = None,
        num_queries: int = calibrate.DEFAULT_QUERIES,
        max_rows: int = calibrate.MAX_SEARCHED_ROWS,
        seed: int = 0,
        on_progress: OnProgress = silent,
    ) -> Calibration:
        """Measure recall over many settings and store it, for `search(recall=...)`.

        Args:
            queries: what will be searched for, as for `search`; None draws stored rows, each of
                which is left out of its own answer.
            k: numbers of hits to calibrate; None is 1, 10 and 100, or as many as there can be.
            num_queries: how many stored rows to draw.
            max_rows: search only some buckets, of at most so many rows together (at least one).
            seed: draws rows and buckets.
            on_progress: told as settings are done.

        Raises:
            InvalidInput: queries that do not fit, a number below 1, a k above the number of
                neighbours, no index.
            Conflict: garbage is collected now, or the index model changes meanwhile.
        """
        ks = calibrate.DEFAULT_KS if k is None else tuple(k)
        wanted = Wanted(ks, k is None, num_queries, max_rows, seed)
        self._require_current()
        return self._calibrate(queries, wanted, on_progress)

    def _calibrate(self, queries: Any, wanted: Wanted, on_progress: OnProgress) -> Calibration:
        given = None if queries is None else as_queries(queries, self.spec, self._settings)
        source = str(queries) if isinstance(queries, str | Path) else "given queries"
        # What is stored but not committed yet looks like garbage.
        with leases.hold(self._storage, "build") as lease:
            self.refresh()
            whole = self._manifest
            calibrate.check_can_be_calibrated(whole)
            of = measured(self._storage, self._settings, whole, wanted)
            found = calibrate.measure(of, whole, given, source, wanted, on_progress)
            blob = blobs.put_calibration(self._storage, found)
            while True:
                if self._manifest.model != found.model:
                    raise Conflict(f"{self.uri} got another index model meanwhile; calibrate again")
                following = manifests.next_manifest(
                    self._manifest, "calibrate", plan=self._manifest.plan
                )
                following = replace(following, calibration=blob)
                lease.require()
                if manifests.commit_manifest(self._storage, following):
                    self._manifest = following
                    return found
                self.refresh()

    # -- changing ---------------------------------------------------------------------------------

    def add(
        self,
        sources: Sequence[str | Path] | str | Path,
        *,
        options: BuildOptions | None = None,
        executor: Executor | None = None,
        on_progress: OnProgress = silent,
        **given: Any,
    ) -> Collection:
        """Add rows as new buckets; every old object stays as it is.

        Args:
            sources: files, folders, globs or URLs, as for `create`.
            options: bucket size, batches, workers, what to do with invalid rows and duplicates; or
                give its fields as keywords. Schema, distance and index are the collection's.
            executor: where buckets are built; None uses processes on this machine.
            on_progress: told as stages go on.

        Returns:
            This collection, at its new version.

        Raises:
            InvalidInput: the rows do not fit the collection, or an id is there already.
        """
        planned = self._planned(sources, given_options(options, given))
        self._manifest = build.add(
            planned,
            self._manifest,
            settings=self._settings,
            executor=executor,
            finish=_finisher(planned, self._settings, on_progress),
            on_progress=on_progress,
        )
        return self

    def upsert(
        self,
        sources: Sequence[str | Path] | str | Path,
        *,
        options: BuildOptions | None = None,
        executor: Executor | None = None,
        on_progress: OnProgress = silent,
        **given: Any,
    ) -> UpsertReport:
        """Add rows; those whose ids are there replace the old ones, all in one version.

        Args:
            sources: files, folders, globs or URLs, as for `create`.
            options: as for `add`; or give its fields as keywords.
            executor: where buckets are built; None uses processes on this machine.
            on_progress: told as stages go on.

        Returns:
            How many rows were added and replaced, and what looking up their ids read.

        Raises:
            InvalidInput: the rows do not fit the collection, or an id is twice among them.
        """
        planned = self._planned(sources, given_options(options, given))
        self._manifest, report = upserts.upsert(
            planned,
            self._manifest,
            settings=self._settings,
            executor=executor,
            finish=_finisher(planned, self._settings, on_progress),
            on_progress=on_progress,
        )
        return report

    def delete(
        self,
        ids: Iterable[str] | None = None,
        *,
        where: str | None = None,
        allow_missing: bool = False,
        dry_run: bool = False,
    ) -> DeleteReport:
        """Delete rows by id or by predicate: searches do not see them from then on.

        Args:
            ids: which rows; or `where`.
            where: SQL predicate on stored columns.
            allow_missing: whether ids may be absent; the report lists them.
            dry_run: only say what would go.

        Returns:
            How many rows went.

        Raises:
            NotFound: an id is not there; nothing is deleted then.
            InvalidInput: the predicate does not parse, or not one of the two is given.
        """
        if (ids is None) == (where is None):
            raise InvalidInput("give ids or where, one of the two")
        if isinstance(ids, str):
            raise InvalidInput(f"ids is the text {ids!r}; give a list of ids")
        self._require_current()
        self.refresh()
        threads = self._settings.threads
        if where is not None:
            predicate = store.predicate(where)
            self._manifest, report = deletes.delete_where(
                self._storage, self._manifest, predicate, dry_run=dry_run, threads=threads
            )
        else:
            self._manifest, report = deletes.delete_ids(
                self._storage,
                self._manifest,
                [str(name) for name in ids or ()],
                allow_missing=allow_missing,
                dry_run=dry_run,
                threads=threads,
            )
        return report

    def _planned(
        self, sources: Sequence[str | Path] | str | Path, chosen: BuildOptions
    ) -> planning.Planned:
        self._require_current()
        self.refresh()
        # The usual names are left open, as at create: a file may say "embeddings".
        if self.spec.vector_column != planning.VECTOR_COLUMN:
            chosen = replace(chosen, vector_column=chosen.vector_column or self.spec.vector_column)
        if self.spec.id_column != planning.ID_COLUMN:
            chosen = replace(chosen, id_column=chosen.id_column or self.spec.id_column)
        return planning.plan(
            self.uri, listed(sources), options=chosen, settings=self._settings, into=self.spec
        )

    def _require_current(self) -> None:
        if self._is_fixed:
            raise InvalidInput(
                f"this handle is open at version {self.version}, which cannot change; open "
                f"{self.uri} without a version",
                version=self.version,
            )

    def drop_bucket(self, name: str) -> Collection:
        """Take a bucket out of the collection; its files stay until `gc`.

        Raises:
            NotFound: no live bucket has that name.
        """
        self._require_current()
        while True:
            self.refresh()
            left = tuple(bucket for bucket in self.buckets if bucket.name != name)
            if len(left) == len(self.buckets):
                raise NotFound(f"{self.uri} has no live bucket {name!r}; `atoll info` lists them")
            following = manifests.next_manifest(self._manifest, "drop-bucket", buckets=left)
            if manifests.commit_manifest(self._storage, following):
                self.refresh()
                return self

    def compact(
        self,
        *,
        bucket_rows: int = CompactOptions.bucket_rows,
        min_rows: int | None = None,
        buckets: Sequence[str] = (),
        dry_run: bool = False,
        on_progress: OnProgress = silent,
    ) -> CompactReport:
        """Merge small buckets, and those with many deleted rows; a search finds the same.

        Args:
            bucket_rows: rows a merged bucket holds at most.
            min_rows: buckets with fewer take part; None is half of `bucket_rows`.
            buckets: names of those that take part instead, whatever their size.
            dry_run: only say what would become one.
            on_progress: told as buckets are merged.

        Returns:
            What became one. The old tables stay until `gc`.

        Raises:
            NotFound: a bucket that is named is not live.
            Conflict: a bucket that is named was replaced meanwhile, or `gc` is running.
        """
        self._require_current()
        self.refresh()
        self._manifest, report = compact.compact(
            self._storage,
            self._manifest,
            CompactOptions(bucket_rows, min_rows, tuple(buckets)),
            settings=self._settings,
            dry_run=dry_run,
            on_progress=on_progress,
        )
        return report

    def retrain(
        self,
        *,
        num_partitions: int | None = None,
        bits: int | None = None,
        seed: int = 0,
        on_progress: OnProgress = silent,
    ) -> Collection:
        """Train a new index model on the rows there are, and build each bucket anew under it.

        Searches go on. Where recall was calibrated, that is done again for the new model at the
        end. Killed, the same call goes on where it stopped.

        Args:
            num_partitions: IVF cells; None chooses rows of the largest bucket / 500.
            bits: bits per dimension of a code: 1, 2, 4 or 8; None keeps those there are.
            seed: picks the training sample and the rotation.
            on_progress: told as buckets are built.

        Returns:
            This collection, at its new version. The old tables stay until `gc`.

        Raises:
            InvalidInput: there are no rows.
            Conflict: the collection was replaced, or another retrain began, meanwhile; or `gc` is
                running.
        """
        self._require_current()
        self.refresh()
        # A retrain that was killed has taken the calibration away, and left two models.
        was_calibrated = self._manifest.calibration is not None or len(self._manifest.models) > 1
        retrain.retrain(
            self._storage,
            self._manifest,
            RetrainOptions(num_partitions, bits, seed),
            settings=self._settings,
            on_progress=on_progress,
        )
        self.refresh()
        if was_calibrated:
            self._calibrate(None, calibrate.AT_CREATE, on_progress)
        return self

    def index(
        self, columns: Sequence[str], *, drop: bool = False, on_progress: OnProgress = silent
    ) -> Collection:
        """Index columns for predicates, in every bucket of our own and those that come later.

        A column with few values gets a bitmap, any other a tree. Hits stay the same; adopted tables
        are left as they are.

        Args:
            columns: further columns or the id column.
            drop: drop their indexes instead.
            on_progress: told as buckets are done.

        Returns:
            This collection, at its new version; as it was, where there is nothing to do.

        Raises:
            InvalidInput: a column that is not there, has no order, or has no index to drop.
            Conflict: `gc` is running.
        """
        self._require_current()
        self.refresh()
        scalarindexes.set_indexes(
            self._storage, self._manifest, columns, drop=drop, on_progress=on_progress
        )
        self.refresh()
        return self

    def history(self) -> list[PastVersion]:
        """List all versions, the newest first: when, by what, and whether they can be opened."""
        self.refresh()
        return history.history(self._storage, self._manifest)

    def restore(self, version: int) -> Collection:
        """Make a new version that is equal to an older one.

        Returns:
            This collection, at its new version.

        Raises:
            NotFound: there is no such version, or `gc` removed what it needs.
            Conflict: `gc` is running.
        """
        self._require_current()
        history.restore(self._storage, version, self._settings.threads)
        self.refresh()
        return self

    def gc(self, *, keep_versions: int = 1, dry_run: bool = False) -> garbage.GcReport:
        """Remove what no kept version needs: dropped tables, files of killed or lost builds.

        Args:
            keep_versions: how many versions can be opened afterwards, the current one included.
            dry_run: only say what would go.

        Raises:
            Conflict: a build is running.
        """
        return garbage.collect(self._storage, keep_versions=keep_versions, dry_run=dry_run)

    # -- within -----------------------------------------------------------------------------------

    def _new_reader(self, spec: CollectionSpec) -> Reader:
        kept = self._settings.disk_cache, self._settings.disk_cache_bytes
        return Reader(self._storage.cached(*kept), spec, self._cache)

    def _check_columns(self, names: Sequence[str]) -> None:
        known = self._reader.columns
        for name in names:
            if name not in known:
                raise InvalidInput(
                    f"{self.uri} has no column {name!r}; it has {', '.join(known)}", column=name
                )

    def _check_options(self, options: SearchOptions) -> None:
        self._check_columns(options.columns)
        if options.group_by:
            self._check_columns([options.group_by])
            kind = self._reader.schema.field(options.group_by).type
            if pa.types.is_nested(kind):
                raise InvalidInput(f"--group-by {options.group_by}: cannot group by a {kind}")

    def _with_settings_for_recall(
        self, options: SearchOptions
    ) -> tuple[SearchOptions, CalibrationPoint | None]:
        """Choose the settings that hold the recall asked for, if any was."""
        if options.recall is None:
            return options, None
        known, rows = self.calibration, len(self)
        is_small = known is None and rows <= search.NARROW_ROWS
        if options.recall == 1 or is_small or self.spec.index.kind == "flat":
            return replace(options, exact=True), None
        if known is None or any(bucket.model != known.model for bucket in self.buckets):
            raise InvalidInput(
                f"the recall of {self.uri} is not calibrated"
                f"{'' if known is None else ' for its present index model'}; run `atoll calibrate "
                f"{self.uri}`, or search with --exact, or with --nprobes and --refine-factor",
                recall=options.recall,
            )
        chosen = calibration.choose(known, options.k, options.recall)
        found = replace(options, nprobes=chosen.nprobes, refine_factor=chosen.refine_factor)
        return found, chosen

    # -- searching --------------------------------------------------------------------------------

    def _search(self, queries: Any, options: SearchOptions, on_progress: OnProgress) -> pa.Table:
        """Answer queries, as many at once as memory allows."""
        self.refresh()
        self._check_options(options)
        options, promised = self._with_settings_for_recall(options)
        batch = as_queries(queries, self.spec, self._settings)
        manifest = self._manifest
        parts = []
        failed: dict[int, AtollError] = {}
        masks: dict[int, NDArray[np.bool_]] = {}
        paths: set[str] = set()
        at_once = self._queries_at_once(options)
        for start in range(0, len(batch), at_once):
            some = batch.slice(start, start + at_once)
            parts.append(
                self._search_without_failing(manifest, some, options, masks, paths, failed)
            )
            on_progress(
                Progress("search", min(start + len(some), len(batch)), len(batch), "queries")
            )
        table = self._with_metadata(
            pa.concat_tables(parts), manifest, options, promised, paths, failed
        )
        if failed and not options.allow_partial:
            self._raise_incomplete(table, manifest, failed)
        return table

    def _search_without_failing(
        self,
        manifest: Manifest,
        batch: QueryBatch,
        options: SearchOptions,
        masks: dict[int, NDArray[np.bool_]],
        paths: set[str],
        failed: dict[int, AtollError],
    ) -> pa.Table:
        """Search; leave out buckets that fail and note them in `failed`."""
        threads = self._settings.threads
        while True:
            live = {i: b for i, b in enumerate(manifest.buckets) if i not in failed}
            try:
                return MapReduce(
                    self._reader, manifest.models, live, batch, options, threads, masks, paths
                ).run()
            except BucketsFailed as failure:
                failed.update(failure.errors)
                if len(failed) == len(manifest.buckets):
                    raise next(iter(failed.values())) from failure

    def _queries_at_once(self, options: SearchOptions) -> int:
        """Say how many queries are answered together, within the memory there is."""
        room = self._settings.memory_bytes * CANDIDATE_SHARE
        return max(1, int(room / (CANDIDATE_BYTES * max(1, self._candidates(options)))))

    def _candidates(self, options: SearchOptions) -> int:
        """Count the rows held for a query: our index keeps the best over all buckets, but Lance's
        brings some from each, and so does comparing every row."""
        is_compared = options.exact or self.spec.index.kind == "flat"
        wanted = options.k * (1 if is_compared else max(1, options.refine_factor))
        together, apart = 0, 0
        for bucket in self.buckets:
            if is_compared or self.spec.index_of(bucket).kind != "rabitq":
                apart += min(bucket.rows, wanted)
            else:
                together += bucket.rows
        return min(together, wanted) + apart

    def _with_metadata(
        self,
        table: pa.Table,
        manifest: Manifest,
        options: SearchOptions,
        promised: CalibrationPoint | None,
        paths: set[str],
        failed: dict[int, AtollError],
    ) -> pa.Table:
        facts = {
            "version": manifest.version,
            "index": "exact" if options.exact else self._kinds(manifest),
            "paths": sorted(paths),
            "nprobes": options.nprobes or f"{search.DEFAULT_NPROBES}, widened until k are found",
            "refine_factor": options.refine_factor,
            "recall": self._recall_facts(options, promised),
            "distance_type": self.spec.distance_type,
            "failed_buckets": {
                manifest.buckets[position].name: error.message for position, error in failed.items()
            },
        }
        return table.replace_schema_metadata({METADATA_KEY: json.dumps(facts)})

    def _recall_facts(
        self, options: SearchOptions, promised: CalibrationPoint | None
    ) -> dict[str, Any] | None:
        """Say what recall was asked for and what holds it; None where none was."""
        if options.recall is None:
            return None
        if promised is None:
            exact = {"measured": 1.0, "low": 1.0, "high": 1.0, "holds": True, "why": ""}
            return {"asked": options.recall, **exact}
        names = [bucket.name for bucket in self.buckets]
        advice = drift.advise(self.calibration, len(self), names)
        why = "" if advice.action == "nothing" else advice.why
        if options.where is not None or options.group_by is not None:
            why = "it was measured without filter or groups"
        return {
            "asked": options.recall,
            "measured": promised.recall,
            "low": promised.low,
            "high": promised.high,
            "holds": not why,
            "why": why,
        }

    def _kinds(self, manifest: Manifest) -> str:
        kinds = [self.spec.index_of(bucket).kind for bucket in manifest.buckets]
        return ", ".join(dict.fromkeys(kinds)) or self.spec.index.kind

    def _raise_incomplete(
        self, table: pa.Table, manifest: Manifest, failed: dict[int, AtollError]
    ) -> None:
        names = [manifest.buckets[position].name for position in failed]
        rows = sum(manifest.buckets[position].rows for position in failed)
        error = Incomplete(
            f"{len(failed):,} of {counted(len(manifest.buckets), 'bucket')} did not answer "
            f"({', '.join(names)}; "
            f"{rows:,} of {manifest.rows:,} rows): {next(iter(failed.values())).message}. "
            "Accept the rest with allow_partial=True",
            buckets=names,
            rows=rows,
        )
        error.partial = table
        raise error


class _Pinned(Collection):
    """One version, whatever is committed later, and whether or not it is committed itself."""

    def refresh(self) -> None:
        """Stay."""


def measured(
    storage: Storage,
    settings: Settings,
    manifest: Manifest,
    wanted: Wanted,
    known: Sequence[str] = (),
) -> calibrate.Measured:
    """Open what is searched to measure recall: a version, or as many buckets as may be read.

    Args:
        storage, settings, manifest: the collection.
        wanted: how thoroughly.
        known: names of buckets that are taken last.
    """
    some = calibrate.sample_buckets(manifest.buckets, wanted.max_rows, wanted.seed, set(known))
    part = replace(manifest, buckets=some)
    # So much is read that it would displace what searches want.
    view = _Pinned(storage, part, replace(settings, disk_cache=None))
    return calibrate.Measured(part, view._reader, view.search, settings.threads)


def _finisher(
    planned: planning.Planned, settings: Settings, on_progress: OnProgress
) -> build.Finish:
    """Measure recall of a version before it is committed: all at first, later the drift.

    Raises:
        InvalidInput: that is asked for, and there is no index.
    """
    storage, asked = planned.storage, planned.options.calibrate
    if asked:
        calibrate.check_has_index(planned.spec)

    def finish(manifest: Manifest) -> Manifest:
        if asked is False or not manifest.buckets:
            return manifest
        if asked:
            calibrate.check_can_be_calibrated(manifest)
        elif manifest.spec.index.kind != "rabitq" or any(
            bucket.model != manifest.model for bucket in manifest.buckets
        ):
            return manifest
        wanted = calibrate.AT_CREATE
        if manifest.calibration is not None:
            known = blobs.get_calibration(storage, manifest.calibration)
            of = measured(storage, settings, manifest, wanted, known.buckets)
            found = calibrate.with_drift(of, manifest, known, on_progress)
        elif asked or manifest.rows > search.NARROW_ROWS:
            of = measured(storage, settings, manifest, wanted)
            found = calibrate.measure(of, manifest, None, "", wanted, on_progress)
        else:
            return manifest
        return replace(manifest, calibration=blobs.put_calibration(storage, found))

    return finish


def _measurer(settings: Settings) -> partitiontrials.Measure:
    """Measure recall of a version that is never committed."""

    def measure(
        storage: Storage, manifest: Manifest, queries: QueryBatch, wanted: calibrate.Wanted
    ) -> Calibration:
        of = measured(storage, settings, manifest, wanted)
        return calibrate.measure(of, manifest, queries, "held-out rows", wanted, silent)

    return measure


def listed(sources: Sequence[str | Path] | str | Path) -> list[str | Path]:
    """Take one source or several."""
    return [sources] if isinstance(sources, str | Path) else list(sources)


def open_collection(uri: str | Path, settings: Settings, version: int | None = None) -> Collection:
    """Open a collection; see `atoll.open`.

    Raises:
        NotFound: there is none, or no such version.
        Forbidden, Unavailable: the store does not let us in, or does not answer.
    """
    storage = planning.open_collection_storage(uri, settings)
    manifest = manifests.latest_manifest(storage)
    if manifest is None:
        raise _no_collection(storage, uri)
    if version is not None:
        manifest = history.open_version(storage, manifest, version)
    return Collection(storage, manifest, settings, is_fixed=version is not None)


def _no_collection(storage: Storage, uri: str | Path) -> NotFound:
    return NotFound(
        f"{storage} is no collection; make one with `atoll create {uri} SOURCE...`",
        uri=str(storage),
    )


def collect_garbage(
    uri: str | Path, settings: Settings, *, keep_versions: int = 1, dry_run: bool
) -> garbage.GcReport:
    """Do `Collection.gc`, also where a killed build is all there is.

    Raises:
        NotFound: nothing of ours is there.
        Conflict: a build is running.
    """
    storage = planning.open_collection_storage(uri, settings)
    if next(storage.list(FOLDER), None) is None:
        raise _no_collection(storage, uri)
    return garbage.collect(storage, keep_versions=keep_versions, dry_run=dry_run)


def create_collection(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    options: BuildOptions,
    settings: Settings,
    force: bool = False,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> Collection:
    """Build a collection; see `atoll.create`."""
    planned = planning.plan(uri, listed(sources), options=options, settings=settings)
    manifest = build.create(
        planned,
        force=force,
        settings=settings,
        executor=executor,
        settle=lambda planned: partitiontrials.settled(
            planned, _measurer(settings), settings, on_progress
        ),
        finish=_finisher(planned, settings, on_progress),
        on_progress=on_progress,
    )
    return Collection(planned.storage, manifest, settings)


def adopt_collection(
    uri: str | Path,
    *,
    options: AdoptOptions,
    settings: Settings,
    on_progress: OnProgress = silent,
) -> Collection:
    """Make a collection of the tables of a LanceDB database; see `atoll.adopt`."""
    storage = planning.open_collection_storage(uri, settings)
    manifest = adopt.adopt(storage, options, settings, on_progress)
    return Collection(storage, manifest, settings)


def stored_queries(collection: Collection, ids: Sequence[str]) -> QueryBatch:
    """Take vectors of the collection itself as queries, named by their ids.

    Raises:
        NotFound: an id is not there.
    """
    spec = collection.spec
    found = collection.get(ids, [spec.vector_column])
    vectors = store.vectors_of(found[spec.vector_column], spec.dim).astype(np.float32)
    return QueryBatch(list(ids), vectors, spec.embedder)


def plan_collection(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    options: BuildOptions,
    settings: Settings,
    on_progress: OnProgress = silent,
) -> planning.Planned:
    """Say what `create_collection` would do; nothing is written."""
    planned = planning.plan(uri, listed(sources), options=options, settings=settings)
    if not partitiontrials.is_open(planned):
        return planned
    measure = _measurer(settings)
    choice = partitiontrials.choose_count(planned, measure, settings, on_progress)
    return partitiontrials.with_choice(planned, choice)
