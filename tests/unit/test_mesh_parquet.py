"""Parquet files by their footers, honest ones and others."""

import io
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mesh_files import found, harvested, plant_table, refused, write_parquet

from atoll.core.errors import Corrupt, InvalidInput
from atoll.mesh.harvest import Technical, parquet, parquetshape, readers, thrift
from atoll.mesh.harvest.parquet import parse_footer
from atoll.mesh.harvest.statistics import Statistics, statistics_of
from atoll.mesh.harvest.thrift import CompactReader
from atoll.storage import count_usage


def footer_of(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    data = sink.getvalue()
    length = int.from_bytes(data[-8:-4], "little")
    return data[-8 - length : -8], len(data)


EVERY_TYPE = pa.table(
    {
        "i8": pa.array([-1, 2, None], pa.int8()),
        "u32": pa.array([1, 2**32 - 1, None], pa.uint32()),
        "u64": pa.array([1, 2**64 - 1, 3], pa.uint64()),
        "f16": pa.array(np.array([0.1, 0.2, 0.3], np.float16)),
        "f32": pa.array([0.1, -0.0, None], pa.float32()),
        "f64": pa.array([float("inf"), float("nan"), -1.5]),
        "text": ["a", "ü" * 100, None],
        "large": pa.array(["a", "b", None], pa.large_string()),
        "bytes": pa.array([b"\xff", b"", None]),
        "flag": [True, False, None],
        "dec": pa.array([Decimal("1.10"), None, Decimal("-3.00")], pa.decimal128(10, 2)),
        "wide": pa.array([Decimal(10) ** 50, None, None], pa.decimal256(60, 5)),
        "day": pa.array([0, 20_000, None], pa.date32()),
        "ns": pa.array([1, 2, None], pa.timestamp("ns")),
        "far": pa.array([-(10**15), 5, None], pa.timestamp("ms", "UTC")),
        "clock": pa.array([1, 2, None], pa.time32("s")),
        "span": pa.array([1, 2, None], pa.duration("us")),
        "choice": pa.array(["x", "y", "x"]).dictionary_encode(),
        "gone": pa.array([None, None, None], pa.int64()),
    }
)


@pytest.mark.parametrize("rows_in_group", [1, 2, 3])
def test_footers_say_what_measuring_the_values_says(rows_in_group):
    footer = parse_footer(*footer_of(EVERY_TYPE, row_group_size=rows_in_group))
    assert footer.rows == 3
    measured = statistics_of(EVERY_TYPE)
    # A row group of nothing but NaN has no statistics.
    differing = {"f64"} if rows_in_group == 1 else set()
    assert {name for name, one in footer.statistics.items() if one != measured[name]} == differing


def test_nested_columns_count_by_their_type_alone():
    table = pa.table({"v": [[1.0], [2.0]], "s": [{"a": 1}, {"a": 2}], "a.b": [1, 2]})
    footer = parse_footer(*footer_of(table))
    assert list(footer.statistics) == ["a.b"]


def test_schema_rows_and_sizes_are_those_of_the_file(tmp_path):
    table = plant_table()
    path = write_parquet(tmp_path / "t.parquet", table)
    one = found(path)
    assert (one.kind, one.format, one.rows, one.files) == ("table", "parquet", 60, 1)
    assert one.size_bytes == path.stat().st_size
    assert one.location == path.as_uri()
    assert [(c.name, c.type) for c in one.columns] == [
        ("udi", "int64"), ("product", "string"), ("type", "string"), ("torque [Nm]", "double"),
        ("failure", "bool"), ("at", "timestamp[ms]"),
    ]  # fmt: skip


def test_types_are_whole_where_they_are_nested_and_plain_where_they_are_encoded(tmp_path):
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            ("tree", pa.list_(pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]))),
            ("kind", pa.dictionary(pa.int32(), pa.string())),
        ]
    )
    write_parquet(tmp_path / "t.parquet", schema.empty_table())
    columns = found(tmp_path).columns
    assert [one.type for one in columns][::2] == ["int64", "string"]
    assert columns[1].type.startswith("list<element: struct<a: int64, b: list<")
    assert [one.nullable for one in columns] == [False, True, True]


def test_only_footers_are_read(tmp_path):
    rows = pa.table({"x": np.random.default_rng(0).random(500_000)})
    path = write_parquet(tmp_path / "t.parquet", rows)
    with count_usage() as usage:
        assert found(path).rows == 500_000
    assert (usage.gets, usage.bytes_read) == (1, parquet.TAIL_BYTES)
    assert path.stat().st_size > 40 * parquet.TAIL_BYTES


def test_a_column_that_unpacks_to_a_thousand_times_its_size_costs_a_footer(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", pa.table({"x": pa.nulls(5_000_000, pa.int64())}))
    with count_usage() as usage:
        assert found(path).rows == 5_000_000
    assert usage.bytes_read <= parquet.TAIL_BYTES


def test_a_footer_longer_than_the_first_read_is_read_whole(tmp_path):
    names = [f"column {number}" for number in range(2000)]
    path = write_parquet(tmp_path / "t.parquet", pa.table({name: [1, 2] for name in names}))
    with count_usage() as usage:
        assert [one.name for one in found(path).columns] == names
    assert usage.gets == 2


def test_files_without_statistics_are_found_but_cannot_be_told_apart(tmp_path):
    write_parquet(tmp_path / "t.parquet", plant_table(), write_statistics=False)
    one = found(tmp_path)
    assert one.rows == 60
    assert one.fingerprint.content is None
    assert one.fingerprint.schema is not None


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", "corrupt", "does not end as a Parquet file"),
        (b"PAR1", "corrupt", "does not end as a Parquet file"),
        (b"garbage, and more of it", "corrupt", "does not end as a Parquet file"),
        (b"PAR1" + b"\0" * 8 + b"PARE", "invalid_input", "encrypted"),
        (b"PAR1\0\xff\xff\xff\xffPAR1", "corrupt", "claims 4.0 GiB"),
        (b"PAR1\0\0\0\0PAR1", "corrupt", "ends too early"),
        (b"PAR1" + b"\x1c" * 500 + b"\xf4\1\0\0PAR1", "corrupt", "nested too deeply"),
        (b"PAR1" + b"\x16" + b"\xff" * 99 + b"\x64\0\0\0PAR1", "corrupt", "too long"),
        (b"PAR1\x1f\1\0\0\0PAR1", "corrupt", "no known type"),
    ],
)
def test_what_is_no_parquet_file_is_said_so(tmp_path, content, code, reason):
    (tmp_path / "t.parquet").write_bytes(content)
    one = refused(tmp_path / "t.parquet")
    assert one.code == code
    assert reason in one.reason


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    whole = write_parquet(tmp_path / "t.parquet", plant_table()).read_bytes()
    for length in range(1, len(whole), 97):
        (tmp_path / "t.parquet").write_bytes(whole[:length])
        assert refused(tmp_path / "t.parquet").code == "corrupt"


def test_an_enormous_footer_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "FOOTER_BYTES", 1000)
    write_parquet(tmp_path / "t.parquet", plant_table())
    assert "larger row groups" in refused(tmp_path / "t.parquet").reason


def test_footers_of_one_folder_are_read_until_they_are_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "FOOTERS_BYTES", 5000)
    for number in range(200):
        write_parquet(tmp_path / f"{number}.parquet", plant_table(2))
    assert "footers of its 200 files take more than" in refused(tmp_path).reason


@pytest.mark.parametrize("names", [["a", "b", "a"], ["", ""]])
def test_columns_of_one_name_are_refused_since_masks_go_by_name(tmp_path, names):
    table = pa.Table.from_arrays([pa.array([1])] * len(names), names)
    write_parquet(tmp_path / "t.parquet", table)
    assert "occur twice" in refused(tmp_path / "t.parquet").reason


def test_too_many_columns_and_too_much_text_are_refused(tmp_path):
    wide = pa.schema([(f"c{number}", pa.int8()) for number in range(10_001)])
    write_parquet(tmp_path / "t.parquet", wide.empty_table())
    assert "10,000 are the most" in refused(tmp_path / "t.parquet").reason
    long = pa.schema([(f"{number}" + "x" * 20_000, pa.int8()) for number in range(60)])
    write_parquet(tmp_path / "t.parquet", long.empty_table())
    assert "1.0 MiB are the most" in refused(tmp_path / "t.parquet").reason


# -- footers that lie -----------------------------------------------------------------------------


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def integer(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def text(value):
    return varint(len(value)) + value


def listed(*structures):
    return b"\xfc" + varint(len(structures)) + b"".join(structures)


def lying_footer(
    *, rows=2, group_rows=2, values=2, start=4, size=10, nulls=0, low=b"\1" * 8, file=b"", chunks=1,
    kind=2, depth=0,
):  # fmt: skip
    """A footer of one column `x` of INT64, as told."""
    inner = b"\x35\x02\x18" + text(b"g") + b"\x15\x02\0"  # optional group g of one child
    leaf = b"\x15" + integer(2) + b"\x25\x02\x18" + text(b"x") + b"\0"
    root = b"\x48" + text(b"root") + b"\x15\x02\0"
    schema = listed(root, *[inner] * depth, leaf)
    statistics = b"\x36" + integer(nulls) + b"\x28" + text(low) + b"\x18" + text(low) + b"\0"
    meta = (
        b"\x15" + integer(kind) + b"\x46" + integer(values) + b"\x26" + integer(size)
        + b"\x26" + integer(start) + b"\x3c" + statistics + b"\0"
    )  # fmt: skip
    chunk = (b"\x18" + text(file) + b"\x2c" if file else b"\x3c") + meta + b"\0"
    group = b"\x19" + listed(*[chunk] * chunks) + b"\x26" + integer(group_rows) + b"\0"
    return b"\x29" + schema + b"\x16" + integer(rows) + b"\x19" + listed(group) + b"\0"


def test_the_footer_that_the_lies_start_from_is_accepted():
    footer = parse_footer(lying_footer(), 10_000)
    value = Decimal(int.from_bytes(b"\1" * 8, "little"))
    assert footer.rows == 2
    assert footer.schema.names == ["x"]
    assert footer.statistics == {"x": Statistics(0, value, value)}


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"rows": 3}, "other rows than its row groups"),
        ({"rows": -2, "group_rows": -2}, "other rows than its row groups"),
        ({"rows": 2**62}, "other rows than its row groups"),
        ({"chunks": 2}, "not the columns of the schema"),
        ({"chunks": 0}, "not the columns of the schema"),
        ({"start": 2**40}, "outside the file"),
        ({"size": 2**62}, "outside the file"),
        ({"size": -1}, "outside the file"),
        ({"start": -5}, "outside the file"),
        ({"values": -1}, "outside the file, or hides them"),
        ({"values": 1}, "not as many values as there are rows"),
        ({"nulls": 3}, "more nulls than values"),
        ({"nulls": -1}, "more nulls than values"),
        ({"low": b"\1"}, "not the width"),
    ],
)
def test_footers_that_contradict_themselves_are_refused(lie, reason):
    with pytest.raises(Corrupt, match=reason):
        parse_footer(lying_footer(**lie), 10_000)


def test_columns_in_other_files_are_refused():
    with pytest.raises(InvalidInput, match="keeps columns in other files"):
        parse_footer(lying_footer(file=b"../../secret.parquet"), 10_000)


def test_a_chunk_of_another_type_than_the_schema_s_ends_no_process():
    # Arrow calls `terminate` over it.
    assert parse_footer(lying_footer(kind=0), 10_000).rows == 2


def test_a_schema_that_is_nested_without_end_is_refused():
    assert parse_footer(lying_footer(depth=50), 10_000).rows == 2
    for depth in (200, 100_000):
        with pytest.raises(InvalidInput, match="nested more than 200 deep"):
            parse_footer(lying_footer(depth=depth), 10_000_000)


def test_a_list_that_claims_to_be_endless_costs_nothing():
    with pytest.raises(Corrupt, match="ends too early"):
        CompactReader(b"\xf8" + varint(2**60)).skip(9)


@pytest.mark.parametrize("limit", ["MAX_ELEMENTS", "PATHS_BYTES"])
def test_a_schema_of_too_many_columns_or_too_long_names_is_not_shown_to_arrow(monkeypatch, limit):
    monkeypatch.setattr(parquetshape, limit, 50)
    monkeypatch.delattr(parquet, "_schema")
    with pytest.raises(InvalidInput, match="its columns, with those nested in them"):
        parse_footer(lying_footer(depth=49), 10_000)


def test_row_groups_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(parquet, "MAX_CHUNKS", 2)
    table = pa.table({"x": [1, 2, 3]})
    assert parse_footer(*footer_of(table, row_group_size=2)).rows == 3
    with pytest.raises(InvalidInput, match="more than 2 columns in row groups"):
        parse_footer(*footer_of(table, row_group_size=1))


def test_values_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(thrift, "MAX_VALUES", 500)
    parse_footer(lying_footer(), 10_000)
    fields, elements = b"\x11" * 501, b"\x19\xf3\xf5\x03" + b"\1" * 501
    pairs = b"\x1b\xfb\x01\x33" + b"\1" * 502
    for dense in (fields, elements, pairs):
        with pytest.raises(InvalidInput, match="more than 500 values"):
            parse_footer(dense, 10_000)


def test_a_broken_file_among_loose_ones_stays_alone(tmp_path):
    write_parquet(tmp_path / "a.parquet", plant_table())
    write_parquet(tmp_path / "b.parquet", pa.table({"x": [1]}))
    (tmp_path / "c.parquet").write_bytes(b"torn")
    outcomes = harvested(tmp_path)
    assert list(outcomes) == ["a.parquet", "b.parquet", "c.parquet"]
    assert [isinstance(one, Technical) for one in outcomes.values()] == [True, True, False]
    assert outcomes["c.parquet"].reason.startswith("it does not end as a Parquet file does")


def test_a_table_with_a_broken_part_is_not_shown_as_if_it_were_whole(tmp_path):
    for number in range(3):
        write_parquet(tmp_path / f"{number}.parquet", plant_table())
    (tmp_path / "1.parquet").write_bytes(b"torn")
    one = refused(tmp_path)
    assert one.location == tmp_path.as_uri()
    assert "1 of its 3 files cannot be read; '1.parquet': it does not end as" in one.reason


def test_footer_errors_are_all_of_the_tree():
    data, size = footer_of(EVERY_TYPE, row_group_size=2)
    for at in range(0, len(data), 23):
        for value in (0, 255, data[at] ^ 1):
            with suppress(Corrupt, InvalidInput):
                parse_footer(data[:at] + bytes([value]) + data[at + 1 :], size)


def test_statistics_of_parts_join_to_those_of_the_whole():
    one, other = Statistics(1, 2, 5), Statistics(0, 1, 3)
    assert one.joined(other) == Statistics(1, 1, 5)
    assert one.joined(Statistics(4)) == Statistics(5, 2, 5)
    assert one.joined(replace(other, is_known=False)) == Statistics(1, is_known=False)
    assert one.joined(Statistics(None)).nulls is None
