"""How much each bench does: the documentation's figures, the nightly run's, or a smoke run."""

from __future__ import annotations

from dataclasses import dataclass, replace


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
        clustered_rows, clustered_files: the set that ours and the peers search.
        many: held-out queries of it; asked at once.
        judged: the first so many of them, whose true neighbours are computed.
        single: the first so many of them, asked one by one.
        fanned: buckets against one bucket.
        wide_k: neighbours of a wide query.
        slice_rows, slice_partitions: the share of a bucket of the post that is built.
        cold: cold queries, a process for each.
        huge_rows, huge_file_rows: the largest build, and its sources.
        huge_memory_bytes: what that build may hold.
        far_buckets, far_rows: of the collection in an object store, and rows of a bucket.
        curve_buckets, curve_rows, curve_ks: of the one whose time is drawn against k, and the ks.
        many_buckets, many_rows: of the one of many small buckets.
        executions: of the state machine, for a median.
        billed: searches whose requests are counted against the estimate, in each setting.
        allocations: random ones whose laws are checked.
        optima: random ones compared with the best of all choices.
        replays: launches of each fleet on the spot traces.
        listings: of the catalog that is searched.
        searches: of it, in each round.
        grants: requests that are clocked until their grant holds.
        load_listings, load_users, load_s: of the mesh that many use at once, and for how long.
        events: of the audit in which access is looked up; a tenth of them is verified.
        starts: of a server, for a median.
    """

    repeats: int = 3
    ingest_rows: int = 200_000
    ingest_growth: int = 5
    flat: float = 1.25
    buckets: int = 8
    bucket_rows: int = 25_000
    baseline_buckets: int = 1
    layouts: tuple[int, ...] = (1, 7, 18)
    queries: int = 200
    timed: int = 50
    proteins: int = 20_000
    clustered_rows: int = 100_000
    clustered_files: int = 8
    many: int = 10_000
    judged: int = 1000
    single: int = 200
    fanned: int = 8
    wide_k: int = 50_000
    slice_rows: int = 50_000
    slice_partitions: int = 14_142
    cold: int = 5
    huge_rows: int = 10_000_000
    huge_file_rows: int = 1_000_000
    huge_memory_bytes: int = 4 << 30
    far_buckets: int = 8
    far_rows: int = 100_000
    curve_buckets: int = 18
    curve_rows: int = 50_000
    curve_ks: tuple[int, ...] = (1, 10, 100, 1000, 5000, 20_000, 50_000)
    many_buckets: int = 64
    many_rows: int = 1000
    executions: int = 3
    billed: int = 100
    allocations: int = 1_000_000
    optima: int = 20_000
    replays: int = 5
    listings: int = 100_000
    searches: int = 500
    grants: int = 200
    load_listings: int = 10_000
    load_users: int = 50
    load_s: float = 60
    events: int = 10_000_000
    starts: int = 5


NIGHTLY = replace(Sizes(), clustered_rows=1_000_000, single=100, listings=1_000_000, load_s=600)
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
    clustered_rows=2400,
    clustered_files=3,
    many=60,
    judged=20,
    single=5,
    fanned=3,
    wide_k=500,
    slice_rows=1200,
    slice_partitions=100,
    cold=1,
    huge_rows=3000,
    huge_file_rows=1000,
    huge_memory_bytes=1 << 30,
    far_buckets=2,
    far_rows=1200,
    curve_buckets=3,
    curve_rows=600,
    curve_ks=(1, 100),
    many_buckets=3,
    many_rows=300,
    executions=1,
    billed=2,
    allocations=700,
    optima=50,
    replays=1,
    listings=300,
    searches=10,
    grants=3,
    load_listings=30,
    load_users=3,
    load_s=1,
    events=20_000,
    starts=1,
)
