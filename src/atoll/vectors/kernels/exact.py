"""Exact distances, narrower and wider numbers, and orders by distance."""
# Types of arguments are numba's to infer.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numba
import numpy as np

from atoll.vectors.kernels.bits import load_byte, ordered, pointer
from atoll.vectors.kernels.codes import largest
from atoll.vectors.kernels.compiling import compiled, inner
from atoll.vectors.kernels.lanes import (
    LANES,
    byte_lanes,
    float_lanes,
    half_lanes,
    lanes_sum,
    narrow,
    no_lanes,
    widen,
)
from atoll.vectors.rabitq import COSINE, DOT, L2


@compiled
def distances(queries, query_of, rows, width, dim, row_of, kind, out):
    """Fill `out` with the distances of pairs; see `distance.distances_of`.

    `queries` and `rows` are addresses; the rows are int8, float16 or float32, by their width.
    """
    whole = dim - dim % LANES
    # A rest that fills no eight is taken among zeros, which change no sum.
    rest = np.zeros((2, LANES), np.float32)
    query_rest, row_rest = rest[0].ctypes.data, rest[1].ctypes.data
    # Squared lengths of the queries, once they are known.
    own_square = np.full(query_of.max() + 1 if kind == COSINE and len(out) else 0, -1.0)
    for i in range(len(out)):
        query = queries + 4 * dim * query_of[i]
        row = rows + width * dim * row_of[i]
        if whole < dim:
            _copy(query + 4 * whole, 4 * (dim - whole), rest[0])
            _copy(row + width * whole, width * (dim - whole), rest[1])
        if kind == L2:
            total = _squares(query, row, whole, width) + _squares(
                query_rest, row_rest, LANES, width
            )
            out[i] = lanes_sum(total)
            continue
        product, other = _products(query, row, whole, width)
        product_rest, other_rest = _products(query_rest, row_rest, LANES, width)
        product, other = lanes_sum(product + product_rest), other + other_rest
        if kind == DOT:
            out[i] = 1 - product
            continue
        if own_square[query_of[i]] < 0:
            own, _ = _products(query, query, whole, 4)
            own_rest, _ = _products(query_rest, query_rest, LANES, 4)
            own_square[query_of[i]] = lanes_sum(own + own_rest)
        norms = np.sqrt(own_square[query_of[i]] * lanes_sum(other))
        # NaN stays: a zero vector is at distance 1, one without distances is not.
        far = 1 - product / norms if norms != 0 else 1.0
        out[i] = 0.0 if far < 0 else far


@inner
def _copy(source, size, target):
    """Copy bytes to the front of eight numbers."""
    found = target.view(np.uint8)
    for i in range(size):
        found[i] = load_byte(source + i)


@inner
def _squares(query, row, stop, width):
    total = no_lanes()
    for d in range(0, stop, LANES):
        gap = float_lanes(query + 4 * d) - _lanes_at(row, d, width)
        total = total + gap * gap
    return total


@inner
def _products(query, row, stop, width):
    """Give the products of the two and the squares of the second."""
    total, squares = no_lanes(), no_lanes()
    for d in range(0, stop, LANES):
        value = _lanes_at(row, d, width)
        total = total + float_lanes(query + 4 * d) * value
        squares = squares + value * value
    return total, squares


@inner
def _lanes_at(address, d, width):
    if width == 1:
        return byte_lanes(address + d)
    return half_lanes(address + 2 * d) if width == 2 else float_lanes(address + 4 * d)


@compiled
def order_nearest(query, distance, k, order, key, tied):
    """Order entries of each query by distance; keep the k nearest, and what ties with the last.

    Args:
        query: (n,) int64, ascending.
        distance: (n,) float32.
        k: entries wanted of each query.
        order, key, tied: (n,) int64, uint64 and bool, to fill in order: which entry, what sorts
            like (query, distance), and whether a neighbour's is the same.

    Returns:
        How many are kept.
    """
    size = start = 0
    while start < len(query):
        stop = start
        while stop < len(query) and query[stop] == query[start]:
            key[stop] = (np.uint64(query[stop]) << np.uint64(32)) | np.uint64(
                ordered(distance[stop])
            )
            stop += 1
        mine = np.argsort(key[start:stop], kind="mergesort")
        found = key[start:stop][mine]
        count = min(k, stop - start)
        while count < stop - start and found[count] == found[count - 1]:
            count += 1
        for i in range(count):
            order[size + i], key[size + i] = start + mine[i], found[i]
            tied[size + i] = (i > 0 and found[i] == found[i - 1]) or (
                i + 1 < count and found[i] == found[i + 1]
            )
        size, start = size + count, stop
    return size


@compiled
def widen_all(halves, out):
    """Convert float16 at an address to `out`, (n,) float32."""
    whole = len(out) - len(out) % LANES
    for i in range(0, whole, LANES):
        widen(halves + 2 * i, out.ctypes.data + 4 * i)
    if whole < len(out):
        rest = np.zeros(3 * LANES, np.uint16)
        _copy(halves + 2 * whole, 2 * (len(out) - whole), rest)
        widen(rest.ctypes.data, rest.ctypes.data + 2 * LANES)
        out[whole:] = rest[LANES:].view(np.float32)[: len(out) - whole]


@compiled
def narrow_all(floats, out):
    """Convert float32 at an address to `out`, (n,) float16 as uint16.

    Returns:
        Sums in float64 of the squared errors and of the squares.
    """
    whole = len(out) - len(out) % LANES
    error, size = no_lanes(), no_lanes()
    for i in range(0, whole, LANES):
        source, target = floats + 4 * i, out.ctypes.data + 2 * i
        narrow(source, target)
        value = float_lanes(source)
        gap = value - half_lanes(target)
        error, size = error + gap * gap, size + value * value
    if whole < len(out):
        rest = np.zeros(3 * LANES, np.uint16)
        _copy(floats + 4 * whole, 4 * (len(out) - whole), rest)
        source, target = rest.ctypes.data, rest.ctypes.data + 4 * LANES
        narrow(source, target)
        value = float_lanes(source)
        gap = value - half_lanes(target)
        error, size = error + gap * gap, size + value * value
        out[whole:] = rest[2 * LANES : 2 * LANES + len(out) - whole]
    return lanes_sum(error), lanes_sum(size)


@compiled
def level_all(floats, out):
    """Round float32 at an address to `out`, (n, dim) int8: the largest of each row is 127."""
    rows = numba.carray(pointer(floats), out.shape, np.float32)
    for i in range(len(rows)):
        inverse = np.float32(127) / largest(rows[i])
        for d in range(out.shape[1]):
            out[i, d] = np.rint(rows[i, d] * inverse)


@compiled
def close_pairs(near, slack, limits, k):
    """List the pairs that may be among the k nearest; see `distance.close_pairs`."""
    queries, rows = near.shape
    room = min(queries * (k + 8), near.size)
    query_of, row_of = np.empty(room, np.int64), np.empty(room, np.int64)
    close, where = np.empty(rows, np.float32), np.empty(rows, np.int64)
    size = 0
    for query in range(queries):
        # In float64, so that no tie is lost to rounding.
        gap = np.float64(slack[query])
        limit, count = limits[query] + gap, 0
        for row in range(rows):
            if near[query, row] <= limit:
                close[count], where[count] = near[query, row], row
                count += 1
        if count > k:
            limit = min(limit, np.partition(close[:count], k - 1)[k - 1] + 2 * gap)
        if size + count > len(query_of):
            query_of, row_of = _grown(query_of, size + count), _grown(row_of, size + count)
        for i in range(count):
            if close[i] <= limit:
                query_of[size], row_of[size] = query, where[i]
                size += 1
    return query_of[:size], row_of[:size]


@inner
def _grown(values, size):
    out = np.empty(2 * size, np.int64)
    out[: len(values)] = values
    return out
