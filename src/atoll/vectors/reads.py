"""Tells from counted reads what a query asks of the store, between counted settings and beyond.

Requests and bytes follow straight lines between logarithms: what is asked for grows with a power of
partitions and rows that changes slowly. Of a collection that has grown since, with as many rows in
a bucket, each part asks for its share.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from atoll.vectors.model import Asked, CalibrationPoint, Reads


def codes(reads: Reads, nprobes: int, rows: int, buckets: int, *, is_apart: bool) -> Asked:
    """Tell what the codes of all buckets take.

    Args:
        reads: as counted.
        nprobes: partitions probed, at most all.
        rows, buckets: of the collection as it is.
        is_apart: whether each bucket is read by itself.
    """
    counted = reads.codes_apart if is_apart else reads.codes
    requests, size = along(nprobes, reads.nprobes, counted)
    return requests * buckets / reads.buckets, size * rows / reads.rows


def vectors(reads: Reads, nprobes: int, candidates: float, rows: int) -> Asked:
    """Tell what the vectors of candidates take.

    Args:
        reads: as counted.
        nprobes: partitions probed, at most all.
        candidates: of each query, over all buckets.
        rows: of the collection as it is.
    """
    grown = rows / reads.rows
    by_nprobes = [along(candidates / grown, reads.counts, each) for each in reads.vectors]
    requests, size = along(nprobes, reads.row_nprobes, by_nprobes)
    return min(grown * requests, reads.together * candidates), grown * size


def ids(reads: Reads, hits: float, rows: int) -> Asked:
    """Tell what the ids of so many hits of each query take, in a collection of so many rows."""
    grown = rows / reads.rows
    requests, size = along(hits / grown, reads.counts, reads.ids)
    return min(grown * requests, reads.together * hits), grown * size


def as_counted(point: CalibrationPoint, reads: Reads) -> CalibrationPoint:
    """Put what was counted into a point of the same calibration."""
    of_codes = codes(reads, point.nprobes, reads.rows, reads.buckets, is_apart=False)
    of_vectors = vectors(reads, point.nprobes, point.candidates, reads.rows)
    requests, size = (sum(each) for each in zip(of_codes, of_vectors, strict=True))
    return replace(point, requests=requests, bytes=size)


def along(wanted: float, at: Sequence[int], counted: Sequence[Asked]) -> Asked:
    """Interpolate requests and bytes that were counted at ascending numbers."""
    if wanted <= at[0] or len(at) == 1:
        requests, size = counted[0]
        return requests * wanted / at[0], size * wanted / at[0]
    left = min(bisect_right(at, wanted), len(at) - 1) - 1
    requests, size = (
        _along(wanted, (at[left], at[left + 1]), values)
        for values in zip(counted[left], counted[left + 1], strict=True)
    )
    return requests, size


def _along(wanted: float, at: tuple[float, float], counted: tuple[float, float]) -> float:
    # A query that finds no rows asks for nothing.
    low, high = (math.log(max(value, 1e-9)) for value in counted)
    slope = (high - low) / math.log(at[1] / at[0])
    if wanted <= at[1]:
        return math.exp(low + slope * math.log(wanted / at[0]))
    # No more of something asks for less, or for more than its share.
    grown: float = (wanted / at[1]) ** min(max(slope, 0.0), 1.0)
    return counted[1] * grown
