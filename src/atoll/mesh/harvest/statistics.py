"""Statistics of columns, comparable across formats, and the fingerprints made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from atoll.mesh.harvest.model import Fingerprint

# Numbers; text and bytes; dates in days, times in nanoseconds, booleans.
Value: TypeAlias = Decimal | bytes | int

# Some writers cut text in Parquet statistics at 64 bytes and raise the last of the greatest
# (parquet-rs, DEFAULT_STATISTICS_TRUNCATE_LENGTH).
_TEXT_BYTES = 32
# The widest decimal has 76 digits.
EXACT = Context(prec=100)
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}
_FAMILIES = {
    "number": (pt.is_integer, pt.is_floating, pt.is_decimal),
    "text": (pt.is_string, pt.is_large_string, pt.is_string_view),
    "binary": (pt.is_binary, pt.is_large_binary, pt.is_binary_view, pt.is_fixed_size_binary),
    "boolean": (pt.is_boolean,),
    "date": (pt.is_date,),
    "time": (pt.is_time,),
    "timestamp": (pt.is_timestamp,),
    "duration": (pt.is_duration,),
}


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of the values of one column.

    Attributes:
        nulls: how many are missing; None where nobody counted.
        low, high: least and greatest value, text cut short; None where there are only nulls.
        is_known: whether `low` and `high` hold for all values.
    """

    nulls: int | None = 0
    low: Value | None = None
    high: Value | None = None
    is_known: bool = True

    def joined(self, other: Statistics) -> Statistics:
        """Return what is known of the values of both."""
        nulls = None
        if self.nulls is not None and other.nulls is not None:
            nulls = self.nulls + other.nulls
        if not (self.is_known and other.is_known):
            return Statistics(nulls, is_known=False)
        lows: list[Any] = [one.low for one in (self, other) if one.low is not None]
        highs: list[Any] = [one.high for one in (self, other) if one.high is not None]
        return Statistics(nulls, min(lows, default=None), max(highs, default=None))


@lru_cache(maxsize=1000)
def family(kind: pa.DataType) -> str:
    """Name what a type holds, whatever its width and encoding; what formats have in common.

    >>> family(pa.list_(pa.float32(), 3)), family(pa.decimal128(10, 2)), family(pa.large_string())
    ('list<number>', 'number', 'text')
    """
    if pt.is_dictionary(kind):
        return family(kind.value_type)
    if pt.is_map(kind):
        return f"map<{family(kind.key_type)}, {family(kind.item_type)}>"
    if pt.is_struct(kind):
        return f"struct<{', '.join(f'{one.name}: {family(one.type)}' for one in kind)}>"
    if hasattr(kind, "value_type"):
        return f"list<{family(kind.value_type)}>"
    known = (name for name, tests in _FAMILIES.items() if any(test(kind) for test in tests))
    return next(known, str(kind))


def is_flat(kind: pa.DataType) -> bool:
    """Tell whether values of a type have an order that all formats share."""
    return family(kind) in _FAMILIES


def comparable(value: Any, kind: pa.DataType) -> Value | None:
    """Bring a value of a flat type into the form that all formats share; None if it has no order.

    Args:
        value: number, bytes or boolean; of dates and times the number that stands for them.
        kind: its type.
    """
    if pt.is_dictionary(kind):
        return comparable(value, kind.value_type)
    match family(kind):
        case "number":
            # A float as the shortest text that means it: 0.1 is the same in any width.
            exact = str(_FLOATS[kind.bit_width](value)) if pt.is_floating(kind) else value
            number = EXACT.add(Decimal(exact), 0)
            return None if number.is_nan() else number
        case "text" | "binary":
            return bytes(value[:_TEXT_BYTES])
        case "time" | "timestamp" | "duration":
            return int(value) * _NANOSECONDS[kind.unit]
        case "date" | "boolean":
            return int(value)
    return None


def statistics_of(table: pa.Table) -> dict[str, Statistics]:
    """Measure the flat columns of a table; no two have the same name."""
    return {
        one.name: _measured(table.column(one.name)) for one in table.schema if is_flat(one.type)
    }


def fingerprint(
    types: Mapping[str, pa.DataType],
    rows: int | None,
    statistics: Mapping[str, Statistics],
    *,
    of: str = "all rows",
) -> Fingerprint:
    """Make the fingerprints of a table; see `Fingerprint`.

    Args:
        types: of all columns, partitions included.
        rows: how many; None where nobody counted.
        statistics: of the flat ones; of others the type counts alone.
        of: what was measured; others are never equal.
    """
    facts = [
        [name, family(kind), *_facts(statistics.get(name))] for name, kind in sorted(types.items())
    ]
    is_telling = any(one.low is not None for one in statistics.values())
    content = digest(of, rows, facts) if rows and is_telling else None
    return Fingerprint(digest("schema", [fact[:2] for fact in facts]), content)


def digest(*parts: Any) -> str:
    """Hash what JSON can hold."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _facts(one: Statistics | None) -> list[Any]:
    if one is None:
        return []
    return [one.nulls, one.is_known, _text(one.low), _text(one.high)]


def _text(value: Value | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.hex()
    return str(value.normalize(EXACT) if isinstance(value, Decimal) else value)


def _measured(column: pa.ChunkedArray) -> Statistics:
    if pt.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pt.is_date64(column.type):
        column = column.cast(pa.date32())
    kind = column.type
    if column.null_count == len(column):
        return Statistics(column.null_count)
    extremes = pc.min_max(column.cast(_stand_in(kind)))
    low, high = (comparable(extremes[name].as_py(), kind) for name in ("min", "max"))
    if low is None or high is None:
        return Statistics(column.null_count, is_known=False)
    return Statistics(column.null_count, low, high)


def _stand_in(kind: pa.DataType) -> pa.DataType:
    """Name the type whose extremes Arrow finds, and Python can hold, for values of another."""
    if family(kind) in ("text", "binary"):
        return pa.large_binary()
    if pt.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.float32() if pt.is_float16(kind) else kind
