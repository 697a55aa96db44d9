"""Orders the rows of one partition so that near ones lie near each other.

The best candidates of a query then come in few byte ranges: docs/benchmarks.md has the figures. A
few rounds of k-means give small groups, and a walk from group to group the order. All arithmetic
is on whole numbers that float32 holds exactly, so the order depends on nothing but the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.resources import one_blas_thread
from atoll.vectors.model import DistanceType

ROWS_PER_GROUP = 64
MAX_GROUPS = 64
ROUNDS = 2
# Sums of products stay below 2**24, up to which float32 holds every whole number.
EXACT = 1 << 24
MAX_LEVEL = 127
TINY = np.float32(1e-30)
# Values of a partition: a larger one keeps the order in which its rows came.
MAX_VALUES = 1 << 24


def max_rows(dim: int) -> int:
    """Return up to how many rows a partition is put in order; the same whatever memory there is."""
    return min(MAX_VALUES // dim, EXACT // MAX_LEVEL)


def nearby_order(vectors: NDArray[np.generic], distance_type: DistanceType) -> IntArray:
    """Return the order: (n,) positions in (n, dim) float32 or float16 rows."""
    count = min(len(vectors) // ROWS_PER_GROUP, MAX_GROUPS)
    if count < 2:
        return np.arange(len(vectors))
    levels = _levels(vectors, distance_type == "cosine")
    centres = levels[np.arange(count) * len(levels) // count]
    with one_blas_thread():
        for _ in range(ROUNDS):
            centres = _means(levels, _nearest(levels, centres), centres)
        rank = np.empty(count, np.int64)
        rank[_walk(centres)] = np.arange(count)
        return np.argsort(rank[_nearest(levels, centres)], kind="stable")


def _levels(vectors: NDArray[np.generic], is_cosine: bool) -> NDArray[np.float32]:
    """Round rows to whole numbers of a size that the length of a vector allows."""
    top = np.float32(max(1, min(MAX_LEVEL, int((EXACT / (2 * vectors.shape[1])) ** 0.5))))
    rows = vectors.astype(np.float32)
    if is_cosine:
        # Whole numbers first, so that the lengths are exact too.
        rows *= (top / np.maximum(np.abs(rows).max(axis=1), TINY))[:, None]
        np.rint(rows, out=rows)
        rows *= (top / np.sqrt(np.maximum(np.vecdot(rows, rows), 1)))[:, None]
    rows *= top / max(rows.max(), -rows.min(), TINY)
    rounded: NDArray[np.float32] = np.rint(rows, out=rows)
    return rounded


def _nearest(levels: NDArray[np.float32], centres: NDArray[np.float32]) -> IntArray:
    scores = levels @ centres.T
    scores -= np.vecdot(centres, centres) / 2
    found: IntArray = scores.argmax(axis=1)
    return found


def _means(
    levels: NDArray[np.float32], group: IntArray, centres: NDArray[np.float32]
) -> NDArray[np.float32]:
    members = (group == np.arange(len(centres))[:, None]).astype(np.float32)
    count = members.sum(axis=1)
    means = np.rint((members @ levels) / np.maximum(count, 1)[:, None])
    moved: NDArray[np.float32] = np.where(count[:, None] > 0, means, centres)
    return moved


def _walk(points: NDArray[np.float32]) -> IntArray:
    """Walk from the first point to the nearest one left, and on."""
    scores = points @ points.T - np.vecdot(points, points) / 2
    path = np.zeros(len(points), np.int64)
    for step in range(1, len(points)):
        scores[:, path[step - 1]] = -np.inf
        path[step] = scores[path[step - 1]].argmax()
    return path
