"""What the steps of a search ask of the store, request by request.

It follows the code that asks, `mapreduce`, `shelf`, `byteranges`: what is joined there is joined
here, in expectation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atoll.storage import REMOTE_GAP_BYTES, REQUESTS_AT_ONCE
from atoll.vectors import names
from atoll.vectors.indexspec import CODEBOOK_SIZE
from atoll.vectors.mapreduce import REMOTE_THREADS
from atoll.vectors.pricing.ranges import Ranges, joined
from atoll.vectors.pricing.shape import (
    CODE_PAGE_BYTES,
    PARTITIONS_TOUCHING,
    VECTOR_PAGE_BYTES,
    CollectionShape,
    SearchSettings,
)
from atoll.vectors.search import ROWS_AT_ONCE

# The files of a run. `request` is the collection's URL, version and options.
REQUEST_BYTES, SUMMARY_BYTES = 1000, 2000
# A query's id beside its vector.
QUERY_ID_BYTES = 20
# A query and a partition in the plan: the residual in a byte a dimension (what `rabitq.prepare`
# makes of the model, so that the map steps do without it), step, sum, distance, both numbers.
PAIR_BYTES = 32
# A candidate in a part: estimate and row number, compressed.
PART_ROW_BYTES, PART_BASE_BYTES = 4.3, 100
# A line of hits.csv: query id, rank, id, distance. Measured 39 with short names of queries.
HIT_BYTES = 50
HINT_BYTES = 2
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


def whole(what: str, size: float) -> Access:
    """Read one object."""
    return Access(what, gets=1, bytes_in=size)


def written(what: str, size: float) -> Access:
    """Write one object."""
    return Access(what, puts=1, bytes_out=size)


def many(what: str, count: float, size: float) -> Access:
    """Read many objects, as many at once as threads wait."""
    return Access(what, gets=count, bytes_in=size, rounds=math.ceil(count / REMOTE_THREADS))


def _asked(what: str, found: Ranges) -> Access:
    rounds = math.ceil(found.requests / REQUESTS_AT_ONCE)
    return Access(what, gets=found.requests, bytes_in=found.bytes, rounds=rounds)


def opening(shape: CollectionShape) -> tuple[Access, ...]:
    """Open a collection that nothing is known of, and make sure that it is the newest version."""
    return (
        whole("hint", HINT_BYTES),
        whole("manifest", shape.manifest_size),
        Access("newer manifest", gets=LOOKS_FOR_NEWER, rounds=LOOKS_FOR_NEWER),
    )


def run_files(shape: CollectionShape, settings: SearchSettings) -> tuple[Access, ...]:
    """Read what every step of a run starts with."""
    queries = settings.queries * (shape.dim * 4 + QUERY_ID_BYTES)
    return (
        whole("request", REQUEST_BYTES),
        whole("queries", queries),
        whole("manifest", shape.manifest_size),
    )


def plan_bytes(shape: CollectionShape, settings: SearchSettings) -> float:
    """Size of the plan: every query with every partition it probes."""
    pairs = settings.queries * min(settings.nprobes, shape.index.num_partitions)
    return pairs * (shape.dim + PAIR_BYTES)


def all_layouts(shape: CollectionShape) -> Access:
    """Read the layout of every bucket."""
    return many("layouts", shape.buckets, shape.buckets * shape.layout_size)


def winning_layouts(shape: CollectionShape, settings: SearchSettings) -> Access:
    """Refine reads those of the buckets that have a candidate: with thousands of buckets, few."""
    rows = settings.queries * max(settings.candidates(shape), hits_of(shape, settings))
    miss = math.log1p(-1 / shape.buckets) if shape.buckets > 1 else -math.inf
    count = shape.buckets * -math.expm1(rows * miss)
    return many("layouts", count, count * shape.layout_size)


def of_search(
    shape: CollectionShape, settings: SearchSettings, buckets: int = 1
) -> tuple[Access, ...]:
    """Find the candidates in so many buckets."""
    if shape.index.kind == "flat":
        return (_asked("vectors", _all_vectors(shape).times(buckets)),)
    if shape.index.kind == "ivf_pq":
        return (_lance(shape, settings, buckets),)
    layouts = many("layouts", buckets, buckets * shape.layout_size)
    return (layouts, _asked("codes", codes(shape, settings, buckets)))


def codes(shape: CollectionShape, settings: SearchSettings, buckets: int) -> Ranges:
    """Expect the requests for the codes of the partitions probed, in so many buckets at once."""
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


def of_refine(
    shape: CollectionShape, settings: SearchSettings, *, has_layouts: bool = False
) -> tuple[Access, ...]:
    """Read the vectors of all candidates and the ids of the hits; layouts first, if need be."""
    layouts = () if has_layouts else (winning_layouts(shape, settings),)
    found = (_asked("ids", ids(shape, settings)),)
    if shape.index.kind == "flat":
        return (*layouts, *found)
    return (*layouts, _asked("vectors", vectors(shape, settings)), *found)


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


def ids(shape: CollectionShape, settings: SearchSettings) -> Ranges:
    """Expect the requests for the blocks of ids in which the hits are."""
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
    """Rows in the part of a bucket."""
    if shape.index.kind == "flat":
        return settings.queries * min(settings.k, shape.bucket_rows)
    found = shape.probed(1, settings.nprobes)[1]
    return settings.queries * min(settings.k * settings.refine_factor, found)


def part_bytes(shape: CollectionShape, settings: SearchSettings) -> float:
    """Size of the part of a bucket."""
    return PART_BASE_BYTES + PART_ROW_BYTES * part_rows(shape, settings)
