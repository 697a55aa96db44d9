"""Laws of a harvest: fingerprints against facts counted by hand, groups, delimiters, damage."""

import csv
import io
import re
import tempfile
import tracemalloc
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_files import csv_bytes, found, harvested, plant_table, write_parquet

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.harvest import Technical, Unreadable
from atoll.mesh.harvest.layout import plan
from atoll.mesh.harvest.listing import Listing
from atoll.mesh.harvest.parquet import parse_footer
from atoll.storage import Storage, StoredObject

VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    pa.uint8(): st.integers(0, 255),
    pa.float64(): st.floats(allow_nan=False, width=64),
    pa.float32(): st.floats(allow_nan=False, width=32),
    pa.string(): st.text(st.characters(codec="utf-8"), max_size=5),
    pa.binary(): st.binary(max_size=5),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(date(1, 1, 1), date(9999, 12, 31)),
    pa.decimal128(9, 2): st.decimals(-9999, 9999, places=2),
}
NAMES = ["a", "b", "c d", "e.f"]


@st.composite
def tables(draw):
    count = draw(st.integers(1, 12))
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    columns = {}
    for name, kind in zip(NAMES, kinds, strict=False):
        values = st.none() | VALUES[kind]
        drawn = draw(st.lists(values, min_size=count, max_size=count))
        columns[name] = pa.array(drawn, kind)
    return pa.table(columns)


def facts(table):
    """What a fingerprint may know of a table, counted value by value."""
    found = {}
    for name in table.column_names:
        values = [one for one in table.column(name).to_pylist() if one is not None]
        ordered = [one.encode() if isinstance(one, str) else one for one in values]
        extremes = (min(ordered), max(ordered)) if ordered else None
        found[name] = (len(values), extremes)
    return len(table), found


def fingerprint(table, draw=None):
    with tempfile.TemporaryDirectory() as folder:
        if draw is None:
            write_parquet(Path(folder) / "t" / "x.parquet", table)
        else:
            scattered(draw, table, Path(folder) / "t")
        return found(folder).fingerprint


def scattered(draw, table, folder):
    """Write a table in another order, in files of any names, in any groups of rows."""
    order = draw(st.permutations(range(len(table))))
    table = table.take(list(order)).select(draw(st.permutations(table.column_names)))
    cuts = sorted(draw(st.sets(st.integers(1, len(table)), max_size=3)) | {len(table)})
    start = 0
    for number, cut in enumerate(cuts):
        write_parquet(
            folder / f"{draw(st.integers(0, 999))}-{number}.parquet",
            table.slice(start, cut - start),
            row_group_size=draw(st.integers(1, 12)),
            compression=draw(st.sampled_from(["none", "zstd"])),
            use_dictionary=draw(st.booleans()),
        )
        start = cut


@settings(max_examples=60)
@given(data=st.data(), table=tables())
def test_a_table_is_the_same_however_it_is_stored(data, table):
    assert fingerprint(table, data.draw) == fingerprint(table)


@settings(max_examples=60)
@given(data=st.data(), table=tables())
def test_fingerprints_are_equal_where_the_facts_are_and_nowhere_else(data, table):
    values = {name: VALUES[table.schema.field(name).type] for name in table.column_names}
    name = data.draw(st.sampled_from(table.column_names))
    at = data.draw(st.integers(0, len(table) - 1))
    changed = table.column(name).to_pylist()
    changed[at] = data.draw(st.none() | values[name])
    column = pa.array(changed, table.schema.field(name).type)
    other = table.set_column(table.column_names.index(name), name, column)
    one, two = fingerprint(table), fingerprint(other)
    assert one.schema == two.schema
    if None not in (one.content, two.content):
        assert (one.content == two.content) == (facts(table) == facts(other))


def test_fingerprints_tell_neighbours_apart():
    """Values that are near each other, or are written alike, are not the same."""
    for kind, some in {
        pa.int64(): [2**53, 2**53 + 1, -1],
        pa.float64(): [0.1, np.nextafter(0.1, 1), 1e300, float("inf")],
        pa.string(): ["1", "1.0", "", "a\x00"],
        pa.decimal128(38, 10): [Decimal("1E-10"), Decimal("2E-10"), Decimal(10) ** 27],
    }.items():
        prints = {fingerprint(pa.table({"x": pa.array([one], kind)})).content for one in some}
        assert len(prints) == len(some)


@pytest.mark.parametrize("key", ["type", "failure"])
def test_a_partitioned_copy_is_the_same_table(tmp_path, key):
    table = plant_table()
    for value in set(table.column(key).to_pylist()):
        rows = table.filter(pc.equal(table.column(key), value)).drop_columns([key])
        write_parquet(tmp_path / "p" / f"{key}={value}" / "x.parquet", rows)
    whole = found(write_parquet(tmp_path / "w.parquet", table)).fingerprint
    if key == "type":
        assert found(tmp_path / "p").fingerprint == whole
    else:
        # In a folder's name, "true" is text.
        assert found(tmp_path / "p").fingerprint != whole


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_copy_is_the_same_table(tmp_path, delimiter):
    table = plant_table(500)
    (tmp_path / "t.csv").write_bytes(csv_bytes(table, delimiter))
    write_parquet(tmp_path / "t.parquet", table.cast(_narrow(table.schema)))
    one, two = harvested(tmp_path).values()
    assert (one.format, two.format) == ("csv", "parquet")
    assert one.fingerprint == two.fingerprint


def _narrow(schema):
    """Other widths for the same values."""
    kinds = {pa.int64(): pa.int32(), pa.float64(): pa.float32(), pa.string(): pa.large_string()}
    return pa.schema([field.with_type(kinds.get(field.type, field.type)) for field in schema])


# -- groups ---------------------------------------------------------------------------------------

PARTS = ["a", "b", "k=1", "k=2", "x.lance", "_atoll", "_delta_log", "_tmp", "metadata"]
FILES = ["1.parquet", "2.csv", "3.png", "_SUCCESS", "v.metadata.json"]
PATHS = st.builds(
    lambda folders, name: "/".join([*folders, name]),
    st.lists(st.sampled_from(PARTS), max_size=4),
    st.sampled_from(FILES),
)


@settings(max_examples=200)
@given(st.sets(PATHS, max_size=12))
def test_no_asset_lies_inside_another_and_no_file_is_in_two(paths):
    objects = tuple(StoredObject(path, 1) for path in sorted(paths))
    units = plan(Listing(Storage("s3://lake/plant"), objects))
    assets = []
    for unit in units:
        is_each = unit.format == "parquet" and unit.is_loose and not unit.is_partitioned
        assets += [one.path for one in unit.objects] if is_each else [unit.path]
    readable = {unit.path for unit in units if not (unit.is_partitioned and unit.is_loose)}
    for one in assets:
        for other in set(assets) - {one}:
            prefix = f"{one}/" if one else ""
            assert not other.startswith(prefix) or one not in readable
    grouped = [one.path for unit in units for one in unit.objects]
    assert len(grouped) == len(set(grouped))


# -- CSV ------------------------------------------------------------------------------------------

CELL = st.text(st.sampled_from("aü;,|\t\"'\n 1.5"), max_size=6)


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_writes_is_found_as_it_was(rows, delimiter, encoding, ending):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=ending)
    writer.writerows([("first", "größe", "last"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.csv").write_bytes(sink.getvalue().encode(encoding))
        table = found(Path(folder) / "t.csv")
    assert [one.name for one in table.columns] == ["first", "größe", "last"]
    assert (table.rows, table.details["delimiter"]) == (len(rows), delimiter)


# -- damage ---------------------------------------------------------------------------------------


def mutants(content, count, seed):
    random = np.random.default_rng(seed)
    for number in range(count):
        if number % 10 == 0:
            yield content[: random.integers(len(content))]
            continue
        changed = bytearray(content)
        at = int(random.integers(len(content)))
        bit = 1 << int(random.integers(8))
        changed[at] = [0, 255, changed[at] ^ bit, int(random.integers(256))][number % 4]
        yield bytes(changed)


def hold(folder, name, count, seed):
    for number, content in enumerate(mutants((folder / name).read_bytes(), count, seed)):
        (folder / f"{number}-{name}").write_bytes(content)
    (folder / name).unlink()
    outcomes = harvested(folder)
    assert sum(isinstance(one, Unreadable) for one in outcomes.values()) > 0
    for one in outcomes.values():
        if isinstance(one, Unreadable):
            assert re.fullmatch(r"corrupt|invalid_input", one.code), one
            assert one.reason.isprintable()


def write_damaged(folder, name):
    if name == "x.csv":
        (folder / name).write_bytes(csv_bytes(plant_table(20)))
    else:
        pq.write_table(plant_table(20), folder / name, row_group_size=9)
    # Keeps the files beside it from being taken for one table.
    (folder / "0.csv").write_text("a,b\n1,2\n")


@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
def test_damaged_files_are_found_or_refused(tmp_path, name):
    write_damaged(tmp_path, name)
    hold(tmp_path, name, 200, seed=0)
    assert isinstance(harvested(tmp_path)["0.csv"], Technical)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["x.parquet", "x.csv"])
@pytest.mark.parametrize("seed", [1, 2])
def test_many_damaged_files_are_found_or_refused(tmp_path, name, seed):
    write_damaged(tmp_path, name)
    hold(tmp_path, name, 5000, seed)


# -- density --------------------------------------------------------------------------------------

FOOTER_BYTES = 1 << 14


def varint(number):
    return b"" if not number else bytes([number & 127 | 128 * (number > 127)]) + varint(number >> 7)


def many(head, one, size=FOOTER_BYTES):
    """As many equal elements as fit into so many bytes, as a list's."""
    count = max(1, size // len(one))
    return head + varint(count) + one * count


# Short ones of each kind of thing that a footer repeats: nothing, truths, numbers, text, lists.
FIELDS = [b"", b"\x11", b"\x15\0", b"\x16\x02", b"\x18\0", b"\x19\x03", b"\x1b\0", b"\x1c\0"]
STRUCTS = st.lists(st.sampled_from(FIELDS), max_size=6).map(lambda parts: b"".join([*parts, b"\0"]))
# Row groups of the columns that there are, some of them whole.
CHUNKS = st.sampled_from([b"\0", b"\x3c\0\0", b"\x3c\x56\x02\x26\x08\x26\x08\0\0"])
GROUPS = st.builds(
    lambda chunk, count, rows: b"\x19" + bytes([count << 4 | 12]) + chunk * count + rows + b"\0",
    CHUNKS,
    st.integers(0, 4),
    st.sampled_from([b"", b"\x26\x00", b"\x26\x02"]),
)
LEAVES = b"\x48\0\x15\x06\0" + b"\x15\x02\x38\x01x\0" * 3


@settings(max_examples=60, deadline=None)
@given(
    schema=st.just(b"\x29\x4c" + LEAVES) | STRUCTS.map(lambda one: many(b"\x29\xfc", one)),
    groups=(GROUPS | STRUCTS).map(lambda one: many(b"\x19\xfc", one))
    | CHUNKS.map(lambda one: b"\x19\x1c" + many(b"\x19\xfc", one) + b"\x26\x02\0"),
    rest=st.sampled_from(FIELDS).map(lambda one: one * (FOOTER_BYTES // max(1, len(one)))),
)
def test_a_footer_takes_no_more_memory_than_its_bytes_allow(schema, groups, rest):
    footer = schema + b"\x16\x02" + groups + rest + b"\0"
    tracemalloc.start()
    try:
        with suppress(Corrupt, InvalidInput):
            parse_footer(footer, 1 << 30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (1 << 18) + 50 * len(footer)
