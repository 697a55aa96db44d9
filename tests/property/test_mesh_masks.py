"""Laws of column masks: what is left of a value, for every value a type has."""

import hashlib
import hmac
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from meshtables import COLUMNS

from atoll.core.errors import InvalidInput
from atoll.mesh.filters import masks
from atoll.mesh.filters.columntypes import plain_values
from atoll.mesh.filters.masks import Hash, Null, Partial, Redact, Round, Truncate, default_mask

KEY = b"k" * 32
TEXTS = st.text(max_size=12)
ZONES = ["Europe/Lisbon", "America/Sao_Paulo", "Africa/Cairo", "America/Caracas", "Asia/Kathmandu"]
STEPS = {
    pa.int8(): 7,
    pa.int64(): 10**6,
    pa.uint64(): 250,
    pa.decimal128(5, 2): 0.25,
    pa.decimal32(7, 3): 100.5,
    pa.decimal256(60, 10): 1000,
}


def masked(mask, values, dtype, key=KEY):
    array = plain_values(pa.array(values, dtype))
    assert mask.misfit(array.type) is None
    found = mask.applied(array, key)
    assert found.type == mask.shown_type(array.type)
    return found.to_pylist()


@given(st.lists(st.none() | TEXTS), st.integers(0, 3), st.integers(0, 3))
def test_a_partial_text_shows_its_ends_and_at_most_half(texts, first, last):
    if not first + last:
        return
    expected = [
        text
        if text is None
        else "***"
        if len(text) < 2 * (first + last)
        else f"{text[:first]}***{text[len(text) - last :]}"
        for text in texts
    ]
    for dtype in (pa.string(), pa.large_string(), pa.dictionary(pa.int16(), pa.string())):
        assert masked(Partial(first, last), texts, dtype) == expected


@given(st.lists(st.none() | TEXTS))
def test_a_redacted_text_shows_only_that_there_was_one(texts):
    expected = [None if text is None else "gone" for text in texts]
    assert masked(Redact("gone"), texts, pa.large_string()) == expected


@given(st.lists(st.none() | TEXTS), st.binary(min_size=32, max_size=70))
def test_a_hashed_text_is_its_hmac_cut_to_half(texts, key):
    expected = [
        text and hmac.new(key, b"text:" + text.encode(), hashlib.sha256).hexdigest()[:32]
        for text in texts
        if text != ""
    ]
    found = masked(Hash(), [text for text in texts if text != ""], pa.string(), key)
    assert found == expected


@pytest.mark.parametrize("name", [name for name in COLUMNS if name not in {"bool", "float"}])
@settings(max_examples=20)
@given(data=st.data())
def test_hashes_are_equal_where_values_are(name, data):
    dtype, pairs = COLUMNS[name]
    if Hash().misfit(dtype):
        assert name == "double"
        return
    values = data.draw(st.lists(pairs.map(lambda pair: pair[1]) | st.none(), max_size=6))
    found = masked(Hash(), values, dtype)
    assert found == masked(Hash(), values, dtype)
    for one, hashed in zip(values, found, strict=True):
        assert [other == one for other in values] == [other == hashed for other in found]
        assert (hashed is None) == (one is None)
        assert hashed is None or hashed not in masked(Hash(), values, dtype, b"x" * 32)


@given(st.integers(-128, 127), st.integers(-(10**9), 10**9))
def test_equal_values_hash_alike_in_any_width_and_unit(number, seconds):
    widths = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
    assert len({*(masked(Hash(), [number], dtype)[0] for dtype in widths)}) == 1
    decimals = [pa.decimal128(5, 2), pa.decimal32(9, 1), pa.decimal256(70, 40)]
    assert len({masked(Hash(), [Decimal(number)], dtype)[0] for dtype in decimals}) == 1
    units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    for zones in (["UTC", "Europe/Lisbon"], [None]):
        kinds = [(pa.timestamp(unit, zone), units[unit]) for unit in units for zone in zones]
        assert len({masked(Hash(), [seconds * per], dtype)[0] for dtype, per in kinds}) == 1


def test_values_of_different_kinds_hash_apart():
    seven = [(7, pa.int8()), ("7", pa.string()), (Decimal(7), pa.decimal128(3, 0))]
    days = [(7, pa.date32()), (7, pa.timestamp("ns")), (7, pa.timestamp("ns", "UTC"))]
    assert len({masked(Hash(), [value], dtype)[0] for value, dtype in seven + days}) == 6


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(ZONES),
    st.sampled_from(["year", "month"]),
)
@example(datetime(1967, 11, 15), "America/Sao_Paulo", "month")
@example(datetime(2014, 8, 2), "Africa/Cairo", "month")
@example(datetime(1965, 6, 1), "America/Caracas", "year")
def test_a_truncated_instant_is_the_first_of_its_local_year_or_month(clock, zone, unit):
    instant = clock.replace(tzinfo=UTC)
    (found,) = masked(Truncate(unit), [instant], pa.timestamp("us", zone))

    def period(moment):
        local = moment.astimezone(UTC).astimezone(ZoneInfo(zone))
        return (local.year, local.month if unit == "month" else 0)

    assert found <= instant
    assert period(found) == period(instant)
    assert period(found.astimezone(UTC) - timedelta(microseconds=1)) != period(instant)


@given(st.dates() | st.none(), st.sampled_from(["year", "month"]))
def test_a_truncated_date_is_the_first_of_its_year_or_month(day, unit):
    expected = day and day.replace(day=1, month=1 if unit == "year" else day.month)
    assert masked(Truncate(unit), [day], pa.date32()) == [expected]
    assert masked(Truncate(unit), [day], pa.date64()) == [expected]
    clock = day and datetime(day.year, day.month, day.day, 23, 59)
    (found,) = masked(Truncate(unit), [clock], pa.timestamp("us"))
    assert (found and found.date()) == expected


@settings(max_examples=50)
@given(st.data())
def test_no_instant_is_too_far_for_truncate(data):
    value = data.draw(st.integers(-(2**63) + 1, 2**63 - 1) | st.sampled_from([2**63 - 1, 1]))
    month = 32 * 86_400  # with the hour that October has more
    for per_second, unit in ((1, "s"), (10**3, "ms"), (10**6, "us"), (10**9, "ns")):
        for zone in (None, "Europe/Lisbon", "+05:30"):
            dtype = pa.timestamp(unit, zone)
            found = Truncate("month").applied(pa.array([value], dtype), KEY).cast(pa.int64())
            assert found[0].as_py() is None or 0 <= value - found[0].as_py() < month * per_second


@given(st.integers(-(2**31), 2**31 - 1) | st.sampled_from([2**31 - 1, -(2**31)]))
def test_no_date_is_too_far_for_truncate(days):
    dates = pa.array([days], pa.int32()).cast(pa.date32())
    found = Truncate("year").applied(dates, KEY).cast(pa.int32())[0].as_py()
    assert (found is None) == (not -719_162 <= days <= 2_932_896)
    assert found is None or 0 <= days - found < 366


@pytest.mark.parametrize(("dtype", "step"), STEPS.items())
@settings(max_examples=50)
@given(data=st.data())
def test_a_rounded_number_is_the_nearest_multiple_and_never_fails(dtype, step, data):
    pairs = next(pairs for kind, pairs in COLUMNS.values() if kind == dtype)
    value = data.draw(pairs)[1]
    (found,) = masked(Round(step), [value], dtype)
    exact, step = Fraction(value), Fraction(repr(float(step)))
    assert Fraction(found) % step == 0
    if abs(Fraction(found) - exact) * 2 > step:
        assert abs(found) <= abs(value)
        assert most_of(dtype) - abs(exact) < step
    else:
        assert Fraction(found) == round(exact / step) * step


def most_of(dtype):
    if pa.types.is_integer(dtype):
        return 2 ** (dtype.bit_width - (0 if "u" in str(dtype) else 1)) - 1
    return Fraction(10**dtype.precision - 1, 10**dtype.scale)


@given(st.floats(), st.sampled_from([0.1, 5.0, 1e15, 1e-9]))
def test_a_rounded_float_is_near_or_at_the_end(value, step):
    (found,) = masked(Round(step), [value], pa.float64())
    end = 2.0**53 * step
    if math.isnan(value):
        assert math.isnan(found)
    elif abs(value) > end:
        assert found == pytest.approx(math.copysign(end, value))
    else:
        assert abs(found - value) <= step / 2 + abs(value) * 1e-15


@given(st.floats(width=32), st.sampled_from([0.1, 1e15]))
def test_a_rounded_float_of_32_bits_never_fails(value, step):
    (found,) = masked(Round(step), [value], pa.float32())
    assert math.isnan(found) == math.isnan(value)
    assert not math.isinf(found)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_default_mask_leaves_nothing_of_a_value(name):
    dtype, _ = COLUMNS[name]
    assert default_mask(dtype) == (Redact() if "string" in str(dtype) else Null())
    assert masked(Null(), [None, None], dtype) == [None, None]


@given(
    st.builds(Redact, st.text("abé[] ", max_size=100))
    | st.builds(Partial, st.integers(0, 32), st.integers(1, 32))
    | st.builds(Truncate, st.sampled_from(["year", "month"]))
    | st.builds(Round, st.floats(1e-9, 1e15))
    | st.sampled_from([Null(), Hash()])
)
def test_a_mask_comes_back_from_its_json(mask):
    assert masks.parse(masks.to_json(mask)) == mask


@given(
    st.dictionaries(
        st.sampled_from(["kind", "text", "first", "last", "unit", "step"]) | st.text(max_size=4),
        st.sampled_from(["partial", "round", "truncate", "redact", "null", "hash", "month"])
        | st.integers()
        | st.floats()
        | st.text(max_size=200)
        | st.lists(st.booleans()),
    )
    | st.integers()
)
def test_a_broken_mask_ends_in_invalid_input(value):
    try:
        mask = masks.parse(value)
    except InvalidInput:
        return
    assert masks.parse(masks.to_json(mask)) == mask
