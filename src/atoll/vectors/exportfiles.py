"""Writes rows into one Parquet or HDF5 file, batch by batch, as our own sources read them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, Protocol, Self, cast, get_args

import h5py
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from atoll.core.errors import InvalidInput
from atoll.vectors.hdf5sink import Hdf5Sink
from atoll.vectors.model import CollectionSpec
from atoll.vectors.schemas import vectors_of
from atoll.vectors.sources.parquet import EMBEDDER_KEY

Format = Literal["parquet", "hdf5"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, Format] = {".parquet": "parquet", ".h5": "hdf5", ".hdf5": "hdf5"}

_CHUNK_ROWS = 256
_TEXT_CHUNK_ROWS = 4096


class RowFile(Protocol):
    """A file that takes rows until its block ends; then all of them are in it."""

    def __enter__(self) -> Self:
        """Begin the file."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End it."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of the schema."""


def exported_schema(spec: CollectionSpec, stored: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """Return the columns of an export: vectors in float32, ids, then `columns`."""
    fields = [
        pa.field(spec.vector_column, pa.list_(pa.float32(), spec.dim)),
        stored.field(spec.id_column),
        *(stored.field(name) for name in columns),
    ]
    metadata = {}
    if spec.embedder is not None:
        metadata[EMBEDDER_KEY] = msgspec.json.encode(spec.embedder)
    return pa.schema(fields, metadata)


def check_format(schema: pa.Schema, kind: Format) -> None:
    """Make sure that a file can hold these columns.

    Raises:
        InvalidInput: HDF5 has no such type, as our sources read it.
    """
    for field in list(schema)[1:] if kind == "hdf5" else ():
        if _hdf5_type(field.type) is None:
            raise InvalidInput(
                f"column {field.name!r} is {field.type}, which HDF5 cannot hold; leave it out with "
                "--columns, or use --format parquet",
                column=field.name,
            )


def row_file(file: BinaryIO, schema: pa.Schema, spec: CollectionSpec, kind: Format) -> RowFile:
    """Begin to write rows into an open file."""
    return _Parquet(file, schema) if kind == "parquet" else _Hdf5(file, schema, spec)


class _Parquet:
    """Columns compressed with zstd, a row group for each batch."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        # A dictionary is no use for vectors, whose values hardly ever repeat.
        plain = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=[name for name in schema.names if name not in plain],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._writer.close()

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)


class _Hdf5:
    """Datasets by the names of the columns, attributes that say what made the vectors."""

    def __init__(self, file: BinaryIO, schema: pa.Schema, spec: CollectionSpec) -> None:
        self._sink = Hdf5Sink(cast("io.BufferedRandom", file).raw)
        self._h5 = h5py.File(self._sink, "w")
        self._schema, self._dim, self._rows = schema, spec.dim, 0
        if spec.embedder is not None:
            facts: dict[str, Any] = dict(vars(spec.embedder))
            facts["model"] = facts.pop("name")
            self._h5.attrs.update(facts)
        for field in schema:
            self._create(field)

    def _create(self, field: pa.Field) -> None:
        if pa.types.is_fixed_size_list(field.type):
            shape: tuple[int, ...] = (self._dim,)
            dtype, chunk = np.dtype(np.float32), _CHUNK_ROWS
        else:
            shape, dtype, chunk = (), _hdf5_type(field.type), _TEXT_CHUNK_ROWS
        self._h5.create_dataset(
            field.name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(chunk, *shape)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._h5.close()
        if error is None:
            self._sink.check()

    def write(self, batch: pa.RecordBatch) -> None:
        stop = self._rows + len(batch)
        for field, column in zip(self._schema, batch.columns, strict=True):
            dataset = self._h5[field.name]
            dataset.resize(stop, axis=0)
            dataset[self._rows : stop] = self._values(field, column)
        self._sink.check()
        self._rows = stop

    def _values(self, field: pa.Field, column: pa.Array) -> Any:
        if pa.types.is_fixed_size_list(field.type):
            return vectors_of(column, self._dim)
        if column.null_count:
            raise InvalidInput(
                f"column {field.name!r} has nulls, which HDF5 has no word for; leave it out with "
                "--columns, or use --format parquet",
                column=field.name,
            )
        values = column.to_numpy(zero_copy_only=False)
        if _is_text(field.type) and any("\0" in text for text in values):
            raise InvalidInput(
                f"column {field.name!r} has text with a zero byte, at which HDF5 would cut it; "
                "use --format parquet",
                column=field.name,
            )
        return values


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _hdf5_type(kind: pa.DataType) -> Any:
    """Name the type of a dataset; None where our sources would not read it back as it was."""
    if pa.types.is_string(kind):
        return h5py.string_dtype()
    is_number = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return np.dtype(kind.to_pandas_dtype()) if is_number else None
