"""Estimates and selections of the scans, against sums of whole numbers in numpy."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from vectordata import DISTANCE_TYPES, gaussian

from atoll.vectors import rabitq, scan
from atoll.vectors.kernels import bits

PARTITIONS = 3
cases = st.fixed_dictionaries(
    {
        "dim": st.one_of(st.integers(1, 300), st.sampled_from([448, 960, 1030, 1280])),
        "rows": st.integers(1, 400),
        "queries": st.integers(1, 6),
        "keep": st.integers(1, 60),
        "distance_type": st.sampled_from(DISTANCE_TYPES),
        "filtered": st.booleans(),
        "bits": st.sampled_from([1, 2, 4, 8]),
        "seed": st.integers(0, 99),
    }
)


class Case:
    """Codes of a few partitions and queries that probe them all."""

    def __init__(self, dim, rows, queries, keep, distance_type, filtered, bits, seed):
        random = np.random.default_rng(seed)
        self.dim, self.keep, self.distance_type, self.queries = dim, keep, distance_type, queries
        self.home = np.sort(random.integers(0, PARTITIONS, rows))
        self.edges = np.searchsorted(self.home, np.arange(PARTITIONS + 1))
        id_hash = random.integers(0, 5, rows).astype(np.uint64) << np.uint64(32)
        vectors = gaussian(rows, dim, seed)
        vectors[rows // 2 :] = vectors[0]  # equal rows tie
        centroids, asked = gaussian(PARTITIONS, dim, 5), gaussian(queries, dim, 6)
        signs = rabitq.rotation_signs(dim, 0)
        partition = self.home.astype(np.uint32)
        self.bits = bits
        self.codes = rabitq.encode(
            vectors, partition, centroids, signs, distance_type, id_hash, bits
        )
        self.allowed = random.random(rows) < 0.5 if filtered else None
        self.query = np.repeat(np.arange(queries), PARTITIONS)
        self.partition = np.tile(np.arange(PARTITIONS), queries)
        self.prepared = rabitq.prepare(
            rabitq.rotate(asked, signs), self.query, rabitq.rotate(centroids, signs),
            self.partition, gaussian(1, len(self.query), seed)[0], bits,
        )  # fmt: skip

    def blocks(self, held):
        out = np.zeros(len(self.query), scan.BLOCK)
        first = self.edges[self.partition]
        out["address"] = np.array([codes.ctypes.data for codes in held])[self.partition]
        out["rows"] = np.diff(self.edges)[self.partition]
        out["pair"], out["query"] = np.arange(len(out)), self.query
        out["ref"] = first
        out["allowed"] = 0 if self.allowed is None else self.allowed.ctypes.data + first
        return out

    def scanned(self):
        best = scan.Best.of(self.queries, self.keep)
        rows = self.codes.view(np.uint8).reshape(len(self.codes), -1)
        held = [scan.arranged(rows[start:stop], self.bits) for start, stop in pairwise(self.edges)]
        scan.scan(self.blocks(held), self.prepared, best, self.distance_type, self.dim)
        return best

    def true(self, number):
        """(key as a pair, ref) of every allowed row for one query, smallest first."""
        pair = number * PARTITIONS + self.home
        levels = self.prepared.levels[pair, : self.dim].astype(np.int64)
        odd = 2 * self.code_levels() - 2**self.bits + 1
        signed = (odd * levels).sum(axis=1).astype(np.float32)
        estimate = self.estimate(pair, signed)
        allowed = np.arange(len(pair)) if self.allowed is None else self.allowed.nonzero()[0]
        hashes = self.codes["id_hash"]
        return sorted((estimate[i].item(), hashes[i].item(), i) for i in allowed)[: self.keep]

    def code_levels(self):
        """(rows, dim) whole numbers from 0."""
        size = self.codes.dtype.itemsize - 12
        levels = self.codes.view(np.uint8).reshape(len(self.codes), -1)[:, :size]
        if self.bits == 1:
            ones = np.unpackbits(levels, axis=1, count=self.dim, bitorder="little")
            return ones.astype(np.int64)
        shifts = np.arange(0, 8, self.bits)[:, None]
        parts = (levels[:, None, :].astype(np.int64) >> shifts) & (2**self.bits - 1)
        return parts.reshape(len(levels), -1)[:, : self.dim]

    def estimate(self, pair, signed):
        base, offset = self.prepared.base[pair], self.codes["offset"]
        product = self.codes["scale"] * (self.prepared.step[pair] * signed)
        if self.distance_type == "dot":
            return 1 - (product + (base + offset))
        return ((offset + base) - 2 * product) / (2 if self.distance_type == "cosine" else 1)


def found(best, number):
    query, key, ref = best.taken()
    mine = query == number
    estimate, id_hash = scan.estimates_of(key[mine]), key[mine] & np.uint64(0xFFFFFFFF)
    return sorted(zip(estimate.tolist(), id_hash.tolist(), ref[mine].tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(cases)
def test_a_scan_finds_the_best_by_estimates_in_exact_arithmetic(case):
    case = Case(**case)
    counted = case.scanned()
    for number in range(case.queries):
        assert found(counted, number) == case.true(number)


@settings(max_examples=20, deadline=None)
@given(cases)
def test_cpus_that_cannot_look_sums_up_count_bits_and_find_the_same(case):
    with mock.patch.object(bits, "HAS_TABLES", False):
        case = Case(**case | {"bits": 1})
        counted = case.scanned()
    for number in range(case.queries):
        assert found(counted, number) == case.true(number)
