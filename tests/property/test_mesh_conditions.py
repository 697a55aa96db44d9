"""Laws of row filters: the rows that SQL keeps, by every path; hostile trees end in one error."""

import json
import sqlite3

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meshtables import (
    COLUMNS,
    COMPARE,
    JSON,
    PATTERNS,
    TEXTS,
    filtered_tables,
    is_like,
    mutated,
    refusal,
    rows_that_pass,
)

from atoll.mesh.filters.conditions import parse, to_json
from atoll.mesh.filters.evaluation import checked, expression, keep, passing


def numbers(table):
    return table.column("row").to_pylist()


@given(filtered_tables())
def test_a_table_keeps_the_rows_that_the_oracle_keeps(filtered):
    table, condition, cells, rows = filtered
    assert numbers(keep(parse(condition), table)) == rows_that_pass(condition, cells, rows)


@given(filtered_tables(), st.integers(1, 3))
def test_batches_and_chunks_keep_the_same_rows(filtered, size):
    table, condition, cells, rows = filtered
    expected = rows_that_pass(condition, cells, rows)
    fits = checked(parse(condition), table.schema)
    batches = table.to_batches(max_chunksize=size)
    kept = [batch.column("row").filter(passing(fits, batch)) for batch in batches]
    assert [row for rows in kept for row in rows.to_pylist()] == expected
    chunked = pa.Table.from_batches(batches, table.schema)
    assert numbers(keep(parse(condition), chunked)) == expected


# Arrow cannot scan string views by a filter; `row_filter` gives none for them.
@given(filtered_tables(names=[name for name in COLUMNS if name != "view"]), st.integers(1, 3))
def test_a_scan_of_row_groups_keeps_the_same_rows(filtered, size):
    table, condition, cells, rows = filtered
    expected = rows_that_pass(condition, cells, rows)
    assert numbers(scanned(table, parse(condition), size)) == expected


def scanned(table, condition, rows_per_group):
    """Read from Parquet with statistics in every row group, the filter pushed down."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=rows_per_group)
    fragment = ds.ParquetFileFormat().make_fragment(pa.BufferReader(sink.getvalue()))
    fits = checked(condition, fragment.physical_schema)
    return fragment.to_table(filter=expression(fits))


@given(filtered_tables(names=("int64", "string")))
def test_sqlite_keeps_the_same_rows(filtered):
    table, condition, cells, rows = filtered
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA case_sensitive_like = ON")
    names = [name for name in table.column_names if name != "row"]
    database.execute(f"CREATE TABLE t (row, {', '.join(names)})")
    marks = ", ".join("?" * (1 + len(names)))
    database.executemany(
        f"INSERT INTO t VALUES ({marks})",
        [(place, *(row[name] for name in names)) for place, row in enumerate(rows)],
    )
    values = []
    where = sql_of(condition, cells, values)
    found = database.execute(f"SELECT row FROM t WHERE {where} ORDER BY row", values).fetchall()
    database.close()
    assert numbers(keep(parse(condition), table)) == [row for (row,) in found]


def sql_of(condition, cells, values):
    ((key, inner),) = condition.items()
    if key != "expression":
        return f"({f' {key.upper()} '.join(sql_of(one, cells, values) for one in inner)})"
    ((kind, operands),) = inner.items()
    name = operands["columnName"]
    if kind in ("isNull", "isNotNull"):
        return f"{name} IS {'NOT ' if kind == 'isNotNull' else ''}NULL"
    if kind in ("like", "notLike"):
        values.append(operands["value"])
        return f"{name} {'NOT ' if kind == 'notLike' else ''}LIKE ? ESCAPE '\\'"
    texts = operands.get("values") or [operands["value"]]
    values.extend(cells[name][text] for text in texts)
    if kind in ("in", "notIn"):
        return f"{name} {'NOT ' if kind == 'notIn' else ''}IN ({', '.join('?' * len(texts))})"
    return f"{name} {SQL[kind]} ?"


SQL = dict(zip(COMPARE, ["=", "<>", ">", "<", ">=", "<="], strict=True))


@settings(max_examples=300)
@given(st.lists(TEXTS.map(lambda pair: pair[0]), max_size=5), PATTERNS)
def test_a_pattern_matches_as_the_oracle_does(texts, pattern):
    table = pa.table({"t": pa.array(texts, pa.string())})
    condition = parse({"expression": {"like": {"columnName": "t", "value": pattern}}})
    kept = keep(condition, table).column("t").to_pylist()
    assert kept == [text for text in texts if is_like(text, pattern)]


@given(filtered_tables())
def test_json_comes_back_as_it_was(filtered):
    condition = filtered[1]
    assert to_json(parse(condition)) == condition
    assert parse(json.loads(json.dumps(to_json(parse(condition))))) == parse(condition)


@settings(max_examples=200)
@given(filtered_tables(deepest=3), st.data())
def test_a_broken_tree_ends_in_invalid_input_or_means_the_same(filtered, data):
    table, condition, *_ = filtered
    broken = mutated(condition, data)
    message = refusal(lambda: keep(parse(broken), table))
    assert len(message) < 600 if message else to_json(parse(broken)) == broken


@given(JSON)
def test_any_json_ends_in_a_condition_or_invalid_input(value):
    assert len(refusal(lambda: parse(value)) or "") < 600


@given(st.sampled_from([*COLUMNS]), st.text(max_size=12) | st.from_regex(r"[0-9T:.+ Z-]{1,30}"))
def test_any_text_is_a_value_of_its_type_or_invalid_input(name, text):
    schema = pa.schema([(name, COLUMNS[name][0])])
    condition = {"expression": {"equalTo": {"columnName": name, "value": text}}}
    assert len(refusal(lambda: keep(parse(condition), schema.empty_table())) or "") < 600


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_value_reads_as_what_the_table_holds(name, data):
    dtype, pairs = COLUMNS[name]
    text, stored = data.draw(pairs)
    table = pa.table({name: pa.array([stored], dtype)})
    condition = parse({"expression": {"equalTo": {"columnName": name, "value": text}}})
    assert keep(condition, table).num_rows == 1
