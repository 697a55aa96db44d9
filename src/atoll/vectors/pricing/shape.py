"""What a collection and its searches look like, as far as their cost goes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from atoll.core.errors import InvalidInput
from atoll.vectors import indexspec, names, rabitq
from atoll.vectors.buckets import BUCKET_ROWS, ITEM_BYTES
from atoll.vectors.indexspec import CODEBOOK_SIZE
from atoll.vectors.model import (
    DTYPES,
    INDEX_KINDS,
    Calibration,
    Dtype,
    IndexKind,
    IndexSpec,
    Manifest,
    Reads,
)
from atoll.vectors.search import DEFAULT_NPROBES

# Queries lie where rows are dense, so that the partitions they probe hold more rows than the mean:
# 1.5 to 2 times on 200,000 clustered vectors, 1.5 to 1.7 on 29,622 windows of UniProt proteins.
PARTITION_SKEW = 1.5
# Near partitions have near numbers: of 20 probed, 0.4 to 0.7 touch the next, among 400 to 6,000
# partitions of clustered vectors and of protein windows. The shape of the other gaps (`ranges`),
# and of those between rows refined, was fitted to the requests of cold queries. Of rows: 0.55 to
# 0.65 on protein windows, 0.25 to 0.3 on clusters of some 50 near-equal rows.
PARTITIONS_TOUCHING, PARTITION_GAPS, ROW_GAPS = 0.5, 0.5, 0.6
# Candidates may lie anywhere among the rows probed, as on protein windows; where vectors form tight
# clusters, they lie among a few times as many rows as they are.
ROW_SPREAD = math.inf
# Ids in a block of `names`, compressed: 6 B for counted ones of 16 characters, 12 for accessions
# with positions.
NAME_BYTES = 10
# Manifests of 1, 4 and 8 buckets: what all have, and what each bucket adds with one source file.
MANIFEST_BASE_BYTES, MANIFEST_BUCKET_BYTES = 1600, 1285
# A layout is numbers as differences, compressed: measured at 14 to 1,400 partitions within 5 %.
LAYOUT_BASE_BYTES, LAYOUT_PARTITION_BYTES = 150, 2.0
LAYOUT_BLOCK_BYTES, LAYOUT_PAGE_BYTES = 2.2, 12.0
# What Lance puts into one page of vectors, and of codes: measured.
VECTOR_PAGE_BYTES, CODE_PAGE_BYTES = 30e6, 9.2e6
# Centroids in float16, signs of the rotation, names of arrays in the archive.
CENTROID_BYTES, MODEL_BASE_BYTES = 2, 2200
# The row id that Lance keeps beside a code of product quantisation.
LANCE_ROW_ID_BYTES = 8
MAX_ROWS = 10**13


@dataclass(frozen=True)
class CollectionShape:
    """A collection, there or planned.

    Attributes:
        rows: over all buckets.
        buckets: how many, all of about one size.
        dim, dtype: of the vectors.
        index: how rows are found.
        partition_skew: rows in a probed partition over those in the mean one.
        partition_gaps, row_gaps: shapes of the gaps between partitions probed, and between rows
            refined; see `ranges`.
        row_spread: rows among which a candidate lies; as many as are probed at most.
        reads: what queries ask for, as counted; where there are none, these shapes tell.
        name_bytes: an id takes in its block.
        manifest_bytes, layout_bytes, model_bytes: of these objects; None estimates them.
    """

    rows: int
    buckets: int
    dim: int
    dtype: Dtype
    index: IndexSpec
    partition_skew: float = PARTITION_SKEW
    partition_gaps: float = PARTITION_GAPS
    row_gaps: float = ROW_GAPS
    row_spread: float = ROW_SPREAD
    reads: tuple[Reads, ...] = ()
    name_bytes: float = NAME_BYTES
    manifest_bytes: int | None = None
    layout_bytes: int | None = None
    model_bytes: int | None = None

    @property
    def bucket_rows(self) -> float:
        """Rows of a bucket, mean."""
        return self.rows / self.buckets

    @property
    def vector_bytes(self) -> int:
        """What a stored vector takes."""
        return self.dim * ITEM_BYTES[self.dtype]

    @property
    def code_bytes(self) -> int:
        """What a row takes in the index; 0 without one."""
        if self.index.kind == "flat":
            return 0
        if self.index.kind == "ivf_pq":
            return (self.index.num_sub_vectors or 0) + LANCE_ROW_ID_BYTES
        return rabitq.code_dtype(self.dim, self.index.bits).itemsize

    @property
    def block_bytes(self) -> float:
        """What a block of ids takes."""
        return names.BLOCK_ROWS * self.name_bytes

    @cached_property
    def manifest_size(self) -> float:
        """Bytes of a manifest."""
        if self.manifest_bytes is not None:
            return self.manifest_bytes
        return MANIFEST_BASE_BYTES + self.buckets * MANIFEST_BUCKET_BYTES

    @cached_property
    def layout_size(self) -> float:
        """Bytes of the layout of a bucket."""
        if self.layout_bytes is not None:
            return self.layout_bytes
        pages = self.bucket_rows * (
            self.vector_bytes / VECTOR_PAGE_BYTES + self.code_bytes / CODE_PAGE_BYTES
        )
        blocks = self.bucket_rows / names.BLOCK_ROWS
        return (
            LAYOUT_BASE_BYTES
            + LAYOUT_PARTITION_BYTES * self.index.num_partitions
            + LAYOUT_BLOCK_BYTES * blocks
            + LAYOUT_PAGE_BYTES * pages
        )

    @cached_property
    def model_size(self) -> float:
        """Bytes of the index model; 0 without an index."""
        if self.index.kind == "flat":
            return 0
        if self.model_bytes is not None:
            return self.model_bytes
        signs = rabitq.ROTATION_ROUNDS * self.dim if self.index.kind == "rabitq" else 0
        codebook = CODEBOOK_SIZE * self.dim * 4 if self.index.kind == "ivf_pq" else 0
        centroids = self.index.num_partitions * self.dim * CENTROID_BYTES
        return MODEL_BASE_BYTES + centroids + signs + codebook

    def probed(self, queries: float, nprobes: int) -> tuple[float, float]:
        """Expect what queries that have nothing to do with each other probe in a bucket.

        Returns:
            Distinct partitions, and rows in them.
        """
        total = self.index.num_partitions
        share = min(nprobes, total) / total
        # 1 - (1 - share)^queries, also where share is tiny.
        distinct = -math.expm1(queries * math.log1p(-share)) if share < 1 else 1.0
        skew = 1 + (self.partition_skew - 1) * (1 - distinct)
        return total * distinct, min(1.0, distinct * skew) * self.bucket_rows


@dataclass(frozen=True)
class SearchSettings:
    """What is asked in one run.

    Attributes:
        k: hits wanted per query.
        nprobes: partitions read per bucket.
        refine_factor: k times this many candidates get exact distances.
        queries: in a run.
        concurrency: map steps at a time at most; None for all buckets at once.
        widens: whether `nprobes` is only where a search starts, as by default.
        is_filtered: whether a predicate must be applied to all rows first.
    """

    k: int = 10
    nprobes: int = DEFAULT_NPROBES
    refine_factor: int = 5
    queries: int = 1
    concurrency: int | None = None
    widens: bool = False
    is_filtered: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers below 1.

        Raises:
            InvalidInput: there is one.
        """
        for name in ("k", "nprobes", "refine_factor", "queries", "concurrency"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"{name} is {value}; it starts at 1", **{name: value})

    def candidates(self, shape: CollectionShape) -> float:
        """Count the rows of a query that get exact distances.

        Lance brings its best from each bucket, our index the best over all.
        """
        wanted = self.k * self.refine_factor
        if shape.index.kind == "ivf_pq":
            return shape.buckets * min(shape.bucket_rows, wanted)
        return 0 if shape.index.kind == "flat" else min(shape.rows, wanted)


# What holds a recall of the 10 nearest: (recall, nprobes, refine factor), measured on 1,000,000
# clustered vectors of 960, for rabitq in partitions of 500 rows (bench/results/nightly/query.json).
# On 200,000 windows of UniProt proteins 20 and 5 find 0.93 (bench/results/search.json).
FOR_RECALL: dict[IndexKind, tuple[tuple[float, int, int], ...]] = {
    "rabitq": ((0.9, 2, 2), (0.95, 5, 5), (0.99, 10, 5), (0.999, 20, 5)),
    "ivf_pq": ((0.85, 5, 2), (0.9, 5, 5), (0.99, 10, 20)),
}


def for_recall(kind: IndexKind, recall: float) -> tuple[int, int]:
    """Suppose which nprobes and refine factor hold a recall, where no collection was measured.

    Raises:
        InvalidInput: it is no share, or more than was measured.
    """
    if not 0 < recall <= 1:
        raise InvalidInput(f"recall is {recall}; give a share above 0 and up to 1, e.g. 0.95")
    if kind == "flat":
        return 1, 1
    found = [(nprobes, factor) for held, nprobes, factor in FOR_RECALL[kind] if held >= recall]
    if not found:
        best = FOR_RECALL[kind][-1][0]
        raise InvalidInput(
            f"recall {recall:g} was not reached where {kind} was measured, {best:g} was; ask for "
            "that, or give --nprobes and --refine-factor",
            recall=recall,
            best=best,
        )
    return found[0]


def planned_shape(
    rows: int,
    dim: int,
    dtype: Dtype = "float32",
    *,
    index: IndexKind = "rabitq",
    bucket_rows: int = BUCKET_ROWS,
) -> CollectionShape:
    """Describe a collection that `create` would make, with its defaults.

    Raises:
        InvalidInput: a number is out of range, or the index does not go with the vectors.
    """
    for name, value, most in (
        ("rows", rows, MAX_ROWS), ("dim", dim, 1 << 20), ("bucket_rows", bucket_rows, MAX_ROWS),
    ):  # fmt: skip
        if not 1 <= value <= most:
            option = name.replace("_", "-")
            raise InvalidInput(f"--{option} {value} is not between 1 and {most:,}", **{name: value})
    for name, choice, known in (("dtype", dtype, DTYPES), ("index", index, INDEX_KINDS)):
        if choice not in known:
            raise InvalidInput(f"{name} is {choice!r}; choose one of {', '.join(known)}")
    if dtype == "int8" and index == "ivf_pq":
        raise InvalidInput("int8 goes with --index rabitq and flat; for ivf_pq use float16")
    buckets = -(-rows // bucket_rows)
    largest = -(-rows // buckets)
    spec = indexspec.resolve(index, dim, largest, num_partitions=None, num_sub_vectors=None)
    return CollectionShape(rows, buckets, dim, dtype, spec)


def shape_of(
    manifest: Manifest, manifest_bytes: int, calibration: Calibration | None = None
) -> CollectionShape:
    """Describe a collection that is there.

    Args:
        manifest: the version searched; it has rows, and its buckets are our own.
        manifest_bytes: its size.
        calibration: of this version; of another model it tells nothing.
    """
    skew, reads = PARTITION_SKEW, tuple[Reads, ...]()
    if calibration is not None and calibration.model == manifest.model:
        skew = skew_of_calibration(calibration, manifest.spec.index.num_partitions)
        reads = calibration.reads
    buckets = manifest.buckets
    stored = sum(bucket.stored_rows for bucket in buckets)
    return CollectionShape(
        rows=stored,
        buckets=len(buckets),
        dim=manifest.spec.dim,
        dtype=manifest.spec.dtype,
        index=manifest.spec.index,
        partition_skew=skew,
        reads=reads,
        name_bytes=sum(blob.size_bytes for b in buckets if (blob := b.names)) / stored,
        manifest_bytes=manifest_bytes,
        layout_bytes=sum(blob.size_bytes for b in buckets if (blob := b.layout)) // len(buckets),
        model_bytes=manifest.models[manifest.model].size_bytes if manifest.model else None,
    )


def skew_of_calibration(calibration: Calibration, num_partitions: int) -> float:
    """Tell how uneven partitions are from the rows that calibrating queries met.

    Args:
        calibration: of the collection's model.
        num_partitions: in each bucket.
    """
    some = [point for point in calibration.points if point.nprobes < num_partitions]
    if not some:
        return PARTITION_SKEW
    at = min(some, key=lambda point: abs(point.nprobes - DEFAULT_NPROBES))
    share = at.nprobes / num_partitions
    # As `CollectionShape.probed` has it.
    return max(1.0, 1 + (at.rows / (calibration.searched_rows * share) - 1) / (1 - share))
