"""How much each bench does: the figures of the documentation, or a smoke run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What a run is made of.

    Attributes:
        repeats: times each cheap variant runs.
        ingest_rows: rows of the ingest bench.
        ingest_growth: how many times as many rows for the check that memory stays flat.
        flat: growth of peak memory that still counts as flat.
        buckets, bucket_rows: of the create bench.
        baseline_buckets: how many of them the baseline indexes.
        layouts: numbers of buckets that must answer alike.
        queries, timed: held-out queries; those of them that are timed one by one.
        proteins: full-length proteins embedded, at most.
    """

    repeats: int = 3
    ingest_rows: int = 200_000
    ingest_growth: int = 5
    flat: float = 1.25
    buckets: int = 8
    bucket_rows: int = 25_000
    baseline_buckets: int = 2
    layouts: tuple[int, ...] = (1, 7, 18)
    queries: int = 200
    timed: int = 50
    proteins: int = 20_000


QUICK = Sizes(
    repeats=1,
    ingest_rows=2000,
    ingest_growth=2,
    buckets=2,
    bucket_rows=600,
    baseline_buckets=1,
    layouts=(1, 3),
    queries=10,
    timed=5,
    proteins=100,
)
