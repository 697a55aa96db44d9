"""The audit record as a file that can be verified on its own.

JSON lines: an event a line, the manifest in the last. Parquet: an event a row, `at` as a time, the
manifest among the file's key-value metadata. Memory does not grow with either.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from operator import attrgetter
from typing import BinaryIO, Literal, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.records import decoded
from atoll.mesh.audit.anchors import Anchor
from atoll.mesh.audit.chain import head_after
from atoll.mesh.audit.keys import Key, by_id, message
from atoll.mesh.audit.model import GENESIS, AuditEvent, Head
from atoll.mesh.audit.verify import Fault, Problem, Verdict, verify

Format = Literal["jsonl", "parquet"]
T = TypeVar("T")

# Far more than what `new_event` lets through can take.
MAX_LINE_BYTES = 1 << 20
ROWS_AT_ONCE = 8192
_METADATA = "atoll.audit.manifest"
_FIELDS = AuditEvent.__struct_fields__
_row = attrgetter(*_FIELDS)
_TYPES = {
    "seq": pa.int64(),
    "at": pa.timestamp("us", "UTC"),
    "clock_behind_us": pa.int64(),
    "policies": pa.list_(pa.field("element", pa.string(), nullable=False)),
}
_SCHEMA = pa.schema(
    pa.field(name, _TYPES.get(name, pa.string()), nullable=name in ("project", "asset_id"))
    for name in _FIELDS
)


@dataclass(frozen=True)
class Manifest:
    """What a file must hold.

    Attributes:
        after: where the chain ended before its first event.
        head: where it ended with its last.
        events: how many it holds.
        key_id: of the key that signed this.
        signature: of all of the above, 64 hexadecimal digits.
    """

    after: Head
    head: Head
    events: int
    key_id: str
    signature: str


@dataclass(frozen=True)
class _LastLine:
    manifest: Manifest


def export(
    events: Iterable[AuditEvent], file: BinaryIO, key: Key, kind: Format, *, after: Head = GENESIS
) -> Manifest:
    """Write a part of a chain. It is not verified on the way; whoever reads it does that.

    Args:
        events: without gaps, in their order.
        file: where; it is not closed.
        key: signs the manifest; any that readers have.
        kind: of file.
        after: where the part before these events ends.

    Raises:
        Corrupt: an event has a field of another type than events have.
        OSError: the file does not take it.
    """
    return (_write_jsonl if kind == "jsonl" else _write_parquet)(iter(events), file, key, after)


def read_export(file: BinaryIO) -> tuple[Manifest, Iterator[AuditEvent]]:
    """Open a file of either kind.

    Args:
        file: can be sought in.

    Returns:
        Its manifest, nothing of which is checked yet; and its events, read as they are asked for.

    Raises:
        Corrupt: it is cut off, or no export; the events, too, raise it where they do not read.
    """
    file.seek(0)
    return _open_parquet(file) if file.read(4) == b"PAR1" else _open_jsonl(file)


def verify_export(file: BinaryIO, keys: Iterable[Key], anchors: Iterable[Anchor] = ()) -> Verdict:
    """Verify a file on its own.

    Args:
        file: as `export` wrote it; can be sought in.
        keys: all that sealed its events, and the one that signed its manifest.
        anchors: of the same chain; those of events that the file does not hold are passed over.

    Raises:
        Corrupt: it is cut off, does not read, or its manifest is not as it was signed.
        InvalidInput: the manifest's key was not given.
    """
    manifest, events = read_export(file)
    known = by_id(keys)
    if manifest.key_id not in known:
        raise InvalidInput(
            f"the export is signed with key {manifest.key_id:.64}, which was not given; give it"
        )
    if not known[manifest.key_id].has_signed(_signed_form(manifest), manifest.signature):
        raise Corrupt("the manifest of the export is not as it was signed; export it again")
    inside = [anchor for anchor in anchors if anchor.head.seq <= manifest.head.seq]
    verdict = verify(events, known.values(), inside, after=manifest.after)
    ended, wanted = verdict.head, manifest.head
    if verdict.problem is not None or ended == wanted:
        return verdict
    what = f"the file ends with event {ended.seq}, its manifest with event {wanted.seq}"
    fault = Fault.TRUNCATED if ended.seq < wanted.seq else Fault.INSERTED
    problem = Problem(min(ended.seq, wanted.seq) + 1, fault, what)
    return replace(verdict, problem=problem)


def _write_jsonl(events: Iterator[AuditEvent], file: BinaryIO, key: Key, after: Head) -> Manifest:
    event = None
    for event in events:
        file.write(msgspec.json.encode(event) + b"\n")
    manifest = _manifest(event, key, after)
    file.write(msgspec.json.encode(_LastLine(manifest)) + b"\n")
    return manifest


def _write_parquet(events: Iterator[AuditEvent], file: BinaryIO, key: Key, after: Head) -> Manifest:
    event = None
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        while rows := list(islice(events, ROWS_AT_ONCE)):
            event = rows[-1]
            writer.write_batch(_batch(rows))
        manifest = _manifest(event, key, after)
        writer.add_key_value_metadata({_METADATA: msgspec.json.encode(manifest)})
    return manifest


def _batch(rows: list[AuditEvent]) -> pa.RecordBatch:
    columns = zip(*map(_row, rows), strict=True)
    try:
        return pa.record_batch(list(columns), schema=_SCHEMA)
    except pa.ArrowException as error:
        raise Corrupt(
            f"of audit events {rows[0].seq} to {rows[-1].seq} one has a field of a wrong type "
            f"({error}); verify the chain"
        ) from error


def _manifest(last: AuditEvent | None, key: Key, after: Head) -> Manifest:
    head = after if last is None else head_after(last)
    manifest = Manifest(after, head, head.seq - after.seq, key.id, "")
    return replace(manifest, signature=key.sign(_signed_form(manifest)))


def _signed_form(manifest: Manifest) -> bytes:
    ends = manifest.after, manifest.head
    values = [value for end in ends for value in (end.seq, end.at, end.key_id, end.hash)]
    return message("atoll.audit.export/1", *values, manifest.events, manifest.key_id)


def _open_jsonl(file: BinaryIO) -> tuple[Manifest, Iterator[AuditEvent]]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_LINE_BYTES))
    tail = file.read(MAX_LINE_BYTES)
    last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    return _read(last, _LastLine, "last line").manifest, _lines(file, size - len(last))


def _lines(file: BinaryIO, end: int) -> Iterator[AuditEvent]:
    file.seek(0)
    number = 0
    while file.tell() < end:
        number += 1
        yield _read(file.readline(MAX_LINE_BYTES), AuditEvent, f"line {number}")


def _read(line: bytes, kind: type[T], what: str) -> T:
    try:
        found = decoded(line, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(
            f"the {what} of the file cannot be read ({error}): it was cut off or edited, or is no "
            "export of the audit record; export it again"
        ) from error
    # Other readers must not see more in it, or another of two fields with one name.
    if msgspec.json.encode(found) + b"\n" != line:
        raise Corrupt(f"the {what} of the file is not as it was written; export it again")
    return found


def _open_parquet(file: BinaryIO) -> tuple[Manifest, Iterator[AuditEvent]]:
    with _parquet_errors():
        parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
        written = (parquet.metadata.metadata or {}).get(_METADATA.encode())
        if written is None or not parquet.schema_arrow.equals(_SCHEMA):
            raise Corrupt("the file is no export of the audit record, or was not finished")
        return decoded(written, Manifest), _rows(parquet)


def _rows(parquet: pq.ParquetFile) -> Iterator[AuditEvent]:
    with _parquet_errors():
        for batch in parquet.iter_batches(ROWS_AT_ONCE):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns["at"] = columns["at"].cast(pa.int64())
            values = {name: column.to_pylist() for name, column in columns.items()}
            values["policies"] = map(tuple, values["policies"])
            yield from map(AuditEvent, *values.values())


@contextmanager
def _parquet_errors() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, msgspec.DecodeError, OSError, ValueError) as error:
        raise Corrupt(f"the file cannot be read ({error}); export it again") from error
