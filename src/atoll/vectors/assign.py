"""Which partition a row belongs to: the nearest centroid, by blocks of BLAS products.

Among few centroids all are compared. Many lie in groups (`Groups`), and a row is compared with the
centroids of its near groups only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

BLOCK_ROWS = 1024
# Rows of a product with one group's centroids: few, since the last ones are filled up.
GROUP_BLOCK_ROWS = 64
ROWS_AT_ONCE = 16_384
# A group is searched where its centre is at most this much farther than the nearest group's, as a
# share of that squared distance; never more than this share of the groups. Measured on clustered
# vectors of 960 (docs/benchmarks.md): 99.5 % of the rows reach the nearest centroid of all.
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

    BLAS rounds by the shape of a product, so all have one shape (the last block is filled up): a
    row's partition does not depend on what comes with it.

    Args:
        rows: (n, dim) float32.
        centroids: (num_partitions, dim) float32.

    Returns:
        (n,) partition of each row, and (n,) squared distance to its centroid less the row's own
        squared norm (enough to compare rows of one set, free of a second pass).
    """
    partition = np.empty(len(rows), np.uint32)
    offset = np.empty(len(rows), np.float32)
    for start, scores in _scored(rows, centroids):
        at = slice(start, start + len(scores))
        best = scores.argmax(axis=1)
        partition[at] = best
        offset[at] = -2 * scores[np.arange(len(best)), best]
    return partition, offset


def _scored(rows: FloatArray, centroids: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    """Yield (first row, scores) by blocks: product less half the centroid's squared norm."""
    half = half_norms(centroids)
    transposed = np.ascontiguousarray(centroids.T)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        count = len(block)
        if count < BLOCK_ROWS:
            block = np.zeros((BLOCK_ROWS, rows.shape[1]), np.float32)
            block[:count] = rows[start:]
        scores = (block @ transposed)[:count]
        scores -= half
        yield start, scores


def half_norms(centroids: FloatArray) -> FloatArray:
    """Halve the squared norms: (n, dim) to (n,)."""
    half: FloatArray = np.einsum("ij,ij->i", centroids, centroids) / 2
    return half


def nearest_by_groups(
    rows: FloatArray, centroids: FloatArray, groups: Groups
) -> tuple[NDArray[np.uint32], FloatArray]:
    """Assign rows to the nearest centroid of their near groups: `nearest`, nearly, for less.

    Rows are gathered group by group, so that each group is one product. As there, products have one
    shape for each group, and a row is treated alike in all company.
    """
    half = half_norms(centroids)
    partition = np.zeros(len(rows), np.uint32)
    offset = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = rows[start : start + ROWS_AT_ONCE]
        best = np.full(len(block), -np.inf, np.float32)
        found = partition[start : start + len(block)]
        row, ends = _near_groups(block, groups)
        for number, stop in enumerate(ends):
            members = row[ends[number - 1] if number else 0 : stop]
            own = slice(groups.starts[number], groups.starts[number + 1])
            if not len(members):
                continue
            scores = _padded_product(block, members, centroids[own])
            scores -= half[own]
            place = scores.argmax(axis=1)
            score = scores[np.arange(len(place)), place]
            better = score > best[members]
            best[members[better]] = score[better]
            found[members[better]] = own.start + place[better]
        offset[start : start + len(block)] = -2 * best
    return partition, offset


def _near_groups(rows: FloatArray, groups: Groups) -> tuple[IntArray, IntArray]:
    """Find the groups to search for each row.

    Returns:
        Row numbers, ordered by group, and where each group's end.
    """
    most = max(1, int(len(groups.centers) * GROUP_SHARE))
    norms = np.einsum("ij,ij->i", rows, rows)
    near = np.empty((len(rows), len(groups.centers)), np.bool_)
    for start, scores in _scored(rows, groups.centers):
        at = slice(start, start + len(scores))
        first = scores.max(axis=1)
        limit = first - np.float32(GROUP_MARGIN / 2) * np.maximum(norms[at] - 2 * first, 0)
        last = np.partition(scores, -most, axis=1)[:, -most]
        np.greater_equal(scores, np.maximum(limit, last)[:, None], out=near[at])
    group, row = np.nonzero(np.ascontiguousarray(near.T))
    return row, np.searchsorted(group, np.arange(len(groups.centers)), "right")


def _padded_product(block: FloatArray, members: IntArray, centroids: FloatArray) -> FloatArray:
    count = -(-len(members) // GROUP_BLOCK_ROWS)
    rows = np.zeros((count * GROUP_BLOCK_ROWS, block.shape[1]), np.float32)
    np.take(block, members, axis=0, out=rows[: len(members)], mode="clip")
    pieces = rows.reshape(count, GROUP_BLOCK_ROWS, -1)
    scores: FloatArray = np.matmul(pieces, centroids.T).reshape(len(rows), -1)[: len(members)]
    return scores
