"""Tries numbers of partitions on a sample of the rows of a plan, before anything is built.

A number is tried with as many partitions of the sample as hold as many of its rows as one would
hold over all buckets. That ranks numbers; a thin set has other neighbours than a dense one, so how
many partitions a search must probe is measured once more after the build.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.files import scratch_folder
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.records import decoded
from atoll.storage import Storage, open_storage
from atoll.vectors import blobs, calibrate, index, indexspec, manifests, schemas, training
from atoll.vectors.calibrate import Wanted
from atoll.vectors.ingest import BucketJob, build_bucket
from atoll.vectors.model import (
    CODE_COLUMN,
    CalibrationPoint,
    CollectionSpec,
    Manifest,
    PartitionChoice,
    PartitionTrial,
)
from atoll.vectors.partitions import counts_to_try, decide
from atoll.vectors.paths import build_path
from atoll.vectors.planning import Planned
from atoll.vectors.queries import QueryBatch
from atoll.vectors.rows import TINY_HALF, JobSlice
from atoll.vectors.sources.columns import batch_schema, vector_array
from atoll.vectors.teams import SHUFFLE_SHARE

K = 10
KS = (1, K)
DEFAULT_RECALL = 0.95
MAX_SAMPLE_ROWS = 1 << 17
# Trials hold it some five times.
MAX_SAMPLE_BYTES = 256 << 20
# Of fewer, so few are left to search for that they tell nothing.
MIN_ROWS = 1000
MAX_QUERY_SHARE = 0.1
MIN_QUERIES, MAX_QUERIES = 200, 1000
# Twice as many as are sure of a recall when all find everything, times 1 - recall.
QUERIES_PER_DOUBT = 8
CENTROID_BYTES = 2


def settled(planned: Planned, settings: Settings, on_progress: OnProgress) -> Planned:
    """Choose the number of partitions that a plan leaves open, or take what its build chose before.

    Raises:
        InvalidInput: as `choose_count`.
    """
    if not is_open(planned):
        return planned
    path = build_path(planned.hash, "partitions.json")
    if not planned.storage.exists(path):
        choice = choose_count(planned, settings, on_progress)
        planned.storage.put_new(path, msgspec.json.encode(choice))
    return with_choice(planned, decoded(planned.storage.get(path), PartitionChoice))


def is_open(planned: Planned) -> bool:
    """Tell whether a plan leaves the number of partitions open."""
    spec = planned.spec.index
    return spec.kind != "flat" and not spec.num_partitions


def with_choice(planned: Planned, choice: PartitionChoice) -> Planned:
    """Fill in the number of partitions."""
    spec = replace(planned.spec.index, num_partitions=choice.num_partitions)
    return replace(planned, spec=replace(planned.spec, index=spec), choice=choice)


def choose_count(planned: Planned, settings: Settings, on_progress: OnProgress) -> PartitionChoice:
    """Try numbers of partitions on a sample and choose the one that holds recall and reads least.

    Where the rows are too few, or no number holds it, that is the default.

    Args:
        planned: what is built; nothing of it is written.
        settings: memory, scratch folder.
        on_progress: told before each trial.

    Raises:
        InvalidInput: the sample is too thin to tell, or none of its rows can be searched.
    """
    began = time.process_time()
    rows, recall = planned.buckets.rows, planned.options.recall or DEFAULT_RECALL
    default = _default_count(planned)
    sample = _sample(planned, recall)
    if sample is None:
        why = f"the default: {rows:,} rows are too few to try others"
        return PartitionChoice(default, why, K, recall, rows, 0, 0, planned.options.seed, 0.0, ())
    pairs = counts_to_try(default, sample.share)
    if len(pairs) < 2:
        raise _too_thin(planned, default, sample)
    trials = _Trials(planned, sample, recall, settings)
    found = []
    for number, (count, sample_partitions) in enumerate(pairs):
        on_progress(Progress("try partitions", number, len(pairs), "numbers"))
        found.append(trials.run(count, sample_partitions))
    on_progress(Progress("try partitions", len(pairs), len(pairs), "numbers"))
    count, why = decide(found, default, K, recall)
    return PartitionChoice(
        num_partitions=count,
        why=why,
        k=K,
        recall=recall,
        rows=rows,
        sample_rows=len(sample.rows),
        queries=len(sample.queries),
        seed=planned.options.seed,
        cpu_s=round(time.process_time() - began, 2),
        trials=tuple(found),
    )


def _default_count(planned: Planned) -> int:
    rows = max(bucket.rows for bucket in planned.buckets.buckets)
    return indexspec.resolve(
        "rabitq", planned.spec.dim, rows, num_partitions=None, num_sub_vectors=None
    ).num_partitions


def _too_thin(planned: Planned, default: int, sample: _Sample) -> InvalidInput:
    return InvalidInput(
        f"a sample of {len(sample.rows):,} of {planned.buckets.rows:,} rows is too thin to try "
        f"numbers of partitions like {default:,}; leave --num-partitions out, or give a number",
        rows=planned.buckets.rows,
        sample_rows=len(sample.rows),
    )


@dataclass(frozen=True, eq=False)
class _Sample:
    """Rows to try on, and others to search for.

    Attributes:
        rows: (n, dim) float32.
        queries: held out.
        share: of all rows, those drawn.
    """

    rows: NDArray[np.float32]
    queries: QueryBatch
    share: float


def _sample(planned: Planned, recall: float) -> _Sample | None:
    """Draw rows over all sources; None where they are too few."""
    spec, seed = planned.spec, planned.options.seed
    wanted = min(MAX_SAMPLE_ROWS, MAX_SAMPLE_BYTES // (4 * spec.dim))
    sources = [planned.sources[uri] for uri in sorted(planned.sources)]
    rows = training.drawn_rows(sources, spec, wanted, seed)
    if spec.dtype == "float16":
        # The build will refuse the others by name.
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        fits = (largest > TINY_HALF) & (largest <= np.finfo(np.float16).max)
        rows = rows if fits.all() else rows[fits]
    if len(rows) < MIN_ROWS:
        return None
    count = math.ceil(QUERIES_PER_DOUBT / (1 - recall))
    count = min(max(count, MIN_QUERIES), MAX_QUERIES, int(len(rows) * MAX_QUERY_SHARE))
    chosen = np.random.default_rng(seed).choice(len(rows), count, replace=False)
    queries = QueryBatch([str(row) for row in chosen], rows[chosen], spec.embedder)
    left = len(rows) - count
    # The last rows take the places of queries: a copy without them would take as much memory again.
    rows[chosen[chosen < left]] = rows[np.setdiff1d(np.arange(left, len(rows)), chosen)]
    return _Sample(rows[:left], queries, min(1.0, wanted / planned.buckets.rows))


@dataclass(frozen=True, eq=False)
class _Trials:
    """Builds the sample anew for each number of partitions, and searches it."""

    planned: Planned
    sample: _Sample
    recall: float
    settings: Settings

    def run(self, count: int, sample_partitions: int) -> PartitionTrial:
        """Try `count` partitions a bucket with `sample_partitions` of the sample."""
        sample = self.sample
        # What is sure lies below what is measured: half way to 1 is far enough.
        wanted = Wanted(KS, queries=len(sample.queries), enough=(1 + self.recall) / 2, candidates=0)
        with scratch_folder(self.settings.scratch, "partitions") as folder:
            storage = open_storage(folder)
            manifest = self._built(storage, count, sample_partitions)
            view = calibrate.opened(storage, self.settings, manifest, wanted)
            found = calibrate.measure(
                view, manifest, sample.queries, "held-out rows", wanted, silent
            )
        points = tuple(self._of_the_whole(point, count) for point in found.points)
        return PartitionTrial(count, sample_partitions, replace(found, points=points))

    def _of_the_whole(self, point: CalibrationPoint, count: int) -> CalibrationPoint:
        """Tell what a query of the whole collection reads that has nothing cached."""
        more = len(self.planned.buckets.buckets) - 1
        return replace(
            point,
            requests=point.requests + more * point.nprobes,
            bytes=point.bytes + CENTROID_BYTES * count * self.planned.spec.dim,
        )

    def _built(self, storage: Storage, count: int, sample_partitions: int) -> Manifest:
        options, rows = self.planned.options, self.sample.rows
        spec = _plain_spec(self.planned.spec, sample_partitions)
        some = self._training_rows(count, sample_partitions)
        model = index.train(some, spec.index, spec.distance_type, options.seed, options.device)
        blob = blobs.put_model(storage, model)
        job = BucketJob(
            collection=storage,
            plan=self.planned.hash,
            name="sample",
            fingerprint=blob.key,
            slices=(JobSlice(_Rows(rows), 0, len(rows)),),
            spec=spec,
            model=blob,
            on_invalid="error",
            batch_rows=options.batch_rows,
            memory_bytes=int(self.settings.memory_bytes * SHUFFLE_SHARE),
            scratch=self.settings.scratch,
            device=options.device,
        )
        bucket = build_bucket(job)
        assert bucket is not None, "only rows that can be searched are drawn"
        return Manifest(1, manifests.now(), spec, {blob.key: blob}, blob.key, (bucket,))

    def _training_rows(self, count: int, sample_partitions: int) -> NDArray[np.float32]:
        """Take as many rows for each centroid as those of the whole collection get."""
        spec, rows = self.planned.spec.index, self.sample.rows
        whole = training.training_rows(replace(spec, num_partitions=count))
        wanted = min(whole, self.planned.buckets.rows) * sample_partitions // count
        evenly = np.linspace(0, len(rows), min(wanted, len(rows)), endpoint=False)
        return rows[evenly.astype(np.int64)]


def _plain_spec(spec: CollectionSpec, num_partitions: int) -> CollectionSpec:
    """Leave out further columns."""
    schema = schemas.decode_schema(spec.arrow_schema)
    fields = [schema.field(name) for name in (spec.vector_column, spec.id_column, CODE_COLUMN)]
    return replace(
        spec,
        columns={},
        arrow_schema=schemas.encode_schema(pa.schema(fields)),
        index=replace(spec.index, num_partitions=num_partitions),
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Reads an array as if it were a file; ids are row numbers."""

    vectors: NDArray[np.float32]
    uri = "sample"
    version = ""

    def read(
        self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows; see `RowSource`."""
        schema = batch_schema(self.vectors.shape[1], pa.schema([]))
        for at in range(start, stop, batch_rows):
            after = min(stop, at + batch_rows)
            ids = pa.array(np.arange(at, after)).cast(pa.string())
            yield pa.record_batch([vector_array(self.vectors[at:after]), ids], schema=schema)
