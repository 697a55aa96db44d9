"""Scans codes for the best rows of each query, by estimate.

One compiled call goes over many blocks: the codes of a partition in a bucket, for one query each.
Blocks of one partition follow each other, so that its codes stay in a core's cache while all the
queries that probe it meet them.

Codes of one bit meet a query in tables, as in FAISS's fast scan (André, Kermarrec, Le Scouarnec
2015, "Cache locality is not enough", VLDB): half a byte of a code is looked up in 16 sums of
levels, which are whole numbers, so that the estimates are those of any other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.vectors.model import DistanceType
from atoll.vectors.rabitq import KINDS, ROWS_TOGETHER, PartitionQuery, code_dtype

# Beside the levels of a code: scale, offset and hash.
FACTOR_BYTES = 12

# Rows of one partition in one place, and who asks for them:
BLOCK = np.dtype(
    [
        ("address", np.int64),  # of the first code, in memory that the caller holds
        ("rows", np.int64),
        ("pair", np.int64),  # which prepared pair of query and partition
        ("query", np.int64),
        ("ref", np.uint64),  # the number of the first row
        ("allowed", np.int64),  # address of a byte per row, 0 to leave it out; or 0 for all rows
    ]
)


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of some partitions in memory, of one bucket or several.

    Attributes:
        held: what keeps them alive.
        address, rows: (buckets, m) where the codes of each partition are, and how many.
        ref: (buckets, m) uint64, the number of the first row of each.
        allowed: (buckets, m) address of a byte per row, 0 where it may not be a hit; or 0.
    """

    held: Sequence[object]
    address: IntArray
    rows: IntArray
    ref: NDArray[np.uint64]
    allowed: IntArray

    @classmethod
    def join(cls, parts: Sequence[Codes]) -> Codes:
        """Put buckets beside each other."""
        if len(parts) == 1:
            return parts[0]
        names = ("address", "rows", "ref", "allowed")
        arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return cls([part.held for part in parts], *arrays)

    def blocks(self, which: IntArray, pair: IntArray, query: IntArray) -> NDArray[np.void]:
        """Describe partitions `which`, ascending, in each bucket, for the pairs that ask for them.

        Blocks that share codes follow each other; where none do, those that share a pair.
        """
        found = np.empty((len(self.address), len(which)), BLOCK)
        found["address"], found["rows"] = self.address[:, which], self.rows[:, which]
        found["pair"], found["query"] = pair, query
        found["ref"], found["allowed"] = self.ref[:, which], self.allowed[:, which]
        is_shared = (which[1:] == which[:-1]).any()
        return found.reshape(-1) if is_shared else found.T.reshape(-1)


def estimates_of(key: NDArray[np.uint64]) -> FloatArray:
    """Give the estimates that keys were made of."""
    ordered = (key >> np.uint64(32)).astype(np.uint32)
    sign = np.uint32(1 << 31)
    found: FloatArray = np.where(ordered & sign, ordered & ~sign, ~ordered).view(np.float32)
    return found


@dataclass(frozen=True, eq=False)
class Best:
    """The `keep` best entries of each query, whatever the order they come in.

    An entry is (key, ref): the key sorts like (estimate, id hash); equal keys are decided by ref.
    There is room for twice as many as are kept: an entry costs a store, and now and then all are
    cut to the best, so a large `keep` costs no more per entry than a small one.

    Attributes:
        keep: entries kept of each query.
        keys, refs: (queries, room) uint64.
        sizes: (queries,) int64, entries held.
        limits: (queries,) uint64, no key above can be among the best.
    """

    keep: int
    keys: NDArray[np.uint64]
    refs: NDArray[np.uint64]
    sizes: IntArray
    limits: NDArray[np.uint64]

    @classmethod
    def of(cls, queries: int, keep: int) -> Best:
        """Make an empty one."""
        room = 2 * keep + 16
        return cls(
            keep,
            np.empty((queries, room), np.uint64),
            np.empty((queries, room), np.uint64),
            np.zeros(queries, np.int64),
            np.full(queries, np.iinfo(np.uint64).max),
        )

    def add(self, query: IntArray, key: NDArray[np.uint64], ref: NDArray[np.uint64]) -> None:
        """Fold in entries found elsewhere, (n,) each."""
        from atoll.vectors.kernels.scans import offer_all

        offer_all(query, key, ref, *self._parts())

    def taken(self) -> tuple[IntArray, NDArray[np.uint64], NDArray[np.uint64]]:
        """Give (query, key, ref) of the best, ordered by query alone."""
        from atoll.vectors.kernels.scans import settle

        settle(*self._parts())
        held = np.arange(self.keys.shape[1]) < self.sizes[:, None]
        query = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return query, self.keys[held], self.refs[held]

    def _parts(
        self,
    ) -> tuple[int, NDArray[np.uint64], NDArray[np.uint64], IntArray, NDArray[np.uint64]]:
        return self.keep, self.keys, self.refs, self.sizes, self.limits


def arranged(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Copy the codes of a partition, (rows, width), to how `scan` takes them.

    On CPUs that can, 32 rows are estimated at once from codes of one bit, which are interleaved.
    """
    from atoll.vectors.kernels.bits import is_interleaved
    from atoll.vectors.kernels.codes import interleave

    if not is_interleaved(bits):
        return codes.copy()
    rows, width = codes.shape
    out = np.empty((-(-rows // ROWS_TOGETHER), ROWS_TOGETHER, width), np.uint8)
    interleave(codes.ctypes.data, rows, width - FACTOR_BYTES, out)
    return out


def scan(
    blocks: NDArray[np.void],
    prepared: PartitionQuery,
    best: Best,
    distance_type: DistanceType,
    dim: int,
) -> None:
    """Estimate the rows of blocks and fold them into the best of each query.

    Args:
        blocks: (n,) of `BLOCK`, whose codes are `arranged`.
        prepared: the pairs that blocks name.
        best: what is found goes here.
        distance_type: what to estimate.
        dim: length of a vector.
    """
    from atoll.vectors.kernels.bits import is_interleaved
    from atoll.vectors.kernels.scans import scan_blocks, scan_interleaved

    bits = prepared.bits
    size = code_dtype(dim, bits).itemsize - FACTOR_BYTES
    given = (
        KINDS[distance_type], prepared.operands, prepared.step, prepared.total, prepared.base,
        *best._parts(),
    )  # fmt: skip
    if is_interleaved(bits):
        scan_interleaved(blocks, size, *given)
    else:
        scan_blocks(blocks, bits, size, *given)
