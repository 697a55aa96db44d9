"""Decides where the reduce is a tree; the same for a plan and for what it is estimated to cost."""

from __future__ import annotations

from atoll.vectors.distributed.model import MAX_MERGED_ROWS

# Parts that one process merges.
MAX_PARTS = 1000
# Buckets whose parts an inner step merges where there are more.
GROUP = 100


def group_size(buckets: int, rows: float) -> int:
    """Choose how many parts an inner step merges; 0 where one process merges all.

    Args:
        buckets: how many there are.
        rows: in all their parts together, for a block of queries, at most.
    """
    if buckets <= MAX_PARTS and rows <= MAX_MERGED_ROWS:
        return 0
    return max(2, min(GROUP, int(MAX_MERGED_ROWS * buckets // max(1, rows))))
