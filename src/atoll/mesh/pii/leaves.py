"""Takes a column apart into what can be looked at: itself, or the fields nested in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atoll.mesh.pii.model import Column

MAX_VALUES = 10_000
MAX_VALUE_CHARS = 1000
MAX_DEPTH = 16
MAX_LEAVES = 1000
# Arrow's own names for what has none.
_NAMELESS = frozenset(("item", "element", "list", "key", "value", "keys", "values", "run_ends"))
_TOKENS = re.compile(r"[<>]|, |: |(?:(?!, |: )[^<>])+")
_DICTIONARY = re.compile(r"dictionary<values=([^<>,]*), indices=\w+, ordered=\d>")
# What is left of decimal128(5, 2), timestamp[us, tz=UTC] and fixed_size_list<...>[3] at the end.
_REST = re.compile(r"\[|[^([]*[)\]]$")


class Family(Enum):
    """What values of a type can be."""

    TEXT = "text"
    NUMBER = "number"
    FRACTION = "fraction"
    DATE = "date"
    OTHER = "other"


@dataclass(frozen=True)
class Leaf:
    """A column, or a field in it, that is not nested any further.

    Attributes:
        fields: names on the way to it below the column; () where the column itself is the leaf.
        family: of its type.
        values: distinct, none null or empty, at most `MAX_VALUES`, cut to `MAX_VALUE_CHARS`:
            text, or whole numbers written as text. None: not known, or of another family.
    """

    fields: tuple[str, ...]
    family: Family
    values: pa.Array | None = None


def leaves_of(column: Column, sample: pa.Table | None) -> Iterator[Leaf | None]:
    """List what a column consists of; None in the end where not all of it was looked into."""
    arrays = _arrays(column.name, sample)
    if not arrays:
        yield from _bounded(_from_text(column.type))
    for array in arrays:
        yield from _bounded(_from_values(_sampled(array)))


def _arrays(name: str, sample: pa.Table | None) -> list[pa.ChunkedArray]:
    """Return all columns of that name."""
    if sample is None:
        return []
    return [sample.column(index) for index in sample.schema.get_all_field_indices(name)]


def _bounded(leaves: Iterator[Leaf]) -> Iterator[Leaf | None]:
    for number, leaf in enumerate(leaves):
        if number == MAX_LEAVES or len(leaf.fields) > MAX_DEPTH:
            yield None
            return
        yield leaf


def _from_text(type_text: str) -> Iterator[Leaf]:
    """Read the fields out of Arrow's text for a type; names with its separators may be misread."""
    tokens = _TOKENS.findall(_DICTIONARY.sub(r"\1", type_text))
    path: list[str] = []
    name, is_found = "", False
    for token, following in pairwise([*tokens, ""]):
        if token == "<":
            path.append(name)
            name = ""
        elif token == ">":
            del path[-1:]
        elif following == ": ":
            name = token
        elif following != "<" and token not in (": ", ", ") and not _REST.match(token):
            yield Leaf(_named((*path, name)), family_of(token))
            name, is_found = "", True
    if not is_found:
        # Broken: it may be anything.
        yield Leaf((), Family.TEXT)


def _named(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in path if name and name not in _NAMELESS)


def family_of(type_text: str) -> Family:
    """Sort a type by Arrow's text for it; what is not known may be text."""
    if re.match(r"u?int\d|double|float|halffloat|half_float|decimal", type_text):
        return Family.NUMBER
    if re.match(r"date|timestamp", type_text):
        return Family.DATE
    if re.match(r"bool|time|duration|month", type_text):
        return Family.OTHER
    return Family.TEXT


def _sampled(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Take evenly spaced values."""
    if len(column) <= MAX_VALUES:
        return column
    return column.take(np.linspace(0, len(column) - 1, MAX_VALUES, dtype=np.int64))


def _from_values(column: pa.ChunkedArray) -> Iterator[Leaf]:
    """Walk the arrays a column consists of, depth first."""
    chunks = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    waiting: list[tuple[tuple[str, ...], pa.Array]] = [((), chunks)]
    while waiting:
        path, array = waiting.pop()
        parts = _parts(array)
        if parts is None:
            yield _leaf(_named(path), array)
        # One step more than may be is enough to tell.
        elif len(path) > 2 * MAX_DEPTH:
            yield Leaf(path, Family.OTHER)
        else:
            waiting += [((*path, name), _sampled(part)) for name, part in reversed(parts)]


def _parts(array: pa.Array) -> list[tuple[str, pa.Array]] | None:
    """Return what an array is made of, by name; None where it is of plain values."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return [("", array.storage)]
    if pa.types.is_dictionary(kind):
        return [("", array.dictionary_decode())]
    if pa.types.is_run_end_encoded(kind):
        return [("", pc.run_end_decode(array))]
    if pa.types.is_struct(kind):
        return [(field.name, part) for field, part in zip(kind, array.flatten(), strict=True)]
    if pa.types.is_map(kind):
        return [("", array.keys), ("", array.items)]
    if pa.types.is_union(kind):
        return [(kind.field(at).name, array.field(at)) for at in range(kind.num_fields)]
    if _is_list(kind):
        return [("", array.flatten())]
    return None


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        or types.is_list_view(kind) or types.is_large_list_view(kind)
    )  # fmt: skip


def _leaf(path: tuple[str, ...], array: pa.Array) -> Leaf:
    family = family_of(str(array.type))
    try:
        return Leaf(path, family, _as_text(array, family))
    except pa.ArrowInvalid:
        # Neither text in UTF-8 nor whole numbers: nothing that names or numbers anybody.
        return Leaf(path, Family.FRACTION if family is Family.NUMBER else Family.OTHER)


def _as_text(array: pa.Array, family: Family) -> pa.Array | None:
    kind = array.type
    if family is Family.NUMBER:
        # pandas makes whole numbers with nulls floats.
        array = array.cast(pa.int64())
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_view(kind)):
        return None
    text = array.cast(pa.large_string())
    cut = pc.utf8_slice_codeunits(text, 0, MAX_VALUE_CHARS)
    values = pc.unique(pc.utf8_trim_whitespace(cut))
    return values.filter(pc.fill_null(pc.not_equal(values, ""), False))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind))
