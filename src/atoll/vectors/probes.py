"""Which partitions a query reads: the nearest centroids, and how near they are.

Centroids are kept once more in 8 bits per dimension. Their products with a query of 8 bits are
integers, the same in all company; they say which centroids may be among the nearest, those are
measured exactly (`atoll.vectors.pairs`), and only exact values decide. Of many centroids, only
those in the query's nearest groups are compared.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.core.resources import one_blas_thread
from atoll.vectors.assign import Groups
from atoll.vectors.kernels.bits import byte_dot
from atoll.vectors.kernels.compiling import compiled
from atoll.vectors.pairs import fold, measure

# Centroids compared for each one wanted, and at least: whole groups, the nearest first. Measured on
# vectors of 960 (docs/benchmarks.md): 99 % of the nearest 20 of 14,142 are among these.
COMPARED_PER_WANTED = 128
MIN_COMPARED = 1024
# Six standard deviations of the rounding error of two estimates, each uniform over a level.
SLACK_LEVELS = 6 / 12**0.5
# From this many queries on, one matrix product compares them with all centroids for less.
PRODUCT_QUERIES = 32
BLOCK_QUERIES = 256


class Levels(NamedTuple):
    """Vectors in whole numbers: about `step * level` in each dimension.

    Attributes:
        level: (n, dim) int8.
        step: (n,) float32.
        half: (n,) float32, half the squared norm; 0 where the product alone counts.
        norm: (n,) float32.
    """

    level: NDArray[np.int8]
    step: FloatArray
    half: FloatArray
    norm: FloatArray


class Probes:
    """Finds the centroids nearest to queries."""

    def __init__(self, centroids: FloatArray, groups: Groups, *, is_product: bool) -> None:
        """Prepare centroids; `is_product` ranks by largest product, not least distance."""
        self.centroids = centroids
        self.starts = groups.starts
        self.is_product = is_product
        mean = np.zeros(centroids.shape[1]) if is_product else centroids.mean(axis=0, dtype="f8")
        self._mean = mean.astype(np.float32)
        self._near = self._levels(centroids)
        self._centers = self._levels(groups.centers)
        self._widest = np.float32(SLACK_LEVELS) * self._near.step.max()
        self._longest = np.float32(SLACK_LEVELS) * self._near.norm.max()
        self._columns: FloatArray | None = None

    def order(self, queries: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
        """Name the `count` nearest centroids of each query, nearest first, then by number.

        Returns:
            (q, count) int64 numbers, and (q, count) float32 squared distances (or products),
            decided by each query alone. `count` is cut to the number of centroids.
        """
        count = min(count, len(self.centroids))
        compared = max(MIN_COMPARED, COMPARED_PER_WANTED * count)
        number = np.empty((len(queries), count), np.int64)
        base = np.empty((len(queries), count), np.float32)
        for start in range(0, len(queries), BLOCK_QUERIES):
            at = slice(start, start + BLOCK_QUERIES)
            block = np.ascontiguousarray(queries[at])
            levels = self._levels(block)
            slack = self._widest * levels.norm + levels.step * self._longest
            products = np.empty((0, 0), np.float32)
            if compared >= len(self.centroids) and len(block) >= PRODUCT_QUERIES:
                with one_blas_thread():
                    products = levels.level.astype(np.float32) @ self._transposed()
            _order(
                block, levels, self.centroids, self._near, self._centers, self.starts,
                slack, products, compared, self.is_product, number[at], base[at],
            )  # fmt: skip
        return number, base

    def _levels(self, vectors: FloatArray) -> Levels:
        moved = vectors - self._mean
        level = np.empty(moved.shape, np.int8)
        step, half, norm = (np.empty(len(moved), np.float32) for _ in range(3))
        # Sums of products of levels stay below 2**24, so that float32 holds each of them exactly.
        top = min(127, int((2**24 / moved.shape[1]) ** 0.5))
        _quantise(moved, top, self.is_product, level, step, half, norm)
        return Levels(level, step, half, norm)

    def _transposed(self) -> FloatArray:
        if self._columns is None:
            self._columns = np.ascontiguousarray(self._near.level.T.astype(np.float32))
        return self._columns


@compiled
def _quantise(
    moved: FloatArray,
    top: int,
    is_product: bool,
    level: NDArray[np.int8],
    step: FloatArray,
    half: FloatArray,
    norm: FloatArray,
) -> None:
    terms = np.empty(moved.shape[1], np.float64)
    for i in range(len(moved)):
        largest = np.float32(0)
        for j in range(moved.shape[1]):
            largest = max(largest, abs(moved[i, j]))
            terms[j] = np.float64(moved[i, j]) * np.float64(moved[i, j])
        squared = fold(terms)
        norm[i] = np.sqrt(squared)
        half[i] = 0 if is_product else squared / 2
        step[i] = largest / np.float32(top) if largest > 0 else np.float32(1)
        for j in range(moved.shape[1]):
            level[i, j] = np.int8(np.rint(moved[i, j] / step[i]))


@compiled
def _products(level: NDArray[np.int8], near: NDArray[np.int8], out: NDArray[np.int32]) -> None:
    dim = level.shape[0]
    whole = dim // 16 * 16
    for c in range(near.shape[0]):
        product = byte_dot(level.ctypes.data, near.ctypes.data + c * dim, whole)
        for j in range(whole, dim):
            product += np.int64(level[j]) * np.int64(near[c, j])
        out[c] = product


@compiled
def _scores(
    product: NDArray[np.number], step: np.float32, near: Levels, first: int, score: FloatArray
) -> None:
    for c in range(len(product)):
        at = first + c
        score[c] = np.float32(product[c]) * (step * near.step[at]) - near.half[at]


@compiled
def _order(
    queries: FloatArray,
    levels: Levels,
    centroids: FloatArray,
    near: Levels,
    centers: Levels,
    starts: IntArray,
    slack: FloatArray,
    products: FloatArray,
    compared: int,
    is_product: bool,
    number: IntArray,
    base: FloatArray,
) -> None:
    """Fill rows of `number` and `base`; `products` of levels are given, or computed here."""
    total, count = len(centroids), number.shape[1]
    room = min(total, compared + np.diff(starts).max())
    who = np.arange(room)
    score = np.empty(room, np.float32)
    product = np.empty(max(room, len(centers.step)), np.int32)
    group_score = np.empty(len(centers.step), np.float32)
    for i in range(len(queries)):
        level, step = levels.level[i], levels.step[i]
        found = total
        if len(products):
            _scores(products[i], step, near, 0, score)
        elif compared >= total:
            _products(level, near.level, product)
            _scores(product[:total], step, near, 0, score)
        else:
            found = 0
            _products(level, centers.level, product)
            _scores(product[: len(group_score)], step, centers, 0, group_score)
            for group in np.argsort(-group_score, kind="mergesort"):
                first, last = starts[group], starts[group + 1]
                end = found + last - first
                _products(level, near.level[first:last], product)
                _scores(product[: last - first], step, near, first, score[found:end])
                who[found:end] = np.arange(first, last)
                found = end
                if found >= compared:
                    break
        least = np.partition(score[:found], found - count)[found - count] - slack[i]
        close = who[:found][score[:found] >= least]
        row = np.full(len(close), i)
        exact = np.empty(len(close), np.float32)
        measure(queries, row, centroids, close, is_product, exact)
        # Numbers first, then a stable sort by value: equal values go by number.
        by_number = np.argsort(close, kind="mergesort")
        value = -exact[by_number] if is_product else exact[by_number]
        best = by_number[np.argsort(value, kind="mergesort")[:count]]
        number[i] = close[best]
        base[i] = exact[best]
