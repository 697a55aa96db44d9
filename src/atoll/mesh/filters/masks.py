"""What is left of a value that its owner does not show: column masks.

A mask sees the values of visible rows only, and NULL stays NULL. No mask fails on a value: an
error would tell what the value is.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from atoll.core.errors import InvalidInput
from atoll.core.records import converted
from atoll.core.text import printable
from atoll.mesh.filters import reading
from atoll.mesh.filters.canonical import CANONICAL
from atoll.mesh.filters.columntypes import Kind, comparable, kind_of
from atoll.mesh.filters.literals import DIGITS, int_range

KEY_BYTES = 32
FILL = "***"
MAX_REDACTED = 100  # characters
MAX_KEPT = 64  # characters
_DIGEST_BYTES = 16  # half of SHA-256, the least that RFC 2104 recommends


@dataclass(frozen=True)
class Mask:
    """One way to mask; `kind` names it in JSON."""

    kind: ClassVar[str]

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Say why a column of a type cannot be masked this way; None: it can."""
        raise NotImplementedError

    def shown_type(self, dtype: pa.DataType) -> pa.DataType:
        """Return the type that a column of a (plain) type then has."""
        return dtype

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Mask the values of a column.

        Args:
            values: of a plain type that fits.
            key: the subscriber's, `KEY_BYTES` or more.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Null(Mask):
    """Shows nothing: NULL in each row. Fits every type."""

    kind = "null"

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Fit everything."""
        return None

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Forget the values."""
        return pa.nulls(len(values), values.type)


@dataclass(frozen=True)
class Redact(Mask):
    """Shows the same text in each row that has one.

    Attributes:
        text: what is shown.
    """

    kind = "redact"
    text: str = "[redacted]"

    def __post_init__(self) -> None:
        """Check what came in."""
        reading.text(self.text, "text of the redact mask", longest=MAX_REDACTED)

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Fit texts."""
        return _unless(kind_of(dtype) is Kind.TEXT, "text")

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Put the text where a value was."""
        return pc.if_else(values.is_valid(), pa.scalar(self.text, values.type), None)


@dataclass(frozen=True)
class Hash(Mask):
    """Shows a keyed hash, the same for equal values: tables join within one subscriber's data.

    HMAC-SHA256 over the value's kind and its canonical text, cut to 16 bytes, in hexadecimal.
    Equal numbers hash alike whatever the width of their columns, equal instants whatever their
    unit and zone; the number 7 and the text "7" do not. How often a value occurs stays visible.

    Source: RFC 2104.
    """

    kind = "hash"

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Fit what is used as a key; floats are not, and of two booleans a hash hides nothing."""
        return _unless(kind_of(dtype) in CANONICAL, "text, whole numbers, decimals, dates, times")

    def shown_type(self, dtype: pa.DataType) -> pa.DataType:
        """Return a text type."""
        return dtype if kind_of(dtype) is Kind.TEXT else pa.string()

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Hash each distinct value once."""
        encoded = values.cast(comparable(values.type)).dictionary_encode()
        kind = kind_of(values.type)
        digests = [
            hmac.digest(key, f"{kind.value}:".encode() + text, "sha256")[:_DIGEST_BYTES].hex()
            for text in CANONICAL[kind](encoded.dictionary)
        ]
        return pa.array(digests, self.shown_type(values.type)).take(encoded.indices)


@dataclass(frozen=True)
class Partial(Mask):
    """Shows the first and last characters of a text, and `***` for what lies between.

    A text of fewer than twice as many characters shows none: never more than half of a value.

    Attributes:
        first: characters shown at the start.
        last: at the end; 1 to 64 with `first`.
    """

    kind = "partial"
    first: int = 0
    last: int = 0

    def __post_init__(self) -> None:
        """Check what came in."""
        if min(self.first, self.last) < 0 or not 1 <= self.first + self.last <= MAX_KEPT:
            raise InvalidInput(
                f"the partial mask keeps {self.first} and {self.last} characters; "
                f"it may keep 1 to {MAX_KEPT} in all"
            )

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Fit texts."""
        return _unless(kind_of(dtype) is Kind.TEXT, "text")

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Cut the middle out."""
        nothing, fill = (pa.scalar(text, values.type) for text in ("", FILL))
        head = pc.utf8_slice_codeunits(values, 0, self.first)
        tail = pc.utf8_slice_codeunits(values, -self.last) if self.last else nothing
        is_long = pc.greater_equal(pc.utf8_length(values), 2 * (self.first + self.last))
        return pc.if_else(is_long, pc.binary_join_element_wise(head, fill, tail, nothing), fill)


@dataclass(frozen=True)
class Truncate(Mask):
    """Shows the first instant of the year or month, by the column's own clock.

    Years outside 1 to 9999 (1678 to 2261 in nanoseconds) become NULL: Arrow's calendar ends there.
    From 2038 on, Arrow knows no summer time.

    Attributes:
        unit: "year" or "month".
    """

    kind = "truncate"
    unit: Literal["year", "month"]

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Fit dates and times whose zone this machine knows."""
        fits = kind_of(dtype) in (Kind.DATE, Kind.TIMESTAMP)
        if fits and getattr(dtype, "tz", None):
            try:
                pc.local_timestamp(pa.array([0], dtype))
            except pa.ArrowInvalid:
                return f"the time zone {reading.named(dtype.tz)} is unknown here"
        return _unless(fits, "dates and timestamps")

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Floor on the local clock, as the start of a month may not exist in a zone."""
        zone = getattr(values.type, "tz", None)
        local = pc.local_timestamp(values) if zone else values
        floored = pc.floor_temporal(_in_calendar(local), unit=self.unit)
        if not zone:
            return floored
        return pc.assume_timezone(floored, zone, ambiguous="earliest", nonexistent="latest")


@dataclass(frozen=True)
class Round(Mask):
    """Shows a number's nearest multiple of a step.

    Numbers within one step of their type's ends (of 2**53 steps, for floats) are first moved away
    from them: what cannot be rounded is shown too near to zero, never as it is.

    Attributes:
        step: 1e-9 to 1e15; whole for whole numbers and above 1, with no more decimals than the
            column has and above the last of them: else it would mask nothing.
    """

    kind = "round"
    step: float

    def __post_init__(self) -> None:
        """Check what came in."""
        if not 1e-9 <= self.step <= 1e15:
            raise InvalidInput(f"the round mask's step is {self.step}; it must be 1e-9 to 1e15")

    def misfit(self, dtype: pa.DataType) -> str | None:
        """Fit numbers whose type has room for the step."""
        dtype = comparable(dtype)
        kind = kind_of(dtype)
        if kind in (Kind.INT, Kind.DECIMAL):
            units, most = self._units(dtype), _most_units(dtype)
            if units != units.to_integral_value() or units > most // 2:
                return f"it has no room for steps of {self.step}"
            if units == 1:
                return f"its values are all multiples of {self.step}: it would mask nothing"
        return _unless(kind in (Kind.INT, Kind.DECIMAL, Kind.FLOAT), "numbers")

    def applied(self, values: pa.Array, key: bytes) -> pa.Array:
        """Round, half to even."""
        if kind_of(values.type) is Kind.FLOAT:
            return self._float(values)
        dtype = comparable(values.type)
        step, most = int(self._units(dtype)), _most_units(dtype)
        lowest = 0 if pa.types.is_unsigned_integer(dtype) else step - most
        low, high, unit = (_scalar(units, dtype) for units in (lowest, most - step, step))
        rounded = pc.round_to_multiple(_clamped(values.cast(dtype), low, high), unit)
        return rounded.cast(values.type)

    def _float(self, values: pa.Array) -> pa.Array:
        wide = values.cast(pa.float64())
        furthest = 2.0**53 * self.step
        rounded = pc.round_to_multiple(_clamped(wide, -furthest, furthest), self.step)
        return pc.if_else(pc.is_nan(wide), math.nan, rounded).cast(values.type, safe=False)

    def _units(self, dtype: pa.DataType) -> Decimal:
        """Return the step in the type's smallest units."""
        scale = dtype.scale if kind_of(dtype) is Kind.DECIMAL else 0
        return Decimal(repr(self.step)).scaleb(scale)


def parse(value: object, at: str = "mask") -> Mask:
    """Read a mask as it comes out of JSON.

    Args:
        value: `{"kind": ...}` with the attributes of that kind beside it.
        at: where it stands, for messages.

    Raises:
        InvalidInput: there is no such kind, or it has other attributes or bounds.

    >>> parse({"kind": "partial", "last": 4})
    Partial(first=0, last=4)
    """
    attributes = dict(reading.mapping(value, at, required=("kind",), optional=_ATTRIBUTES))
    kind = reading.text(attributes.pop("kind"), f"{at}.kind")
    if kind not in _KINDS:
        raise InvalidInput(
            f"{at} has the unknown kind {reading.named(kind)}; known: {', '.join(_KINDS)}"
        )
    reading.mapping(attributes, f"{at} of kind {kind}", optional=_KINDS[kind].__match_args__)
    try:
        return converted(attributes, _KINDS[kind])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{at} of kind {kind}: {printable(str(error)[:200])}") from None


def to_json(mask: Mask) -> dict[str, Any]:
    """Write a mask as `parse` reads it."""
    return {"kind": mask.kind, **asdict(mask)}


def default_mask(dtype: pa.DataType) -> Mask:
    """Return how a PII column is masked when nobody said how: not a part of the value is left."""
    return Redact() if kind_of(dtype) is Kind.TEXT else Null()


def _unless(fits: bool, wanted: str) -> str | None:
    return None if fits else f"it masks {wanted}"


def _clamped(values: pa.Array, low: Any, high: Any) -> pa.Array:
    capped = pc.min_element_wise(values, high, skip_nulls=False)
    return pc.max_element_wise(capped, low, skip_nulls=False)


def _most_units(dtype: pa.DataType) -> int:
    """Return the highest value of a type, in its smallest units."""
    if kind_of(dtype) is Kind.DECIMAL:
        return int(10**dtype.precision) - 1
    return int_range(dtype)[1]


def _scalar(units: int, dtype: pa.DataType) -> pa.Scalar:
    if kind_of(dtype) is Kind.DECIMAL:
        # Read from text: arithmetic would round to 28 digits.
        return pa.scalar(Decimal(f"{units}E{-dtype.scale}"), dtype)
    return pa.scalar(units, dtype)


def _in_calendar(values: pa.Array) -> pa.Array:
    """Put NULL for what `Truncate` cannot truncate: there Arrow's years wrap around."""
    dtype = values.type
    if pa.types.is_date32(dtype):
        numbers, per_day = values.cast(pa.int32()), 1
    else:
        numbers, per_day = values.cast(pa.int64()), 86_400 * 10 ** DIGITS[_unit(dtype)]
    first, last = _CALENDAR_NS if _unit(dtype) == "ns" else _CALENDAR
    inside = pc.and_(
        pc.greater_equal(numbers, first * per_day), pc.less(numbers, (last + 1) * per_day)
    )
    # take, not if_else: that one leaves values in the buffer, under the NULLs.
    return values.take(pc.if_else(inside, pa.array(np.arange(len(values))), None))


def _unit(dtype: pa.DataType) -> str:
    return "ms" if pa.types.is_date64(dtype) else str(getattr(dtype, "unit", "s"))


# Days since 1970 of 0001-01-01 and 9999-12-31; of 1678-01-01 and 2261-12-31.
_CALENDAR = (-719_162, 2_932_896)
_CALENDAR_NS = (-106_650, 106_650)
_KINDS: Mapping[str, type[Mask]] = {
    one.kind: one for one in (Null, Redact, Hash, Partial, Truncate, Round)
}
_ATTRIBUTES: tuple[str, ...] = sum((one.__match_args__ for one in _KINDS.values()), ())
