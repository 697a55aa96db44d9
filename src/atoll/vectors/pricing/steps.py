"""What each step of a search reads, writes and computes: the code that does it, as arithmetic.

A search on Lambda is plan, one search per bucket, folds where there are many parts, refine; one in
a single process reads the same without the files of a run. Requests follow `mapreduce`, `shelf`,
`byteranges`: what is joined there is joined here, in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from atoll.storage import REMOTE_GAP_BYTES, REQUESTS_AT_ONCE
from atoll.vectors import names
from atoll.vectors.costs import MODEL_COPIES
from atoll.vectors.forecast import BASE_BYTES, LIBRARY_BYTES
from atoll.vectors.indexspec import CODEBOOK_SIZE
from atoll.vectors.mapreduce import REMOTE_THREADS
from atoll.vectors.pricing.ranges import Ranges, joined
from atoll.vectors.pricing.shape import (
    CODE_PAGE_BYTES,
    VECTOR_PAGE_BYTES,
    CollectionShape,
    SearchSettings,
)
from atoll.vectors.search import CODE_BYTES, REFINE_BYTES, ROWS_AT_ONCE
from atoll.vectors.view import CANDIDATE_BYTES

# The files of a run. `request` is the collection's URL, version and options.
REQUEST_BYTES = 1000
SUMMARY_BYTES = 2000
# A query's id beside its vector.
QUERY_ID_BYTES = 20
# A query and a partition in the plan: the residual in a byte a dimension (what `rabitq.prepare`
# makes of the model, so that the map steps do without it), step, sum, distance, both numbers.
PAIR_BYTES = 32
# A candidate in a part: estimate and row number, compressed.
PART_ROW_BYTES = 4.3
PART_BASE_BYTES = 100
# From so many buckets on, or so many bytes of parts, they are folded in groups of FOLD_PARTS first.
TREE_BUCKETS, TREE_BYTES, FOLD_PARTS = 1000, 512 << 20, 100
# A line of hits.csv: query id, rank, id, distance.
HIT_BYTES = 50
# An unpinned handle looks for a newer manifest when it opens, and once per search: no such object.
LOOKS_FOR_NEWER = 2
# Lance, cold, 25,000 rows in 158 partitions: 11 requests at 1 probe, 51 at 20, 112 at 50; bytes are
# the centroids and the codebook in float32 and whole partitions.
LANCE_OPEN_REQUESTS, LANCE_PROBE_REQUESTS, LANCE_OPEN_BYTES = 10, 2.05, 20_000
LANCE_ROUNDS = 6

# CPU, in seconds of a core as measured (AMD EPYC, one core, bench/results/kernels.json for the
# scan: 87 million codes of 120 B a second).
SCAN_S_PER_BYTE = 1 / (87e6 * 120)
# Reading a model, choosing partitions with it, rotating its centroids: by bytes stored.
MODEL_S_PER_BYTE = 2.0e-8
# Exact distance of a candidate, by values of its vector; comparing a row by brute force, likewise.
REFINE_S_PER_VALUE = 7e-10
COMPARE_S_PER_VALUE = 5e-10
# Packing, unpacking, merging a candidate; looking up and writing a hit.
PART_ROW_S, HIT_S = 1e-7, 2e-6
# Of Lance, a row of a probed partition.
LANCE_ROW_S = 5e-8


@dataclass(frozen=True)
class Access:
    """Some requests of one kind, as one line of the arithmetic.

    Attributes:
        what: for people.
        gets, puts: requests that read, that write.
        bytes_in, bytes_out: read, written.
        rounds: waits, one after the other.
    """

    what: str
    gets: float = 0
    puts: float = 0
    bytes_in: float = 0
    bytes_out: float = 0
    rounds: float = 1


@dataclass(frozen=True)
class Step:
    """One step of a search, as often as a run takes it.

    Attributes:
        name: "plan", "search", "fold", "refine"; "all" where one process does everything.
        count: how often.
        accesses: what one of them asks of the store.
        cpu_s: CPU-seconds of one.
        memory_bytes: one holds at its peak.
    """

    name: str
    count: int
    accesses: tuple[Access, ...]
    cpu_s: float
    memory_bytes: float

    @property
    def gets(self) -> float:
        """Requests of one that read."""
        return sum(access.gets for access in self.accesses)

    @property
    def puts(self) -> float:
        """Requests of one that write."""
        return sum(access.puts for access in self.accesses)

    @property
    def bytes_in(self) -> float:
        """What one reads."""
        return sum(access.bytes_in for access in self.accesses)

    @property
    def bytes_out(self) -> float:
        """What one writes."""
        return sum(access.bytes_out for access in self.accesses)

    @property
    def rounds(self) -> float:
        """How often one waits for an answer."""
        return sum(access.rounds for access in self.accesses)


def steps_on_lambda(shape: CollectionShape, settings: SearchSettings) -> tuple[Step, ...]:
    """List the steps of a run, in order."""
    return tuple(_steps(shape, settings))


def _steps(shape: CollectionShape, settings: SearchSettings) -> Iterator[Step]:
    common = _run_files(shape, settings)
    pairs = settings.queries * min(settings.nprobes, shape.index.num_partitions)
    plan = _object("plan", pairs * (shape.dim + PAIR_BYTES))
    has_model = shape.index.kind == "rabitq"
    model = (_object("model", shape.model_size),) if has_model else ()
    yield Step(
        "plan",
        1,
        (*common, *model, _written("plan", plan.bytes_in)),
        _model_cpu_s(shape) if has_model else 0.0,
        _libraries() + MODEL_COPIES * 2 * shape.model_size * has_model,
    )
    part = _part_bytes(shape, settings)
    searched = _search_accesses(shape, settings)
    yield Step(
        "search",
        shape.buckets,
        (*common, plan, *searched, _written("part", part)),
        _search_cpu_s(shape, settings),
        _libraries() + plan.bytes_in + _search_memory(shape, settings),
    )
    groups = fold_groups(shape, settings)
    parts = shape.buckets
    if groups:
        each = math.ceil(shape.buckets / groups)
        # Of our estimates the best stay; what Lance brings is refined whole.
        folded = each * part if shape.index.kind == "ivf_pq" else part
        yield Step(
            "fold",
            groups,
            (common[0], _many("parts", each, each * part), _written("part", folded)),
            each * _part_rows(shape, settings) * PART_ROW_S,
            _libraries() + each * part + CANDIDATE_BYTES * 2 * _part_rows(shape, settings),
        )
        parts, part = groups, folded
    yield Step(
        "refine",
        1,
        (
            *common,
            _many("parts", parts, parts * part),
            *_refine_accesses(shape, settings),
            _written("hits.csv", settings.queries * _hits(shape, settings) * HIT_BYTES),
            _written("summary", SUMMARY_BYTES),
        ),
        parts * _part_rows(shape, settings) * PART_ROW_S + _refine_cpu_s(shape, settings),
        _libraries() + _refine_memory(shape, settings, parts * part),
    )


def step_in_one_process(shape: CollectionShape, settings: SearchSettings) -> Step:
    """Describe a search by a process that has nothing cached: the metric of cold queries."""
    opening = (
        Access("hint", gets=1, bytes_in=len(str(shape.buckets))),
        _object("manifest", shape.manifest_size),
        Access("newer manifest", gets=LOOKS_FOR_NEWER, rounds=LOOKS_FOR_NEWER),
    )
    layouts = () if shape.index.kind == "rabitq" else (_layouts(shape),)
    model = (_object("model", shape.model_size),) if shape.index.kind == "rabitq" else ()
    found = _search_accesses(shape, settings, buckets=shape.buckets)
    return Step(
        "all",
        1,
        (*opening, *model, *layouts, *found, *_refine_accesses(shape, settings, has_layouts=True)),
        _model_cpu_s(shape)
        + shape.buckets * _search_cpu_s(shape, settings)
        + _refine_cpu_s(shape, settings),
        _libraries() + MODEL_COPIES * 2 * shape.model_size + _search_memory(shape, settings),
    )


def fold_groups(shape: CollectionShape, settings: SearchSettings) -> int:
    """Count the groups that parts are folded in first; 0 where refine merges them itself."""
    size = shape.buckets * _part_bytes(shape, settings)
    is_tree = shape.buckets > TREE_BUCKETS or size > TREE_BYTES
    return math.ceil(shape.buckets / FOLD_PARTS) if is_tree and shape.buckets > 1 else 0


# -- what is read ---------------------------------------------------------------------------------


def _object(what: str, size: float) -> Access:
    return Access(what, gets=1, bytes_in=size)


def _written(what: str, size: float) -> Access:
    return Access(what, puts=1, bytes_out=size)


def _many(what: str, count: float, size: float) -> Access:
    """Read many objects, as many at once as threads wait."""
    return Access(what, gets=count, bytes_in=size, rounds=math.ceil(count / REMOTE_THREADS))


def _ranges(what: str, found: Ranges) -> Access:
    rounds = math.ceil(found.requests / REQUESTS_AT_ONCE)
    return Access(what, gets=found.requests, bytes_in=found.bytes, rounds=rounds)


def _run_files(shape: CollectionShape, settings: SearchSettings) -> tuple[Access, ...]:
    queries = settings.queries * (shape.dim * 4 + QUERY_ID_BYTES)
    return (
        _object("request", REQUEST_BYTES),
        _object("queries", queries),
        _object("manifest", shape.manifest_size),
    )


def _layouts(shape: CollectionShape) -> Access:
    return _many("layouts", shape.buckets, shape.buckets * shape.layout_size)


def _winning_layouts(shape: CollectionShape, settings: SearchSettings) -> Access:
    """Refine reads those of the buckets that have a candidate: with thousands of buckets, few."""
    rows = settings.queries * max(settings.candidates(shape), _hits(shape, settings))
    miss = math.log1p(-1 / shape.buckets) if shape.buckets > 1 else -math.inf
    count = shape.buckets * -math.expm1(rows * miss)
    return _many("layouts", count, count * shape.layout_size)


def _search_accesses(
    shape: CollectionShape, settings: SearchSettings, buckets: int = 1
) -> tuple[Access, ...]:
    """What finding the candidates in so many buckets asks for."""
    if shape.index.kind == "flat":
        return (_ranges("vectors", _all_vectors(shape).times(buckets)),)
    if shape.index.kind == "ivf_pq":
        return (_lance(shape, settings, buckets),)
    layouts = _many("layouts", buckets, buckets * shape.layout_size)
    return (layouts, _ranges("codes", codes(shape, settings, buckets)))


def codes(shape: CollectionShape, settings: SearchSettings, buckets: int) -> Ranges:
    """Expect the requests for the codes of the partitions probed, in so many buckets at once."""
    partitions, rows = shape.probed(settings.queries, settings.nprobes)
    wanted = rows * shape.code_bytes
    # A piece ends where its page does.
    pieces = partitions + wanted / CODE_PAGE_BYTES
    return joined(
        pieces * buckets,
        wanted / pieces,
        stretch_bytes=buckets * shape.bucket_rows * shape.code_bytes,
        shape=shape.partition_gaps,
        unit_bytes=shape.bucket_rows / shape.index.num_partitions * shape.code_bytes,
        gap_bytes=REMOTE_GAP_BYTES,
        files=buckets,
    )


def _all_vectors(shape: CollectionShape) -> Ranges:
    reads = math.ceil(shape.bucket_rows / ROWS_AT_ONCE)
    size = shape.bucket_rows * shape.vector_bytes
    # Each read is cut where a page ends.
    return Ranges(reads + math.floor(size / VECTOR_PAGE_BYTES), size)


def _lance(shape: CollectionShape, settings: SearchSettings, buckets: int) -> Access:
    """One search after the other: Lance shares nothing between queries but what it keeps open."""
    nprobes = min(settings.nprobes, shape.index.num_partitions)
    partitions, rows = shape.probed(settings.queries, nprobes)
    centroids = shape.index.num_partitions * shape.dim * 4 + CODEBOOK_SIZE * shape.dim * 4
    return Access(
        "Lance's index",
        gets=buckets * (LANCE_OPEN_REQUESTS + LANCE_PROBE_REQUESTS * partitions),
        bytes_in=buckets * (LANCE_OPEN_BYTES + centroids + rows * shape.code_bytes),
        rounds=LANCE_ROUNDS + settings.queries,
    )


def _refine_accesses(
    shape: CollectionShape, settings: SearchSettings, *, has_layouts: bool = False
) -> tuple[Access, ...]:
    layouts = () if has_layouts else (_winning_layouts(shape, settings),)
    found = (_ranges("ids", _ids(shape, settings)),)
    if shape.index.kind == "flat":
        return (*layouts, *found)
    return (*layouts, _ranges("vectors", vectors(shape, settings)), *found)


def vectors(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    """Expect the requests for the vectors of all candidates, over all buckets."""
    probed = _probed_rows(shape, settings)
    rows = min(settings.queries * settings.candidates(shape), probed)
    return joined(
        rows,
        shape.vector_bytes,
        stretch_bytes=_stretch(shape, rows, probed) * shape.vector_bytes,
        shape=shape.row_gaps,
        unit_bytes=shape.vector_bytes,
        gap_bytes=REMOTE_GAP_BYTES,
        files=min(shape.buckets, math.ceil(rows)),
    )


def _ids(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    """Expect the requests for the blocks of ids in which the hits are."""
    hits = settings.queries * _hits(shape, settings)
    # Hits lie like candidates: near ones share blocks.
    rows = _stretch(shape, hits, _probed_rows(shape, settings))
    blocks = rows / names.BLOCK_ROWS + min(shape.buckets, hits)
    touched = -blocks * math.expm1(hits * math.log1p(-1 / blocks)) if blocks > 1 else 1.0
    return joined(
        min(touched, hits),
        shape.block_bytes,
        stretch_bytes=blocks * shape.block_bytes,
        shape=shape.row_gaps,
        unit_bytes=shape.block_bytes,
        gap_bytes=REMOTE_GAP_BYTES,
        files=min(shape.buckets, math.ceil(hits)),
    )


def _stretch(shape: CollectionShape, rows: float, probed: float) -> float:
    """Count the rows among which so many lie."""
    return min(probed, rows * shape.row_spread)


def _probed_rows(shape: CollectionShape, settings: SearchSettings) -> float:
    """Rows of all buckets among which the candidates are."""
    if shape.index.kind == "flat":
        return shape.rows
    return shape.buckets * shape.probed(settings.queries, settings.nprobes)[1]


def _hits(shape: CollectionShape, settings: SearchSettings) -> int:
    return min(settings.k, shape.rows)


def _part_rows(shape: CollectionShape, settings: SearchSettings) -> float:
    """Rows in the part of a bucket."""
    if shape.index.kind == "flat":
        return settings.queries * min(settings.k, shape.bucket_rows)
    found = shape.probed(1, settings.nprobes)[1]
    return settings.queries * min(settings.k * settings.refine_factor, found)


def _part_bytes(shape: CollectionShape, settings: SearchSettings) -> float:
    return PART_BASE_BYTES + PART_ROW_BYTES * _part_rows(shape, settings)


# -- what is computed and held --------------------------------------------------------------------


def _libraries() -> int:
    return BASE_BYTES + LIBRARY_BYTES


def _model_cpu_s(shape: CollectionShape) -> float:
    return shape.model_size * MODEL_S_PER_BYTE


def _search_cpu_s(shape: CollectionShape, settings: SearchSettings) -> float:
    """CPU-seconds in one bucket."""
    merge = _part_rows(shape, settings) * PART_ROW_S
    if shape.index.kind == "flat":
        return settings.queries * shape.bucket_rows * shape.dim * COMPARE_S_PER_VALUE + merge
    # Shared or not, a partition is scanned for each query.
    rows = settings.queries * shape.probed(1, settings.nprobes)[1]
    if shape.index.kind == "ivf_pq":
        return rows * LANCE_ROW_S + merge
    return rows * shape.code_bytes * SCAN_S_PER_BYTE + merge


def _refine_cpu_s(shape: CollectionShape, settings: SearchSettings) -> float:
    exact = settings.candidates(shape) * shape.dim * REFINE_S_PER_VALUE
    return settings.queries * (exact + _hits(shape, settings) * HIT_S)


def _search_memory(shape: CollectionShape, settings: SearchSettings) -> float:
    held = CANDIDATE_BYTES * _part_rows(shape, settings)
    if shape.index.kind == "flat":
        return held + 2 * ROWS_AT_ONCE * shape.vector_bytes
    _, rows = shape.probed(settings.queries, settings.nprobes)
    read = rows * shape.code_bytes
    if shape.index.kind == "ivf_pq":
        return held + read + shape.index.num_partitions * shape.dim * 4
    # As read, and arranged for the scan; queries come in rounds.
    return held + 2 * min(read, CODE_BYTES)


def _refine_memory(shape: CollectionShape, settings: SearchSettings, parts: float) -> float:
    rows = settings.queries * settings.candidates(shape)
    exact = 2 * min(REFINE_BYTES, rows * shape.vector_bytes)
    ids = _ids(shape, settings).bytes
    hits = settings.queries * _hits(shape, settings) * HIT_BYTES
    return 2 * parts + CANDIDATE_BYTES * rows + exact + 2 * ids + 3 * hits
