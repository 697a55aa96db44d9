"""Which partition a row belongs to: the nearest centroid, by blocks of BLAS products.

Among few centroids all are compared. Many lie in groups (`Groups`), and a row is compared with the
centroids of its near groups only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray

BLOCK_ROWS = 1024
ROWS_AT_ONCE = 16_384
# A group is searched where its centre is at most this much farther than the nearest group's, as a
# share of that squared distance; never more than this share of the groups. Measured on clustered
# vectors of 960 (docs/concepts.md): 99.8 % of the rows reach the nearest centroid of all.
GROUP_MARGIN = 0.4
GROUP_SHARE = 1 / 4
# Below this many centroids comparing all is as cheap.
MIN_GROUPED = 2048


@dataclass(frozen=True, eq=False)
class Groups:
    """Contiguous runs of centroids that lie near each other.

    Attributes:
        starts: (groups + 1,) int64, first centroid of each group, and their number at the end.
        centers: (groups, dim) float32.
    """

    starts: IntArray
    centers: FloatArray


def nearest(rows: FloatArray, centroids: FloatArray) -> tuple[NDArray[np.uint32], FloatArray]:
    """Assign every row to its nearest centroid by squared L2 distance, exactly.

    BLAS rounds by the shape of a product and by a row's place in it. So where several centroids
    are nearest within that error, exact distances decide, then the lower number: a row's partition
    does not depend on what comes with it.

    Args:
        rows: (n, dim) float32.
        centroids: (num_partitions, dim) float32.

    Returns:
        (n,) partition of each row, and (n,) squared distance to its centroid.
    """
    partition = np.zeros(len(rows), np.uint32)
    transposed = np.ascontiguousarray(centroids.T)
    half = half_norms(centroids)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        scores = block @ transposed
        scores -= half
        best = scores.argmax(axis=1)
        limit = scores[np.arange(len(best)), best] - _slack(block, half)
        row, close = np.nonzero(scores >= limit[:, None])
        _settle(block, centroids, row, close, best)
        partition[start : start + BLOCK_ROWS] = best
    return partition, distances(rows, centroids, partition)


def half_norms(centroids: FloatArray) -> FloatArray:
    """Halve the squared norms: (n, dim) to (n,)."""
    half: FloatArray = np.einsum("ij,ij->i", centroids, centroids) / 2
    return half


def distances(rows: FloatArray, centroids: FloatArray, partition: NDArray[np.uint32]) -> FloatArray:
    """Measure each row's squared distance to its centroid, exactly: (n,) float32."""
    return _measure(rows, np.arange(len(rows)), centroids, partition)


def _measure(
    rows: FloatArray, row: IntArray, centroids: FloatArray, centroid: NDArray[np.integer]
) -> FloatArray:
    from atoll.vectors.pairs import measure

    out = np.empty(len(row), np.float32)
    whole = np.ascontiguousarray(rows), np.ascontiguousarray(centroids)
    measure(whole[0], row, whole[1], centroid.astype(np.int64), False, out)
    return out


def _slack(rows: FloatArray, half: FloatArray) -> FloatArray:
    """Bound how far two scores of a row may be off together."""
    # A float32 sum of dim terms is off by at most dim x epsilon x the product of the norms.
    epsilon = np.float32((rows.shape[1] + 4) * np.finfo(np.float32).eps)
    longest = np.sqrt(2 * half.max())
    norms: FloatArray = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    slack: FloatArray = epsilon * longest * (norms + longest)
    return slack


def _settle(
    rows: FloatArray, centroids: FloatArray, row: IntArray, close: IntArray, best: IntArray
) -> None:
    """Correct `best` where a row has several close centroids; pairs are ordered by row."""
    doubtful = np.flatnonzero(np.bincount(row, minlength=len(rows))[row] > 1)
    row, close = row[doubtful], close[doubtful]
    order = np.lexsort((close, _measure(rows, row, centroids, close), row))
    first = np.flatnonzero(np.diff(row, prepend=-1))
    best[row[first]] = close[order[first]]


def nearest_by_groups(
    rows: FloatArray, centroids: FloatArray, groups: Groups
) -> tuple[NDArray[np.uint32], FloatArray]:
    """Assign rows to the nearest centroid of their near groups: `nearest`, nearly, for less.

    Rows are gathered group by group, so that each group is one product.
    """
    partition = np.zeros(len(rows), np.uint32)
    half = half_norms(centroids)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[start : start + ROWS_AT_ONCE]
        slack = _slack(block, half)
        best = np.full(len(block), -np.inf, np.float32)
        found = np.zeros(len(block), np.int64)
        rivals = []
        group, row = np.nonzero(np.ascontiguousarray(_near_groups(block, groups).T))
        ends = np.searchsorted(group, np.arange(len(groups.centers) + 1))
        for number in np.flatnonzero(np.diff(ends)):
            members = row[ends[number] : ends[number + 1]]
            own = slice(groups.starts[number], groups.starts[number + 1])
            scores = block[members] @ centroids[own].T
            scores -= half[own]
            top = scores.max(axis=1)
            limit = np.maximum(best[members], top) - slack[members]
            at, place = np.nonzero(scores >= limit[:, None])
            rivals.append((members[at], own.start + place, scores[at, place]))
            best[members] = np.maximum(best[members], top)
        who, close, score = (np.concatenate(part) for part in zip(*rivals, strict=True))
        still = np.flatnonzero(score >= best[who] - slack[who])
        still = still[np.argsort(who[still], kind="stable")]
        found[who[still]] = close[still]
        _settle(block, centroids, who[still], close[still], found)
        partition[start : start + len(block)] = found
    return partition, distances(rows, centroids, partition)


def _near_groups(rows: FloatArray, groups: Groups) -> NDArray[np.bool_]:
    """Mark the groups to search for each row: (rows, groups) bool.

    As for centroids, exact distances decide what rounding leaves open; not so for the rows that
    have more near groups than are searched.
    """
    most = max(1, int(len(groups.centers) * GROUP_SHARE))
    half = half_norms(groups.centers)
    norms = np.einsum("ij,ij->i", rows, rows)
    far = norms[:, None] - 2 * (rows @ groups.centers.T - half)
    limit = (1 + np.float32(GROUP_MARGIN)) * nearest(rows, groups.centers)[1][:, None]
    slack = 2 * _slack(rows, half)[:, None]
    row, group = np.nonzero(np.abs(far - limit) <= slack)
    far[row, group] = _measure(rows, row, groups.centers, group)
    near: NDArray[np.bool_] = far <= limit
    crowded = np.flatnonzero(near.sum(axis=1) > most)
    cut = np.partition(far[crowded], most - 1, axis=1)[:, most - 1]
    near[crowded] = far[crowded] <= cut[:, None]
    return near
