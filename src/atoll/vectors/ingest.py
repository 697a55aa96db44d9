"""Builds one bucket: read, validate, assign, encode, order by partition, write, index.

A build is a pure function of its job with a deterministic table name. It may run twice, at once or
after a kill: whoever commits the table first wins, and the other adopts it.
"""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import lance
import msgspec
import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from atoll.core.errors import AtollError, Conflict, InvalidInput, NotFound, Unavailable
from atoll.core.files import scratch_folder
from atoll.core.text import counted, some_of
from atoll.storage import Storage
from atoll.vectors import ids as id_index
from atoll.vectors import rabitq, store
from atoll.vectors.digest import ColumnDigest
from atoll.vectors.distance import floats_to_halves, unsearchable
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.index import IndexModel, prepared
from atoll.vectors.ivfpq import build_ivf_pq, has_ivf_pq
from atoll.vectors.layout import Layout, unplaced
from atoll.vectors.model import CODE_COLUMN, Blob, Bucket, CollectionSpec, OnBadRow, SourceSlice
from atoll.vectors.names import NamesWriter
from atoll.vectors.shuffle import Ordered, Shuffle
from atoll.vectors.sources import Source, with_columns
from atoll.vectors.sources.columns import pool_array

SHOWN_ROWS = 5
ATTEMPTS = 5


@dataclass(frozen=True)
class JobSlice:
    """Rows [start, stop) of a source, less some.

    Attributes:
        source: where they are.
        start, stop: row numbers in it.
        excluded: row numbers to leave out (ids met before), sorted, int64 in little-endian order.
    """

    source: Source
    start: int
    stop: int
    excluded: bytes = b""


@dataclass(frozen=True)
class BucketJob:
    """One row of the plan with all it takes to carry it out.

    Attributes:
        collection: where the table goes.
        plan: hash of the plan.
        name: the table's name.
        fingerprint: must stand in the metadata of a table that is adopted.
        slices: what goes in.
        spec: schema, distance and index.
        model_hash, model: the index model; None for "flat".
        on_invalid: what to do with rows that cannot be searched.
        batch_rows: rows handled at once.
        memory_bytes: what rows may take before they spill.
        scratch: folder for spill files; None is the system's temporary folder.
    """

    collection: Storage
    plan: str
    name: str
    fingerprint: str
    slices: tuple[JobSlice, ...]
    spec: CollectionSpec
    model_hash: str | None
    model: Blob | None
    on_invalid: OnBadRow
    batch_rows: int
    memory_bytes: int
    scratch: Path | None


def build_bucket(job: BucketJob) -> Bucket | None:
    """Carry out a job, or adopt what an earlier run of it committed.

    Returns:
        None where `on_invalid` is "skip" and leaves no row; nothing but a report is written then.

    Raises:
        InvalidInput: rows that cannot be searched (`details["rows"]` counts them).
        Unavailable, Forbidden: the store or the scratch folder fails.
    """
    for _ in range(ATTEMPTS):
        try:
            found = _claimed(job) or _adopt(job)
            if found is not None:
                return found
            _write(job)
        except _Overtaken:
            continue  # another process builds the same bucket; go by what is there now
        except _NothingLeft:
            return None
    raise Unavailable(f"table {job.name} changes all the time; wait for the others, then try again")


class _Overtaken(Exception):
    """Another writer of the same table was there first."""


class _NothingLeft(Exception):
    """No row of the bucket can be searched."""


def _write(job: BucketJob) -> None:
    model = store.get_model(job.collection, job.model) if job.model else None
    stream = _Stream(job, model, uuid.uuid4().hex)
    try:
        store.write_table(job.collection, job.name, stream.reader())
    except AtollError as error:
        if stream.error is not None:
            raise stream.error from error
        if isinstance(error, Conflict):
            raise _Overtaken from error
        raise


def _record_path(job: BucketJob, writer: str) -> str:
    return store.build_path(job.plan, f"{job.name}.{writer}.json")


def _claim_path(job: BucketJob) -> str:
    return store.build_path(job.plan, f"{job.name}.json")


def _claimed(job: BucketJob) -> Bucket | None:
    """Read which version of the table all builders of this bucket have agreed on."""
    try:
        bucket = msgspec.json.decode(job.collection.get(_claim_path(job)), type=Bucket)
    except NotFound:
        return None
    try:
        table = store.open_table(job.collection, job.name, bucket.version)
    except NotFound:
        # A garbage collection that was killed took the table and left the claim.
        job.collection.delete(_claim_path(job))
        return None
    _require_ours(job, table)
    store.pin_table(table)
    return bucket


def _adopt(job: BucketJob) -> Bucket | None:
    """Take up a table that was committed under the job's name, finishing its index if need be.

    Of writers that commit at once Lance may let several succeed, each with a version of its own:
    the claim, made by a create-only put, decides which of them counts.
    """
    table = store.find_table(job.collection, job.name)
    if table is None:
        return None
    metadata = _require_ours(job, table)
    # The record was written before the table, so a committed table always has one.
    record = job.collection.get(_record_path(job, metadata[store.WRITER]))
    bucket = msgspec.json.decode(record, type=Bucket)
    if job.spec.index.kind == "ivf_pq" and not has_ivf_pq(table):
        table = _indexed(job, table, bucket)
    layout = store.put_layout(job.collection, _layout(job, table, bucket))
    bucket = replace(bucket, version=int(table.version), layout=layout)
    job.collection.put_new(_claim_path(job), msgspec.json.encode(bucket))
    return _claimed(job)


def _require_ours(job: BucketJob, table: lance.LanceDataset) -> dict[str, str]:
    metadata = store.table_metadata(table)
    if metadata.get(store.FINGERPRINT) != job.fingerprint:
        raise Conflict(
            f"{job.collection}/{job.name}.lance was not made by this plan; "
            "move it away or choose another place",
            table=job.name,
        )
    return metadata


def _layout(job: BucketJob, table: lance.LanceDataset, bucket: Bucket) -> Layout:
    """Complete the layout that the stream left: now the files are there."""
    begun = store.get_layout(job.collection, bucket.layout)
    code = CODE_COLUMN if job.spec.index.kind == "rabitq" else None
    return store.read_layout(
        job.collection,
        job.name,
        table,
        (job.spec.vector_column, code),
        offsets=begun.offsets,
        names=begun.names,
    )


def _indexed(job: BucketJob, table: lance.LanceDataset, bucket: Bucket) -> lance.LanceDataset:
    assert job.model is not None
    model = store.get_model(job.collection, job.model)
    offsets = store.get_layout(job.collection, bucket.layout).offsets
    try:
        return build_ivf_pq(table, job.spec.vector_column, model, offsets, job.scratch)
    except Conflict as error:
        raise _Overtaken from error


# Of a row left out: file, row number, id, reason.
Rejected: TypeAlias = tuple[str, int, str, str]


@dataclass
class _Tally:
    """What a stream saw: kept beside the rows while they pass."""

    rows: int = 0
    skipped: int = 0
    squared: float = 0.0
    squared_error: float = 0.0
    rejected: list[Rejected] = field(default_factory=list)


class _Stream:
    """The rows of a bucket on their way to Lance; leaves the bucket's record before the last."""

    def __init__(self, job: BucketJob, model: IndexModel | None, writer: str) -> None:
        self.job, self.model, self.writer = job, model, writer
        # An exception raised inside the reader reaches the caller as Lance's text only.
        self.error: AtollError | _NothingLeft | None = None
        self.tally = _Tally()
        self.schema = store.decode_schema(job.spec.arrow_schema)
        self.extra = pa.schema([self.schema.field(name) for name in job.spec.columns])

    def reader(self) -> pa.RecordBatchReader:
        metadata = {store.FINGERPRINT: self.job.fingerprint, store.WRITER: self.writer}
        schema = self.schema.with_metadata(metadata)
        return pa.RecordBatchReader.from_batches(schema, self._guarded())

    def _guarded(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches()
        except (AtollError, _NothingLeft) as error:
            self.error = error
            raise
        except MemoryError as error:
            self.error = Unavailable(
                f"bucket {self.job.name} does not fit in memory; give a smaller --memory"
            )
            raise self.error from error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        checksums = [xxhash.xxh3_128() for _ in self.job.slices]
        digest = ColumnDigest()
        hashes: list[NDArray[np.uint64]] = []
        offsets: NDArray[np.int64] | None = None
        with (
            Shuffle(self.job.scratch, self.job.memory_bytes) as shuffle,
            scratch_folder(self.job.scratch, "names") as folder,
            (folder / "names").open("wb") as file,
        ):
            rows = self._rows(checksums)
            if self.model is not None:
                for item in rows:
                    shuffle.add(item)
                if not shuffle.rows:
                    self._leave_out()
                offsets = shuffle.offsets(len(self.model.centroids))
                rows = shuffle.ordered(self.job.batch_rows)
            names = NamesWriter(file)
            for item in rows:
                batch = self._record_batch(item)
                digest.update(batch)
                hashes.append(item.id_hash)
                names.add(item.rest["id"])
                yield batch
            if not hashes:
                self._leave_out()
            at = names.finish()
            file.flush()
            ids = store.put_blob_file(self.job.collection, "blobs", folder / "names")
        if offsets is None:
            offsets = np.array([0, self.tally.rows])
        begun = store.put_layout(self.job.collection, unplaced(offsets, at))
        self._leave_record(checksums, digest, np.concatenate(hashes), begun, ids)

    def _leave_out(self) -> None:
        # The same command, given again, comes here again and must change nothing.
        self.job.collection.put_new(store.report_path(self.job.name), self._report())
        raise _NothingLeft(self.job.name)

    def _rows(self, checksums: list[xxhash.xxh3_128]) -> Iterator[Ordered]:
        """Read, validate, and with a model assign and encode."""
        for part, checksum in zip(self.job.slices, checksums, strict=True):
            excluded = np.frombuffer(part.excluded, "<i8")
            at = part.start
            for read in part.source.read(part.start, part.stop, self.job.batch_rows, None):
                batch = with_columns(_plain(read), self.extra)
                vectors = store.vectors_of(batch["vector"], self.job.spec.dim).astype(
                    np.float32, copy=False
                )
                checksum.update(np.ascontiguousarray(vectors).data)
                hashed = hash_ids(batch["id"])
                checksum.update(hashed.data)
                keep = self._valid(part.source.uri, at, batch, vectors, excluded)
                at += len(batch)
                if not keep.all():
                    batch, vectors, hashed = (
                        batch.filter(pa.array(keep)),
                        vectors[keep],
                        hashed[keep],
                    )
                if len(batch):
                    yield self._encoded(batch.drop_columns(["vector"]), vectors, hashed)
        if self.tally.rejected and self.job.on_invalid == "error":
            raise refused_rows(self.tally.rejected, len(self.tally.rejected))

    def _valid(
        self,
        uri: str,
        at: int,
        batch: pa.RecordBatch,
        vectors: NDArray[np.float32],
        excluded: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Mark rows to keep; the others are noted with the reason."""
        first, after = np.searchsorted(excluded, (at, at + len(vectors)))
        keep = np.ones(len(vectors), np.bool_)
        keep[excluded[first:after] - at] = False
        for reason, bad in unsearchable(vectors, self.job.spec.distance_type).items():
            bad &= keep
            keep &= ~bad
            for row in np.flatnonzero(bad):
                self.tally.rejected.append((uri, at + int(row), batch["id"][row].as_py(), reason))
        self.tally.skipped += int(after - first)
        return keep

    def _encoded(
        self, rest: pa.RecordBatch, vectors: NDArray[np.float32], hashed: NDArray[np.uint64]
    ) -> Ordered:
        spec = self.job.spec
        partition = np.zeros(len(vectors), np.uint32)
        codes = None
        if self.model is not None:
            rows = prepared(vectors, spec.distance_type)
            partition, _ = self.model.partition_of(rows)
            if spec.index.kind == "rabitq":
                model = self.model
                codes = rabitq.encode(
                    rows, partition, model.centroids, model.signs, spec.distance_type, hashed
                )
        return Ordered(self._stored(vectors, rest), rest, hashed, codes, partition)

    def _stored(self, vectors: NDArray[np.float32], rest: pa.RecordBatch) -> NDArray[np.generic]:
        self.tally.rows += len(vectors)
        if self.job.spec.dtype == "float32":
            return vectors
        narrow = pool_array((len(vectors), self.job.spec.dim), np.dtype(np.float16))
        error, squared = floats_to_halves(vectors, narrow)
        self.tally.squared_error += error
        self.tally.squared += squared
        if not np.isfinite(self.tally.squared_error):
            self._refuse_narrow(np.isinf(narrow).max(axis=1), rest, "have values beyond 65504")
        if self.job.spec.distance_type == "cosine":
            self._refuse_narrow((narrow == 0).min(axis=1), rest, "have no value above 6e-8")
        return narrow

    def _refuse_narrow(self, lost: NDArray[np.bool_], rest: pa.RecordBatch, why: str) -> None:
        if lost.any():
            raise InvalidInput(
                f"{int(lost.sum())} vectors {why} in float16, the first is id "
                f"{rest['id'][int(lost.argmax())].as_py()!r}; use --dtype float32",
                rows=int(lost.sum()),
            )

    def _record_batch(self, item: Ordered) -> pa.RecordBatch:
        spec = self.job.spec
        columns = []
        for name in self.schema.names:
            if name == spec.vector_column:
                flat = np.ascontiguousarray(item.vectors).reshape(-1)
                columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat), spec.dim))
            elif name == CODE_COLUMN:
                assert item.codes is not None
                data = pa.py_buffer(np.ascontiguousarray(item.codes))
                kind = pa.binary(item.codes.dtype.itemsize)
                columns.append(
                    pa.FixedSizeBinaryArray.from_buffers(kind, len(item.codes), [None, data])
                )
            elif name == spec.id_column:
                columns.append(item.rest["id"])
            else:
                columns.append(item.rest[name])
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _leave_record(
        self,
        checksums: list[xxhash.xxh3_128],
        digest: ColumnDigest,
        hashes: NDArray[np.uint64],
        layout: Blob,
        names: Blob,
    ) -> None:
        job, tally = self.job, self.tally
        if tally.rejected:
            job.collection.put(store.report_path(job.name), self._report())
        sources = tuple(
            SourceSlice(p.source.uri, p.source.version, p.start, p.stop, checksum.hexdigest())
            for p, checksum in zip(job.slices, checksums, strict=True)
        )
        bucket = Bucket(
            name=job.name,
            version=0,
            stored_rows=tally.rows,
            skipped=tally.skipped + len(tally.rejected),
            digest=digest.hexdigest(),
            plan=job.plan,
            model=job.model_hash,
            layout=layout,
            ids=store.put_blob(job.collection, "blobs", id_index.pack(hashes)),
            names=names,
            sources=sources,
            float16_error=(tally.squared_error / tally.squared) ** 0.5 if tally.squared else 0.0,
        )
        job.collection.put(_record_path(job, self.writer), msgspec.json.encode(bucket))

    def _report(self) -> bytes:
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(["file", "row", "id", "reason"])
        lines.writerows(self.tally.rejected)
        return out.getvalue().encode()


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
        if (plain := store.plain_type(kind)) != kind:
            batch = batch.set_column(number, name, batch.column(number).cast(plain))
    return batch
