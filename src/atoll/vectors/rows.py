"""Reads the rows of a bucket from its sources: validates, narrows, assigns and encodes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.text import counted, some_of
from atoll.vectors import rabitq, schemas
from atoll.vectors.digest import RowChecksum
from atoll.vectors.distance import floats_to_halves, floats_to_levels, unsearchable
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.index import IndexModel, prepared
from atoll.vectors.model import CollectionSpec
from atoll.vectors.shuffle import Ordered
from atoll.vectors.sources import with_columns
from atoll.vectors.sources.columns import pool_array

SHOWN_ROWS = 5
# Values below become 0 in float16.
TINY_HALF = 2.0**-24

# Of a row left out: file, row number, id, reason.
Rejected: TypeAlias = tuple[str, int, str, str]


class RowSource(Protocol):
    """Where rows come from: a file, or whatever else reads like one. Picklable, with no open file.

    Attributes:
        uri: its name.
        version: tells whether it changed.
    """

    @property
    def uri(self) -> str:
        """Name it."""

    @property
    def version(self) -> str:
        """Tell its content from another."""

    def read(
        self, start: int, stop: int, batch_rows: int, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows; see `atoll.vectors.sources.Source.read`. Vectors may be as stored."""


@dataclass(frozen=True)
class JobSlice:
    """Rows [start, stop) of a source, less some.

    Attributes:
        source: where they are.
        start, stop: row numbers in it.
        excluded: row numbers to leave out (ids met before), sorted, int64 in little-endian order.
    """

    source: RowSource
    start: int
    stop: int
    excluded: bytes = b""


@dataclass
class Tally:
    """What was seen of rows while they passed; those of several readers add up.

    Attributes:
        rows: that were kept.
        skipped: that were excluded.
        rejected: that cannot be searched.
        shown: the first of these.
        squared, squared_error: sums of squares of kept vectors, and of what rounding took.
        checksums: per slice, hashes of blocks of what was read.
    """

    rows: int = 0
    skipped: int = 0
    rejected: int = 0
    shown: list[Rejected] = field(default_factory=list)
    squared: float = 0.0
    squared_error: float = 0.0
    checksums: list[bytes] = field(default_factory=list)

    def add(self, later: Tally) -> None:
        """Add what was seen of the rows that follow."""
        for name in ("rows", "skipped", "rejected", "squared", "squared_error"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.shown = (self.shown + later.shown)[:SHOWN_ROWS]
        self.checksums += later.checksums

    @property
    def rounding_error(self) -> float:
        """Root-mean-square relative error of what is stored."""
        return rounded((self.squared_error / self.squared) ** 0.5 if self.squared else 0.0)


def rounded(value: float) -> float:
    """Round a sum to what does not depend on the order of its terms."""
    return float(f"{value:.6g}")


def read_rows(
    slices: Sequence[JobSlice],
    spec: CollectionSpec,
    model: IndexModel | None,
    batch_rows: int,
    rejects: BinaryIO | None,
    tally: Tally,
    device: str = "cpu",
) -> Iterator[Ordered]:
    """Read slices one after the other.

    Args:
        slices: what to read.
        spec: what the rows must be.
        model: assigns and encodes them; None for "flat".
        batch_rows: rows handled at once.
        rejects: takes lines of a report about rows that cannot be searched; None refuses them.
        tally: is filled meanwhile.
        device: where rows are assigned.

    Raises:
        InvalidInput: rows cannot be searched and may not be left out, or float16 cannot hold them.
    """
    reader = _Reader(spec, model, rejects, tally, device)
    for part in slices:
        yield from reader.rows(part, batch_rows)
    if tally.rejected and rejects is None:
        raise refused_rows(tally.shown, tally.rejected)


class _Reader:
    """Reads slices of sources, leaves out what cannot be searched, encodes the rest."""

    def __init__(
        self,
        spec: CollectionSpec,
        model: IndexModel | None,
        rejects: BinaryIO | None,
        tally: Tally,
        device: str,
    ) -> None:
        self.spec, self.model, self.rejects, self.tally = spec, model, rejects, tally
        self.device = device
        schema = schemas.decode_schema(spec.arrow_schema)
        self.extra = pa.schema([schema.field(name) for name in spec.columns])

    def rows(self, part: JobSlice, batch_rows: int) -> Iterator[Ordered]:
        """Yield the rows of one slice that can be searched, with partition and code."""
        excluded = np.frombuffer(part.excluded, "<i8")
        checksum = RowChecksum()
        at = part.start
        for read in part.source.read(part.start, part.stop, batch_rows, None):
            batch = with_columns(_plain(read), self.extra)
            vectors = np.ascontiguousarray(
                schemas.vectors_of(batch["vector"], self.spec.dim), np.float32
            )
            id_hash = hash_ids(batch["id"])
            checksum.update(vectors, id_hash)
            keep = self._valid(part.source.uri, at, batch["id"], vectors, excluded)
            at += len(batch)
            rest = batch.drop_columns(["vector"])
            if not keep.all():
                rest, vectors, id_hash = rest.filter(pa.array(keep)), vectors[keep], id_hash[keep]
            if len(rest):
                yield self._encoded(rest, vectors, id_hash)
        self.tally.checksums.append(checksum.blocks())

    def _valid(
        self,
        uri: str,
        at: int,
        ids: pa.Array,
        vectors: NDArray[np.float32],
        excluded: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Mark rows to keep; the others are noted with the reason."""
        first, after = np.searchsorted(excluded, (at, at + len(vectors)))
        keep = np.ones(len(vectors), np.bool_)
        keep[excluded[first:after] - at] = False
        self.tally.skipped += int(after - first)
        for reason, bad in unsearchable(vectors, self.spec.distance_type).items():
            bad &= keep
            if bad.any():
                keep &= ~bad
                self._reject(
                    (uri, at + row, ids[row].as_py(), reason)
                    for row in np.flatnonzero(bad).tolist()
                )
        return keep

    def _reject(self, rows: Iterator[Rejected]) -> None:
        tally = self.tally
        for row in rows:
            tally.rejected += 1
            if len(tally.shown) < SHOWN_ROWS:
                tally.shown.append(row)
            elif self.rejects is None:
                tally.rejected += sum(1 for _ in rows)
                return
            if self.rejects is not None:
                self.rejects.write(report_line(row))

    def _encoded(
        self, rest: pa.RecordBatch, vectors: NDArray[np.float32], id_hash: NDArray[np.uint64]
    ) -> Ordered:
        spec, model = self.spec, self.model
        partition = np.zeros(len(vectors), np.uint32)
        codes = None
        if model is not None:
            rows = prepared(vectors, spec.distance_type)
            partition, _ = model.partition_of(rows, self.device)
            if spec.index.kind == "rabitq":
                found = rabitq.encode(
                    rows,
                    partition,
                    model.centroids,
                    model.signs,
                    spec.distance_type,
                    id_hash,
                    model.bits,
                )
                codes = found.view(np.uint8).reshape(len(found), -1)
        self.tally.rows += len(vectors)
        return Ordered(self._stored(vectors, rest["id"]), rest, id_hash, codes, partition)

    def _stored(self, vectors: NDArray[np.float32], ids: pa.Array) -> NDArray[np.generic]:
        if self.spec.dtype == "float32":
            return vectors
        narrow = pool_array(vectors.shape, np.dtype(self.spec.dtype))
        is_half = self.spec.dtype == "float16"
        error, squared = (floats_to_halves if is_half else floats_to_levels)(vectors, narrow)
        self.tally.squared_error += error
        self.tally.squared += squared
        if is_half:
            self._check_halves(vectors, narrow, ids)
        return narrow

    def _check_halves(
        self, vectors: NDArray[np.float32], narrow: NDArray[np.float16], ids: pa.Array
    ) -> None:
        if not np.isfinite(self.tally.squared_error):
            _refuse_narrow(np.isinf(narrow).max(axis=1), ids, "have values beyond 65504")
        if self.spec.distance_type == "cosine":
            # Of the few that are short enough.
            short = np.flatnonzero(np.vecdot(vectors, vectors) < self.spec.dim * TINY_HALF**2)
            lost = np.zeros(len(narrow), np.bool_)
            lost[short] = ~narrow[short].any(axis=1)
            _refuse_narrow(lost, ids, "have no value above 6e-8")


def _refuse_narrow(lost: NDArray[np.bool_], ids: pa.Array, why: str) -> None:
    if lost.any():
        raise InvalidInput(
            f"{int(lost.sum())} vectors {why} in float16, the first is id "
            f"{ids[int(lost.argmax())].as_py()!r}; use --dtype float32",
            rows=int(lost.sum()),
        )


def report_line(row: Sequence[object]) -> bytes:
    """Write one line of a report as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(row)
    return out.getvalue().encode()


REPORT_HEAD = report_line(["file", "row", "id", "reason"])


def refused_rows(rejected: Sequence[Rejected], rows: int) -> InvalidInput:
    """Say which rows cannot be searched.

    Args:
        rejected: the first of them.
        rows: how many there are.
    """
    first = rejected[:SHOWN_ROWS]
    shown = [f"{uri} row {row} (id {name!r}): {reason}" for uri, row, name, reason in first]
    return InvalidInput(
        f"{counted(rows, 'row')} cannot be searched: {some_of(shown, total=rows, separator='; ')}; "
        "mend the file, or leave them out with --on-invalid skip",
        rows=rows,
        first=[list(item) for item in first],
    )


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    for number, (name, kind) in enumerate(zip(batch.schema.names, batch.schema.types, strict=True)):
        if (plain := schemas.plain_type(kind)) != kind:
            batch = batch.set_column(number, name, batch.column(number).cast(plain))
    return batch
