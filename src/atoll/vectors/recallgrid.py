"""Searches at each setting of a grid, held against an exact search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.core.progress import OnProgress, Progress
from atoll.vectors import calibration as decide
from atoll.vectors.distance import product_distances
from atoll.vectors.index import prepared
from atoll.vectors.model import CODE_COLUMN, CalibrationPoint, Manifest
from atoll.vectors.nested import NestedScan, rows_of
from atoll.vectors.options import SearchOptions
from atoll.vectors.queries import QueryBatch
from atoll.vectors.recall import TrueNeighbours
from atoll.vectors.search import place_in_query
from atoll.vectors.view import View

# For an nprobes and several numbers of candidates: rows in the partitions probed, mean over
# queries; and for each number of candidates which pairs (query, true neighbour) a search finds.
Finder = Callable[[int, Sequence[int]], tuple[float, Iterator[NDArray[np.bool_]]]]


class Grid:
    """Queries, their true neighbours, and what is found of those at each setting."""

    def __init__(
        self, view: View, batch: QueryBatch, ks: Sequence[int], *, is_stored: bool
    ) -> None:
        """Find the true neighbours.

        Args:
            view: what is searched.
            batch: the queries.
            ks: numbers of neighbours.
            is_stored: whether each query is a stored row, left out of its own answer.
        """
        self._view, self._batch, self._ks, self._is_stored = view, batch, ks, is_stored
        exact = view.search(batch, SearchOptions(k=max(ks), exact=True, exclude_self=is_stored))
        self._true = TrueNeighbours(exact, batch.ids)
        self.within = decide.distance_threshold(
            self._true.nearest_distance(), _median_distance(batch, view.manifest)
        )

    def points(self, enough: float, on_progress: OnProgress) -> Iterator[CalibrationPoint]:
        """Go on to more and more partitions, until those find everything."""
        spec = self._view.manifest.spec
        nprobes = decide.nprobes_grid(spec.index.num_partitions)
        candidates = decide.candidates_grid(self._ks, self._view.manifest.rows)
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
        requests, size = _reads(self._view, nprobes, candidates, rows)
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
        hits = self._view.search(
            self._batch,
            SearchOptions(
                k=candidates, nprobes=nprobes, refine_factor=1, exclude_self=self._is_stored
            ),
        )
        return self._true.found_by(hits)

    def _by_search(
        self, nprobes: int, candidates: Sequence[int]
    ) -> tuple[float, Iterator[NDArray[np.bool_]]]:
        rows = _scanned_rows(self._view, self._batch, nprobes)
        return rows, (self._search(nprobes, count) for count in candidates)

    def _by_one_scan(self, most: int) -> Finder:
        """Make what tells the same as `_by_search` of an index that is ours, for less."""
        view, true = self._view, self._true
        extra = int(self._is_stored)
        scan = NestedScan(
            view.reader, view.manifest, self._batch.vectors, most + extra, view.settings.threads
        )
        neighbours = pa.array(rows_of(view.reader, view.manifest, true.ids))

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


def _scanned_rows(view: View, batch: QueryBatch, nprobes: int) -> float:
    """Count the rows in the partitions that a query probes, in all buckets: mean over queries."""
    manifest = view.manifest
    assert manifest.model is not None
    model = view.reader.model(manifest.models[manifest.model])
    sizes = np.sum([view.reader.bucket(b).partition_rows for b in manifest.buckets], axis=0)
    order, _ = model.probe_order(prepared(batch.vectors, manifest.spec.distance_type), nprobes)
    return float(sizes[order].sum() / len(batch))


def _reads(view: View, nprobes: int, candidates: int, rows: float) -> tuple[float, float]:
    """Compute requests, none joined, and bytes of a query when nothing is cached."""
    spec = view.manifest.spec
    vector = spec.dim * np.dtype(spec.dtype).itemsize
    requests = nprobes * len(view.manifest.buckets) + candidates
    if spec.index.kind == "rabitq":
        code = view.reader.schema.field(CODE_COLUMN).type.byte_width
    else:
        assert spec.index.num_sub_vectors
        code = spec.index.num_sub_vectors + 8
        candidates *= len(view.manifest.buckets)
    return float(requests), rows * code + candidates * vector


def _median_distance(batch: QueryBatch, manifest: Manifest) -> float:
    """Tell the median distance of two queries, of at most 1,000."""
    some = batch.vectors[:1000]
    distance = product_distances(some, some, manifest.spec.distance_type)[0]
    pairs = distance[np.triu_indices(len(some), 1)]
    return float(np.median(pairs)) if len(pairs) else 0.0
