"""Laws of views: each cell that a filter shows, and not a byte of any other."""

import hmac
import math

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st
from meshtables import chosen, condition_of, filtered_tables, mutated, refusal, truth

from atoll.mesh.filters.conditions import comparisons
from atoll.mesh.filters.views import asset_filter, combined, from_json, protected, to_json
from atoll.mesh.filters.visible import row_filter, visible

KEY = bytes(range(32))
MASKS = [
    None,
    {"kind": "null"},
    {"kind": "hash"},
    {"kind": "redact", "text": "gone"},
    {"kind": "partial", "first": 1},
]


def left_of(value, mask):
    """What a mask leaves of a text."""
    if mask is None or value is None:
        return value
    if mask["kind"] == "hash":
        return hmac.new(KEY, b"text:" + value.encode(), "sha256").hexdigest()[:32]
    partial = f"{value[:1]}***" if len(value) > 1 else "***"
    return {"null": None, "redact": "gone", "partial": partial}[mask["kind"]]


def configuration_of(condition, columns):
    rows = {} if condition is None else {"rowConfiguration": {"rowFilter": condition}}
    return {
        "columnConfiguration": {"includedColumnNames": [*columns]},
        "columnMasks": {name: mask for name, mask in columns.items() if mask},
        **rows,
    }


@st.composite
def filter_sets(draw, names, conditions):
    """Filters as pairs of a condition (or None) and {column: mask or None}."""
    return [
        (
            chosen(draw, [None, conditions(draw), conditions(draw)]),
            {
                name: chosen(draw, MASKS if "text" in name else MASKS[:2])
                for name in draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
            },
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


def view_of(filters, schema):
    made = [asset_filter("f", configuration_of(*one), schema) for one in filters]
    assert [from_json(to_json(one)) for one in made] == made
    return combined(made, schema)


def expected_cell(filters, passed, name, value):
    masks = [
        columns[name]
        for (_, columns), is_in in zip(filters, passed, strict=True)
        if is_in and name in columns
    ]
    shown = sorted((mask for mask in masks if mask != MASKS[1]), key=lambda mask: mask is not None)
    return left_of(value, shown[0]) if shown else None


@settings(max_examples=100)
@given(filtered_tables(names=("int64", "double", "string", "dictionary", "decimal")), st.data())
def test_a_view_shows_each_cell_that_a_filter_shows_and_no_other(filtered, data):
    table, _, cells, rows = filtered
    texts = [f"{name} text" for name in cells if name in ("string", "dictionary")]
    for name in texts:
        table = table.append_column(name, table.column(name.removesuffix(" text")))
        rows = [{**row, name: row[name.removesuffix(" text")]} for row in rows]
    names = [*cells, *texts]
    filters = data.draw(filter_sets(names, lambda draw: condition_of(draw, cells, 1)))
    view = view_of(filters, table.schema)
    expected = []
    for row in rows:
        passed = [one is None or truth(one, cells, row) is True for one, _ in filters]
        if any(passed):
            expected.append([expected_cell(filters, passed, name, row[name]) for name in names])
    order = [name for name in table.column_names if any(name in shown for _, shown in filters)]
    assert seen(visible(table, view, KEY), names, order) == [clean(row) for row in expected]
    assert seen(scanned(table, view), names, order) == [clean(row) for row in expected]


def seen(reader, names, order):
    found = reader.read_all()
    assert found.column_names == order
    return [clean([row.get(name) for name in names]) for row in found.to_pylist()]


def clean(row):
    return ["NaN" if isinstance(one, float) and math.isnan(one) else one for one in row]


def scanned(table, view):
    """Read only the columns and rows that are needed, two rows at a time."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=2)
    fragment = ds.ParquetFileFormat().make_fragment(pa.BufferReader(sink.getvalue()))
    schema = fragment.physical_schema
    columns, rows = view.columns_read(schema), row_filter(view, schema)
    scanner = fragment.scanner(columns=columns, filter=rows, batch_size=2)
    return visible(scanner.to_reader(), view, KEY)


SECRETS = {
    "text": pa.string(),
    "large text": pa.large_string(),
    "view text": pa.string_view(),
    "dictionary text": pa.dictionary(pa.int32(), pa.string()),
    "bytes": pa.binary(),
    "bytes view": pa.binary_view(),
    "fixed": pa.binary(20),
    "number": pa.int64(),
    "list": pa.list_(pa.string()),
    "numbers": pa.list_(pa.int64(), 2),
    "struct": pa.struct({"a": pa.string(), "b": pa.list_(pa.int64())}),
    "map": pa.map_(pa.string(), pa.int64()),
}


def secret(name, row):
    return b"<%02d/%02d>, which nobody else may see" % ([*SECRETS].index(name), row)


def stored(name, row):
    """A value that has the cell's secret, or 8 bytes of it, in its buffers."""
    text = secret(name, row).decode()
    number = int.from_bytes(secret(name, row)[:8], "little")
    return {
        "bytes": text.encode(),
        "bytes view": text.encode(),
        "fixed": text.encode()[:20],
        "number": number,
        "list": [text],
        "numbers": [number, 1],
        "struct": {"a": text, "b": [number]},
        "map": [(text, number)],
    }.get(name, text)


def secrets_table(rows):
    columns = {
        name: pa.array([stored(name, row) for row in range(rows)], dtype)
        for name, dtype in SECRETS.items()
    }
    table = pa.table({**columns, "row": list(range(rows))})
    fields = [field.with_metadata({"comment": "whispered"}) for field in table.schema]
    return table.cast(pa.schema(fields, {"pandas": '{"columns": ["text", "number", "row"]}'}))


@settings(max_examples=60)
@given(st.data(), st.integers(1, 6))
def test_no_byte_of_a_hidden_cell_or_column_leaves(data, rows):
    table = secrets_table(rows)

    def some_rows(draw):
        values = [str(draw(st.integers(0, rows))) for _ in range(2)]
        return {"expression": {"in": {"columnName": "row", "values": values}}}

    filters = data.draw(filter_sets([*SECRETS], some_rows))
    sink = pa.BufferOutputStream()
    reader = visible(table, view_of(filters, table.schema), KEY)
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    sent = sink.getvalue().to_pybytes()
    for name in SECRETS:
        for row in range(rows):
            is_shown = any(shows(one, name, row) for one in filters)
            assert (secret(name, row)[:8] in sent) == is_shown
    assert b"pandas" not in sent
    assert b"whispered" not in sent


def shows(one, name, row):
    """Whether a filter shows a cell as it is."""
    condition, columns = one
    if columns.get(name, "hidden") is not None:
        return False
    return condition is None or str(row) in condition["expression"]["in"]["values"]


@given(st.data())
def test_personal_columns_are_masked_unless_the_filter_says_how(data):
    table = secrets_table(2)
    ((condition, columns),) = data.draw(
        filter_sets([*SECRETS], lambda draw: None).filter(lambda filters: len(filters) == 1)
    )
    pii = data.draw(st.sets(st.sampled_from([*SECRETS])))
    made = asset_filter("f", configuration_of(condition, columns), table.schema)
    safe = protected(made, pii, table.schema)
    for name, mask in safe.columns.items():
        assert (mask is not None) == (name in pii or columns[name] is not None)
        assert columns[name] is None or mask == made.columns[name]


@given(filtered_tables(), st.data())
def test_a_column_that_comes_later_is_never_seen(filtered, data):
    table, condition, *_ = filtered
    configuration = data.draw(st.sampled_from([{}, {"rowConfiguration": {"rowFilter": condition}}]))
    view = combined([asset_filter("f", configuration, table.schema)], table.schema)
    grown = table.append_column("new", pa.array(["secret"] * table.num_rows))
    assert "new" not in visible(grown, view, KEY).read_all().column_names
    gone = data.draw(st.sampled_from(view.columns_read(table.schema)))
    assert refusal(lambda: combined(view.filters, grown.drop_columns([gone]).schema))


@given(filtered_tables())
def test_a_filter_keeps_the_types_of_all_it_reads(filtered):
    table, condition, *_ = filtered
    configuration = {
        "columnConfiguration": {"includedColumnNames": ["row"]},
        "rowConfiguration": {"rowFilter": condition, "sensitive": True},
    }
    made = asset_filter("f", configuration, table.schema)
    used = {one.column for one in comparisons(made.condition)}
    assert made.types.keys() == {"row", *used}
    assert from_json(to_json(made)) == made


@settings(max_examples=200)
@given(filtered_tables(), st.data())
def test_a_broken_filter_ends_in_invalid_input_or_is_one(filtered, data):
    table, condition, *_ = filtered
    masks = {"row": {"kind": "round", "step": 5}}
    whole = asset_filter("f", configuration_of(condition, masks), table.schema)
    broken = mutated(to_json(whole), data)
    if refusal(lambda: from_json(broken)) is None:
        assert from_json(to_json(from_json(broken))) == from_json(broken)
        refusal(lambda: combined([from_json(broken)], table.schema))
    configuration = mutated(to_json(whole)["configuration"], data)
    refusal(lambda: asset_filter("f", configuration, table.schema))
