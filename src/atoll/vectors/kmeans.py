"""k-means on float32 rows, seeded: Lloyd's rounds, and cells within cells where centroids are many.

kmeans       centroids, however many
lloyd        rounds from random rows
in_groups    centroids ordered into runs that lie near each other
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.vectors.assign import Groups, nearest, nearest_by_groups

# Rows and centroids in; each row's centroid, and its squared distance, out.
Nearest = Callable[[FloatArray, FloatArray], tuple[NDArray[np.uint32], FloatArray]]

# More centroids than this are trained cell by cell, and lie in groups.
MAX_FLAT = 512
GROUPS_PER_ROOT = 2
CELL_SAMPLE_ROWS = 256
INNER_ITERATIONS = 6
OUTER_ITERATIONS = 3


def kmeans(
    sample: FloatArray, num_partitions: int, *, seed: int = 0, on_device: Nearest | None = None
) -> FloatArray:
    """Train centroids.

    Up to 512 by Lloyd's rounds. More start from about sqrt(num_partitions) cells, each of which
    gets centroids by its share of the rows; a few rounds over all rows follow. On clustered vectors
    that comes nearer to them than as many rounds from random rows (docs/benchmarks.md).

    Args:
        sample: (n, dim) finite float32, n >= 1.
        num_partitions: centroids wanted; with fewer distinct rows than that, some coincide and
            their partitions stay empty.
        seed: picks the starting rows.
        on_device: assigns rows to centroids exactly, somewhere else than on the CPU.

    Returns:
        (num_partitions, dim) float32.
    """
    if num_partitions >= len(sample):
        return sample[
            np.resize(np.random.default_rng(seed).permutation(len(sample)), num_partitions)
        ]
    centroids = _cell_by_cell(sample, num_partitions, seed, on_device or nearest)
    if num_partitions <= MAX_FLAT:
        return centroids
    for _ in range(OUTER_ITERATIONS):
        if on_device:
            partition, distance = on_device(sample, centroids)
        else:
            centroids, groups = in_groups(centroids, seed=seed)
            partition, distance = nearest_by_groups(sample, centroids, groups)
        centroids = _means(sample, partition, centroids, distance)
    return centroids


def _cell_by_cell(
    sample: FloatArray, num_partitions: int, seed: int, nearest: Nearest, iterations: int = 16
) -> FloatArray:
    if num_partitions <= MAX_FLAT:
        return lloyd(sample, num_partitions, iterations=iterations, seed=seed, nearest=nearest)
    count = int(num_partitions**0.5)
    shuffled = np.random.default_rng(seed).permutation(len(sample))
    some = np.sort(shuffled[: count * CELL_SAMPLE_ROWS])
    centers = lloyd(sample[some], count, seed=seed, nearest=nearest)
    order, starts = _by_group(nearest(sample, centers)[0], count)
    rows = np.diff(starts)
    if rows.max() == len(sample):  # nothing tells them apart
        return sample[np.resize(shuffled, num_partitions)]
    shares = _shares(rows, num_partitions)
    cells = [order[starts[cell] : starts[cell + 1]] for cell in np.flatnonzero(shares)]
    found = [
        _cell_by_cell(sample[cell], share, seed, nearest, INNER_ITERATIONS)
        for cell, share in zip(cells, shares[shares > 0].tolist(), strict=True)
    ]
    return np.concatenate(found)


def _shares(rows: IntArray, total: int) -> IntArray:
    """Divide `total` by rows, as whole numbers; a cell without rows gets none."""
    edges: IntArray = np.cumsum(rows) * total // rows.sum()
    return np.diff(edges, prepend=0)


def lloyd(
    sample: FloatArray,
    num_partitions: int,
    *,
    iterations: int = 16,
    seed: int = 0,
    nearest: Nearest = nearest,
) -> FloatArray:
    """Train centroids from random rows; it stops when no row moves.

    Source: Lloyd (1982), IEEE Trans. Inf. Theory 28; a partition that loses all its rows restarts
    at the row farthest from its centroid.
    """
    random = np.random.default_rng(seed)
    start = random.permutation(len(sample))[:num_partitions]
    centroids = sample[np.resize(start, num_partitions)].copy()
    previous = None
    for _ in range(iterations):
        partition, distance = nearest(sample, centroids)
        if previous is not None and np.array_equal(partition, previous):
            break
        previous = partition
        centroids = _means(sample, partition, centroids, distance)
    return centroids


def _means(
    sample: FloatArray, partition: NDArray[np.uint32], centroids: FloatArray, distance: FloatArray
) -> FloatArray:
    from atoll.vectors.pairs import sums

    order, starts = _by_group(partition, len(centroids))
    count = np.diff(starts)
    filled = count > 0
    total = np.zeros(centroids.shape, np.float64)
    sums(sample, order, starts, total)
    moved = centroids.copy()
    moved[filled] = total[filled] / count[filled, None]
    empty = np.flatnonzero(~filled)
    far = np.argsort(-distance, kind="stable")[: len(empty)]
    moved[empty[: len(far)]] = sample[far]
    return moved


def _by_group(group: NDArray[np.integer], count: int) -> tuple[IntArray, IntArray]:
    """Order members by group: their numbers, and (count + 1,) where each group starts."""
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=count))])
    return order, starts


def in_groups(centroids: FloatArray, *, seed: int = 0) -> tuple[FloatArray, Groups]:
    """Order centroids so that near ones have near numbers.

    Returns:
        The centroids along a path from each to the nearest one not yet visited, group after group,
        and the groups: about 2 sqrt(n) of them, none empty; one where there are 512 or fewer.
    """
    if len(centroids) <= MAX_FLAT:
        ordered = centroids[_path(centroids)]
        return ordered, groups_of(ordered, np.array([0, len(centroids)]))
    count = GROUPS_PER_ROOT * int(len(centroids) ** 0.5)
    centers = lloyd(centroids, count, seed=seed)
    order, starts = _by_group(nearest(centroids, centers)[0], count)
    members = [order[start:stop] for start, stop in pairwise(starts)]
    along = [some[_path(centroids[some])] for some in (members[at] for at in _path(centers))]
    along = [some for some in along if len(some)]
    ordered = centroids[np.concatenate(along)]
    return ordered, groups_of(ordered, np.cumsum([0, *map(len, along)]))


def groups_of(centroids: FloatArray, starts: IntArray) -> Groups:
    """Make groups of runs of centroids, each centred at their mean."""
    sums = np.add.reduceat(centroids, starts[:-1], axis=0, dtype=np.float64)
    return Groups(starts, (sums / np.diff(starts)[:, None]).astype(np.float32))


def _path(points: FloatArray) -> IntArray:
    """Walk from the first point to the nearest one left, and on: (n,) int64."""
    half = np.einsum("ij,ij->i", points, points) / 2
    path = np.zeros(len(points), np.int64)
    left = np.ones(len(points), np.bool_)
    products = points @ points.T - half
    for step in range(1, len(points)):
        left[path[step - 1]] = False
        path[step] = np.where(left, products[path[step - 1]], -np.inf).argmax()
    return path
