"""Decides how workers share a build: all at one bucket after the other, or each at one of its own.

Pure; what carries it out are `atoll.vectors.build` and `atoll.vectors.sharing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.vectors.buckets import bytes_per_row
from atoll.vectors.model import Dtype, IndexKind

# Of a worker's memory; the rest is for Lance's writer, batches in flight and the libraries.
SHUFFLE_SHARE = 0.6
# A smaller bucket is built by one worker before others have started.
MIN_SHARED_ROWS = 1 << 17


@dataclass(frozen=True)
class Team:
    """Who builds.

    Attributes:
        workers: that have something to do; a single one works in the process that was started.
        is_shared: all of them build each bucket together.
    """

    workers: int
    is_shared: bool


def team(
    bucket_rows: Sequence[int],
    dim: int,
    dtype: Dtype,
    index: IndexKind,
    *,
    workers: int,
    memory_bytes: int,
) -> Team:
    """Put workers together where there are not enough buckets for all, or one is large.

    One that would not fit in a worker's memory goes through files anyway. A flat one is one stream.

    Args:
        bucket_rows: rows of each bucket to build.
        dim, dtype, index: as in the collection's spec.
        workers: how many there may be.
        memory_bytes: for all of them.
    """
    rows = max(bucket_rows, default=0)
    size = rows * bytes_per_row(dim, dtype, index=index)
    is_large = size > memory_bytes * SHUFFLE_SHARE / workers
    may_share = workers > 1 and index != "flat" and rows >= MIN_SHARED_ROWS
    if may_share and (len(bucket_rows) < workers or is_large):
        return Team(workers, is_shared=True)
    return Team(max(1, min(workers, len(bucket_rows))), is_shared=False)
