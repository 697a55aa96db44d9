"""One text for each value, however wide or fine its column is: what a hash is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context

import pyarrow as pa

from atoll.mesh.filters.columntypes import Kind
from atoll.mesh.filters.literals import DIGITS


def _texts(values: pa.Array) -> list[bytes]:
    found: list[bytes] = values.cast(pa.large_binary()).to_pylist()
    return found


def _numbers(values: pa.Array) -> list[bytes]:
    return [str(value).encode() for value in values.to_pylist()]


def _decimals(values: pa.Array) -> list[bytes]:
    exact = Context(prec=100)
    return [f"{value.normalize(exact):f}".encode() for value in values.to_pylist()]


def _days(values: pa.Array) -> list[bytes]:
    if pa.types.is_date32(values.type):
        return _numbers(values.cast(pa.int32()))
    return [b"%d" % (value // 86_400_000) for value in values.cast(pa.int64()).to_pylist()]


def _instants(values: pa.Array) -> list[bytes]:
    """Write nanoseconds since 1970, with a Z where they are of the world and not of a clock."""
    per_unit, zone = 10 ** (9 - DIGITS[values.type.unit]), b"Z" if values.type.tz else b""
    return [b"%d%b" % (value * per_unit, zone) for value in values.cast(pa.int64()).to_pylist()]


# By kind; arrays of distinct values, none of them NULL.
CANONICAL: Mapping[Kind, Callable[[pa.Array], list[bytes]]] = {
    Kind.TEXT: _texts,
    Kind.INT: _numbers,
    Kind.DECIMAL: _decimals,
    Kind.DATE: _days,
    Kind.TIMESTAMP: _instants,
}
