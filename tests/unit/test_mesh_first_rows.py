"""Rows as JSON carries them: every type of Arrow's, and no more than a person looks at."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from atoll.mesh.firstrows import ANSWER_BYTES, FirstRows, Unshown, shown

NOON = datetime(2026, 3, 2, 12, 0, 0, 250_000)
BROKEN = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"], pa.binary()).buffers())


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (pa.array([True]), True),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([float("nan")]), None),
        (pa.array([float("-inf")], pa.float32()), None),
        (pa.array([1.5], pa.float16()), 1.5),
        (pa.array([Decimal("1.10")]), "1.10"),
        (BROKEN, "a\ufffd"),
        (pa.array(["a"], pa.string_view()), "a"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([b"\x00\xff"]), "AP8="),
        (pa.array([date(2026, 3, 2)]), "2026-03-02"),
        (pa.array([10**9], pa.date32()), None),
        (pa.array([time(12, 30)]), "12:30:00.000000"),
        (pa.array([NOON]), "2026-03-02T12:00:00.250000"),
        (pa.array([NOON], pa.timestamp("ms", "Europe/Lisbon")), "2026-03-02T12:00:00.250Z"),
        (pa.array([NOON], pa.timestamp("ms", "Nowhere/Land")), "2026-03-02T12:00:00.250Z"),
        (pa.array([1], pa.timestamp("ns")), "1970-01-01T00:00:00.000000001"),
        (pa.array([10**18], pa.timestamp("s")), None),
        (pa.array([timedelta(seconds=2)], pa.duration("ms")), 2000),
        (pa.array([[1.0, float("inf")]], pa.list_(pa.float32(), 2)), [1.0, None]),
        (
            pa.array([[NOON], None], pa.list_(pa.timestamp("ns")))[:1],
            ["2026-03-02T12:00:00.250000000"],
        ),
        (pa.array([["a"]], pa.large_list_view(pa.string())), ["a"]),
        (pa.array([{"a": b"a", "b": [1]}]), {"a": "YQ==", "b": [1]}),
        (pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64())), [["k", 1.5]]),
        (pa.array([None]), None),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)
def test_49_a_value_of_any_type_becomes_json(array, value):
    found = shown(pa.table({"x": array}), 10)
    assert found.rows[0] == [value]
    assert found.columns == (("x", str(array.type)),)
    json.dumps(found.rows, allow_nan=False)


def test_49_what_is_missing_stays_missing_however_deep():
    nested = pa.list_(pa.struct([("a", pa.list_(pa.int64()))]))
    given = [None, [], [None, {"a": None}], [{"a": [1, None]}]]
    for start in range(len(given)):
        found = shown(pa.table({"x": pa.array(given, nested).slice(start)}), 10)
        assert found.rows == [[one] for one in given[start:]]


def test_49_columns_in_several_chunks_are_one():
    column = pa.chunked_array([["a"], [], ["b", None]])
    assert shown(pa.table({"x": column}), 2) == FirstRows(
        (("x", "string"),), [["a"], ["b"]], 10, True
    )


def test_49_an_empty_table_has_columns():
    found = shown(pa.table({"x": pa.array([], pa.int64())}), 10)
    assert (found.columns, found.rows, found.is_cut) == ((("x", "int64"),), [], False)


@pytest.mark.parametrize("value", ["x" * 1000, [True] * 1000], ids=["text", "bits"])
def test_49_rows_end_where_they_would_be_too_much(value):
    rows = 2 * ANSWER_BYTES // 1000
    found = shown(pa.table({"x": pa.array([value]).take(pa.array([0] * rows))}), rows)
    assert 0 < len(found.rows) < rows
    assert found.is_cut
    assert ANSWER_BYTES // 2 < found.size_bytes <= ANSWER_BYTES


def test_49_one_row_that_is_too_much_is_said_so():
    found = shown(pa.table({"x": ["x" * (ANSWER_BYTES + 1)]}), 10)
    assert isinstance(found, Unshown)
    assert "fewer columns" in found.why
