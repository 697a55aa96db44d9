"""Measures a calibration: searches at each setting of a grid, held against an exact search."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import counted
from atoll.storage import Storage
from atoll.vectors import blobs, drift, leases, manifests, readcounts, search
from atoll.vectors import calibration as decide
from atoll.vectors.index import prepared
from atoll.vectors.model import (
    Bucket,
    Calibration,
    CalibrationPoint,
    CollectionSpec,
    Drift,
    Manifest,
    Reads,
)
from atoll.vectors.nested import rows_of
from atoll.vectors.planning import Planned
from atoll.vectors.queries import QueryBatch, as_queries
from atoll.vectors.reader import Reader
from atoll.vectors.reads import as_counted
from atoll.vectors.recallgrid import Grid
from atoll.vectors.view import View

DEFAULT_KS = (1, 10, 100)
DEFAULT_QUERIES = 1000
# Comparing 1,000 queries with so many rows of 960 takes about 500 CPU-seconds.
MAX_SEARCHED_ROWS = 20_000_000
STORED_ROWS = "stored rows"
# Of 50,000 hits with the default refine factor.
MAX_CANDIDATES = 250_000
DRIFT_QUERIES = 100
# Of the buckets of one add, so many are measured, among so many rows, or so many times the new
# ones: what it costs follows what is added, not what is there.
DRIFT_BUCKETS = 8
DRIFT_ROWS = 1_000_000
DRIFT_ROWS_PER_NEW = 2


@dataclass(frozen=True)
class Wanted:
    """How thoroughly to measure.

    Attributes:
        ks: numbers of hits.
        is_capped: whether a k above the number of neighbours counts as that; else it is refused.
        queries: stored rows to draw.
        max_rows: rows to search at most, in whole buckets.
        seed: draws rows and buckets.
        enough: once recall reaches this at every k, more partitions are not searched.
        candidates: rows to refine for which reads are counted, at most; 0 for none.
    """

    ks: tuple[int, ...] = DEFAULT_KS
    is_capped: bool = True
    queries: int = DEFAULT_QUERIES
    max_rows: int = MAX_SEARCHED_ROWS
    seed: int = 0
    enough: float = decide.ENOUGH_RECALL
    candidates: int = MAX_CANDIDATES

    def __post_init__(self) -> None:
        """Refuse numbers below 1.

        Raises:
            InvalidInput: there is one, or no k.
        """
        if not self.ks or min(*self.ks, self.queries, self.max_rows) < 1:
            raise InvalidInput(
                f"k {list(self.ks)}, {self.queries:,} queries, {self.max_rows:,} rows: calibrate "
                "for at least one k; all numbers start at 1"
            )


# Searching for 100 neighbours with 2,000 candidates would cost several times as much.
AT_CREATE = Wanted(ks=(1, 10), queries=100, candidates=10_000)


def check_has_index(spec: CollectionSpec) -> None:
    """Refuse a collection whose recall is no question.

    Raises:
        InvalidInput: it has no index.
    """
    if spec.index.kind == "flat":
        raise InvalidInput(
            "this collection has no index: every search compares every row and finds all "
            "neighbours; there is nothing to calibrate"
        )


def check_can_be_calibrated(manifest: Manifest) -> None:
    """Refuse a collection whose recall is no question, or has no one answer.

    Raises:
        InvalidInput: it has no index, or too few rows.
        Conflict: its buckets have several index models.
    """
    check_has_index(manifest.spec)
    if manifest.rows < 2:
        raise InvalidInput("a collection of fewer than 2 rows has no neighbours to find")
    if manifest.model is None or any(bucket.model is None for bucket in manifest.buckets):
        raise InvalidInput(
            "some tables were adopted with indexes of their own, for which no one setting holds; "
            "convert them first"
        )
    if len({bucket.model for bucket in manifest.buckets}) > 1:
        raise Conflict(
            "some buckets still have the index model of before a retrain; let `atoll retrain` "
            "finish, then calibrate"
        )


def sample_buckets(
    buckets: Sequence[Bucket], max_rows: int, seed: int, known: Container[str] = ()
) -> tuple[Bucket, ...]:
    """Pick whole buckets until they hold `max_rows`: at random, those not `known` before others.

    Returns:
        At least one, and one that is known unless all of those are very large; in their order.
    """
    order = np.random.default_rng(seed).permutation(len(buckets)).tolist()
    order.sort(key=lambda number: buckets[number].name in known)
    chosen: set[int] = set()
    rows = 0
    for number in order:
        if not chosen or rows + buckets[number].rows <= max_rows:
            chosen.add(number)
            rows += buckets[number].rows
    old = [number for number in order if buckets[number].name in known]
    if old and chosen.isdisjoint(old):
        # New rows among themselves alone would find each other whatever the model.
        smallest = min(old, key=lambda number: buckets[number].rows)
        if buckets[smallest].rows <= MAX_SEARCHED_ROWS:
            chosen.add(smallest)
    return tuple(buckets[number] for number in sorted(chosen))


def opened(
    storage: Storage,
    settings: Settings,
    manifest: Manifest,
    wanted: Wanted,
    known: Container[str] = (),
) -> View:
    """Open what is searched to measure recall: a version, or as many buckets as may be read.

    Args:
        storage, settings, manifest: the collection; the version need not be committed.
        wanted: how thoroughly.
        known: names of buckets that are taken last.
    """
    some = sample_buckets(manifest.buckets, wanted.max_rows, wanted.seed, known)
    # So much is read that on disk it would displace what searches want.
    reader = Reader(storage, manifest.spec, ByteCache(settings.cache_bytes))
    return View(str(storage), reader, replace(manifest, buckets=some), None, settings)


def stored_rows(view: View, count: int, seed: int) -> QueryBatch:
    """Draw stored rows as queries, evenly over all rows, named by their ids."""
    spec, total = view.manifest.spec, view.manifest.rows
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    ids: list[str] = []
    vectors = []
    first = 0
    for bucket in view.manifest.buckets:
        mine = drawn[slice(*np.searchsorted(drawn, (first, first + bucket.rows)))] - first
        first += bucket.rows
        if len(mine):
            opened = view.reader.bucket(bucket)
            rows = mine if opened.live is None else np.flatnonzero(opened.live)[mine]
            ids += opened.ids(rows).to_pylist()
            vectors.append(opened.vectors(rows).astype(np.float32))
    return QueryBatch(ids, np.concatenate(vectors).reshape(-1, spec.dim), spec.embedder)


def measure(
    view: View,
    whole: Manifest,
    given: QueryBatch | None,
    source: str,
    wanted: Wanted,
    on_progress: OnProgress,
) -> Calibration:
    """Measure recall over the grid.

    Args:
        view: what is searched.
        whole: the version it is a part of.
        given: queries; None draws stored rows, each of which is then left out of its own answer.
        source: what given queries are, for the record.
        wanted: how thoroughly.
        on_progress: told after each setting.

    Raises:
        InvalidInput: a k above the number of neighbours, and that is not to be capped.
    """
    began = time.process_time()
    batch = given if given is not None else stored_rows(view, wanted.queries, wanted.seed)
    others = view.manifest.rows - (given is None)
    if max(wanted.ks) > others and not wanted.is_capped:
        raise InvalidInput(
            f"k is {max(wanted.ks)}, but among the {counted(view.manifest.rows, 'row')} searched a "
            f"query has only {counted(others, 'neighbour')}; calibrate for fewer",
            neighbours=others,
        )
    chosen = sorted({min(k, others) for k in wanted.ks})
    grid = Grid(view, batch, chosen, is_stored=given is None)
    points = tuple(grid.points(wanted.enough, on_progress))
    reads: tuple[Reads, ...] = ()
    if wanted.candidates and view.manifest.spec.index.kind == "rabitq":
        reads = _reads(view, batch, given is None, points, wanted.candidates)
        points = tuple(as_counted(point, reads[0]) for point in points)
    assert whole.model is not None
    return Calibration(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=whole.model,
        buckets=tuple(bucket.name for bucket in whole.buckets),
        rows=whole.rows,
        searched_rows=view.manifest.rows,
        queries=len(batch),
        source=STORED_ROWS if given is None else source,
        seed=wanted.seed,
        within=grid.within,
        spread=_spread(view, batch) if given is None else 0.0,
        cpu_s=round(time.process_time() - began, 2),
        points=points,
        reads=reads,
    )


def _reads(
    view: View,
    batch: QueryBatch,
    is_stored: bool,
    points: Sequence[CalibrationPoint],
    candidates: int,
) -> tuple[Reads, ...]:
    """Count what the queries ask for, up to as many partitions as were searched, or more."""
    own = rows_of(view.reader, view.manifest, pa.array(batch.ids)) if is_stored else None
    most = max(*(point.nprobes for point in points), search.DEFAULT_NPROBES)
    nprobes = min(most, view.manifest.spec.index.num_partitions)
    return readcounts.count_reads(view, batch.vectors, own, nprobes, candidates)


def calibrate(
    storage: Storage,
    manifest: Manifest,
    queries: Any,
    wanted: Wanted,
    *,
    settings: Settings,
    on_progress: OnProgress,
) -> tuple[Manifest, Calibration]:
    """Measure recall and commit it.

    Args:
        storage, manifest: the collection.
        queries: see `Collection.search`; None draws stored rows.
        wanted: how thoroughly.
        settings, on_progress: as for a build.

    Returns:
        The manifest in force and what was measured.

    Raises:
        InvalidInput, Conflict: see `Collection.calibrate`.
    """
    given = None if queries is None else as_queries(queries, manifest.spec, settings)
    source = str(queries) if isinstance(queries, str | Path) else "given queries"
    # What is stored but not committed yet looks like garbage.
    with leases.hold(storage, "build") as lease:
        manifest = manifests.latest_manifest(storage, manifest) or manifest
        check_can_be_calibrated(manifest)
        view = opened(storage, settings, manifest, wanted)
        found = measure(view, manifest, given, source, wanted, on_progress)
        blob = blobs.put_calibration(storage, found)

        def calibrated(current: Manifest) -> Manifest:
            if current.model != found.model:
                raise Conflict(f"{storage} got another index model meanwhile; calibrate again")
            following = manifests.next_manifest(current, "calibrate", plan=current.plan)
            return replace(following, calibration=blob)

        manifest, _ = manifests.commit_next(storage, manifest, calibrated, lease)
        return manifest, found


def with_drift(
    view: View, whole: Manifest, known: Calibration, on_progress: OnProgress
) -> Calibration:
    """Measure how rows that came after a calibration are found, at the default settings.

    Args:
        view: what is searched; of later buckets only those that are in it are measured.
        whole: the version.
        known: the calibration.
        on_progress: told after each bucket.
    """
    seen = {*known.buckets, *(each.bucket for each in known.drift)}
    later = [bucket for bucket in view.manifest.buckets if bucket.name not in seen][:DRIFT_BUCKETS]
    live = {bucket.name for bucket in whole.buckets}
    found = [each for each in known.drift if each.bucket in live]
    for number, bucket in enumerate(later):
        on_progress(Progress("measure drift", number, len(later), "buckets"))
        found.append(_drift(view, bucket, drift.at_defaults(known)))
    on_progress(Progress("measure drift", len(later), len(later), "buckets"))
    return replace(known, drift=tuple(found))


def _drift(view: View, bucket: Bucket, at: CalibrationPoint) -> Drift:
    alone = replace(view, manifest=replace(view.manifest, buckets=(bucket,)))
    batch = stored_rows(alone, DRIFT_QUERIES, seed=0)
    k = min(at.k, view.manifest.rows - 1)
    shares = Grid(view, batch, [k], is_stored=True).shares(at.nprobes, at.candidates, k)
    return Drift(bucket.name, len(batch), *decide.interval(shares), _spread(view, batch))


def check_planned(planned: Planned) -> None:
    """Refuse to build what is to be calibrated and cannot be.

    Raises:
        InvalidInput: it has no index.
    """
    if planned.options.calibrate:
        check_has_index(planned.spec)


def with_recall(
    planned: Planned, manifest: Manifest, settings: Settings, on_progress: OnProgress
) -> Manifest:
    """Measure recall of a version before it is committed: all at first, later the drift."""
    storage, asked = planned.storage, planned.options.calibrate
    if asked is False or not manifest.buckets:
        return manifest
    if asked:
        check_can_be_calibrated(manifest)
    elif manifest.spec.index.kind != "rabitq" or any(
        bucket.model != manifest.model for bucket in manifest.buckets
    ):
        return manifest
    if manifest.calibration is not None:
        known = blobs.get_calibration(storage, manifest.calibration)
        seen = {*known.buckets, *(each.bucket for each in known.drift)}
        new = sum(bucket.rows for bucket in manifest.buckets if bucket.name not in seen)
        some = replace(AT_CREATE, max_rows=max(DRIFT_ROWS, DRIFT_ROWS_PER_NEW * new))
        view = opened(storage, settings, manifest, some, seen)
        found = with_drift(view, manifest, known, on_progress)
    elif asked or manifest.rows > search.NARROW_ROWS:
        view = opened(storage, settings, manifest, AT_CREATE)
        found = measure(view, manifest, None, "", AT_CREATE, on_progress)
    else:
        return manifest
    return replace(manifest, calibration=blobs.put_calibration(storage, found))


def _spread(view: View, batch: QueryBatch) -> float:
    """Measure the mean squared distance of rows to their centroids."""
    manifest = view.manifest
    assert manifest.model is not None
    model = view.reader.model(manifest.models[manifest.model])
    rows = prepared(batch.vectors, manifest.spec.distance_type)
    return float(model.partition_of(rows)[1].mean(dtype=np.float64))
