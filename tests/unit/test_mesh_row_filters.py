"""Row filters: what is read, what is refused and in which words, what NULL, NaN and LIKE mean."""

import math
from decimal import Decimal

import pyarrow as pa
import pytest
from botocore.session import get_session

from atoll.core.errors import InvalidInput
from atoll.mesh.filters.conditions import Comparison, Group, Joint, Operator, parse
from atoll.mesh.filters.evaluation import checked, keep

SCHEMA = pa.schema(
    {
        "age": pa.int8(),
        "pay": pa.decimal128(5, 2),
        "ratio": pa.float32(),
        "ok": pa.bool_(),
        "line": pa.string(),
        "born": pa.date32(),
        "seen": pa.timestamp("ms", "Europe/Lisbon"),
        "local": pa.timestamp("s"),
        "nanos": pa.timestamp("ns"),
        "tags": pa.list_(pa.string()),
        "half": pa.float16(),
        "blob": pa.binary(),
    }
)


def leaf(kind, column, *values):
    operands = {"columnName": column}
    if kind in ("in", "notIn"):
        operands["values"] = list(values)
    elif values:
        (operands["value"],) = values
    return {"expression": {kind: operands}}


def kept(condition, **columns):
    table = pa.table({name: pa.array(*column) for name, column in columns.items()})
    rows = pa.array(range(table.num_rows))
    return keep(parse(condition), table.append_column("row", rows)).column("row").to_pylist()


def test_operators_are_those_of_datazone():
    shape = get_session().get_service_model("datazone").shape_for("RowFilterExpression")
    assert {*Operator} == shape.members.keys()


def test_a_tree_is_read_as_it_is_written():
    tree = {"and": [leaf("in", "line", "A", "B"), {"or": [leaf("isNull", "age")]}]}
    assert parse(tree) == Group(
        Joint.AND,
        (
            Comparison("line", Operator.IN, ("A", "B")),
            Group(Joint.OR, (Comparison("age", Operator.IS_NULL),)),
        ),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "rowFilter is null; it must be an object"),
        ([], "rowFilter is a list; it must be an object"),
        ({}, "rowFilter has 0 keys; it must have one of and, or, expression"),
        ({"and": [], "or": []}, "rowFilter has 2 keys; it must have one of and, or, expression"),
        ({"not": {}}, "rowFilter has the unknown key 'not'; known: and, or, expression"),
        ({"and": []}, "rowFilter.and has 0 items; it must have 1 to 1,000"),
        ({"and": {}}, "rowFilter.and is an object; it must be a list"),
        (
            {"or": [leaf("in", "line")]},
            "rowFilter.or[0].expression.in.values has 0 items; it must have 1 to 10,000",
        ),
        (
            {"expression": {"equalTo": {"columnName": "age"}}},
            "rowFilter.expression.equalTo lacks value",
        ),
        (
            {"expression": {"isNull": {"columnName": "age", "value": "1"}}},
            "rowFilter.expression.isNull has the unknown key 'value'; known: columnName",
        ),
        (
            leaf("equalTo", "age", 5),
            'rowFilter.expression.equalTo.value is a number; it must be a string, in quotes: "..."',
        ),
        (
            leaf("equalTo", "age", "a\ud800"),
            r"rowFilter.expression.equalTo.value has a character that cannot be stored: 'a\ud800'",
        ),
        (
            leaf("equalTo", "a\0", "x"),
            r"rowFilter.expression.equalTo.columnName has a character that cannot be stored: "
            r"'a\x00'",
        ),
        (
            leaf("like", "line", "50\\"),
            r"rowFilter.expression.like.value has a \ that is not before %, _ or another \: "
            "write it twice",
        ),
        ({"and\n\x1b" + "x" * 99: 1}, None),
        ({7: 1}, "rowFilter has the unknown key a number; known: and, or, expression"),
    ],
)
def test_what_is_no_row_filter_is_refused_by_name(value, message):
    with pytest.raises(InvalidInput) as error:
        parse(value)
    assert message is None or error.value.message == message
    assert error.value.message.isprintable()
    assert len(error.value.message) < 200


def test_a_tree_is_bounded_in_depth_nodes_and_values():
    deep = leaf("isNull", "age")
    for _ in range(15):
        deep = {"and": [deep]}
    assert parse(deep)
    with pytest.raises(InvalidInput, match="nested more than 16 deep"):
        parse({"and": [deep]})
    assert parse({"or": [leaf("isNull", "age")] * 999})
    with pytest.raises(InvalidInput, match="more than 1,000 conditions"):
        parse({"and": [{"or": [leaf("isNull", "age")] * 500}] * 2})
    many = leaf("in", "line", *["A"] * 5_001)
    assert parse(many)
    with pytest.raises(InvalidInput, match="more than 10,000 values"):
        parse({"and": [many, many]})


def test_a_tree_that_repeats_itself_by_reference_costs_no_more_than_the_bounds():
    bomb = leaf("isNull", "age")
    for _ in range(14):
        bomb = {"and": [bomb] * 100}
    with pytest.raises(InvalidInput, match="more than 1,000 conditions"):
        parse(bomb)
    bomb["and"].append(bomb)
    with pytest.raises(InvalidInput, match=r"nested more than 16|more than 1,000"):
        parse(bomb)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            leaf("equalTo", "nome", "x"),
            "there is no column 'nome'; there are 'age', 'pay', 'ratio'",
        ),
        (leaf("like", "age", "1%"), "row filter on column 'age': like does not apply to int8"),
        (leaf("lessThan", "ok", "true"), "column 'ok': lessThan does not apply to bool"),
        (leaf("isNull", "tags"), "column 'tags': isNull does not apply to list<item: string>"),
        (leaf("equalTo", "half", "1"), "column 'half': equalTo does not apply to halffloat"),
        (leaf("equalTo", "blob", "x"), "column 'blob': equalTo does not apply to binary"),
        (leaf("equalTo", "age", "128"), "equalTo cannot take a value: 128 lies outside int8"),
        (leaf("in", "age", "1", "1.0"), "'1.0' is not a whole number"),
        (leaf("equalTo", "age", "\u0661"), r"'\\u0661' is not a whole number"),
        (leaf("equalTo", "age", "1_0"), "'1_0' is not a whole number"),
        (leaf("equalTo", "pay", "1.005"), r"'1.005' does not fit decimal128\(5, 2\)"),
        (leaf("equalTo", "pay", "1000"), r"'1000' does not fit decimal128\(5, 2\)"),
        (leaf("equalTo", "pay", "1e2"), "'1e2' is not a decimal number"),
        (leaf("equalTo", "ratio", "nan"), "'nan' is not a number"),
        (leaf("equalTo", "ratio", "inf"), "'inf' is not a number"),
        (leaf("equalTo", "ratio", "1e39"), "'1e39' lies outside float"),
        (leaf("equalTo", "ok", "True"), "'True' is neither true nor false"),
        (leaf("equalTo", "born", "2023-02-29"), "2023-02-29 is not in the calendar"),
        (leaf("equalTo", "born", "2020-W01-1"), "'2020-W01-1' is not a date such as 2026-11-26"),
        (leaf("equalTo", "born", "01/02/2020"), "is not a date such as 2026-11-26"),
        (leaf("equalTo", "seen", "2020-01-01T00:00:00"), "has no time zone, but the column has"),
        (leaf("equalTo", "local", "2020-01-01T00:00:00Z"), "the column has none: leave Z out"),
        (leaf("equalTo", "seen", "2020-01-01T24:00:00Z"), "is not in the calendar"),
        (leaf("equalTo", "seen", "2020-01-01T00:00:00+01:99"), r"is not a time such as"),
        (leaf("equalTo", "seen", "2020-01-01T00:00:00+29:00"), "is not in the calendar"),
        (leaf("equalTo", "seen", "2020-01-01T00:00:00.0001Z"), "is finer than timestamp"),
        (leaf("equalTo", "nanos", "2263-01-01T00:00:00"), "outside timestamp.ns., years 1678"),
        (leaf("equalTo", "age", "9" * 5000), "has 5,000 characters; it may have 4,096"),
    ],
)
def test_what_does_not_fit_the_columns_is_refused_by_name(condition, message):
    with pytest.raises(InvalidInput, match=message) as error:
        checked(parse(condition), SCHEMA)
    assert len(error.value.message) < 300


def test_a_column_that_is_there_twice_is_refused():
    schema = pa.schema([("age", pa.int8()), ("age", pa.int8())])
    with pytest.raises(InvalidInput, match="more than one column 'age'"):
        checked(parse(leaf("isNull", "age")), schema)


def test_values_are_kept_in_the_type_of_their_column():
    tree = {"and": [leaf("in", "pay", "1.5", "-2"), leaf("equalTo", "ratio", "0.1")]}
    values = {one.column: found for one, found in checked(parse(tree), SCHEMA).values.items()}
    assert values["pay"].equals(pa.array([Decimal("1.5"), Decimal(-2)], pa.decimal128(5, 2)))
    assert values["ratio"].equals(pa.array([0.1], pa.float32()))


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (leaf("equalTo", "a", "1"), [0]),
        (leaf("notEqualTo", "a", "1"), [1]),
        (leaf("notIn", "a", "1"), [1]),
        (leaf("isNull", "a"), [2]),
        (leaf("isNotNull", "a"), [0, 1]),
        ({"or": [leaf("equalTo", "a", "1"), leaf("isNull", "a")]}, [0, 2]),
        ({"and": [leaf("notEqualTo", "a", "1"), leaf("isNull", "a")]}, []),
    ],
)
def test_null_passes_no_comparison(condition, rows):
    assert kept(condition, a=([1, 2, None],)) == rows
    assert kept(condition, a=([1, 2, None], pa.dictionary(pa.int8(), pa.int64()))) == rows


def test_a_dictionary_may_hold_null_as_a_value():
    encoded = pa.DictionaryArray.from_arrays([0, 1, None], pa.array(["x", None]))
    table = pa.table({"a": encoded, "row": [0, 1, 2]})
    for kind, rows in {"isNull": [1, 2], "isNotNull": [0]}.items():
        assert keep(parse(leaf(kind, "a")), table).column("row").to_pylist() == rows
    assert keep(parse(leaf("notEqualTo", "a", "y")), table).column("row").to_pylist() == [0]


def test_not_a_number_passes_no_comparison():
    floats = [1.0, math.nan, None, math.inf, -math.inf]
    for kind, rows in {"notEqualTo": [3, 4], "greaterThan": [3], "lessThan": [4]}.items():
        assert kept(leaf(kind, "a", "1"), a=(floats,)) == rows
    assert kept(leaf("notIn", "a", "1"), a=(floats,)) == [3, 4]
    assert kept(leaf("isNotNull", "a"), a=(floats,)) == [0, 1, 3, 4]


def test_both_zeros_are_one_value():
    zeros = [0.0, -0.0, 1.0]
    for kind in ("equalTo", "in"):
        for text in ("0", "-0.0"):
            assert kept(leaf(kind, "a", text), a=(zeros,)) == [0, 1]
            assert kept(leaf(kind, "a", text), a=(zeros, pa.float32())) == [0, 1]
    assert kept(leaf("notIn", "a", "-0"), a=(zeros,)) == [2]


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("a%", [0, 1, 2]),
        ("a_c", [0, 1]),
        (r"a\_c", [1]),
        ("A%", [3]),
        ("%\n%", [2]),
        ("_.*", [4]),
        (".*", []),
        (r"%\\%", [5]),
        (r"%\%", [5]),
        ("%", [0, 1, 2, 3, 4, 5]),
        ("", []),
        ("\u00e9%", []),
    ],
)
def test_like_matches_the_whole_text_and_nothing_is_a_regular_expression(pattern, rows):
    texts = ["abc", "a_c", "a\nbc", "ABC", "[.*", r"100\%"]
    condition = leaf("like", "t", pattern)
    assert kept(condition, t=(texts,)) == rows
    others = [row for row in range(len(texts)) if row not in rows]
    assert kept(leaf("notLike", "t", pattern), t=(texts,)) == others


def test_an_instant_is_the_same_whatever_offset_it_is_written_with():
    seen = pa.timestamp("us", "America/Sao_Paulo")
    instant = [1_574_812_800_000_000]
    for text in ("2019-11-27T00:00:00Z", "2019-11-27 05:30:00+05:30", "2019-11-26T21:00:00-03:00"):
        assert kept(leaf("equalTo", "a", text), a=(instant, seen)) == [0]


def test_names_of_columns_are_names_and_not_paths():
    nested = pa.table({"a": [{"b": 1}], "a.b": [2]})
    assert keep(parse(leaf("equalTo", "a.b", "2")), nested).num_rows == 1


def test_a_wide_tree_is_evaluated():
    tree = {"or": [leaf("equalTo", "a", str(number)) for number in range(999)]}
    assert kept(tree, a=([998, 999],)) == [0]
