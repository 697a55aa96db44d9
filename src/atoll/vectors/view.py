"""One version of a collection as searches see it: open tables, and what is known of its recall."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import AtollError, Incomplete, InvalidInput, NotFound
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.text import counted, some_of
from atoll.vectors import schemas, search
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.idcheck import matching
from atoll.vectors.mapreduce import BucketsFailed, MapReduce
from atoll.vectors.model import CalibrationPoint, CollectionSpec, IndexKind, Manifest
from atoll.vectors.options import SearchOptions
from atoll.vectors.promises import Promises
from atoll.vectors.queries import QueryBatch, as_queries
from atoll.vectors.reader import Reader
from atoll.vectors.work import Watch, described

# Of the memory, what candidates may take, and bytes each takes until it is refined.
CANDIDATE_SHARE = 0.25
CANDIDATE_BYTES = 96
METADATA_KEY = b"atoll"


@dataclass(frozen=True)
class View:
    """What is searched.

    Attributes:
        uri: of the collection, for messages.
        reader: opens tables and models.
        manifest: the version; all its buckets are searched.
        promises: what `SearchOptions.recall` is chosen by; None where nobody has calibrated.
        settings: memory and threads.
    """

    uri: str
    reader: Reader
    manifest: Manifest
    promises: Promises | None
    settings: Settings

    # -- by id ------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str], columns: Sequence[str] | None) -> pa.Table:
        """Read rows by id; see `Collection.get`."""
        names = list(columns) if columns is not None else self.reader.columns
        self.check_columns(names)
        asked = pa.array([str(name) for name in ids], pa.string())
        hashes = hash_ids(asked)
        found, places = [], []
        for bucket in self.manifest.buckets:
            positions, rows = self.reader.id_index(bucket).find(hashes)
            if len(positions):
                opened = self.reader.bucket(bucket)
                place, mine = matching(opened, rows.astype(np.int64), positions, asked)
                found.append(self.reader.table(bucket).take(mine, names))
                places.append(place)
        place = np.concatenate([np.empty(0, np.int64), *places])
        missing = np.setdiff1d(np.arange(len(asked)), place)
        if len(missing):
            first = [repr(asked[int(i)].as_py()) for i in missing[:5]]
            raise NotFound(
                f"{self.uri} has no row with the id {some_of(first, total=len(missing))}",
                missing=len(missing),
            )
        schema = pa.schema([self.reader.schema.field(name) for name in names])
        if not found:
            return schema.empty_table()
        rows = pa.concat_tables(found).take(pa.array(np.argsort(place, kind="stable")))
        return schemas.seen(rows, schema)

    # -- in order ---------------------------------------------------------------------------------

    def head(self, rows: int, columns: Sequence[str] | None) -> pa.Table:
        """Read the first rows; see `Collection.head`."""
        names = list(columns) if columns is not None else self.reader.columns
        self.check_columns(names)
        found, left = list[pa.RecordBatch](), rows
        for bucket in self.manifest.buckets:
            if left <= 0:
                break
            for _, batch in self.reader.table(bucket).batches(names, batch_rows=left):
                found.append(batch)
                left -= len(batch)
                if left <= 0:
                    break
        schema = pa.schema([self.reader.schema.field(name) for name in names])
        if not found:
            return schema.empty_table()
        return schemas.seen(pa.Table.from_batches(found).slice(0, rows), schema)

    # -- nearest ----------------------------------------------------------------------------------

    def search(
        self,
        queries: Any,
        options: SearchOptions,
        on_progress: OnProgress = silent,
        watch: Watch | None = None,
    ) -> pa.Table:
        """Answer queries; see `Collection.search`. What `watch` measured is told with the hits."""
        options, recall = self.settled(options)
        batch = as_queries(queries, self.manifest.spec, self.settings)
        return _Search(self, options, recall).answer(batch, on_progress, watch)

    def settled(self, options: SearchOptions) -> tuple[SearchOptions, dict[str, Any] | None]:
        """Check options, and choose the settings that hold the recall asked for.

        Returns:
            The options with those settings; what recall was asked for and what holds it, or None
            where none was.
        """
        self._check_options(options)
        chosen, promised = self._with_settings_for_recall(options)
        return chosen, self._recall_facts(chosen, promised)

    def queries_at_once(self, options: SearchOptions) -> int:
        """Say how many queries are answered together, within the memory there is."""
        room = self.settings.memory_bytes * CANDIDATE_SHARE
        return max(1, int(room / (CANDIDATE_BYTES * max(1, self._candidates(options)))))

    def _candidates(self, options: SearchOptions) -> int:
        """Count the rows held for a query: our index keeps the best over all buckets, but Lance's
        brings some from each, and so does comparing every row."""
        spec = self.manifest.spec
        is_compared = options.exact or spec.index.kind == "flat"
        wanted = options.k * (1 if is_compared else max(1, options.refine_factor))
        together, apart = 0, 0
        for bucket in self.manifest.buckets:
            if is_compared or spec.index_of(bucket).kind != "rabitq":
                apart += min(bucket.rows, wanted)
            else:
                together += bucket.rows
        return min(together, wanted) + apart

    def _recall_facts(
        self, options: SearchOptions, promised: CalibrationPoint | None
    ) -> dict[str, Any] | None:
        if options.recall is None:
            return None
        if promised is None:
            exact = {"measured": 1.0, "low": 1.0, "high": 1.0, "holds": True, "why": ""}
            return {"asked": options.recall, **exact}
        assert self.promises is not None
        advice = self.promises.advice(self.manifest)
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

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse a name that is no column a user sees.

        Raises:
            InvalidInput: there is one.
        """
        known = self.reader.columns
        for name in names:
            if name not in known:
                raise InvalidInput(
                    f"{self.uri} has no column {name!r}; it has {', '.join(known)}", column=name
                )

    def _check_options(self, options: SearchOptions) -> None:
        self.check_columns(options.columns)
        if options.group_by:
            self.check_columns([options.group_by])
            kind = self.reader.schema.field(options.group_by).type
            if pa.types.is_nested(kind):
                raise InvalidInput(f"--group-by {options.group_by}: cannot group by a {kind}")

    def _with_settings_for_recall(
        self, options: SearchOptions
    ) -> tuple[SearchOptions, CalibrationPoint | None]:
        """Choose the settings that hold the recall asked for, if any was."""
        if options.recall is None:
            return options, None
        known, manifest = self.promises, self.manifest
        is_small = known is None and manifest.rows <= search.NARROW_ROWS
        if options.recall == 1 or is_small or manifest.spec.index.kind == "flat":
            return replace(options, exact=True), None
        if known is None or any(
            bucket.model != known.calibration.model for bucket in manifest.buckets
        ):
            raise InvalidInput(
                f"the recall of {self.uri} is not calibrated"
                f"{'' if known is None else ' for its present index model'}; run `atoll calibrate "
                f"{self.uri}`, or search with --exact, or with --nprobes and --refine-factor",
                recall=options.recall,
            )
        chosen = known.choose(options.k, options.recall)
        found = replace(options, nprobes=chosen.nprobes, refine_factor=chosen.refine_factor)
        return found, chosen


class _Search:
    """One search: its settings, and what the batches of its queries share and find out."""

    def __init__(self, view: View, options: SearchOptions, recall: dict[str, Any] | None) -> None:
        self._view, self._options, self._recall = view, options, recall
        self._manifest = view.manifest
        self._masks: dict[int, NDArray[np.bool_]] = {}
        self._paths: set[str] = set()
        self._failed: dict[int, AtollError] = {}

    def answer(self, batch: QueryBatch, on_progress: OnProgress, watch: Watch | None) -> pa.Table:
        """Search for all of them, as many at once as memory allows.

        Raises:
            Incomplete: buckets failed, and not all of them, and that is not allowed.
        """
        parts = []
        at_once = self._view.queries_at_once(self._options)
        for start in range(0, len(batch), at_once):
            parts.append(self._search_without_failing(batch.slice(start, start + at_once)))
            done = min(start + at_once, len(batch))
            on_progress(Progress("search", done, len(batch), "queries"))
        failed = {
            self._manifest.buckets[position].name: error.message
            for position, error in self._failed.items()
        }
        spec = self._manifest.spec
        kinds = dict.fromkeys(spec.index_of(bucket).kind for bucket in self._manifest.buckets)
        facts = search_facts(
            self._manifest.version, spec, kinds, self._options, self._recall, self._paths, failed
        )
        if watch is not None:
            facts["works"] = described([watch.taken()])
        table = pa.concat_tables(parts).replace_schema_metadata({METADATA_KEY: json.dumps(facts)})
        if self._failed and not self._options.allow_partial:
            raise self._incomplete(table)
        return table

    def _search_without_failing(self, batch: QueryBatch) -> pa.Table:
        """Search; leave out buckets that fail and note them."""
        while True:
            live = {i: b for i, b in enumerate(self._manifest.buckets) if i not in self._failed}
            try:
                return MapReduce(
                    self._view.reader,
                    self._manifest.models,
                    live,
                    batch,
                    self._options,
                    self._view.settings.threads,
                    self._masks,
                    self._paths,
                ).run()
            except BucketsFailed as failure:
                self._failed.update(failure.errors)
                if len(self._failed) == len(self._manifest.buckets):
                    raise next(iter(self._failed.values())) from failure

    def _incomplete(self, table: pa.Table) -> Incomplete:
        missing = [self._manifest.buckets[position] for position in self._failed]
        rows = sum(bucket.rows for bucket in missing)
        names = [bucket.name for bucket in missing]
        error = Incomplete(
            f"{len(names):,} of {counted(len(self._manifest.buckets), 'bucket')} did not answer "
            f"({', '.join(names)}; {rows:,} of {self._manifest.rows:,} rows): "
            f"{next(iter(self._failed.values())).message}. "
            "Accept the rest with allow_partial=True",
            buckets=names,
            rows=rows,
        )
        error.partial = table
        return error


def search_facts(
    version: int,
    spec: CollectionSpec,
    kinds: Collection[IndexKind],
    options: SearchOptions,
    recall: dict[str, Any] | None,
    paths: Collection[str],
    failed: Mapping[str, str],
) -> dict[str, Any]:
    """Say how an answer was found; JSON-ready.

    Args:
        version, spec: what was searched.
        kinds: indexes of its buckets, each once.
        options, recall: as `View.settled` gave them.
        paths: how rows were found.
        failed: buckets that did not answer, and why.
    """
    return {
        "version": version,
        "index": "exact" if options.exact else ", ".join(kinds) or spec.index.kind,
        "paths": sorted(paths),
        "nprobes": options.nprobes or f"{search.DEFAULT_NPROBES}, widened until k are found",
        "refine_factor": options.refine_factor,
        "recall": recall,
        "distance_type": spec.distance_type,
        "failed_buckets": dict(failed),
    }
