"""Parquet files by their footers: schema, rows, statistics; no data page is read.

The schema is Arrow's to make. Row groups are read here: Arrow 26 ends the whole process
(`terminate called after throwing`) over a column chunk whose type is not the schema's, which one
changed byte brings about, and a server reads files of anybody.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, reduce
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.text import sized
from atoll.mesh.harvest import thrift
from atoll.mesh.harvest.parquetshape import count_leaves
from atoll.mesh.harvest.schemas import columns_of
from atoll.mesh.harvest.statistics import EXACT, Statistics, Value, comparable, family
from atoll.mesh.harvest.thrift import CompactReader
from atoll.storage import Storage, StoredObject

# Read at once; most footers are smaller.
TAIL_BYTES = 64 << 10
FOOTER_BYTES = 32 << 20
# Of columns in row groups: a footer takes some 100 bytes for each, 48 at least; we up to 350.
MAX_CHUNKS = FOOTER_BYTES // 40
# Schemas of fewer bytes are kept, since files written alike have the same.
_KEPT_BYTES = 8 << 20
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_ENDING_BYTES = 8
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}
_FLOATS = {2: "<e", 4: "<f", 8: "<d"}
_DECIMAL_BYTES = 32
_OTHER_COLUMNS = "a row group in its footer has not the columns of the schema"
_OTHER_ROWS = "its footer promises other rows than its row groups have"
# Large ones are taken apart one at a time, lest many at once fill the memory.
_one_large = threading.Lock()


@dataclass(frozen=True)
class Footer:
    """What the footer of a file says.

    Attributes:
        schema: all columns.
        rows: how many.
        statistics: of the flat columns.
        size_bytes: of the footer itself.
    """

    schema: pa.Schema
    rows: int
    statistics: dict[str, Statistics]
    size_bytes: int


@dataclass(frozen=True)
class _Leaf:
    """A column as Parquet stores it.

    Attributes:
        name: of a flat column; None of what is part of a nested one.
        kind: its Arrow type, of a dictionary that of the values.
        physical: how values are stored.
    """

    name: str | None
    kind: pa.DataType
    physical: str


@dataclass(slots=True)
class _Chunk:
    """What a footer says of one column in one row group; the position is in the file."""

    values: int = -1
    start: int = -1
    dictionary_start: int = 0
    size_bytes: int = -1
    nulls: int | None = None
    low: bytes | None = None
    high: bytes | None = None


# How many rows, and what is said of each column.
_RowGroup: TypeAlias = tuple[int, list[_Chunk]]


def read_footer(storage: Storage, stored: StoredObject) -> Footer:
    """Read the footer of a Parquet file.

    Raises:
        Corrupt: it is cut off, contradicts itself or is no Parquet file.
        InvalidInput: it is encrypted, too large, or its columns cannot be told apart.
        NotFound, Forbidden, Unavailable: as the store says.
    """
    tail = _tail(storage, stored, min(TAIL_BYTES, stored.size_bytes))
    if tail[-4:] == _ENCRYPTED:
        raise InvalidInput("it is encrypted; register a copy that is not")
    if stored.size_bytes < len(_MAGIC) + _ENDING_BYTES or tail[-4:] != _MAGIC:
        raise Corrupt("it does not end as a Parquet file does: it is cut off, or something else")
    length = int.from_bytes(tail[-8:-4], "little")
    if length > stored.size_bytes - len(_MAGIC) - _ENDING_BYTES:
        raise Corrupt(f"its footer claims {sized(length)}, more than the file has")
    if length > FOOTER_BYTES:
        raise InvalidInput(
            f"its footer takes {sized(length)} ({sized(FOOTER_BYTES)} are the most); write it anew"
            " with larger row groups"
        )
    if length + _ENDING_BYTES <= len(tail):
        return parse_footer(tail[-length - _ENDING_BYTES : -_ENDING_BYTES], stored.size_bytes)
    with _one_large:
        whole = _tail(storage, stored, length + _ENDING_BYTES)
        return parse_footer(whole[:-_ENDING_BYTES], stored.size_bytes)


def parse_footer(data: bytes, file_bytes: int) -> Footer:
    """Take a footer apart.

    Args:
        data: the footer, without the eight bytes behind it.
        file_bytes: size of the file that it is of.

    Raises:
        Corrupt, InvalidInput: see `read_footer`.

    Source: Apache Parquet, parquet.thrift, `FileMetaData`.
    """
    reader, rows, leaves_at_most = CompactReader(data), -1, 0
    data_bytes = file_bytes - len(data) - _ENDING_BYTES
    parts: dict[int, bytes] = {}
    groups: list[_RowGroup] = []
    for number, kind in reader.fields():
        start = reader.at
        match number, kind:
            case 2, thrift.LIST:
                leaves_at_most = count_leaves(reader)
                parts[number] = data[start : reader.at]
            case 3, thrift.I64:
                rows = reader.integer()
            case 4, thrift.LIST:
                groups = _row_groups(reader, leaves_at_most, data_bytes)
            case 5, thrift.LIST:
                reader.skip(kind)
                parts[number] = data[start : reader.at]
            case _:
                reader.skip(kind)
    schema, leaves = _schema(parts.get(2, b""), parts.get(5, b""))
    _check(groups, rows, len(leaves))
    statistics: dict[str, Statistics] = {}
    for at, leaf in enumerate(leaves):
        if leaf.name is not None:
            known = (_statistics(chunks[at], leaf, count) for count, chunks in groups)
            statistics[leaf.name] = reduce(Statistics.joined, known, Statistics())
    return Footer(schema, rows, statistics, len(data))


def _tail(storage: Storage, stored: StoredObject, length: int) -> bytes:
    return storage.get_range(stored.path, stored.size_bytes - length, length)


def _row_groups(reader: CompactReader, leaves: int, data_bytes: int) -> list[_RowGroup]:
    """Read row groups, of at most so many columns each, in so many bytes before the footer."""
    groups = list[_RowGroup]()
    for _ in reader.elements(thrift.STRUCT):
        groups.append(_row_group(reader, leaves, data_bytes))
        if len(groups) * max(leaves, 1) > MAX_CHUNKS:
            raise InvalidInput(
                f"it has more than {MAX_CHUNKS:,} columns in row groups; write it anew with larger"
                " row groups"
            )
    return groups


def _row_group(reader: CompactReader, leaves: int, data_bytes: int) -> _RowGroup:
    rows, chunks = -1, list[_Chunk]()
    for number, kind in reader.fields():
        match number, kind:
            case 1, thrift.LIST:
                chunks = []
                for _ in reader.elements(thrift.STRUCT):
                    if len(chunks) == leaves:
                        raise Corrupt(_OTHER_COLUMNS)
                    chunks.append(_chunk(reader))
                    _check_chunk(chunks[-1], data_bytes)
            case 3, thrift.I64:
                rows = reader.integer()
            case _:
                reader.skip(kind)
    if rows < 0:
        raise Corrupt(_OTHER_ROWS)
    return rows, chunks


def _check_chunk(chunk: _Chunk, data_bytes: int) -> None:
    """Make sure that a column lies in its file: at once, before others like it fill the memory."""
    start = min(chunk.start, chunk.dictionary_start or chunk.start)
    if chunk.values < 0 or start < 0 or not 0 <= chunk.size_bytes <= data_bytes - start:
        raise Corrupt("its footer places columns outside the file, or hides them")
    if chunk.nulls is not None and not 0 <= chunk.nulls <= chunk.values:
        raise Corrupt("its footer counts more nulls than values")


def _chunk(reader: CompactReader) -> _Chunk:
    chunk = _Chunk()
    for number, kind in reader.fields():
        match number, kind:
            case 1, thrift.BINARY:
                raise InvalidInput("it keeps columns in other files; register those")
            case 3, thrift.STRUCT:
                _read_chunk(reader, chunk)
            case _:
                reader.skip(kind)
    return chunk


def _read_chunk(reader: CompactReader, chunk: _Chunk) -> None:
    for number, kind in reader.fields():
        match number, kind:
            case 5, thrift.I64:
                chunk.values = reader.integer()
            case 7, thrift.I64:
                chunk.size_bytes = reader.integer()
            case 9, thrift.I64:
                chunk.start = reader.integer()
            case 11, thrift.I64:
                chunk.dictionary_start = reader.integer()
            case 12, thrift.STRUCT:
                _read_statistics(reader, chunk)
            case _:
                reader.skip(kind)


def _read_statistics(reader: CompactReader, chunk: _Chunk) -> None:
    # Not the older fields 1 and 2, whose order nobody defined.
    for number, kind in reader.fields():
        match number, kind:
            case 3, thrift.I64:
                chunk.nulls = reader.integer()
            case 5, thrift.BINARY:
                chunk.high = reader.binary()
            case 6, thrift.BINARY:
                chunk.low = reader.binary()
            case _:
                reader.skip(kind)


def _schema(schema: bytes, keys: bytes) -> tuple[pa.Schema, tuple[_Leaf, ...]]:
    if len(schema) + len(keys) <= _KEPT_BYTES:
        return _kept_schema(schema, keys)
    return _arrow_schema(schema, keys)


def _arrow_schema(schema: bytes, keys: bytes) -> tuple[pa.Schema, tuple[_Leaf, ...]]:
    """Let Arrow make its schema of the two parts of a footer that say it.

    Args:
        schema: the list of Thrift's `SchemaElement`.
        keys: the list of its `KeyValue`, which has Arrow's own account; may be empty.
    """
    # Version 2, the schema, no rows, no row groups, the keys.
    footer = b"".join([b"\x15\x04\x19", schema, b"\x16\x00\x19\x0c", keys and b"\x19", keys, b"\0"])
    file = b"".join([_MAGIC, footer, struct.pack("<I", len(footer)), _MAGIC])
    try:
        parquet = pq.ParquetFile(pa.BufferReader(file))
        arrow, stored = parquet.schema_arrow, parquet.schema
        columns_of(arrow)
        leaves = [stored.column(at) for at in range(len(stored.names))]
    except (OSError, pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise Corrupt(f"its schema makes no sense: {error}") from error
    return arrow.remove_metadata(), tuple(_leaf(one, arrow) for one in leaves)


_kept_schema = lru_cache(maxsize=16)(_arrow_schema)


def _leaf(column: pq.ColumnSchema, schema: pa.Schema) -> _Leaf:
    # The path of what is in a nested column has more parts than the name.
    name = column.name if column.path == column.name else None
    kind = schema.field(name).type if name is not None else pa.null()
    return _Leaf(name, kind.value_type if pt.is_dictionary(kind) else kind, column.physical_type)


def _check(groups: Sequence[_RowGroup], rows: int, leaves: int) -> None:
    """Make sure that a footer does not contradict itself."""
    if sum(count for count, _ in groups) != rows:
        raise Corrupt(_OTHER_ROWS)
    if any(len(chunks) != leaves for _, chunks in groups):
        raise Corrupt(_OTHER_COLUMNS)


def _statistics(chunk: _Chunk, leaf: _Leaf, rows: int) -> Statistics:
    """Read the statistics of a flat column, which has a value or a null in each row."""
    if chunk.values != rows:
        raise Corrupt("a column in its footer has not as many values as there are rows")
    if chunk.nulls == chunk.values:
        return Statistics(chunk.nulls)
    low, high = (_value(raw, leaf) for raw in (chunk.low, chunk.high))
    if low is None or high is None:
        return Statistics(chunk.nulls, is_known=False)
    return Statistics(chunk.nulls, low, high)


def _value(raw: bytes | None, leaf: _Leaf) -> Value | None:
    """Read a value of the plain encoding; None where its order is not known."""
    if raw is None or leaf.physical == "INT96":
        return None
    if len(raw) != _WIDTHS.get(leaf.physical, len(raw)):
        raise Corrupt("statistics in its footer have not the width of their column")
    kind = leaf.kind
    if pt.is_decimal(kind):
        return comparable(_decimal(raw, leaf), kind)
    if pt.is_floating(kind):
        return comparable(struct.unpack(_FLOATS[len(raw)], raw)[0], kind)
    if family(kind) in ("text", "binary"):
        return comparable(raw, kind)
    return comparable(int.from_bytes(raw, "little", signed=not pt.is_unsigned_integer(kind)), kind)


def _decimal(raw: bytes, leaf: _Leaf) -> Decimal:
    if len(raw) > _DECIMAL_BYTES:
        raise Corrupt("a decimal in its footer is too long")
    order: Literal["little", "big"] = "little" if leaf.physical in _WIDTHS else "big"
    return Decimal(int.from_bytes(raw, order, signed=True)).scaleb(-leaf.kind.scale, EXACT)
