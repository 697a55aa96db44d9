"""What shape a run takes: blocks of queries, a tree of merges, what comes before and after those.

Pure; what carries a run out and what prices it go by the same rules.
"""

from __future__ import annotations

from atoll.vectors.model import CollectionSpec
from atoll.vectors.options import SearchOptions

# Queries whose hits are one file, at most.
BLOCK_QUERIES = 10_000
# What one process merges: parts of so many buckets, and rows of some 100 bytes in memory.
MAX_PARTS = 1000
MAX_MERGED_ROWS = 20_000_000
# Buckets whose parts an inner step merges where there are more.
GROUP = 100
# So many candidates of a block of queries are more than one process should read the vectors of:
# they lie apart, some thousands of requests, or tens of megabytes. Of fewer than so many in a
# bucket, starting a function for it costs more than it saves.
APART_ROWS, APART_BUCKET_ROWS = 10_000, 1_000
# What all buckets together may read of each other's answers to learn which rows are wanted.
APART_READS = 20_000


def block_of(queries: int, rows: float, most: int = BLOCK_QUERIES) -> int:
    """Choose how many queries are answered together.

    Args:
        queries: of the run.
        rows: with which all buckets answer one query, at most.
        most: queries that memory allows.
    """
    fitting = int(MAX_MERGED_ROWS // max(1, rows))
    return max(1, min(queries, BLOCK_QUERIES, most, fitting))


def group_of(buckets: int, rows: float) -> int:
    """Choose how many parts an inner step merges; 0 where one process merges all of them.

    Args:
        buckets: searched, each with a part.
        rows: in all parts of a block of queries, at most.
    """
    if buckets <= MAX_PARTS and rows <= MAX_MERGED_ROWS:
        return 0
    return max(2, min(GROUP, int(MAX_MERGED_ROWS * buckets // max(1, rows))))


def is_measured(rows: float, buckets: int, group: int) -> bool:
    """Tell whether each bucket computes the exact distances of its rows among the best of all.

    Args:
        rows: candidates of a block of queries.
        buckets: searched.
        group: of them, whose parts are merged by one inner step; 0 where there are none.
    """
    parts = -(-buckets // group) if group else buckets
    is_worth_it = rows >= max(APART_ROWS, APART_BUCKET_ROWS * buckets)
    return buckets > 1 and is_worth_it and buckets * parts <= APART_READS


def is_filtered_first(options: SearchOptions, spec: CollectionSpec) -> bool:
    """Tell whether all buckets' rows must be filtered before partitions can be chosen."""
    return options.where is not None and not options.exact and spec.index.kind != "flat"
