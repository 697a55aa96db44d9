"""Values of row filters, which are strings, read by the type of their column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from atoll.mesh.filters.columntypes import Kind, kind_of
from atoll.mesh.filters.reading import named

DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # of a second's fraction, by Arrow's unit

_INT = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,76}(?:\.[0-9]{1,76})?")
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Day and clock, fraction of a second, offset.
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-2][0-9]:[0-5][0-9])?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def literal(text: str, dtype: pa.DataType) -> pa.Scalar:
    """Read a value of a column.

    Args:
        text: decimal digits, true or false, 2026-11-26, 2026-11-26T19:30:00.5 (with Z or +01:00
            if and only if the column has a time zone), or any text for a column of text.
        dtype: a `comparable` type of a kind that takes values.

    Raises:
        ValueError: it is none of the type's values, exactly; says why.

    >>> literal("-7", pa.int8()), literal("1.5", pa.decimal128(5, 2))
    (<pyarrow.Int8Scalar: -7>, <pyarrow.Decimal128Scalar: Decimal('1.50')>)
    """
    return _READERS[kind_of(dtype)](text, dtype)


def _bool(text: str, dtype: pa.DataType) -> pa.Scalar:
    if text not in ("true", "false"):
        raise ValueError(f"{named(text)} is neither true nor false")
    return pa.scalar(text == "true", dtype)


def _int(text: str, dtype: pa.DataType) -> pa.Scalar:
    _matched(_INT, text, "a whole number")
    lowest, highest = int_range(dtype)
    value = int(text)
    if not lowest <= value <= highest:
        raise ValueError(f"{text} lies outside {dtype}, {lowest} to {highest}")
    return pa.scalar(value, dtype)


def int_range(dtype: pa.DataType) -> tuple[int, int]:
    """Return the lowest and the highest value of an integer type."""
    if pa.types.is_unsigned_integer(dtype):
        return 0, 2**dtype.bit_width - 1
    return -(2 ** (dtype.bit_width - 1)), 2 ** (dtype.bit_width - 1) - 1


def _float(text: str, dtype: pa.DataType) -> pa.Scalar:
    _matched(_FLOAT, text, "a number")
    value = pa.scalar(float(text), dtype)
    if not math.isfinite(value.as_py()):
        raise ValueError(f"{named(text)} lies outside {dtype}")
    return value


def _decimal(text: str, dtype: pa.DataType) -> pa.Scalar:
    _matched(_DECIMAL, text, "a decimal number")
    try:
        return pa.scalar(Decimal(text), dtype)
    except pa.ArrowInvalid:
        raise ValueError(f"{named(text)} does not fit {dtype}") from None


def _text(text: str, dtype: pa.DataType) -> pa.Scalar:
    return pa.scalar(text, dtype)


def _date(text: str, dtype: pa.DataType) -> pa.Scalar:
    _matched(_DATE, text, "a date such as 2026-11-26")
    return pa.scalar(_in_calendar(text).date(), dtype)


def _timestamp(text: str, dtype: pa.DataType) -> pa.Scalar:
    example = f"a time such as 2026-11-26T19:30:00{'+01:00' if dtype.tz else ''}"
    moment, fraction, offset = _matched(_TIMESTAMP, text, example).groups()
    if (offset is None) != (dtype.tz is None):
        raise ValueError(
            f"{text} has no time zone, but the column has: add Z or an offset such as +01:00"
            if offset is None
            else f"{text} has a time zone, but the column has none: leave {offset} out"
        )
    fraction = (fraction or "").rstrip("0")
    digits = DIGITS[dtype.unit]
    if len(fraction) > digits:
        raise ValueError(f"{text} is finer than {dtype}")
    seconds = (_in_calendar(moment + (offset or "Z")) - _EPOCH) // timedelta(seconds=1)
    try:
        return pa.scalar(seconds * 10**digits + int(fraction.ljust(digits, "0") or 0), dtype)
    except OverflowError:
        raise ValueError(f"{text} lies outside {dtype}, years 1678 to 2261") from None


def _in_calendar(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is not in the calendar") from None


def _matched(pattern: re.Pattern[str], text: str, wanted: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"{named(text)} is not {wanted}")
    return found


_READERS: dict[Kind, Callable[[str, pa.DataType], pa.Scalar]] = {
    Kind.BOOL: _bool,
    Kind.INT: _int,
    Kind.FLOAT: _float,
    Kind.DECIMAL: _decimal,
    Kind.TEXT: _text,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
}
