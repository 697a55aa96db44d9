"""An open collection: its use cases, one method each."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from atoll.compute.port import Executor
from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.errors import Corrupt, Incomplete, InvalidInput, NotFound
from atoll.core.functions import FunctionMemory
from atoll.core.progress import OnProgress, silent
from atoll.storage import Storage, Usage, count_usage, open_storage
from atoll.vectors import (
    blobs,
    build,
    buildsteps,
    calibrate,
    compact,
    deletes,
    garbage,
    history,
    lanceerrors,
    manifests,
    planning,
    retrain,
    scalarindexes,
    upserts,
)
from atoll.vectors.calibrate import Wanted
from atoll.vectors.compact import CompactReport
from atoll.vectors.deletes import DeleteReport
from atoll.vectors.distributed.model import Request
from atoll.vectors.distributed.run import Run
from atoll.vectors.export import ExportOptions, ExportReport, export
from atoll.vectors.exportfiles import Format
from atoll.vectors.history import PastVersion
from atoll.vectors.info import facts
from atoll.vectors.model import (
    Bucket,
    Calibration,
    CollectionSpec,
    Manifest,
    PartitionChoice,
    VerifyReport,
)
from atoll.vectors.options import (
    BuildOptions,
    BuildStep,
    CompactOptions,
    RetrainOptions,
    SearchOptions,
    given_options,
    search_options,
)
from atoll.vectors.promises import Promises
from atoll.vectors.queries import QueryBatch, as_queries
from atoll.vectors.reader import Reader
from atoll.vectors.upserts import UpsertReport
from atoll.vectors.verify import verify
from atoll.vectors.view import View
from atoll.vectors.warming import warm
from atoll.vectors.work import watched

if TYPE_CHECKING:
    from atoll.vectors.pricing.offers import Offers
    from atoll.vectors.pricing.prices import Prices

T = TypeVar("T")


class Collection:
    """An open collection.

    A handle opened without a version follows the collection: `search`, `get`, `count` and what
    prepares a search look for a newer manifest (one read), unless that was done less than
    `Settings.read_consistency_s` ago; everything else always looks. What was written through the
    handle is seen at once. One opened at a version stays there and changes nothing. Safe to use
    from several threads.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: Manifest,
        settings: Settings,
        *,
        is_fixed: bool = False,
        is_strangers: bool = False,
        looked_at: float = -math.inf,
    ) -> None:
        """Use `atoll.open` or `atoll.create`; `looked_at` is when `manifest` was the newest."""
        self._storage, self._settings, self._is_fixed = storage, settings, is_fixed
        self._is_strangers = is_strangers
        self._manifest = manifest
        self._cache = ByteCache(settings.cache_bytes)
        self._reader = self._new_reader(manifest.spec)
        self._known: tuple[str, Promises] | None = None
        self._refreshing = threading.Lock()
        self._looked_at = looked_at

    # -- what it is -------------------------------------------------------------------------------

    @property
    def uri(self) -> str:
        """Where it is."""
        return str(self._storage)

    @property
    def is_here(self) -> bool:
        """Whether it lies on a disk of this machine, where no request costs anything."""
        return self._storage.root is not None

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
        began = monotonic()
        found = manifests.latest_manifest(self._storage, self._manifest) or self._manifest
        self._go_on_to(found)
        with self._refreshing:
            self._looked_at = max(self._looked_at, began)

    def _go_on_to(self, found: Manifest) -> None:
        """Take up a version that was found or made, unless another thread knows a newer one."""
        with self._refreshing:
            if found.version <= self._manifest.version:
                return
            if found.spec != self._manifest.spec:
                self._reader = self._new_reader(found.spec)
            live = {bucket.name: bucket for bucket in found.buckets}
            self._reader.forget(b for b in self._manifest.buckets if live.get(b.name) != b)
            self._manifest = found

    @property
    def calibration(self) -> Calibration | None:
        """Measured recall of the version last read; None where nobody has calibrated."""
        promises = self._promises()
        return None if promises is None else promises.calibration

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
        return facts(self.uri, self._manifest, self.calibration, self.partition_choice)

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
            and works (seconds, requests, bytes: see `atoll.vectors.work.Work`) as JSON.

        Raises:
            InvalidInput: k below 1, two queries of one id, a query of another dimension or model,
                zero under cosine, NaN, an unknown column, a predicate that does not parse; a
                recall beside settings of one's own, or one that no calibrated setting holds.
            Incomplete: a bucket failed three times; its `partial` holds the answer of the others.
        """
        options = search_options(
            k=k,
            nprobes=nprobes,
            refine_factor=refine_factor,
            recall=recall,
            exact=exact,
            max_distance=max_distance,
            where=where,
            columns=columns,
            with_vectors=with_vectors,
            exclude_self=exclude_self,
            group_by=group_by,
            allow_partial=allow_partial,
        )
        with watched("search") as watch:
            return self._answered(
                lambda: self._view_for(options).search(queries, options, on_progress, watch)
            )

    def begin_run(
        self,
        place: str | Path,
        queries: Any,
        options: SearchOptions,
        *,
        suffix: str = ".csv",
        is_refined_early: bool = False,
    ) -> Run:
        """Write down a search for others to carry out, step by step.

        Args:
            place: folder or `s3://bucket/prefix` for it; empty, or holding the same search.
            queries: as for `search`.
            options: as `search_options` made them.
            suffix: of the files with hits, ".csv" or ".parquet".
            is_refined_early: whether steps that search a bucket compute exact distances at once.

        Raises:
            InvalidInput: what `search` refuses, and `group_by`, which no bucket can do alone.
            Conflict: something else is at the place.
        """
        view = self._current_view(options)
        batch = as_queries(queries, view.manifest.spec, self._settings)
        request = Request.of(view, batch, options, suffix=suffix, is_refined_early=is_refined_early)
        run = Run(open_storage(place, self._settings.storage))
        run.begin(request, batch)
        return run

    def offers(
        self,
        options: SearchOptions,
        queries: int,
        prices: Prices,
        *,
        clouds: Sequence[str] = (),
        memory: FunctionMemory = FunctionMemory(),
    ) -> Offers:
        """Quote a search by each way that it can be carried out, with nothing cached.

        Args:
            options: as `search_options` made them.
            queries: how many.
            prices: of everything.
            clouds: what is deployed: "stepfunctions", "lambda", "batch".
            memory: of the functions that are deployed.

        Raises:
            InvalidInput: what `search` refuses.
        """
        # Whoever does not ask for prices need not load what knows them.
        from atoll.vectors.pricing.offers import make_offers

        view = self._current_view(options)
        return make_offers(
            view.manifest,
            view.settled(options)[0],
            queries,
            prices,
            clouds=clouds,
            is_leaving=self._storage.root is None and self._settings.is_leaving_region,
            memory=memory,
            calibration=self.calibration,
        )

    def warm(
        self, *, codes: bool = False, vectors: bool = False, on_progress: OnProgress = silent
    ) -> Usage:
        """Keep what searches read in the disk cache, for all processes of this machine.

        Killed, the same call goes on where it stopped.

        Args:
            codes: also all codes, as far as the cache may grow.
            vectors: also all codes, vectors and ids: searches by our own index and exact ones then
                ask the store for nothing but a newer manifest; see `Settings.read_consistency_s`.
            on_progress: told as all of it is read, with `vectors`.

        Returns:
            What was read from the store for that; nothing where the cache has it all.

        Raises:
            InvalidInput: the cache may not hold all vectors, or there is none.
            Unavailable: its disk cannot.
        """
        self.refresh()
        with count_usage() as usage:
            warm(
                self._reader,
                self._manifest,
                codes=codes,
                vectors=vectors,
                threads=self._settings.threads,
                on_progress=on_progress,
            )
        return usage

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
        return self._answered(lambda: self._view().get(ids, columns))

    def head(self, rows: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the first rows, in stored order.

        Args:
            rows: at most so many.
            columns: which columns; None reads all but the packed code.

        Raises:
            InvalidInput: an unknown column.
        """
        return self._answered(lambda: self._view().head(rows, columns))

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
        self._catch_up()
        if where is None:
            return len(self)
        asked = lanceerrors.predicate(where)
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
        self._view().check_columns(columns or ())
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
        self.refresh()
        return self._calibrate(queries, wanted, on_progress)

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
        found = build.add(
            planned,
            self._manifest,
            settings=self._settings,
            executor=executor,
            on_progress=on_progress,
        )
        self._go_on_to(found)
        return self

    def add_step(
        self,
        step: BuildStep,
        sources: Sequence[str | Path] | str | Path,
        *,
        index: int | None = None,
        options: BuildOptions | None = None,
        executor: Executor | None = None,
        on_progress: OnProgress = silent,
        **given: Any,
    ) -> dict[str, Any] | None:
        """Do one step of `add`, for processes that share nothing but the store.

        Args:
            step: "plan", once; "build", for each bucket; "commit", once.
            sources, options, executor, on_progress: as for `add`, the same for all steps.
            index: of the bucket to build, from 0.

        Returns:
            What the step did; None of a commit, after which this is the new version.

        Raises:
            InvalidInput: as `add`.
            NotFound: a step before it was not carried out.
            Conflict: sources or collection are not what was planned.
        """
        found = buildsteps.carry_out(
            step,
            self._planned(sources, given_options(options, given)),
            self._manifest,
            index=index,
            settings=self._settings,
            executor=executor,
            on_progress=on_progress,
        )
        if isinstance(found, dict):
            return found
        self._go_on_to(found)
        return None

    def count_new_buckets(
        self,
        sources: Sequence[str | Path] | str | Path,
        *,
        options: BuildOptions | None = None,
        **given: Any,
    ) -> int:
        """Tell how many buckets `add` would make; for `sources` and `options` see there."""
        return len(self._planned(sources, given_options(options, given)).buckets.buckets)

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
        found, report = upserts.upsert(
            planned,
            self._manifest,
            settings=self._settings,
            executor=executor,
            on_progress=on_progress,
        )
        self._go_on_to(found)
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
            predicate = lanceerrors.predicate(where)
            found, report = deletes.delete_where(
                self._storage, self._manifest, predicate, dry_run=dry_run, threads=threads
            )
        else:
            found, report = deletes.delete_ids(
                self._storage,
                self._manifest,
                [str(name) for name in ids or ()],
                allow_missing=allow_missing,
                dry_run=dry_run,
                threads=threads,
            )
        self._go_on_to(found)
        return report

    def drop_bucket(self, name: str) -> Collection:
        """Take a bucket out of the collection; its files stay until `gc`.

        Raises:
            NotFound: no live bucket has that name.
            Conflict: `gc` is running.
        """
        self._require_current()
        self.refresh()
        self._go_on_to(deletes.drop_bucket(self._storage, self._manifest, name))
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
        found, report = compact.compact(
            self._storage,
            self._manifest,
            CompactOptions(bucket_rows, min_rows, tuple(buckets)),
            settings=self._settings,
            dry_run=dry_run,
            on_progress=on_progress,
        )
        self._go_on_to(found)
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
        report = garbage.collect(self._storage, keep_versions=keep_versions, dry_run=dry_run)
        self.refresh()
        return report

    # -- within -----------------------------------------------------------------------------------

    def _new_reader(self, spec: CollectionSpec) -> Reader:
        kept = self._settings.disk_cache, self._settings.disk_cache_bytes
        storage = self._storage.cached(*kept)
        return Reader(storage, spec, self._cache, is_strangers=self._is_strangers)

    def _promises(self) -> Promises | None:
        blob, known = self._manifest.calibration, self._known
        if blob is None:
            return None
        if known is None or known[0] != blob.sha256:
            found = blobs.get_calibration(self._reader.storage, blob)
            known = self._known = blob.sha256, Promises(found)
        return known[1]

    def _answered(self, read: Callable[[], T]) -> T:
        """Read; once more where what is gone belongs to a version that is no longer the newest."""
        self._catch_up()
        before = self.version
        try:
            return read()
        except (Corrupt, Incomplete, NotFound):
            self.refresh()
            if self.version == before:
                raise
            return read()

    def _catch_up(self) -> None:
        """Read the newest manifest, unless somebody has looked for it shortly before."""
        if monotonic() - self._looked_at >= self._settings.read_consistency_s:
            self.refresh()

    def _current_view(self, options: SearchOptions) -> View:
        self._catch_up()
        return self._view_for(options)

    def _view_for(self, options: SearchOptions) -> View:
        view = self._view()
        return view if options.recall is None else replace(view, promises=self._promises())

    def _view(self) -> View:
        return View(self.uri, self._reader, self._manifest, None, self._settings)

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
            self.uri, sources, options=chosen, settings=self._settings, into=self.spec
        )

    def _require_current(self) -> None:
        if self._is_fixed:
            raise InvalidInput(
                f"this handle is open at version {self.version}, which cannot change; open "
                f"{self.uri} without a version",
                version=self.version,
            )

    def _calibrate(self, queries: Any, wanted: Wanted, on_progress: OnProgress) -> Calibration:
        manifest, found = calibrate.calibrate(
            self._storage,
            self._manifest,
            queries,
            wanted,
            settings=self._settings,
            on_progress=on_progress,
        )
        self._go_on_to(manifest)
        return found
