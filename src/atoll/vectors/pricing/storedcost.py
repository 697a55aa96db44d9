"""What lies in the store and what it took to build it: bytes a month, hours."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.vectors.buckets import ID_BYTES, bytes_per_row
from atoll.vectors.calibrate import AT_CREATE
from atoll.vectors.costs import ID_INDEX_ROW_BYTES, Times, Work, times
from atoll.vectors.forecast import POST, POST_ROWS_PER_S
from atoll.vectors.options import BuildOptions
from atoll.vectors.pricing.bill import GIB, Line
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.shape import CollectionShape
from atoll.vectors.rates import Rates
from atoll.vectors.search import NARROW_ROWS
from atoll.vectors.training import training_rows

TB, TIB = 10**12, 1 << 40


@dataclass(frozen=True)
class Stored:
    """Bytes at rest.

    Attributes:
        rows: how many.
        parts: bytes a row, by what they are.
        beside: bytes that do not grow with rows: model, layouts, manifest.
    """

    rows: int
    parts: dict[str, float]
    beside: float

    @property
    def row_bytes(self) -> float:
        """Bytes of a row."""
        return sum(self.parts.values())

    @property
    def bytes(self) -> float:
        """All of them."""
        return self.rows * self.row_bytes + self.beside

    def __str__(self) -> str:
        """Show the arithmetic."""
        parts = " + ".join(f"{size:,.4g} {name}" for name, size in self.parts.items())
        return (
            f"{self.rows:,} x ({parts}) B = {self.bytes / TB:.3g} TB = {self.bytes / TIB:.3g} TiB"
        )

    def month(self, prices: Prices) -> Line:
        """Price a month of it."""
        return Line("S3 storage", self.bytes / GIB, "GiB-month", prices.storage_gib_month)


def stored(shape: CollectionShape) -> Stored:
    """Count what a collection takes in the store; further columns come on top.

    Measured, everything below the collection: 3,994 B a row on 200,000 x 960 x float32 with counted
    ids, 4,020 on protein windows with longer ones, where this says 4,004. What Lance adds of its
    own, page tables and footers, is in that.
    """
    flat = bytes_per_row(shape.dim, shape.dtype, index="flat")
    indexed = bytes_per_row(shape.dim, shape.dtype, index=shape.index.kind)
    parts = {
        "vector": float(flat - ID_BYTES),
        "code": float(indexed - flat),
        "id": float(ID_BYTES),
        "id index": float(ID_INDEX_ROW_BYTES),
    }
    beside = shape.model_size + shape.buckets * shape.layout_size + shape.manifest_size
    return Stored(shape.rows, {name: size for name, size in parts.items() if size}, beside)


@dataclass(frozen=True)
class Building:
    """What it takes to build a collection.

    Attributes:
        post_hours: of the post's instance, at the post's rate; that was for 960 x float32 with
            IVF-PQ.
        bucket_hours: the same of one bucket: with an instance for each, the build takes as long.
        here: on that instance, from the rates measured on this machine, one bucket after the other;
            None where nothing was measured, or for Lance's index, of which nothing is projected.
    """

    post_hours: float
    bucket_hours: float
    here: Times | None

    def line(self, prices: Prices) -> Line:
        """Price it at the post's rate."""
        return Line("build, at the post's rate", self.post_hours, "h", prices.instance_hour)

    def measured_line(self, prices: Prices) -> Line | None:
        """Price it at the rates measured here."""
        if self.here is None:
            return None
        hours = self.here.total_s.mid / 3600
        return Line("build, at the rates measured here", hours, "h", prices.instance_hour)


def building(shape: CollectionShape, rates: Rates | None) -> Building:
    """Project a build on the post's instance.

    Args:
        shape: what is built.
        rates: measured by `atoll bench-here`; None where they are not.
    """
    hours = shape.rows / POST_ROWS_PER_S / 3600
    here = None
    if rates is not None and shape.index.kind != "ivf_pq":
        here = times(_work(shape), POST, rates)
    return Building(hours, hours / shape.buckets, here)


def _work(shape: CollectionShape) -> Work:
    base, larger = divmod(shape.rows, shape.buckets)
    sample = calibrated = 0
    if shape.index.num_partitions:
        sample = min(training_rows(shape.index), shape.rows)
    if shape.index.kind == "rabitq" and shape.rows > NARROW_ROWS:
        # Whole buckets, at least one.
        calibrated = max(base + (larger > 0), min(shape.rows, AT_CREATE.max_rows))
    return Work(
        bucket_rows=(base + 1,) * larger + (base,) * (shape.buckets - larger),
        dim=shape.dim,
        dtype=shape.dtype,
        index=shape.index.kind,
        num_partitions=shape.index.num_partitions,
        sample_rows=sample,
        batch_rows=BuildOptions.batch_rows,
        calibrated_rows=calibrated,
    )
