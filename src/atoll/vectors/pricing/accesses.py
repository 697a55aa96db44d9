"""What the steps of a search ask of the store, request by request.

It follows the code that asks, `mapreduce`, `shelf`, `byteranges`: what is joined there is joined
here, in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from atoll.storage import REMOTE_GAP_BYTES, REQUESTS_AT_ONCE
from atoll.vectors import names, rabitq
from atoll.vectors import reads as counts
from atoll.vectors.distributed.run import BUCKETS_TOGETHER, KNOWN_SHARE
from atoll.vectors.indexspec import CODEBOOK_SIZE
from atoll.vectors.mapreduce import REMOTE_THREADS
from atoll.vectors.model import Asked, Reads
from atoll.vectors.pricing.ranges import Ranges, joined
from atoll.vectors.pricing.shape import (
    CODE_PAGE_BYTES,
    PARTITIONS_TOUCHING,
    VECTOR_PAGE_BYTES,
    CollectionShape,
    SearchSettings,
)
from atoll.vectors.search import ROWS_AT_ONCE

# The files of a run, as they were with one query of 960 and with 32: `request.json`,
# `target.json`, `plan.json`, `summary.json`; of the queries what is beside the vectors; of
# `probes/` what is beside pairs of query and partition, and beside centroids, where they are there;
# of `buckets/` a bucket with one source file.
REQUEST_BYTES, TARGET_BYTES, PLAN_BYTES, SUMMARY_BYTES = 490, 1260, 1975, 1160
QUERIES_BASE_BYTES, QUERY_ID_BYTES = 1015, 6
PROBES_BASE_BYTES, PROBE_BYTES, NO_PROBES_BYTES, CENTROIDS_BASE_BYTES = 952, 12, 22, 1800
BUCKET_RECORD_BYTES = 1047
# A candidate in a part: estimate and row number, compressed; or distance and row number.
PART_ROW_BYTES, EXACT_ROW_BYTES, PART_BASE_BYTES = 4.3, 6.0, 320
# A line of hits.csv: query id, rank, id, distance.
HIT_BYTES = 50
# "<version> <bytes> <sha256>" of the newest manifest.
HINT_BYTES = 72
# An unpinned handle looks for a newer manifest when it opens, and once per search: no such object.
LOOKS_FOR_NEWER = 2
# Lance, cold, 25,000 rows in 158 partitions: 11 requests at 1 probe, 51 at 20, 112 at 50; bytes are
# the centroids and the codebook in float32 and whole partitions.
LANCE_OPEN_REQUESTS, LANCE_PROBE_REQUESTS, LANCE_OPEN_BYTES = 10, 2.05, 20_000
LANCE_ROUNDS = 6


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

    def times(self, count: int) -> Access:
        """Ask so often, one time after the other."""
        return Access(
            self.what, self.gets * count, self.puts * count, self.bytes_in * count,
            self.bytes_out * count, self.rounds * count,
        )  # fmt: skip


def whole(what: str, size: float) -> Access:
    """Read one object."""
    return Access(what, gets=1, bytes_in=size)


def written(what: str, size: float) -> Access:
    """Write one object."""
    return Access(what, puts=1, bytes_out=size)


def many(what: str, count: float, size: float) -> Access:
    """Read many objects, as many at once as threads wait."""
    return Access(what, gets=count, bytes_in=size, rounds=math.ceil(count / REMOTE_THREADS))


def ranges(what: str, found: Ranges) -> Access:
    """Read ranges of objects, as many at once as there are threads."""
    rounds = math.ceil(found.requests / REQUESTS_AT_ONCE)
    return Access(what, gets=found.requests, bytes_in=found.bytes, rounds=rounds)


def opening(shape: CollectionShape) -> tuple[Access, ...]:
    """Open a collection that nothing is known of, and make sure that it is the newest version."""
    return (
        whole("hint", HINT_BYTES),
        whole("manifest", shape.manifest_size),
        Access("newer manifest", gets=LOOKS_FOR_NEWER, rounds=LOOKS_FOR_NEWER),
    )


def of_plan(shape: CollectionShape, settings: SearchSettings) -> tuple[Access, ...]:
    """Choose partitions, once for all buckets."""
    target, plan = written("target", TARGET_BYTES), written("plan", PLAN_BYTES)
    count = math.ceil(shape.buckets / BUCKETS_TOGETHER)
    size = shape.buckets * BUCKET_RECORD_BYTES
    records = Access("bucket records", puts=count, bytes_out=size, rounds=count)
    # Partitions are added until k rows can be found, which the layouts of all buckets tell.
    is_ours = shape.index.kind == "rabitq"
    layouts = (all_layouts(shape),) if settings.widens and is_ours else ()
    return (
        whole("request", REQUEST_BYTES),
        whole("manifest", shape.manifest_size),
        target,
        records,
        _queries(shape, settings),
        *layouts,
        *model(shape),
        written("probes", _probes_bytes(shape, settings)),
        plan,
    )


def of_run(shape: CollectionShape, settings: SearchSettings) -> tuple[Access, ...]:
    """Read what search and refine start with."""
    records = min(shape.buckets, BUCKETS_TOGETHER) * BUCKET_RECORD_BYTES
    return (
        whole("plan", PLAN_BYTES),
        whole("bucket records", records),
        _queries(shape, settings),
    )


def of_filter(shape: CollectionShape) -> tuple[Access, ...]:
    """Read what a filter step starts with."""
    records = min(shape.buckets, BUCKETS_TOGETHER) * BUCKET_RECORD_BYTES
    return (
        whole("request", REQUEST_BYTES),
        whole("target", TARGET_BYTES),
        whole("bucket records", records),
    )


def of_bucket(shape: CollectionShape, settings: SearchSettings) -> tuple[Access, ...]:
    """Answer for one bucket, from its number to its part."""
    probes = whole("probes", _probes_bytes(shape, settings))
    target = whole("target", TARGET_BYTES)
    # Four objects come side by side.
    start = (target, *(replace(each, rounds=0) for each in of_run(shape, settings)), probes)
    part = written("part", part_bytes(shape, settings))
    if shape.index.kind == "rabitq":
        whole_model = () if _is_known(shape, settings) else model(shape)
        return (*start, *whole_model, *of_search(shape, settings), part)
    # An index of Lance's is refined bucket by bucket, the post's way.
    layout = whole("layout", shape.layout_size)
    refined = () if shape.index.kind == "flat" else (ranges("vectors", _of_one(shape, settings)),)
    return (*start, *of_search(shape, settings), layout, *refined, part)


def _is_known(shape: CollectionShape, settings: SearchSettings) -> bool:
    """Tell whether the centroids that a map step needs come with the plan."""
    partitions, _ = shape.probed(settings.queries, settings.nprobes)
    return partitions <= KNOWN_SHARE * shape.index.num_partitions


def model(shape: CollectionShape) -> tuple[Access, ...]:
    """Read the index model; Lance has its own, which it reads itself."""
    return (whole("model", shape.model_size),) if shape.index.kind == "rabitq" else ()


def _queries(shape: CollectionShape, settings: SearchSettings) -> Access:
    each = shape.dim * 4 + QUERY_ID_BYTES
    return whole("queries", QUERIES_BASE_BYTES + settings.queries * each)


def _probes_bytes(shape: CollectionShape, settings: SearchSettings) -> float:
    """Size of the list of every query with every partition it probes."""
    if shape.index.kind != "rabitq":
        return NO_PROBES_BYTES
    nprobes = min(settings.nprobes, shape.index.num_partitions)
    pairs = PROBES_BASE_BYTES + settings.queries * nprobes * PROBE_BYTES
    if not _is_known(shape, settings):
        return pairs
    partitions, _ = shape.probed(settings.queries, settings.nprobes)
    centroids = partitions * (shape.dim * 4 + 4) + rabitq.ROTATION_ROUNDS * shape.dim
    return pairs + CENTROIDS_BASE_BYTES + centroids


def all_layouts(shape: CollectionShape) -> Access:
    """Read the layout of every bucket."""
    return many("layouts", shape.buckets, shape.buckets * shape.layout_size)


def winning_layouts(shape: CollectionShape, settings: SearchSettings) -> Access:
    """Refine reads those of the buckets that have a candidate: with thousands of buckets, few."""
    is_ours = shape.index.kind == "rabitq"
    each = settings.candidates(shape) if is_ours else hits_of(shape, settings)
    rows = settings.queries * each
    miss = math.log1p(-1 / shape.buckets) if shape.buckets > 1 else -math.inf
    count = shape.buckets * -math.expm1(rows * miss)
    return many("layouts", count, count * shape.layout_size)


def of_search(
    shape: CollectionShape, settings: SearchSettings, buckets: int = 1
) -> tuple[Access, ...]:
    """Find the candidates in so many buckets."""
    if shape.index.kind == "flat":
        return (ranges("vectors", _all_vectors(shape).times(buckets)),)
    if shape.index.kind == "ivf_pq":
        return (_lance(shape, settings, buckets),)
    layouts = many("layouts", buckets, buckets * shape.layout_size)
    return (layouts, ranges("codes", codes(shape, settings, buckets)))


def codes(shape: CollectionShape, settings: SearchSettings, buckets: int) -> Ranges:
    """Expect the requests for the codes of the partitions probed, in so many buckets at once."""

    def counted(known: Reads) -> Asked:
        nprobes = min(settings.nprobes, shape.index.num_partitions)
        requests, size = counts.codes(
            known, nprobes, shape.rows, shape.buckets, is_apart=buckets < shape.buckets
        )
        share = buckets / shape.buckets
        return requests * share, size * share

    most = buckets * shape.bucket_rows * shape.code_bytes
    return _counted(shape, settings, counted, lambda asked: _codes(shape, asked, buckets), most)


def _codes(shape: CollectionShape, settings: SearchSettings, buckets: int) -> Ranges:
    partitions, rows = shape.probed(settings.queries, settings.nprobes)
    size = shape.bucket_rows * shape.code_bytes
    found = joined(
        partitions * buckets,
        rows * shape.code_bytes / partitions,
        stretch_bytes=buckets * size,
        shape=shape.partition_gaps,
        unit_bytes=size / shape.index.num_partitions,
        gap_bytes=REMOTE_GAP_BYTES,
        touching=PARTITIONS_TOUCHING,
        files=buckets,
    )
    # A range ends where its page does: vectors lie between two pages of codes.
    pages = math.ceil(size / CODE_PAGE_BYTES)
    cuts = found.bytes / CODE_PAGE_BYTES * (pages - 1) / pages
    return Ranges(found.requests + cuts, found.bytes)


def _counted(
    shape: CollectionShape,
    settings: SearchSettings,
    counted: Callable[[Reads], Asked],
    supposed: Callable[[SearchSettings], Ranges],
    most_bytes: float,
) -> Ranges:
    """Tell what was counted where something was, for as many queries; suppose the rest.

    Args:
        shape, settings: what is searched, and how.
        counted, supposed: tell it.
        most_bytes: that there are.
    """
    if not shape.reads:
        return supposed(settings)
    together = [known.together for known in shape.reads]
    if settings.queries <= together[-1]:
        found = counts.along(settings.queries, together, [counted(r) for r in shape.reads])
    else:
        more, known = supposed(settings), supposed(replace(settings, queries=together[-1]))
        requests, size = counted(shape.reads[-1])
        found = requests * more.requests / known.requests, size * more.bytes / known.bytes
    return Ranges(found[0], min(found[1], most_bytes))


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


def of_refine(shape: CollectionShape, settings: SearchSettings) -> tuple[Access, ...]:
    """Read the vectors of the best over all buckets, where their codes chose them; ids of hits."""
    found = ranges("ids", ids(shape, settings))
    if shape.index.kind != "rabitq":
        return (found,)
    return (ranges("vectors", vectors(shape, settings)), found)


def _of_one(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    """Expect the requests for the vectors of the candidates of one bucket."""
    return vectors(replace(shape, rows=round(shape.bucket_rows), buckets=1), settings)


def vectors(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    """Expect the requests for the vectors of all candidates, over all buckets."""
    nprobes = min(settings.nprobes, shape.index.num_partitions)
    each = settings.candidates(shape)
    return _counted(
        shape,
        settings,
        lambda known: counts.vectors(known, nprobes, each, shape.rows),
        lambda asked: _vectors(shape, asked),
        shape.rows * shape.vector_bytes,
    )


def _vectors(shape: CollectionShape, settings: SearchSettings) -> Ranges:
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


def ids(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    """Expect the requests for the blocks of ids in which the hits are."""
    each = hits_of(shape, settings)
    return _counted(
        shape,
        settings,
        lambda known: counts.ids(known, each, shape.rows),
        lambda asked: _ids(shape, asked),
        shape.rows * shape.name_bytes,
    )


def _ids(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    hits = settings.queries * hits_of(shape, settings)
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


def hits_of(shape: CollectionShape, settings: SearchSettings) -> int:
    """Count the hits of a query."""
    return min(settings.k, shape.rows)


def part_rows(shape: CollectionShape, settings: SearchSettings) -> float:
    """Count the rows in the part of a bucket: candidates, or hits where it has refined them."""
    if shape.index.kind != "rabitq":
        return settings.queries * min(settings.k, shape.bucket_rows)
    found = shape.probed(1, settings.nprobes)[1]
    return settings.queries * min(settings.k * settings.refine_factor, found)


def part_bytes(shape: CollectionShape, settings: SearchSettings) -> float:
    """Size of the part of a bucket."""
    row = PART_ROW_BYTES if shape.index.kind == "rabitq" else EXACT_ROW_BYTES
    return PART_BASE_BYTES + row * part_rows(shape, settings)
