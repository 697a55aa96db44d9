"""RaBitQ: one bit per dimension of a rotated residual, with an unbiased distance estimate.

A row x of partition p is kept as the signs of R(x - c_p), two floats and a hash of its id. A query
q meets it as R(q - c_p) in whole levels of few bits, so that every sum is an exact integer: one row
at a time, in batches, through bit counts or through a matrix product, the estimates are the same to
the last bit. `scan` has those paths.

Source: Gao and Long (2024), "RaBitQ", SIGMOD, arXiv 2405.12497. The rotation is a product of sign
flips and Hadamard transforms (Ailon and Chazelle 2009), so a model holds no dense matrix.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.vectors.model import DistanceType

ROTATION_ROUNDS = 4
BIT_QUERY_BITS = 6
WORD_BITS = 64
# How kernels know the distance types.
KINDS: dict[DistanceType, int] = {"l2": 0, "cosine": 1, "dot": 2}
L2, COSINE, DOT = KINDS["l2"], KINDS["cosine"], KINDS["dot"]

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


def code_dtype(dim: int) -> np.dtype[np.void]:
    """Describe one packed row: its sign bits, scale, offset and 32 bits of the hash of its id."""
    words = -(-dim // WORD_BITS)
    return np.dtype(
        [("bits", "<u8", (words,)), ("scale", "<f4"), ("offset", "<f4"), ("id_hash", "<u4")]
    )


def rotation_signs(dim: int, seed: int) -> NDArray[np.int8]:
    """Draw the (ROTATION_ROUNDS, dim) signs of a rotation; the same on every machine."""
    count = ROTATION_ROUNDS * dim
    stream = hashlib.shake_256(f"atoll rotation {dim} {seed}".encode()).digest(-(-count // 8))
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=count)
    return (bits.astype(np.int8) * 2 - 1).reshape(ROTATION_ROUNDS, dim)


def rotate(rows: FloatArray, signs: NDArray[np.int8]) -> FloatArray:
    """Apply the rotation: (n, dim) float32 to (n, dim) float32, lengths kept.

    Each round flips signs, then applies a Hadamard transform to the largest power of two that
    fits, at the head and at the tail of the vector in turn. Each row is rotated by itself.
    """
    from atoll.vectors import kernels

    rows = np.ascontiguousarray(rows)
    out = np.empty(rows.shape, np.float32)
    kernels.rotate_rows(rows.ctypes.data, signs.astype(np.float32), out)
    return out


def encode(
    rows: FloatArray,
    partition: NDArray[np.uint32],
    centroids: FloatArray,
    signs: NDArray[np.int8],
    distance_type: DistanceType,
    id_hash: NDArray[np.uint64],
) -> NDArray[np.void]:
    """Pack rows into codes; a row's code does not depend on its company.

    Args:
        rows: (n, dim) float32; of unit length under cosine.
        partition: (n,) the centroid each row belongs to.
        centroids: (num_partitions, dim) float32.
        signs: the rotation.
        distance_type: decides what `offset` holds: the residual's squared norm, or under "dot" the
            product of centroid and residual.
        id_hash: (n,) 64-bit hash of each id, whose upper half breaks ties between equal estimates.

    Returns:
        (n,) structured array of `code_dtype(dim)`.
    """
    from atoll.vectors import kernels

    count, dim = rows.shape
    rows = np.ascontiguousarray(rows)
    codes = np.empty(count, code_dtype(dim))
    bits = np.empty((count, codes["bits"].shape[1]), np.uint64)
    scale, offset = np.empty(count, np.float32), np.empty(count, np.float32)
    kernels.encode_bits(
        rows.ctypes.data, dim, partition.astype(np.int64), np.array(centroids),
        signs.astype(np.float32), distance_type == "dot", bits, scale, offset,
    )  # fmt: skip
    codes["bits"], codes["scale"], codes["offset"] = bits, scale, offset
    codes["id_hash"] = id_hash >> np.uint64(32)
    return codes


@dataclass(frozen=True, eq=False)
class PartitionQuery:
    """Queries prepared for a partition each: what an estimate needs of them.

    Attributes:
        levels: (n, dim, filled up with 0) int8: the rotated residual of each query in whole steps.
        planes: (n, words / 4, BIT_QUERY_BITS, 4) uint64: the same, bit by bit.
        step: (n,) float32, the width of a level.
        total: (n,) int64, the sum of the levels.
        base: (n,) float32, squared distance to the centroid, or under "dot" the product with it.
    """

    levels: NDArray[np.int8]
    planes: NDArray[np.uint64]
    step: FloatArray
    total: IntArray
    base: FloatArray


def prepare(
    rotated: FloatArray,
    query: IntArray,
    rotated_centroids: FloatArray,
    partition: IntArray,
    base: FloatArray,
) -> PartitionQuery:
    """Prepare queries for the partitions they probe.

    Args:
        rotated: (queries, dim) float32; of unit length under cosine.
        query, partition: (n,) the pairs: which query probes which partition.
        rotated_centroids: (num_partitions, dim) float32.
        base: (n,) float32, as `PartitionQuery` has it.
    """
    from atoll.vectors import kernels

    count, fours = len(query), -(-rotated.shape[1] // (4 * WORD_BITS))
    levels = np.zeros((count, 4 * WORD_BITS * fours), np.int8)
    planes = np.empty((count, fours, BIT_QUERY_BITS, 4), np.uint64)
    step, total = np.empty(count, np.float32), np.empty(count, np.int64)
    top = (1 << (BIT_QUERY_BITS - 1)) - 1
    kernels.quantise(rotated, query, rotated_centroids, partition, top, levels, step, total)
    kernels.pack_planes(levels, planes)
    return PartitionQuery(levels, planes, step, total, base)
