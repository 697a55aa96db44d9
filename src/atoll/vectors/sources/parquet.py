"""Parquet files: a list column of vectors, a column of ids, and whatever else there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
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
from atoll.vectors.sources.source import BATCH_ROWS, Source

# How pandas stores an index nobody named.
_PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class ParquetSource(Source):
    """Vectors in Parquet; ranges skip the row groups before them."""

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
        for first, batch in self._batches(start, stop, batch_rows, wanted):
            vectors = _matrix(batch.column(self.vector_name), self.dim, self, first)
            arrays = [
                vector_array(to_float32(vectors, self.uri, first)),
                ids_from_arrow(batch.column(self.id_name), self.uri, self.id_name, first),
                *(batch.column(name) for name in extra.names),
            ]
            yield pa.record_batch(arrays, schema=schema)

    def ids(
        self, start: int = 0, stop: int | None = None, batch_rows: int = 1 << 16
    ) -> Iterator[pa.StringArray]:
        """Stream ids; see `Source.ids`."""
        for first, batch in self._batches(start, stop, batch_rows, [self.id_name]):
            yield ids_from_arrow(batch.column(self.id_name), self.uri, self.id_name, first)

    def _batches(
        self, start: int, stop: int | None, batch_rows: int, columns: list[str]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (first row, batch) for the rows asked for."""
        spans = list(self.spans(start, stop, self.rows or 1))
        end = spans[-1][1] if spans else start
        with _opened(self.file) as parquet:
            groups, at = _groups_within(parquet.metadata, start, end)
            for batch in parquet.iter_batches(batch_rows, row_groups=groups, columns=columns):
                low, high = max(start - at, 0), min(end - at, len(batch))
                if low < high:
                    yield at + low, batch.slice(low, high - low)
                at += len(batch)


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
            embedder=None,
            vector_name=vector_name,
            id_name=id_name,
        )


@contextmanager
def _opened(file: SourceFile) -> Iterator[pq.ParquetFile]:
    try:
        with file.open() as raw, pq.ParquetFile(raw, pre_buffer=False) as parquet:
            yield parquet
    except (OSError, pa.ArrowException) as error:
        raise cannot_read(file, error) from error


def _groups_within(metadata: pq.FileMetaData, start: int, end: int) -> tuple[list[int], int]:
    """Return the row groups that hold rows of a range, and the first row of the first of them."""
    chosen: list[int] = []
    first = at = 0
    for number in range(metadata.num_row_groups):
        after = at + metadata.row_group(number).num_rows
        if at < end and after > start:
            first = first if chosen else at
            chosen.append(number)
        at = after
    return chosen, first


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
