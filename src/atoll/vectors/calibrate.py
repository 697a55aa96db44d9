"""Measures a calibration: searches at each setting of a grid, held against an exact search."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import counted
from atoll.vectors import calibration as decide
from atoll.vectors import drift
from atoll.vectors.distance import product_distances
from atoll.vectors.index import prepared
from atoll.vectors.model import (
    CODE_COLUMN,
    Bucket,
    Calibration,
    CalibrationPoint,
    CollectionSpec,
    Drift,
    Manifest,
)
from atoll.vectors.nested import NestedScan, rows_of
from atoll.vectors.queries import QueryBatch
from atoll.vectors.reader import Reader
from atoll.vectors.recall import TrueNeighbours
from atoll.vectors.search import place_in_query

DEFAULT_KS = (1, 10, 100)
DEFAULT_QUERIES = 1000
# Comparing 1,000 queries with so many rows of 960 takes about 500 CPU-seconds.
MAX_SEARCHED_ROWS = 20_000_000
STORED_ROWS = "stored rows"
DRIFT_QUERIES = 100
# Of the buckets of one add, so many are measured.
DRIFT_BUCKETS = 8

Search = Callable[..., pa.Table]


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
    """

    ks: tuple[int, ...] = DEFAULT_KS
    is_capped: bool = True
    queries: int = DEFAULT_QUERIES
    max_rows: int = MAX_SEARCHED_ROWS
    seed: int = 0
    enough: float = decide.ENOUGH_RECALL

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
AT_CREATE = Wanted(ks=(1, 10), queries=100)


@dataclass(frozen=True)
class Measured:
    """What is measured: some buckets of one version, by a search over just these.

    Attributes:
        manifest: the version, with the buckets to be searched only.
        reader: opens them.
        search: `Collection.search` over them.
        threads: that may be used.
    """

    manifest: Manifest
    reader: Reader
    search: Search
    threads: int


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
        At least one, in their order.
    """
    order = np.random.default_rng(seed).permutation(len(buckets)).tolist()
    order.sort(key=lambda number: buckets[number].name in known)
    chosen: set[int] = set()
    rows = 0
    for number in order:
        if not chosen or rows + buckets[number].rows <= max_rows:
            chosen.add(number)
            rows += buckets[number].rows
    return tuple(buckets[number] for number in sorted(chosen))


def stored_rows(of: Measured, count: int, seed: int) -> QueryBatch:
    """Draw stored rows as queries, evenly over all rows, named by their ids."""
    spec, total = of.manifest.spec, of.manifest.rows
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    ids: list[str] = []
    vectors = []
    first = 0
    for bucket in of.manifest.buckets:
        mine = drawn[slice(*np.searchsorted(drawn, (first, first + bucket.rows)))] - first
        first += bucket.rows
        if len(mine):
            opened = of.reader.bucket(bucket)
            rows = mine if opened.live is None else np.flatnonzero(opened.live)[mine]
            ids += opened.ids(rows).to_pylist()
            vectors.append(opened.vectors(rows).astype(np.float32))
    return QueryBatch(ids, np.concatenate(vectors).reshape(-1, spec.dim), spec.embedder)


def measure(
    of: Measured,
    whole: Manifest,
    given: QueryBatch | None,
    source: str,
    wanted: Wanted,
    on_progress: OnProgress,
) -> Calibration:
    """Measure recall over the grid.

    Args:
        of: what is searched.
        whole: the version it is a part of.
        given: queries; None draws stored rows, each of which is then left out of its own answer.
        source: what given queries are, for the record.
        wanted: how thoroughly.
        on_progress: told after each setting.

    Raises:
        InvalidInput: a k above the number of neighbours, and that is not to be capped.
    """
    began = time.process_time()
    batch = given if given is not None else stored_rows(of, wanted.queries, wanted.seed)
    others = of.manifest.rows - (given is None)
    if max(wanted.ks) > others and not wanted.is_capped:
        raise InvalidInput(
            f"k is {max(wanted.ks)}, but among the {counted(of.manifest.rows, 'row')} searched a "
            f"query has only {counted(others, 'neighbour')}; calibrate for fewer",
            neighbours=others,
        )
    chosen = sorted({min(k, others) for k in wanted.ks})
    grid = _Grid(of, batch, chosen, is_stored=given is None)
    points = tuple(grid.points(wanted.enough, on_progress))
    assert whole.model is not None
    return Calibration(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        model=whole.model,
        buckets=tuple(bucket.name for bucket in whole.buckets),
        rows=whole.rows,
        searched_rows=of.manifest.rows,
        queries=len(batch),
        source=STORED_ROWS if given is None else source,
        seed=wanted.seed,
        within=grid.within,
        spread=_spread(of, batch) if given is None else 0.0,
        cpu_s=round(time.process_time() - began, 2),
        points=points,
    )


def with_drift(
    of: Measured, whole: Manifest, known: Calibration, on_progress: OnProgress
) -> Calibration:
    """Measure how rows that came after a calibration are found, at the default settings.

    Args:
        of: what is searched; of later buckets only those that are in it are measured.
        whole: the version.
        known: the calibration.
        on_progress: told after each bucket.
    """
    seen = {*known.buckets, *(each.bucket for each in known.drift)}
    later = [bucket for bucket in of.manifest.buckets if bucket.name not in seen][:DRIFT_BUCKETS]
    live = {bucket.name for bucket in whole.buckets}
    found = [each for each in known.drift if each.bucket in live]
    for number, bucket in enumerate(later):
        on_progress(Progress("measure drift", number, len(later), "buckets"))
        found.append(_drift(of, bucket, drift.at_defaults(known)))
    on_progress(Progress("measure drift", len(later), len(later), "buckets"))
    return replace(known, drift=tuple(found))


def _drift(of: Measured, bucket: Bucket, at: CalibrationPoint) -> Drift:
    alone = replace(of, manifest=replace(of.manifest, buckets=(bucket,)))
    batch = stored_rows(alone, DRIFT_QUERIES, seed=0)
    k = min(at.k, of.manifest.rows - 1)
    shares = _Grid(of, batch, [k], is_stored=True).shares(at.nprobes, at.candidates, k)
    return Drift(bucket.name, len(batch), *decide.interval(shares), _spread(of, batch))


# For an nprobes and several numbers of candidates: rows in the partitions probed, mean over
# queries; and for each number of candidates which pairs (query, true neighbour) a search finds.
Finder = Callable[[int, Sequence[int]], tuple[float, Iterator[NDArray[np.bool_]]]]


class _Grid:
    """Queries, their true neighbours, and what is found of those at each setting."""

    def __init__(
        self, of: Measured, batch: QueryBatch, ks: Sequence[int], *, is_stored: bool
    ) -> None:
        self._of, self._batch, self._ks, self._is_stored = of, batch, ks, is_stored
        exact = of.search(batch, k=max(ks), exact=True, exclude_self=is_stored)
        self._true = TrueNeighbours(exact, batch.ids)
        self.within = decide.distance_threshold(
            self._true.nearest_distance(), _median_distance(batch, of.manifest)
        )

    def points(self, enough: float, on_progress: OnProgress) -> Iterator[CalibrationPoint]:
        """Go on to more and more partitions, until those find everything."""
        spec = self._of.manifest.spec
        nprobes = decide.nprobes_grid(spec.index.num_partitions)
        candidates = decide.candidates_grid(self._ks, self._of.manifest.rows)
        find = self._by_search if spec.index.kind == "ivf_pq" else self._by_one_scan(candidates[-1])
        for number, probes in enumerate(nprobes):
            on_progress(Progress("calibrate", number, len(nprobes), "settings"))
            found: list[CalibrationPoint] = []
            rows, by_candidates = find(probes, candidates)
            for count, is_found in zip(candidates, by_candidates, strict=True):
                found += self._points(is_found, probes, count, rows)
            yield from found
            best = {point.k: point.recall for point in found}
            if min(best.values()) >= enough:
                break
        on_progress(Progress("calibrate", len(nprobes), len(nprobes), "settings"))

    def _points(
        self, is_found: NDArray[np.bool_], nprobes: int, candidates: int, rows: float
    ) -> Iterator[CalibrationPoint]:
        requests, size = _reads(self._of, nprobes, candidates, rows)
        for k in self._ks:
            if k <= candidates:
                near = self._true.shares(is_found, k, self.within)
                near = near[~np.isnan(near)]
                yield CalibrationPoint(
                    k,
                    nprobes,
                    candidates,
                    *decide.interval(self._true.shares(is_found, k)),
                    near_recall=float(near.mean()) if len(near) else None,
                    rows=rows,
                    requests=requests,
                    bytes=size,
                )

    def shares(self, nprobes: int, candidates: int, k: int) -> NDArray[np.float64]:
        """Search at one setting: recall of each query."""
        return self._true.shares(self._search(nprobes, candidates), k)

    def _search(self, nprobes: int, candidates: int) -> NDArray[np.bool_]:
        # The k nearest of so many candidates are the first k of all of them: one search serves
        # every k. And with a refine factor of 1 a stored row that is left out of its own answer
        # costs one candidate, whatever k, so that the others are as many as a new query gets.
        hits = self._of.search(
            self._batch,
            k=candidates,
            nprobes=nprobes,
            refine_factor=1,
            exclude_self=self._is_stored,
        )
        return self._true.found_by(hits)

    def _by_search(
        self, nprobes: int, candidates: Sequence[int]
    ) -> tuple[float, Iterator[NDArray[np.bool_]]]:
        rows = _scanned_rows(self._of, self._batch, nprobes)
        return rows, (self._search(nprobes, count) for count in candidates)

    def _by_one_scan(self, most: int) -> Finder:
        """Make what tells the same as `_by_search` of an index that is ours, for less."""
        of, true = self._of, self._true
        extra = int(self._is_stored)
        scan = NestedScan(of.reader, of.manifest, self._batch.vectors, most + extra, of.threads)
        neighbours = pa.array(rows_of(of.reader, of.manifest, true.ids))

        def find(
            nprobes: int, candidates: Sequence[int]
        ) -> tuple[float, Iterator[NDArray[np.bool_]]]:
            rows = scan.widen(nprobes)
            query, row = scan.candidates()
            number = pc.fill_null(pc.index_in(pa.array(row), neighbours), len(neighbours))
            place = np.append(place_in_query(query), most + extra)[
                true.places(query, number.to_numpy())
            ]
            return rows, (place < count + extra for count in candidates)

        return find


# -- what it costs --------------------------------------------------------------------------------


def _scanned_rows(of: Measured, batch: QueryBatch, nprobes: int) -> float:
    """Count the rows in the partitions that a query probes, in all buckets: mean over queries."""
    manifest = of.manifest
    assert manifest.model is not None
    model = of.reader.model(manifest.models[manifest.model])
    sizes = np.sum([of.reader.bucket(b).partition_rows for b in manifest.buckets], axis=0)
    order, _ = model.probe_order(prepared(batch.vectors, manifest.spec.distance_type), nprobes)
    return float(sizes[order].sum() / len(batch))


def _reads(of: Measured, nprobes: int, candidates: int, rows: float) -> tuple[float, float]:
    """Count requests (at most) and bytes of a query when nothing is cached."""
    spec = of.manifest.spec
    vector = spec.dim * np.dtype(spec.dtype).itemsize
    requests = nprobes * len(of.manifest.buckets) + candidates
    if spec.index.kind == "rabitq":
        code = of.reader.schema.field(CODE_COLUMN).type.byte_width
    else:
        assert spec.index.num_sub_vectors
        code = spec.index.num_sub_vectors + 8
        candidates *= len(of.manifest.buckets)
    return float(requests), rows * code + candidates * vector


def _median_distance(batch: QueryBatch, manifest: Manifest) -> float:
    """Tell the median distance of two queries, of at most 1,000."""
    some = batch.vectors[:1000]
    distance = product_distances(some, some, manifest.spec.distance_type)[0]
    pairs = distance[np.triu_indices(len(some), 1)]
    return float(np.median(pairs)) if len(pairs) else 0.0


def _spread(of: Measured, batch: QueryBatch) -> float:
    """Measure the mean squared distance of rows to their centroids."""
    manifest = of.manifest
    assert manifest.model is not None
    model = of.reader.model(manifest.models[manifest.model])
    rows = prepared(batch.vectors, manifest.spec.distance_type)
    return float(model.partition_of(rows)[1].mean(dtype=np.float64))
