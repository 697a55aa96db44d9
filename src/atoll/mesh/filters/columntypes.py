"""What the type of a column means here, whatever way Arrow stores it."""

from __future__ import annotations

from enum import Enum

import pyarrow as pa
from pyarrow import types

from atoll.core.errors import InvalidInput
from atoll.core.text import printable, some_of
from atoll.mesh.filters.reading import MAX_QUOTED, named


class Kind(Enum):
    """What values a column has, as far as comparisons and masks go."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    DATE = "date"
    TIMESTAMP = "timestamp"
    OTHER = "other"
    NESTED = "nested"


def field_named(schema: pa.Schema, column: str) -> pa.Field:
    """Find a column.

    Raises:
        InvalidInput: it is not there, or more than once.
    """
    places = schema.get_all_field_indices(column)
    if not places:
        there = some_of([named(name) for name in schema.names])
        raise InvalidInput(f"there is no column {named(column)}; there are {there}")
    if len(places) > 1:
        raise InvalidInput(f"there is more than one column {named(column)}")
    return schema.field(places[0])


def plain(dtype: pa.DataType) -> pa.DataType:
    """Return the type that holds the same values and nothing else; as it is where Arrow has none.

    A filtered dictionary or view column keeps the values of all rows in its buffers, and so in
    every file and stream made of it.
    """
    if types.is_dictionary(dtype) and not _is_composed(dtype.value_type):
        return dtype.value_type
    if is_view(dtype):
        return pa.string() if types.is_string_view(dtype) else pa.binary()
    return dtype


def is_view(dtype: pa.DataType) -> bool:
    """Tell whether texts or bytes are kept as views, which Arrow can hardly compute with."""
    return bool(types.is_string_view(dtype) or types.is_binary_view(dtype))


def plain_values(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column in its `plain` type."""
    dtype = plain(values.type)
    return values if values.type == dtype else values.cast(dtype)


def holds_only_its_rows(dtype: pa.DataType) -> bool:
    """Tell whether rows left out of a column of this (plain) type are gone from its buffers."""
    if isinstance(dtype, pa.BaseExtensionType):
        return holds_only_its_rows(dtype.storage_type)
    if types.is_struct(dtype) or types.is_map(dtype) or _is_list(dtype):
        parts = [dtype.field(place).type for place in range(dtype.num_fields)]
        return all(part == plain(part) and holds_only_its_rows(part) for part in parts)
    return not _is_composed(dtype)


def comparable(dtype: pa.DataType) -> pa.DataType:
    """Return the type in which Arrow has all the comparisons; `plain` for nearly all."""
    dtype = plain(dtype)
    if types.is_decimal32(dtype) or types.is_decimal64(dtype):
        return pa.decimal128(dtype.precision, dtype.scale)
    return dtype


def kind_of(dtype: pa.DataType) -> Kind:
    """Sort a type; half floats are OTHER, as Arrow cannot compare them."""
    dtype = plain(dtype)
    for kind, belongs in _BELONGS.items():
        if belongs(dtype):
            return kind
    return Kind.OTHER


def name_of(dtype: pa.DataType) -> str:
    """Name a type the same however its values are encoded.

    >>> name_of(pa.dictionary(pa.int8(), pa.large_string())), name_of(pa.timestamp("us", "UTC"))
    ('string', 'timestamp[us, tz=UTC]')
    """
    dtype = comparable(dtype)
    return "string" if kind_of(dtype) is Kind.TEXT else str(dtype)


def short_name(dtype: pa.DataType) -> str:
    """Name a type in a message: that of a struct has all its fields, by anybody's names."""
    name = printable(name_of(dtype))
    return name if len(name) <= MAX_QUOTED else f"{name[:MAX_QUOTED]}..."


def _is_list(dtype: pa.DataType) -> bool:
    return bool(
        types.is_list(dtype) or types.is_large_list(dtype) or types.is_fixed_size_list(dtype)
    )


def _is_nested(dtype: pa.DataType) -> bool:
    if isinstance(dtype, pa.BaseExtensionType):
        return _is_nested(dtype.storage_type)
    return bool(types.is_nested(dtype) or types.is_dictionary(dtype))


def _is_composed(dtype: pa.DataType) -> bool:
    return _is_nested(dtype) or is_view(dtype) or isinstance(dtype, pa.BaseExtensionType)


_BELONGS = {
    Kind.BOOL: types.is_boolean,
    Kind.INT: types.is_integer,
    Kind.FLOAT: lambda dtype: types.is_float32(dtype) or types.is_float64(dtype),
    Kind.DECIMAL: types.is_decimal,
    Kind.TEXT: lambda dtype: types.is_string(dtype) or types.is_large_string(dtype),
    Kind.DATE: types.is_date,
    Kind.TIMESTAMP: types.is_timestamp,
    Kind.NESTED: _is_nested,
}
