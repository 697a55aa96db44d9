from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from atoll.vectors.digest import ColumnDigest

HALVES = pa.array(np.arange(4, dtype=np.float16))
COLUMNS = [
    pa.array([1, None, 3, 4]),
    pa.array([1, None, 3, 4], pa.uint8()),
    pa.array([1.5, None, float("nan"), -0.0]),
    HALVES,
    HALVES.take(pa.array([0, None, 2, 3])),
    pa.array([True, None, False, True]),
    pa.array(["a", None, "", "ü\0x"]),
    pa.array(["a", None, "", "ü"], pa.large_string()),
    pa.array(["a", None, "", "a long one, beyond inlining"], pa.string_view()),
    pa.array([b"a", None, b"", b"\xff"], pa.binary()),
    pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
    pa.array(["a", "b", None, "a"]).dictionary_encode(),
    pa.array([[1, 2], [3, None], None, [5, 6]], pa.list_(pa.int32(), 2)),
    pa.array([[1], None, [], [3, None]]),
    pa.array([{"a": 1, "b": "x"}, None, {"a": 2}, {}]),
    pa.array([datetime.date(2020, 1, 1), None, datetime.date(1900, 1, 1), None]),
    pa.array([1, None, 3, 4], pa.timestamp("us", "UTC")),
    pa.array([Decimal("1.50"), None, Decimal("2.00"), Decimal("-1.00")]),
    pa.nulls(4),
]


def digest(*arrays):
    found = ColumnDigest()
    for array in arrays:
        found.update(pa.record_batch({"x": array}))
    return found.hexdigest()["x"]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_batch_borders_do_not_matter(column):
    one_by_one = [column[row : row + 1] for row in range(4)]
    assert digest(column) == digest(*one_by_one) == digest(column[:1], column[1:1], column[1:])


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: str(column.type))
def test_where_a_slice_starts_in_its_buffers_does_not_matter(column):
    longer = pa.concat_arrays([column, column])[3:7]
    rebuilt = pa.array(longer.to_pylist(), longer.type)
    assert digest(longer) == digest(rebuilt)


@pytest.mark.parametrize("column", COLUMNS[:-1], ids=lambda column: str(column.type))
def test_order_and_each_value_matter(column):
    values = column.to_pylist()
    swapped = pa.array([values[row] for row in (1, 0, 2, 3)], column.type)
    changed = pa.array([values[row] for row in (0, 1, 0, 3)], column.type)
    assert len({digest(column), digest(swapped), digest(changed), digest(column[:3])}) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([0, 1]), pa.array([None, 1], pa.int64())),
        (pa.array(["", "a"]), pa.array([None, "a"])),
        (pa.array(["ab", "c"]), pa.array(["a", "bc"])),
        (pa.array([[1, 2], [3]]), pa.array([[1], [2, 3]])),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([], pa.int64()), pa.array([0])),
    ],
)
def test_values_that_lie_alike_in_memory_are_told_apart(one, other):
    assert digest(one) != digest(other)


def test_each_column_has_its_own_digest():
    found = ColumnDigest()
    found.update(
        pa.record_batch({"x": pa.array([1, 2]), "y": pa.array([1, 2]), "z": pa.array([1, 3])})
    )
    x, y, z = found.hexdigest().values()
    assert x == y != z
