"""Parquet files: a list column of vectors, a column of ids, and whatever else there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.records import decoded
from atoll.vectors.model import Embedder
from atoll.vectors.sources.columns import (
    batch_schema,
    ids_from_arrow,
    is_id_type,
    null_row,
    to_float32,
    vector_array,
)
from atoll.vectors.sources.files import SourceFile, cannot_read
from atoll.vectors.sources.names import VECTOR_NAMES, Names
from atoll.vectors.sources.source import BATCH_ROWS, Range, Source

# In the schema's metadata: the fields of an `Embedder` as JSON.
EMBEDDER_KEY = b"atoll.embedder"
_BUFFER_BYTES = 1 << 20
# What pyarrow raises over damaged files; its own errors are not all there is.
_DAMAGE = (OSError, EOFError, pa.ArrowException, ValueError, TypeError, KeyError)
# How pandas stores an index nobody named.
_PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class ParquetSource(Source):
    """Vectors in Parquet: of a row group, all rows before those asked for are decoded, too."""

    def read(
        self,
        start: int = 0,
        stop: int | None = None,
        batch_rows: int = BATCH_ROWS,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream rows; see `Source.read`."""
        extra = self.chosen(columns)
        schema = batch_schema(self.dim, extra)
        wanted = [self.vector_name, self.id_name, *extra.names]
        ranges = [(start, self.rows if stop is None else stop)]
        for first, batch in self._batches(ranges, batch_rows, wanted):
            arrays = [
                vector_array(self._vectors(batch, first)),
                ids_from_arrow(batch.column(self.id_name), self.uri, self.id_name, first),
                *(batch.column(name) for name in extra.names),
            ]
            yield pa.record_batch(arrays, schema=schema)

    def ids_in(self, ranges: Sequence[Range], batch_rows: int) -> Iterator[pa.StringArray]:
        """Stream ids; see `Source.ids_in`."""
        for first, batch in self._batches(ranges, batch_rows, [self.id_name]):
            yield ids_from_arrow(batch.column(self.id_name), self.uri, self.id_name, first)

    def vectors_in(
        self, ranges: Sequence[Range], batch_rows: int = BATCH_ROWS
    ) -> Iterator[NDArray[np.float32]]:
        """Stream vectors; see `Source.vectors_in`."""
        for first, batch in self._batches(ranges, batch_rows, [self.vector_name]):
            yield self._vectors(batch, first)

    def _vectors(self, batch: pa.RecordBatch, first: int) -> NDArray[np.float32]:
        matrix = _matrix(batch.column(self.vector_name), self.dim, self, first)
        return to_float32(matrix, self.uri, first)

    def _batches(
        self, ranges: Sequence[Range], batch_rows: int, columns: list[str]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (first row, batch) for the rows asked for; each row group is decoded once."""
        wanted = np.array([self.checked(*each) for each in ranges], np.int64).reshape(-1, 2)
        wanted = wanted[wanted[:, 0] < wanted[:, 1]]
        missing = int((wanted[:, 1] - wanted[:, 0]).sum())
        with self.file.held(), _opened(self.file) as parquet:
            for groups, at, end in _needed_groups(parquet.metadata, wanted):
                for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=columns):
                    # What a file calls strings need not be UTF-8, nor an index within its range.
                    batch.validate(full=True)
                    for low, high in _overlaps(wanted, at, at + len(batch)):
                        missing -= high - low
                        yield low, batch.slice(low - at, high - low)
                    at += len(batch)
                    if at >= end:
                        break
            if missing:
                raise EOFError(f"{missing} rows that it promises are not there")


def open_parquet(file: SourceFile, names: Names) -> ParquetSource:
    """Look at a Parquet file; of its rows at most the first vector is read.

    Raises:
        InvalidInput: it is damaged, has no vector or id column, or they have other types.
    """
    with _opened(file) as parquet:
        schema: pa.Schema = parquet.schema_arrow
        there = {field.name: f"{field.name} {field.type}" for field in schema}
        vector_name = _vector_name(schema, names, there, file.uri)
        id_name = names.id_in(there, file.uri)
        if not is_id_type(schema.field(id_name).type):
            raise InvalidInput(
                f"{file.uri}: column '{id_name}' is {schema.field(id_name).type}; ids are strings"
                " or integers: name another with --id-column",
                file=file.uri,
            )
        taken = {vector_name, id_name}
        extra = [f for f in schema if f.name not in taken and not f.name.startswith(_PANDAS_INDEX)]
        return ParquetSource(
            file=file,
            rows=parquet.metadata.num_rows,
            dim=_dim(parquet, vector_name, file.uri),
            extra=pa.schema([field.remove_metadata().with_nullable(True) for field in extra]),
            embedder=_embedder(schema),
            vector_name=vector_name,
            id_name=id_name,
        )


def _embedder(schema: pa.Schema) -> Embedder | None:
    """Read what made the vectors, where `atoll export` has written it down."""
    try:
        return decoded((schema.metadata or {})[EMBEDDER_KEY], Embedder)
    except (KeyError, msgspec.MsgspecError):
        return None


@contextmanager
def _opened(file: SourceFile) -> Iterator[pq.ParquetFile]:
    try:
        with (
            file.open() as raw,
            # Without a buffer, all pages that a row group has of a column are read at once.
            pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False) as parquet,
        ):
            yield parquet
    except _DAMAGE as error:
        raise cannot_read(file, error) from error


def _needed_groups(
    metadata: pq.FileMetaData, wanted: NDArray[np.int64]
) -> Iterator[tuple[list[int], int, int]]:
    """Find the row groups that hold rows of ranges.

    Args:
        metadata: of the file.
        wanted: (ranges, 2) first row and the row after the last.

    Yields:
        Neighbouring groups, the first row of the first, the row after the last that is wanted.
    """
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    first = np.searchsorted(edges, wanted[:, 0], "right") - 1
    last = np.searchsorted(edges, wanted[:, 1], "left") - 1
    joined = np.flatnonzero(first[1:] > last[:-1] + 1) + 1
    for part in np.split(np.arange(len(wanted)), joined):
        if len(part):
            groups = list(range(int(first[part[0]]), int(last[part[-1]]) + 1))
            yield groups, int(edges[groups[0]]), int(wanted[part[-1], 1])


def _overlaps(wanted: NDArray[np.int64], at: int, end: int) -> Iterator[Range]:
    """Cut ranges to the rows from `at` to `end`."""
    begin = np.searchsorted(wanted[:, 1], at, "right")
    for start, stop in wanted[begin : np.searchsorted(wanted[:, 0], end, "left")].tolist():
        yield max(start, at), min(stop, end)


def _vector_name(schema: pa.Schema, names: Names, there: dict[str, str], uri: str) -> str:
    lists = [field.name for field in schema if _is_numbers(field.type)]
    if names.vector is None and len(lists) == 1 and not set(VECTOR_NAMES) & set(there):
        return str(lists[0])
    name = names.vector_in(there, uri)
    if name not in lists:
        raise InvalidInput(
            f"{uri}: column '{name}' is {schema.field(name).type}; vectors are lists of numbers:"
            " name another with --vector-column",
            file=uri,
        )
    return name


def _is_numbers(kind: pa.DataType) -> bool:
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    if not is_list:
        return False
    return bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _dim(parquet: pq.ParquetFile, column: str, uri: str) -> int:
    kind = parquet.schema_arrow.field(column).type
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    first = next(parquet.iter_batches(1, columns=[column]), None)
    if first is None or not len(first):
        return 0
    if first.column(0).null_count:
        raise _null_vector(uri, column, 0)
    return len(first.column(0)[0])


def _null_vector(uri: str, column: str, row: int) -> InvalidInput:
    return InvalidInput(
        f"{uri}: column '{column}' is null in row {row}; every row needs a vector without nulls",
        file=uri,
        row=row,
    )


def _matrix(lists: pa.Array, dim: int, source: Source, first: int) -> NDArray[np.generic]:
    """Turn a list array into (rows, dim) without copying where Arrow allows it."""
    if lists.null_count:
        raise _null_vector(source.uri, source.vector_name, first + null_row(lists))
    if not pa.types.is_fixed_size_list(lists.type):
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(lengths != dim)
        if len(wrong):
            row = first + int(wrong[0])
            raise InvalidInput(
                f"{source.uri}: row {row} has {lengths[wrong[0]]} values but row 0 has {dim};"
                " vectors of one file have one length",
                file=source.uri,
                row=row,
            )
    values = lists.flatten()
    if values.null_count:
        raise _null_vector(source.uri, source.vector_name, first + null_row(values) // dim)
    matrix: NDArray[np.generic] = values.to_numpy(zero_copy_only=False).reshape(len(lists), dim)
    return matrix
