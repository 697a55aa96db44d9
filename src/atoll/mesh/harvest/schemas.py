"""Schemas as the catalog keeps them, and what of them it cannot keep."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.types as pt

from atoll.core.errors import InvalidInput
from atoll.core.text import counted, sized
from atoll.mesh.harvest.model import Column

MAX_COLUMNS = 10_000
MAX_TEXT_BYTES = 1 << 20


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """Describe the columns of a table.

    Raises:
        InvalidInput: there are none, too many, two of one name, or their types take too much text.
    """
    if not len(schema):
        raise InvalidInput("it has no columns")
    if len(schema) > MAX_COLUMNS:
        raise InvalidInput(f"it has {len(schema):,} columns; {MAX_COLUMNS:,} are the most")
    check_names(schema.names)
    columns = tuple(Column(one.name, str(plain_type(one.type)), one.nullable) for one in schema)
    size = sum(len(one.name) + len(one.type) for one in columns)
    if size > MAX_TEXT_BYTES:
        raise InvalidInput(
            f"names and types of its columns take {sized(size)} of text;"
            f" {sized(MAX_TEXT_BYTES)} are the most"
        )
    return columns


def check_names(names: list[str]) -> None:
    """Make sure that each column can be told by its name: filters and masks go by it.

    Raises:
        InvalidInput: two have the same.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidInput(
            f"{counted(len(twice), 'name')} of columns occur twice ({twice[0]!r}); rename them"
        )


def is_bytes(kind: pa.DataType) -> bool:
    """Tell whether a type's values are bytes of no known meaning."""
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary, any other as it is."""
    return plain_type(kind.value_type) if pt.is_dictionary(kind) else kind
