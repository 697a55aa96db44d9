"""Lloyd's k-means on float32 rows, seeded, by blocks of BLAS products."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 1024


def nearest(
    rows: NDArray[np.float32], centroids: NDArray[np.float32]
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
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
    half = (centroids * centroids).sum(axis=1) / 2
    transposed = np.ascontiguousarray(centroids.T)
    partition = np.empty(len(rows), np.uint32)
    offset = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        count = len(block)
        if count < BLOCK_ROWS:
            block = np.zeros((BLOCK_ROWS, rows.shape[1]), np.float32)
            block[:count] = rows[start:]
        scores = (block @ transposed)[:count]
        scores -= half
        best = scores.argmax(axis=1)
        partition[start : start + BLOCK_ROWS] = best
        offset[start : start + BLOCK_ROWS] = -2 * scores[np.arange(len(best)), best]
    return partition, offset


def kmeans(
    sample: NDArray[np.float32], num_partitions: int, *, iterations: int = 16, seed: int = 0
) -> NDArray[np.float32]:
    """Train centroids.

    Args:
        sample: (n, dim) finite float32, n >= 1.
        num_partitions: centroids wanted; with fewer distinct rows than that, some coincide and
            their partitions stay empty.
        iterations: Lloyd rounds; it stops earlier when no row moves.
        seed: picks the starting rows.

    Returns:
        (num_partitions, dim) float32.

    Source: Lloyd (1982), IEEE Trans. Inf. Theory 28; a partition that loses all its rows restarts
    at the row farthest from its centroid.
    """
    random = np.random.default_rng(seed)
    start = random.permutation(len(sample))[:num_partitions]
    centroids = sample[np.resize(start, num_partitions)].copy()
    norms = np.einsum("ij,ij->i", sample, sample)
    previous = None
    for _ in range(iterations):
        partition, offset = nearest(sample, centroids)
        if previous is not None and np.array_equal(partition, previous):
            break
        previous = partition
        centroids = _means(sample, partition, centroids, norms + offset)
    return centroids


def _means(
    sample: NDArray[np.float32],
    partition: NDArray[np.uint32],
    centroids: NDArray[np.float32],
    distance: NDArray[np.float32],
) -> NDArray[np.float32]:
    count = np.bincount(partition, minlength=len(centroids))
    order = np.argsort(partition, kind="stable")
    filled = np.flatnonzero(count)
    starts = np.concatenate([[0], np.cumsum(count[filled])[:-1]])
    moved = centroids.copy()
    sums = np.add.reduceat(sample[order], starts, axis=0, dtype=np.float64)
    moved[filled] = sums / count[filled, None]
    empty = np.flatnonzero(count == 0)
    far = np.argsort(-distance, kind="stable")[: len(empty)]
    moved[empty[: len(far)]] = sample[far]
    return moved
