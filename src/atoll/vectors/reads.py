"""Tells from counted reads what a query asks of the store, between counted settings and beyond.

Requests and bytes follow straight lines between logarithms: what is asked for grows with a power of
partitions and rows that changes slowly. Of a collection that has grown since, with as many rows in
a bucket, each part asks for its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

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
    values = np.array(counted, np.float64)
    if wanted <= at[0] or len(at) == 1:
        found = values[0] * min(1.0, wanted / at[0])
    else:
        left = min(int(np.searchsorted(at, wanted, "right")), len(at) - 1) - 1
        # A query that finds no rows asks for nothing.
        low, high = np.log(np.maximum(values[left : left + 2], 1e-9))
        slope = (high - low) / np.log(at[left + 1] / at[left])
        if wanted > at[-1]:
            # No more of something asks for less, or for more than its share.
            slope = np.clip(slope, 0, 1)
            found = values[-1] * (wanted / at[-1]) ** slope
        else:
            found = np.exp(low + slope * np.log(wanted / at[left]))
    requests, size = found.tolist()
    return requests, size
