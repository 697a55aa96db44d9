"""The steps of a search: what each reads and writes, computes and holds.

A search on Lambda is plan, one search per bucket, folds where there are many parts, one measure per
bucket where there are many candidates, refine; one in a single process reads the same without the
files of a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from atoll.vectors.costs import MODEL_COPIES
from atoll.vectors.distributed.grouping import block_of, group_of, is_measured
from atoll.vectors.forecast import BASE_BYTES, LIBRARY_BYTES
from atoll.vectors.pricing import accesses
from atoll.vectors.pricing.accesses import Access
from atoll.vectors.pricing.shape import CENTROID_BYTES, CollectionShape, SearchSettings
from atoll.vectors.search import CODE_BYTES, REFINE_BYTES, ROWS_AT_ONCE
from atoll.vectors.view import CANDIDATE_BYTES

# CPU-seconds of a core, measured on an AMD EPYC ("here" in a quote).
# 87 million codes of 120 B a second (bench/results/kernels.json).
SCAN_S_PER_BYTE = 1 / (87e6 * 120)
# Reading a model, choosing partitions with it, rotating its centroids: by bytes stored.
MODEL_S_PER_BYTE = 2.0e-8
# Exact distance of a candidate, by values of its vector.
REFINE_S_PER_VALUE = 7e-10
# A row compared by brute force: what its values cost to fetch from memory, 10 GB/s, and to multiply
# (1,000 queries with 20 million rows of 960 took 500 s).
FETCH_S_PER_VALUE, COMPARE_S_PER_VALUE = 4e-10, 2.6e-11
# Unpacking and merging a candidate: 0.07 us with numpy. A hit: 0.2 us to write, its id to look up.
PART_ROW_S, HIT_S = 1e-7, 1e-6
# Of Lance, a row of a probed partition: 7 ms for 80 partitions of 316 and more
# (bench/results/query.json).
LANCE_ROW_S = 1.4e-7
# A row of a part in memory, until it is merged: its columns, and as much again to join them.
MERGED_ROW_BYTES = 64
# Centroids in memory are float32.
MODEL_GROWTH = MODEL_COPIES * 4 / CENTROID_BYTES


@dataclass(frozen=True)
class Step:
    """One step of a search, as often as a run takes it.

    Attributes:
        name: one of `atoll.vectors.options.STEPS`; "all" where one process does everything.
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


# What each block of queries asks for anew.
_OF_A_BLOCK = {"queries", "probes", "codes", "Lance's index", "vectors", "ids", "part", "parts",
               "measured", "hits.csv"}  # fmt: skip


def steps_on_lambda(shape: CollectionShape, settings: SearchSettings) -> tuple[Step, ...]:
    """List the steps of a run, in order."""
    blocks, each = blocks_of(shape, settings)
    fold = _fold(shape, each)
    measure = _measure(shape, each, fold)
    plan, search = _plan(shape, each), _search(shape, each)
    steps = (
        # Where rows are filtered first, what is planned before that is no more than the buckets.
        *((plan, _filter(shape)) if settings.is_filtered else ()),
        plan,
        search,
        *([] if fold is None else [fold]),
        *([] if measure is None else [measure]),
        _refine(shape, each, fold, measure),
    )
    return tuple(_repeated(step, blocks) for step in steps)


def blocks_of(shape: CollectionShape, settings: SearchSettings) -> tuple[int, SearchSettings]:
    """Tell in how many blocks the queries of a run are answered, and what one of them asks."""
    rows = shape.buckets * min(settings.k * settings.refine_factor, shape.bucket_rows)
    blocks = math.ceil(settings.queries / block_of(settings.queries, rows))
    return blocks, replace(settings, queries=math.ceil(settings.queries / blocks))


def _repeated(step: Step, blocks: int) -> Step:
    """Do what a step does for a block of queries for all of them, one after the other."""
    asked = tuple(each.times(blocks) if each.what in _OF_A_BLOCK else each
                  for each in step.accesses)  # fmt: skip
    return replace(step, accesses=asked, cpu_s=step.cpu_s * blocks)


def _plan(shape: CollectionShape, settings: SearchSettings) -> Step:
    return Step(
        "plan",
        1,
        accesses.of_plan(shape, settings),
        _model_cpu_s(shape),
        _libraries() + _model_memory(shape),
    )


def _filter(shape: CollectionShape) -> Step:
    """Mark the rows of a bucket that pass; what a predicate reads of its columns is not in it."""
    mask = accesses.written("mask", shape.bucket_rows / 8)
    layout = accesses.whole("layout", shape.layout_size)
    return Step(
        "filter", shape.buckets, (*accesses.of_filter(shape), layout, mask), 0, _libraries()
    )


def _search(shape: CollectionShape, settings: SearchSettings) -> Step:
    read = accesses.of_bucket(shape, settings)
    model = sum(access.bytes_in for access in read if access.what == "model")
    return Step(
        "search",
        shape.buckets,
        read,
        model * MODEL_S_PER_BYTE + _search_cpu_s(shape, settings),
        _libraries() + model * MODEL_GROWTH + _search_memory(shape, settings),
    )


def _fold(shape: CollectionShape, settings: SearchSettings) -> Step | None:
    """Merge groups of parts, where refine would have too many of them."""
    groups = fold_groups(shape, settings)
    if not groups:
        return None
    part, rows = accesses.part_bytes(shape, settings), accesses.part_rows(shape, settings)
    each = math.ceil(shape.buckets / groups)
    # Of estimates the best stay; of what buckets have refined all.
    left = part if shape.index.kind == "rabitq" else each * part
    plan, *_ = accesses.of_run(shape, settings)
    return Step(
        "fold",
        groups,
        (plan, accesses.many("parts", each, each * part),
         accesses.written("part", left)),
        each * rows * PART_ROW_S,
        _libraries() + each * part + CANDIDATE_BYTES * 2 * rows,
    )  # fmt: skip


def _merged_parts(shape: CollectionShape, settings: SearchSettings, fold: Step | None) -> Access:
    """Read what all buckets answer."""
    count = shape.buckets if fold is None else fold.count
    each = accesses.part_bytes(shape, settings) if fold is None else fold.bytes_out
    return accesses.many("parts", count, count * each)


def _measure(shape: CollectionShape, settings: SearchSettings, fold: Step | None) -> Step | None:
    """Refine the candidates of one bucket; None where one process refines those of all."""
    rows, groups = settings.queries * settings.candidates(shape), 0 if fold is None else fold.count
    group = math.ceil(shape.buckets / groups) if groups else 0
    if shape.index.kind != "rabitq" or not is_measured(rows, shape.buckets, group):
        return None
    mine = rows / shape.buckets
    parts = _merged_parts(shape, settings, fold)
    plan, *others = accesses.of_run(shape, settings)
    found = accesses.ranges("vectors", accesses.vectors(shape, settings).times(1 / shape.buckets))
    written = accesses.EXACT_ROW_BYTES * mine + accesses.PART_BASE_BYTES
    layout = accesses.whole("layout", shape.layout_size)
    return Step(
        "measure",
        shape.buckets,
        (plan, *others, parts, layout, found, accesses.written("part", written)),
        parts.bytes_in / accesses.PART_ROW_BYTES * PART_ROW_S
        + mine * shape.dim * REFINE_S_PER_VALUE,
        _libraries()
        + _merging_memory(parts)
        + CANDIDATE_BYTES * rows
        + 2 * min(REFINE_BYTES, mine * shape.vector_bytes),
    )


def _refine(
    shape: CollectionShape, settings: SearchSettings, fold: Step | None, measure: Step | None
) -> Step:
    parts = _merged_parts(shape, settings, fold)
    hits = settings.queries * accesses.hits_of(shape, settings)
    merged = parts.bytes_in / accesses.PART_ROW_BYTES
    refined, cpu_s = accesses.of_refine(shape, settings), _refine_cpu_s(shape, settings)
    if measure is not None:
        size = measure.count * measure.accesses[-1].bytes_out
        refined = (accesses.many("measured", measure.count, size), refined[-1])
        cpu_s = hits * HIT_S + settings.queries * settings.candidates(shape) * PART_ROW_S
    return Step(
        "refine",
        1,
        (
            # There is none: nobody has ended the search before.
            Access("summary", gets=1),
            *accesses.of_run(shape, settings),
            parts,
            accesses.winning_layouts(shape, settings),
            *refined,
            accesses.written("hits.csv", hits * accesses.HIT_BYTES),
            accesses.written("summary", accesses.SUMMARY_BYTES),
        ),
        merged * PART_ROW_S + cpu_s,
        _libraries() + _merging_memory(parts) + _refine_memory(shape, settings),
    )


def step_in_one_process(shape: CollectionShape, settings: SearchSettings) -> Step:
    """Describe a search by a process that has nothing cached: the metric of cold queries."""
    layouts: tuple[Access, ...] = ()
    refined: tuple[Access, ...] = ()
    if shape.index.kind != "rabitq":
        layouts = (accesses.all_layouts(shape),)
    if shape.index.kind == "ivf_pq":
        refined = (accesses.ranges("vectors", accesses.vectors(shape, settings)),)
    return Step(
        "all",
        1,
        (
            *accesses.opening(shape),
            *accesses.model(shape),
            *layouts,
            *accesses.of_search(shape, settings, buckets=shape.buckets),
            *refined,
            *accesses.of_refine(shape, settings),
        ),
        _model_cpu_s(shape)
        + shape.buckets * _search_cpu_s(shape, settings)
        + _refine_cpu_s(shape, settings),
        _libraries() + _model_memory(shape) + _search_memory(shape, settings),
    )


def fold_groups(shape: CollectionShape, settings: SearchSettings) -> int:
    """Count the groups that the parts of a block are folded in first; 0 for none."""
    kept = min(shape.rows, settings.k * settings.refine_factor) * settings.queries
    group = group_of(shape.buckets, shape.buckets * min(kept, shape.bucket_rows))
    return math.ceil(shape.buckets / group) if group else 0


# -- what is computed and held --------------------------------------------------------------------


def _libraries() -> int:
    return BASE_BYTES + LIBRARY_BYTES


def _model_cpu_s(shape: CollectionShape) -> float:
    return sum(access.bytes_in for access in accesses.model(shape)) * MODEL_S_PER_BYTE


def _model_memory(shape: CollectionShape) -> float:
    return sum(access.bytes_in for access in accesses.model(shape)) * MODEL_GROWTH


def _search_cpu_s(shape: CollectionShape, settings: SearchSettings) -> float:
    """CPU-seconds in one bucket."""
    merge = accesses.part_rows(shape, settings) * PART_ROW_S
    if shape.index.kind == "flat":
        a_value = FETCH_S_PER_VALUE + settings.queries * COMPARE_S_PER_VALUE
        return shape.bucket_rows * shape.dim * a_value + merge
    # Shared or not, a partition is scanned for each query.
    rows = settings.queries * shape.probed(1, settings.nprobes)[1]
    if shape.index.kind == "ivf_pq":
        return rows * LANCE_ROW_S + merge
    return rows * shape.code_bytes * SCAN_S_PER_BYTE + merge


def _refine_cpu_s(shape: CollectionShape, settings: SearchSettings) -> float:
    exact = settings.candidates(shape) * shape.dim * REFINE_S_PER_VALUE
    return settings.queries * (exact + accesses.hits_of(shape, settings) * HIT_S)


def _search_memory(shape: CollectionShape, settings: SearchSettings) -> float:
    held = CANDIDATE_BYTES * accesses.part_rows(shape, settings)
    if shape.index.kind == "flat":
        return held + 2 * ROWS_AT_ONCE * shape.vector_bytes
    _, rows = shape.probed(settings.queries, settings.nprobes)
    read = rows * shape.code_bytes
    if shape.index.kind == "ivf_pq":
        return held + read + shape.index.num_partitions * shape.dim * 4
    # As read, and arranged for the scan; queries come in rounds.
    return held + 2 * min(read, CODE_BYTES)


def _merging_memory(parts: Access) -> float:
    rows = parts.bytes_in / accesses.PART_ROW_BYTES
    return parts.bytes_in + rows * MERGED_ROW_BYTES


def _refine_memory(shape: CollectionShape, settings: SearchSettings) -> float:
    rows = settings.queries * settings.candidates(shape)
    exact = 2 * min(REFINE_BYTES, rows * shape.vector_bytes)
    ids = accesses.ids(shape, settings).bytes
    hits = settings.queries * accesses.hits_of(shape, settings) * accesses.HIT_BYTES
    return CANDIDATE_BYTES * rows + exact + 2 * ids + 3 * hits
