"""RaBitQ: one bit per dimension of a rotated residual, with an unbiased distance estimate.

A row x of partition p is kept as the signs of R(x - c_p), two floats and a hash of its id. A query
q meets it as R(q - c_p) in `QUERY_BITS` bits per dimension, so that every sum is an exact integer:
one row at a time, in batches, through bit counts or through a matrix product, the estimates are the
same to the last bit.

Source: Gao and Long (2024), "RaBitQ", SIGMOD, arXiv 2405.12497. The rotation is a product of sign
flips and Hadamard transforms (Ailon and Chazelle 2009), so a model holds no dense matrix.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atoll.vectors.model import DistanceType

QUERY_BITS = 6
ROTATION_ROUNDS = 4
BLOCK_ROWS = 256
DENSE_MAX_DIM = 2048
# Below this many queries counting bits is quicker than unpacking them for a matrix product.
PRODUCT_MIN_QUERIES = 4
_WORD_BITS = 64


def code_dtype(dim: int) -> np.dtype[np.void]:
    """Describe one packed row: its sign bits, scale, offset and the hash of its id."""
    words = -(-dim // _WORD_BITS)
    return np.dtype(
        [("bits", "<u8", (words,)), ("scale", "<f4"), ("offset", "<f4"), ("id_hash", "<u8")]
    )


def rotation_signs(dim: int, seed: int) -> NDArray[np.int8]:
    """Draw the (ROTATION_ROUNDS, dim) signs of a rotation; the same on every machine."""
    count = ROTATION_ROUNDS * dim
    stream = hashlib.shake_256(f"atoll rotation {dim} {seed}".encode()).digest(-(-count // 8))
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=count)
    return (bits.astype(np.int8) * 2 - 1).reshape(ROTATION_ROUNDS, dim)


def rotate(rows: NDArray[np.float32], signs: NDArray[np.int8]) -> NDArray[np.float32]:
    """Apply the rotation: (n, dim) float32 to (n, dim) float32, lengths kept.

    Each round flips signs, then applies a Hadamard transform to the largest power of two that
    fits, at the head and at the tail of the vector in turn.
    """
    dim = rows.shape[1]
    block = 1 << (dim.bit_length() - 1)
    out: NDArray[np.float32] = rows.astype(np.float32)
    for index, flips in enumerate(signs):
        out *= flips
        at = slice(0, block) if index % 2 == 0 else slice(dim - block, dim)
        out[:, at] = _hadamard(out[:, at])
    return out


def _rotate_alike(rows: NDArray[np.float32], signs: NDArray[np.int8]) -> NDArray[np.float32]:
    """Rotate rows so that each comes out the same to the last bit whatever comes with it.

    BLAS rounds by the shape of a product, so all have one shape: blocks of rows, the last one
    filled up. Moderate lengths go through one dense product, which is faster.
    """
    dim = rows.shape[1]
    out = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        count = len(block)
        if count < BLOCK_ROWS:
            block = np.zeros((BLOCK_ROWS, dim), np.float32)
            block[:count] = rows[start:]
        if dim <= DENSE_MAX_DIM:
            out[start : start + count] = (block @ _dense(signs.tobytes(), dim))[:count]
        else:
            out[start : start + count] = rotate(block, signs)[:count]
    return out


@lru_cache(maxsize=4)
def _dense(signs: bytes, dim: int) -> NDArray[np.float32]:
    """Write the rotation of these signs out as a matrix to multiply from the right."""
    eye = np.eye(dim, dtype=np.float32)
    flips = np.frombuffer(signs, np.int8).reshape(-1, dim)
    blocks = [rotate(eye[at : at + 64], flips) for at in range(0, dim, 64)]
    return np.concatenate(blocks)


def _hadamard(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Transform each row; as two small matrix products, since H(ab) = H(a) x H(b)."""
    n, size = len(rows), rows.shape[1]
    inner = 1 << (size.bit_length() // 2)
    outer = size // inner
    step = np.ascontiguousarray(rows).reshape(n * outer, inner) @ _hadamard_matrix(inner)
    turned = np.ascontiguousarray(step.reshape(n, outer, inner).transpose(0, 2, 1))
    both: NDArray[np.float32] = turned.reshape(n * inner, outer) @ _hadamard_matrix(outer)
    return both.reshape(n, inner, outer).transpose(0, 2, 1).reshape(n, size)


@lru_cache(maxsize=32)
def _hadamard_matrix(size: int) -> NDArray[np.float32]:
    matrix: NDArray[np.float64] = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    found: NDArray[np.float32] = (matrix / np.sqrt(size)).astype(np.float32)
    return found


def encode(
    rows: NDArray[np.float32],
    partition: NDArray[np.uint32],
    centroids: NDArray[np.float32],
    signs: NDArray[np.int8],
    distance_type: DistanceType,
    id_hash: NDArray[np.uint64],
) -> NDArray[np.void]:
    """Pack rows into codes.

    Args:
        rows: (n, dim) float32; of unit length under cosine.
        partition: (n,) the centroid each row belongs to.
        centroids: (num_partitions, dim) float32.
        signs: the rotation.
        distance_type: decides what `offset` holds: the residual's squared norm, or under "dot" the
            product of centroid and residual.
        id_hash: (n,) 64-bit hash of each id; breaks ties between equal estimates.

    Returns:
        (n,) structured array of `code_dtype(dim)`.
    """
    home = centroids[partition]
    residual = rows - home
    squared = np.einsum("ij,ij->i", residual, residual)
    rotated = _rotate_alike(residual, signs)
    weight = np.abs(rotated).sum(axis=1)
    codes = np.zeros(len(rows), code_dtype(rows.shape[1]))
    packed = np.packbits(rotated > 0, axis=1, bitorder="little")
    codes["bits"].view(np.uint8)[:, : packed.shape[1]] = packed
    np.divide(squared, weight, out=codes["scale"], where=weight > 0)
    if distance_type == "dot":
        codes["offset"] = np.einsum("ij,ij->i", residual, home)
    else:
        codes["offset"] = squared
    codes["id_hash"] = id_hash
    return codes


@dataclass(frozen=True)
class PartitionQuery:
    """Queries prepared for a partition each: what an estimate needs of them.

    Attributes:
        levels: (queries, dim) float32 holding integers 0 to 2**QUERY_BITS - 1: the rotated residual
            of each query, quantised.
        low, step: (queries,) the value of level 0 and the width of a level.
        total: (queries,) sum of the dequantised residual.
        base: (queries,) squared distance to the centroid, or under "dot" the product with it.
    """

    levels: NDArray[np.float32]
    low: NDArray[np.float32]
    step: NDArray[np.float32]
    total: NDArray[np.float32]
    base: NDArray[np.float32]


def prepare(
    queries: NDArray[np.float32],
    rotated: NDArray[np.float32],
    centroid: NDArray[np.float32],
    rotated_centroid: NDArray[np.float32],
    distance_type: DistanceType,
) -> PartitionQuery:
    """Prepare queries for one partition, or one query for several.

    Args:
        queries: (n, dim) float32; of unit length under cosine.
        rotated: the same queries rotated, each by itself, so that a query's estimates do not depend
            on its company.
        centroid, rotated_centroid: (dim,) float32; or for one query (partitions, dim), which gives
            one row for each partition.
        distance_type: what to estimate.
    """
    if distance_type == "dot":
        base = (queries.astype(np.float64) * centroid).sum(axis=1)
    else:
        base = ((queries.astype(np.float64) - centroid) ** 2).sum(axis=1)
    residual = rotated - rotated_centroid
    low = residual.min(axis=1)
    top = (1 << QUERY_BITS) - 1
    step = (residual.max(axis=1) - low) / np.float32(top)
    step = np.where(step > 0, step, np.float32(1))
    levels = np.rint((residual - low[:, None]) / step[:, None])
    total = low * queries.shape[1] + step * levels.sum(axis=1)
    return PartitionQuery(levels, low, step, total, base.astype(np.float32))


def estimate(
    codes: NDArray[np.void], query: PartitionQuery, distance_type: DistanceType
) -> NDArray[np.float32]:
    """Estimate the distance of each query to each code of one partition.

    Returns:
        (queries, codes) float32 on the scale of `distance_type`; estimates, not distances: rank by
        them, then compute real ones.
    """
    bits = codes["bits"]
    if len(query.levels) < PRODUCT_MIN_QUERIES:
        dots = _count_dots(bits, query.levels)
    else:
        dots = _product_dots(bits, query.levels)
    ones = np.bitwise_count(bits).sum(axis=1, dtype=np.float32)
    signed = 2 * (query.low[:, None] * ones + query.step[:, None] * dots) - query.total[:, None]
    return _distance(codes, codes["scale"] * signed, query.base[:, None], distance_type)


def estimate_each(
    codes: NDArray[np.void],
    query: PartitionQuery,
    which: NDArray[np.int64],
    distance_type: DistanceType,
) -> NDArray[np.float32]:
    """Estimate one distance per code: of code i to row `which[i]` of the prepared queries.

    For one query and the codes of many partitions at once; the same values as `estimate` gives
    partition by partition, without its fixed cost for each.

    Returns:
        (codes,) float32.
    """
    bits = codes["bits"]
    ones = np.bitwise_count(bits).sum(axis=1, dtype=np.float32)
    dots = _count_dots_each(bits, query.levels, which)
    signed = 2 * (query.low[which] * ones + query.step[which] * dots) - query.total[which]
    return _distance(codes, codes["scale"] * signed, query.base[which], distance_type)


def _distance(
    codes: NDArray[np.void],
    product: NDArray[np.float32],
    base: NDArray[np.float32],
    distance_type: DistanceType,
) -> NDArray[np.float32]:
    if distance_type == "dot":
        product += base + codes["offset"]
        return np.float32(1) - product
    squared: NDArray[np.float32] = codes["offset"] + base - 2 * product
    return squared / np.float32(2) if distance_type == "cosine" else squared


def _count_dots_each(
    bits: NDArray[np.uint64], levels: NDArray[np.float32], which: NDArray[np.int64]
) -> NDArray[np.float32]:
    out = np.zeros(len(bits), np.int64)
    whole = levels.astype(np.uint8)
    packed = np.zeros((len(levels), bits.shape[1] * 8), np.uint8)
    for plane in range(QUERY_BITS):
        part = np.packbits((whole >> plane) & 1, axis=1, bitorder="little")
        packed[:, : part.shape[1]] = part
        hits = np.bitwise_count(bits & packed.view(np.uint64)[which])
        out += hits.sum(axis=1, dtype=np.int64) << plane
    return out.astype(np.float32)


def _count_dots(bits: NDArray[np.uint64], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    same = np.zeros(len(bits), np.int64)
    return np.stack([_count_dots_each(bits, row[None], same) for row in levels])


def _product_dots(bits: NDArray[np.uint64], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    # Sums stay below 2**24 up to dim 266,000, so float32 holds each of them exactly.
    dim = levels.shape[1]
    flat = np.ascontiguousarray(bits).view(np.uint8).reshape(len(bits), -1)
    unpacked = np.unpackbits(flat, axis=1, count=dim, bitorder="little").astype(np.float32)
    return levels @ unpacked.T
