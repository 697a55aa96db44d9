"""RaBitQ: one bit per dimension of a rotated residual, with an unbiased distance estimate.

A row x of partition p is kept as the signs of R(x - c_p), two floats and a hash of its id. A query
q meets it as R(q - c_p) in whole levels of few bits, so that every sum is an exact integer: one row
at a time or many, by looking sums up or by counting bits, the estimates are the same to the last
bit. `scan` has those paths.

Source: Gao and Long (2024), "RaBitQ", SIGMOD, arXiv 2405.12497. The rotation is a product of sign
flips and Hadamard transforms (Ailon and Chazelle 2009), so a model holds no dense matrix.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.vectors.model import DistanceType

ROTATION_ROUNDS = 4
# Bits of a query's level against codes of one bit, and of several.
BIT_QUERY_BITS = 6
LEVEL_QUERY_BITS = 8
# Width of a level in standard deviations, the best for normally distributed values by bits (Max
# 1960, "Quantizing for minimum distortion", table 1).
LEVEL_WIDTH = {2: 0.9957, 4: 0.3352, 8: 0.0308}
WORD_BITS = 64
# Rows that are estimated at once where their bits are looked up.
ROWS_TOGETHER = 32
# How kernels know the distance types.
KINDS: dict[DistanceType, int] = {"l2": 0, "cosine": 1, "dot": 2}
L2, COSINE, DOT = KINDS["l2"], KINDS["cosine"], KINDS["dot"]


def code_dtype(dim: int, bits: int = 1) -> np.dtype[np.void]:
    """Describe one packed row: its levels, scale, offset and 32 bits of the hash of its id.

    A level of one bit is a bit of words of 64; of 2, 4 or 8 bits byte j of m holds the levels of
    dimensions j, m + j, 2 m + j and so on, the first in its lowest bits.
    """
    kind = ("<u8", (-(-dim // WORD_BITS),)) if bits == 1 else ("u1", (-(-dim * bits // 8),))
    return np.dtype([("bits", *kind), ("scale", "<f4"), ("offset", "<f4"), ("id_hash", "<u4")])


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
    from atoll.vectors.kernels.codes import rotate_rows

    rows = np.ascontiguousarray(rows)
    out = np.empty(rows.shape, np.float32)
    rotate_rows(rows.ctypes.data, signs.astype(np.float32), out)
    return out


def encode(
    rows: FloatArray,
    partition: NDArray[np.uint32],
    centroids: FloatArray,
    signs: NDArray[np.int8],
    distance_type: DistanceType,
    id_hash: NDArray[np.uint64],
    bits: int = 1,
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
        bits: 1, 2, 4 or 8 for each dimension.

    Returns:
        (n,) structured array of `code_dtype(dim, bits)`.
    """
    from atoll.vectors.kernels.codes import encode_bits, encode_levels

    count, dim = rows.shape
    rows = np.ascontiguousarray(rows)
    codes = np.empty(count, code_dtype(dim, bits))
    levels = np.empty(codes["bits"].shape, codes["bits"].dtype)
    scale, offset = np.empty(count, np.float32), np.empty(count, np.float32)
    given = (
        rows.ctypes.data, dim, partition.astype(np.int64), np.array(centroids),
        signs.astype(np.float32), distance_type == "dot",
    )  # fmt: skip
    if bits == 1:
        encode_bits(*given, levels, scale, offset)
    else:
        encode_levels(*given, bits, LEVEL_WIDTH[bits], levels, scale, offset)
    codes["bits"], codes["scale"], codes["offset"] = levels, scale, offset
    codes["id_hash"] = id_hash >> np.uint64(32)
    return codes


@dataclass(frozen=True, eq=False)
class PartitionQuery:
    """Queries prepared for a partition each: what an estimate needs of them.

    Attributes:
        bits: of the codes they are for.
        levels: (n, dim, filled up with 0) int8: the rotated residual of each query in whole steps.
        operands: the same as a scan reads it: int16 for codes of several bits; for those of one
            bit as they are, or where the CPU has to count bits (n, words / 4, BIT_QUERY_BITS, 4)
            uint64, bit by bit.
        step: (n,) float32, the width of a level.
        total: (n,) int64, the sum of the levels.
        base: (n,) float32, squared distance to the centroid, or under "dot" the product with it.
    """

    bits: int
    levels: NDArray[np.int8]
    operands: NDArray[np.generic]
    step: FloatArray
    total: IntArray
    base: FloatArray


def prepare(
    rotated: FloatArray,
    query: IntArray,
    rotated_centroids: FloatArray,
    partition: IntArray,
    base: FloatArray,
    bits: int = 1,
) -> PartitionQuery:
    """Prepare queries for the partitions they probe.

    Args:
        rotated: (queries, dim) float32; of unit length under cosine.
        query, partition: (n,) the pairs: which query probes which partition.
        rotated_centroids: (num_partitions, dim) float32.
        base: (n,) float32, as `PartitionQuery` has it.
        bits: of the codes they are for.
    """
    from atoll.vectors.kernels.bits import is_interleaved
    from atoll.vectors.kernels.codes import pack_planes, quantise

    count, dim = len(query), rotated.shape[1]
    step, total = np.empty(count, np.float32), np.empty(count, np.int64)
    top = (1 << ((BIT_QUERY_BITS if bits == 1 else LEVEL_QUERY_BITS) - 1)) - 1
    together = 8 // bits
    if bits == 1:
        together = WORD_BITS if is_interleaved(bits) else 4 * WORD_BITS
    levels = np.zeros((count, -(-dim // together) * together), np.int8)
    quantise(rotated, query, rotated_centroids, partition, top, levels, step, total)
    operands: NDArray[np.generic] = levels
    if bits > 1:
        operands = levels.astype(np.int16)
    elif not is_interleaved(bits):
        fours = levels.shape[1] // (4 * WORD_BITS)
        operands = np.empty((count, fours, BIT_QUERY_BITS, 4), np.uint64)
        pack_planes(levels, operands)
    return PartitionQuery(bits, levels, operands, step, total, base)
