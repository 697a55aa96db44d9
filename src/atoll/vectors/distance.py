"""Distances between queries and stored vectors: one exact kernel for every reported number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atoll.vectors.model import DistanceType
from atoll.vectors.rabitq import KINDS

# Squares of longer vectors, and their sums, leave float32; those of shorter ones vanish in it.
MAX_LENGTH = 2.0**60
MIN_LENGTH = 2.0**-60


def unsearchable(
    vectors: NDArray[np.float32], distance_type: DistanceType
) -> dict[str, NDArray[np.bool_]]:
    """Find vectors that have no distances: reason to (n,) bool, no vector under two of them.

    There are no reasons where all vectors have distances.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # such are what is looked for
        squared = np.vecdot(vectors, vectors)
        if squared.min(initial=1) >= MIN_LENGTH**2 and squared.max(initial=1) <= MAX_LENGTH**2:
            return {}
    finite = np.isfinite(squared)
    # A finite vector may overflow its own square, so look again at the few.
    suspect = ~finite
    finite[suspect] = np.isfinite(vectors[suspect]).all(axis=1)
    long = finite & ~(squared <= MAX_LENGTH**2)
    found = {
        "NaN or infinity": ~finite,
        "longer than 2^60, too long for float32; scale the vectors": long,
    }
    if distance_type == "cosine":
        short = squared < MIN_LENGTH**2
        zero = short.copy()
        zero[short] = ~vectors[short].any(axis=1)
        found["zero vector, which has no direction for cosine"] = zero
        found["shorter than 2^-60, too short for float32; scale the vectors"] = short & ~zero
    return found


def pair_distances(
    queries: NDArray[np.float32], rows: NDArray[np.generic], distance_type: DistanceType
) -> NDArray[np.float32]:
    """Compute the distance of each query to the row beside it; see `distances_of`.

    Args:
        queries: (n, dim) float32, as given.
        rows: (n, dim) as stored, float32, float16 or int8.
        distance_type: what to compute.
    """
    each = np.arange(len(rows))
    return distances_of(queries, each, rows, each, distance_type)


def distances_of(
    queries: NDArray[np.float32],
    query_of: NDArray[np.int64],
    rows: NDArray[np.generic],
    row_of: NDArray[np.int64],
    distance_type: DistanceType,
) -> NDArray[np.float32]:
    """Compute distances of pairs, from float64 sums in a fixed order.

    A pair's distance is the same to the last bit whatever else is computed, on every CPU.

    Args:
        queries: (q, dim) float32, as given.
        rows: (m, dim) as stored, float32, float16 or int8.
        query_of, row_of: (n,) the pairs.
        distance_type: "cosine" gives 1 - cos, "l2" the squared distance, "dot" 1 - product, as
            LanceDB.

    Returns:
        (n,) float32. A zero vector under cosine is at distance 1.
    """
    from atoll.vectors.kernels.exact import distances

    queries, rows = np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(rows)
    out = np.empty(len(row_of), np.float32)
    distances(
        queries.ctypes.data, query_of, rows.ctypes.data, rows.dtype.itemsize,
        rows.shape[1], row_of, KINDS[distance_type], out,
    )  # fmt: skip
    return out


def as_floats(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Give stored rows, float32, float16 or int8, as float32."""
    if rows.dtype == np.float16:
        return halves_to_floats(rows.view(np.float16))
    return rows.astype(np.float32, copy=False)


def decoded(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    """Give stored rows as a user sees them: float32, directions of int8 at unit length."""
    floats = as_floats(rows)
    if rows.dtype == np.int8:
        # A sum of whole numbers, the same in every order.
        floats /= np.sqrt(np.vecdot(rows, rows, dtype=np.int64)).astype(np.float32)[:, None]
    return floats


def halves_to_floats(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Convert float16 to float32, exactly, of any shape."""
    from atoll.vectors.kernels.exact import widen_all

    halves = np.ascontiguousarray(halves)
    out = np.empty(halves.shape, np.float32)
    widen_all(halves.ctypes.data, out.reshape(-1))
    return out


def floats_to_halves(floats: NDArray[np.float32], out: NDArray[np.float16]) -> tuple[float, float]:
    """Round float32 to float16, ties to even, into contiguous `out` of the same shape.

    Returns:
        The sum of squared errors, infinite where a value is beyond float16, and of squares.
    """
    from atoll.vectors.kernels.exact import narrow_all

    floats = np.ascontiguousarray(floats)
    error, size = narrow_all(floats.ctypes.data, out.reshape(-1).view(np.uint16))
    return error, size


def floats_to_levels(floats: NDArray[np.float32], out: NDArray[np.int8]) -> tuple[float, float]:
    """Round directions of float32 rows, none of them zero, to int8: the largest value is 127.

    Args:
        floats: (n, dim).
        out: (n, dim), contiguous, to fill.

    Returns:
        The sum of squared errors, and of squares, were all rows of unit length.
    """
    from atoll.vectors.kernels.exact import level_all

    floats = np.ascontiguousarray(floats)
    level_all(floats.ctypes.data, out)
    # Of vectors of unit length the squared gap is twice the cosine distance.
    gaps = 2 * pair_distances(floats, out, "cosine").sum(dtype=np.float64)
    return float(gaps), float(len(floats))


def product_distances(
    queries: NDArray[np.float32], rows: NDArray[np.float32], distance_type: DistanceType
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute all distances by one matrix product, with a bound on their rounding error.

    Args:
        queries: (q, dim) float32.
        rows: (n, dim) float32.
        distance_type: as above.

    Returns:
        (q, n) float32 distances and (q, 1) float32: none is farther than this from
        `pair_distances`.
    """
    query_norms = np.sqrt(np.einsum("ij,ij->i", queries, queries))[:, None]
    row_norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    products = queries @ rows.T
    # A float32 sum of dim terms is off by at most dim x epsilon x the product of the norms.
    epsilon = np.float32(4 * queries.shape[1] * np.finfo(np.float32).eps)
    if distance_type == "cosine":
        scale = query_norms * row_norms
        cosine = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
        return 1 - cosine, np.full_like(query_norms, epsilon)
    largest = row_norms.max(initial=0)
    if distance_type == "dot":
        return 1 - products, epsilon * (query_norms * largest + 1)
    return query_norms**2 + row_norms**2 - 2 * products, epsilon * (query_norms + largest) ** 2


def close_pairs(
    near: NDArray[np.float32], slack: NDArray[np.float32], limits: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List the few pairs that may be among the k nearest of a query.

    Args:
        near, slack: (q, n) and (q, 1), of `product_distances`.
        limits: (q,) float32: the k-th nearest so far, exact; infinite while there are fewer.
        k: hits wanted.

    Returns:
        (m,) queries and (m,) rows, ordered by both.
    """
    from atoll.vectors.kernels.exact import close_pairs

    query, row = close_pairs(near, slack.reshape(-1), limits, k)
    return query, row
