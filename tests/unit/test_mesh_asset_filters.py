"""Asset filters: which masks fit, what several filters show together, what a new schema breaks."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.mesh.filters import masks
from atoll.mesh.filters.masks import Hash, Null, Partial, Redact, Round, Truncate
from atoll.mesh.filters.views import (
    FilterStatus,
    asset_filter,
    combined,
    from_json,
    protected,
    status,
    to_json,
)
from atoll.mesh.filters.visible import row_filter, visible

KEY = b"a subscriber's key, of 32 bytes."
WORKERS = pa.table(
    {
        "id": [1, 2, 3],
        "line": ["A", "B", None],
        "name": ["Ana Silva", "Rui", "Eva Santos"],
        "born": [date(1980, 5, 6), None, date(1990, 7, 8)],
        "pay": [1234.5, 999.0, 2000.0],
    }
)
LINE_A = {"rowFilter": {"expression": {"equalTo": {"columnName": "line", "value": "A"}}}}
LINE_B = {"rowFilter": {"expression": {"equalTo": {"columnName": "line", "value": "B"}}}}


def made(columns=None, rows=None, column_masks=None, schema=WORKERS.schema, name="f"):
    configuration = {"columnMasks": column_masks or {}}
    if columns is not None:
        configuration["columnConfiguration"] = {"includedColumnNames": columns}
    if rows is not None:
        configuration["rowConfiguration"] = rows
    return asset_filter(name, configuration, schema)


def shown(*filters, table=WORKERS, **options):
    view = combined(filters, table.schema)
    return visible(table, view, KEY, **options).read_all().to_pylist()


def test_a_filter_shows_its_columns_of_its_rows_in_the_order_of_the_table():
    assert shown(made(["name", "id"], LINE_A)) == [{"id": 1, "name": "Ana Silva"}]


def test_masks_are_applied_to_what_passed_on_stored_values():
    one = made(
        rows=LINE_A,
        column_masks={
            "line": {"kind": "redact"},
            "name": {"kind": "partial", "first": 1},
            "born": {"kind": "truncate", "unit": "year"},
            "pay": {"kind": "round", "step": 100},
            "id": {"kind": "null"},
        },
    )
    masked = {"id": None, "line": "[redacted]", "name": "A***", "born": date(1980, 1, 1)}
    assert shown(one) == [{**masked, "pay": 1200.0}]


def test_filters_together_show_no_cell_that_none_of_them_shows():
    names_of_a, pay_of_b = made(["name"], LINE_A), made(["pay"], LINE_B)
    assert shown(names_of_a, pay_of_b) == [
        {"name": "Ana Silva", "pay": None},
        {"name": None, "pay": 999.0},
    ]


def test_a_cell_is_shown_unmasked_if_one_filter_shows_it_so():
    hidden = made(["id", "name"], column_masks={"name": {"kind": "redact"}})
    own_line = made(["name"], LINE_B)
    expected = ["[redacted]", "Rui", "[redacted]"]
    for filters in ([hidden, own_line], [own_line, hidden]):
        assert [row["name"] for row in shown(*filters)] == expected


def test_a_cell_has_the_mask_of_the_first_filter_that_shows_it():
    redacted = {"column_masks": {"name": {"kind": "redact"}}}
    partial = made(["name"], column_masks={"name": {"kind": "partial", "first": 1}})
    filters = [made(["name"], LINE_A, **redacted), partial, made(["name"], **redacted)]
    assert [row["name"] for row in shown(*filters)] == ["[redacted]", "R***", "E***"]


def test_filters_that_show_a_column_as_different_types_are_refused():
    hashed = made(["id"], column_masks={"id": {"kind": "hash"}})
    with pytest.raises(InvalidInput, match="column 'id' as int64, string; choose filters"):
        combined([hashed, made(["id"])], WORKERS.schema)
    nulled = made(["id"], column_masks={"id": {"kind": "null"}})
    assert [row["id"] for row in shown(nulled, hashed)] == [row["id"] for row in shown(hashed)]


def test_a_view_is_made_of_filters_that_fit():
    for filters in ([], [made()] * 101):
        with pytest.raises(InvalidInput, match="made of 1 to 100 filters"):
            combined(filters, WORKERS.schema)
    with pytest.raises(InvalidInput, match="filter 'f' is INVALID: there is no column 'pay'"):
        combined([made()], WORKERS.drop_columns(["pay"]).schema)


def test_hashes_join_tables_of_one_subscriber_and_of_no_two():
    one = made(["id"], column_masks={"id": {"kind": "hash"}})
    orders = pa.table({"worker": pa.array([3, 1], pa.int16())})
    other = made(column_masks={"worker": {"kind": "hash"}}, schema=orders.schema)
    ids = [row["id"] for row in shown(one)]
    assert [row["worker"] for row in shown(other, table=orders)] == [ids[2], ids[0]]
    view = combined([one], WORKERS.schema)
    theirs = visible(WORKERS, view, KEY[::-1]).read_all().column("id").to_pylist()
    assert not {*ids} & {*theirs}


def test_a_short_key_is_refused():
    with pytest.raises(InvalidInput, match="key has 31 bytes; it needs 32"):
        visible(WORKERS, combined([made()], WORKERS.schema), KEY[1:])


@pytest.mark.parametrize("rows", [LINE_A, None])
def test_an_empty_table_has_the_columns_and_types_of_the_view(rows):
    one = made(["id", "name"], rows, {"id": {"kind": "hash"}})
    view = combined([one], WORKERS.schema)
    found = visible(WORKERS.schema.empty_table(), view, KEY).read_all()
    assert found.schema == pa.schema({"id": pa.string(), "name": pa.string()})
    assert found.num_rows == 0


def test_sizes_of_batches_do_not_tell_where_hidden_rows_lie():
    table = pa.concat_tables([WORKERS] * 7)
    view = combined([made(["id"], LINE_A)], table.schema)
    chunks = pa.Table.from_batches(table.to_batches(max_chunksize=5))
    for data in (table.combine_chunks(), chunks):
        batches = [*visible(data, view, KEY, batch_rows=3)]
        assert [batch.num_rows for batch in batches] == [3, 3, 1]


def test_a_stale_view_tells_the_reader_nothing():
    view = combined([made(["id"], LINE_A)], WORKERS.schema)
    changed = WORKERS.set_column(1, "line", pa.array([1, 2, 3]))
    for call in (visible, lambda table, view, key: row_filter(view, table.schema)):
        with pytest.raises(Conflict, match="no longer as it was") as error:
            call(changed, view, KEY)
        assert "line" not in error.value.message
        assert not error.value.details


def test_text_that_is_not_utf8_is_refused_and_not_let_through():
    broken = pa.array([b"se\xffcret", b"x"]).view(pa.string())
    table = pa.table({"name": broken, "id": [1, 2]})
    rows = {"rowFilter": {"expression": {"notLike": {"columnName": "name", "value": "se_cret"}}}}
    view = combined([made(["id"], rows, schema=table.schema)], table.schema)
    with pytest.raises(Corrupt, match="not UTF-8"):
        visible(table, view, KEY).read_all()


def test_a_filter_says_why_it_does_not_fit_any_more():
    one = made(["id", "name"], LINE_A, {"name": {"kind": "redact"}})
    assert status(one, WORKERS.schema) == (FilterStatus.VALID, ())
    changed = WORKERS.drop_columns(["id"]).set_column(0, "line", pa.array([1, 2, 3]))
    state, problems = status(one, changed.schema)
    assert state is FilterStatus.INVALID
    assert problems == (
        "there is no column 'id'; there are 'line', 'name', 'born', 'pay'",
        "column 'line' was 'string' and is 'int64'",
    )


def test_columns_that_nobody_uses_may_come_go_and_change():
    one = made(["id"], LINE_A)
    changed = WORKERS.drop_columns(["born"]).append_column("new", pa.array([b"", b"", b""]))
    assert status(one, changed.schema)[0] is FilterStatus.VALID
    encoded = changed.set_column(1, "line", changed.column("line").dictionary_encode())
    assert shown(one, table=encoded) == [{"id": 1}]


def test_a_filter_for_all_columns_is_for_those_that_there_are_now():
    one = made()
    grown = WORKERS.append_column("iban", pa.array(["PT50"] * 3))
    assert "iban" not in shown(one, table=grown)[0]
    configuration = to_json(one)["configuration"]
    assert configuration["columnConfiguration"]["includedColumnNames"] == WORKERS.column_names


def test_personal_columns_are_masked_by_default():
    safe = protected(made(), {"name", "pay", "unknown"}, WORKERS.schema)
    row = shown(safe)[0]
    assert (row["name"], row["pay"], row["id"]) == ("[redacted]", None, 1)


KEEP_HIDDEN_ROWS = [
    pa.ListArray.from_arrays([0, 1, 2], pa.array(["a", "b"]).dictionary_encode()),
    pa.DictionaryArray.from_arrays([0, 1], pa.array([{"a": 1}, {"a": 2}])),
    pa.DictionaryArray.from_arrays([0, 1], pa.array(["a", "b"], pa.string_view())),
    pa.array([[1], [2]], pa.list_view(pa.int8())),
    pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"]),
    pa.array([{"a": "a"}, {"a": "b"}], pa.struct({"a": pa.string_view()})),
]


@pytest.mark.parametrize("tags", KEEP_HIDDEN_ROWS, ids=lambda tags: str(tags.type))
def test_a_column_whose_buffers_keep_hidden_rows_needs_the_null_mask(tags):
    table = pa.table({"tags": tags, "id": [1, 2]})
    for name in (None, ["tags"]):
        with pytest.raises(InvalidInput, match="would carry hidden rows along; mask it with kind"):
            made(name, schema=table.schema)
    rows = {"rowFilter": {"expression": {"equalTo": {"columnName": "id", "value": "2"}}}}
    nulled = made(rows=rows, column_masks={"tags": {"kind": "null"}}, schema=table.schema)
    assert shown(nulled, table=table) == [{"tags": None, "id": 2}]
    rows = {"rowFilter": {"expression": {"isNull": {"columnName": "tags"}}}}
    with pytest.raises(InvalidInput, match="isNull does not apply to"):
        made(["id"], rows, schema=table.schema)


def test_what_lies_under_a_null_of_the_table_stays_there():
    secret = np.frombuffer(b"<secret>" * 2, np.int64)
    numbers = pa.array(secret, mask=np.array([True, False]))
    table = pa.table({"a": numbers.filter(pa.array([True, False]))})
    found = visible(table, combined([made(schema=table.schema)], table.schema), KEY).read_all()
    assert b"<secret>" in table.column("a").chunk(0).buffers()[1].to_pybytes()
    assert b"<secret>" not in found.column("a").chunk(0).buffers()[1].to_pybytes()


FITS = {
    Null(): "bool int64 double decimal string date timestamp list binary half time",
    Redact(): "string",
    Partial(1): "string",
    Hash(): "int64 decimal string date timestamp",
    Truncate("year"): "date timestamp",
    Round(10): "int64 double decimal",
}
TYPES = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "half": pa.float16(),
    "decimal": pa.decimal128(5, 2),
    "string": pa.large_string(),
    "date": pa.date64(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("ns", "UTC"),
    "list": pa.list_(pa.int8()),
    "binary": pa.binary(),
}


@pytest.mark.parametrize(("mask", "fitting"), FITS.items())
def test_a_mask_fits_the_types_it_has_a_meaning_for(mask, fitting):
    assert {name for name, dtype in TYPES.items() if mask.misfit(dtype) is None} == {
        *fitting.split()
    }


@pytest.mark.parametrize(
    ("mask", "dtype"),
    [
        (Round(0.5), pa.int64()),
        (Round(100), pa.int8()),
        (Round(1), pa.int64()),
        (Round(0.01), pa.decimal128(5, 2)),
        (Round(0.001), pa.decimal128(5, 2)),
        (Round(600), pa.decimal128(5, 2)),
        (Truncate("year"), pa.timestamp("s", "Mars/Base")),
    ],
)
def test_a_mask_does_not_fit_a_type_without_room_for_it(mask, dtype):
    with pytest.raises(InvalidInput, match="cannot be masked by"):
        made(column_masks={"a": masks.to_json(mask)}, schema=pa.schema({"a": dtype}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("null", "mask is 'null'; it must be an object"),
        ({}, "mask lacks kind"),
        ({"kind": "blur"}, "mask has the unknown kind 'blur'; known: null, redact, hash, partial"),
        ({"kind": "hash", "first": 1}, "mask of kind hash has the unknown key 'first'"),
        ({"kind": "hash", "key": "x"}, "mask has the unknown key 'key'"),
        ({"kind": "partial"}, "the partial mask keeps 0 and 0 characters; it may keep 1 to 64"),
        ({"kind": "partial", "first": -1, "last": 5}, "keeps -1 and 5 characters"),
        ({"kind": "partial", "first": True}, "Expected `int`, got `bool`"),
        ({"kind": "truncate", "unit": "day"}, "Invalid enum value 'day'"),
        ({"kind": "truncate"}, "missing required field `unit`"),
        ({"kind": "round", "step": 0}, "step is 0.0; it must be 1e-9 to 1e15"),
        ({"kind": "round", "step": float("nan")}, "step is nan; it must be 1e-9 to 1e15"),
        ({"kind": "redact", "text": "\ud800"}, "has a character that cannot be stored"),
        ({"kind": "redact", "text": "x" * 101}, "has 101 characters; it may have 100"),
    ],
)
def test_what_is_no_mask_is_refused_by_name(value, message):
    with pytest.raises(InvalidInput, match=message):
        masks.parse(value)


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (None, "configuration is null; it must be an object"),
        ({"columns": []}, "unknown key 'columns'; known: columnConfiguration, rowConfiguration"),
        ({"columnConfiguration": {"includedColumnNames": []}}, "has 0 items; it must have 1 to"),
        ({"columnConfiguration": {"includedColumnNames": ["id", "id"]}}, "names a column twice"),
        ({"columnConfiguration": {"includedColumnNames": ["ip"]}}, "there is no column 'ip'"),
        ({"columnConfiguration": {"includedColumnNames": [["id"]]}}, "is a list; it must be a str"),
        ({"columnMasks": {"ip": {"kind": "null"}}}, "masks 'ip', which is not included"),
        ({"columnMasks": {"id": {"kind": "redact"}}}, "cannot be masked by redact: it masks text"),
        ({"columnMasks": []}, "columnMasks must be an object with a key per column"),
        ({"rowConfiguration": {}}, "rowConfiguration lacks rowFilter"),
        ({"rowConfiguration": {**LINE_A, "sensitive": "yes"}}, "sensitive must be true or false"),
    ],
)
def test_what_is_no_asset_filter_is_refused_by_name(configuration, message):
    with pytest.raises(InvalidInput, match=message):
        asset_filter("f", configuration, WORKERS.schema)


@pytest.mark.parametrize("name", ["", "a/b", "<b>", "x" * 65, "a\n", None])
def test_a_filter_needs_a_name_that_people_can_say(name):
    with pytest.raises(InvalidInput):
        made(name=name)


def test_a_table_with_two_columns_of_one_name_has_no_filters():
    schema = pa.schema([("a", pa.int8()), ("a", pa.int8())])
    with pytest.raises(InvalidInput, match="there is more than one column 'a'"):
        made(schema=schema)


def test_a_stored_filter_must_have_the_types_it_was_made_with():
    stored = to_json(made(["id"], LINE_A))
    assert from_json(stored) == made(["id"], LINE_A)
    with pytest.raises(InvalidInput, match="must have each column of the filter"):
        from_json({**stored, "columnTypes": {"id": "int64"}})
