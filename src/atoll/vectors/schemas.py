"""Schemas of tables: as they are stored, and as a user sees them."""

from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.vectors.distance import decoded
from atoll.vectors.model import CollectionSpec
from atoll.vectors.sources.columns import vector_array


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Name the type a column is stored as: Arrow cannot pick rows of views, nor write dictionaries
    that change from batch to batch."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def encode_schema(schema: pa.Schema) -> str:
    """Write an Arrow schema as base64 text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decode_schema(text: str) -> pa.Schema:
    """Read a schema that `encode_schema` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def seen_schema(spec: CollectionSpec) -> pa.Schema:
    """Return the tables' schema as a user sees it: vectors of int8 are decoded."""
    schema = decode_schema(spec.arrow_schema)
    if spec.dtype == "int8":
        at = schema.get_field_index(spec.vector_column)
        floats = schema.field(at).with_type(pa.list_(pa.float32(), spec.dim))
        schema = schema.set(at, floats)
    return schema


def seen(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Bring the columns that a schema names into its types: int8 becomes vectors of float32."""
    table = table.select(schema.names)
    for at, field in enumerate(schema):
        stored = table.schema.field(at).type
        if stored != field.type and pa.types.is_fixed_size_list(stored):
            floats = decoded(vectors_of(table.column(at), stored.list_size))
            table = table.set_column(at, field, vector_array(floats))
    return table.cast(schema)


def vectors_of(column: pa.Array | pa.ChunkedArray, dim: int) -> NDArray[np.generic]:
    """View a column of fixed-size lists as (rows, dim), without a copy where it is one chunk."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks != 1:
            parts = [vectors_of(chunk, dim) for chunk in column.chunks]
            return np.concatenate(parts) if parts else np.empty((0, dim), np.float32)
        column = column.chunk(0)
    values = column.values.to_numpy(zero_copy_only=False)
    found: NDArray[np.generic] = values.reshape(-1, dim)[
        column.offset : column.offset + len(column)
    ]
    return found
