"""Views over real files: what a scan skips, what every reader of tables gives, broken texts."""

import lance
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from atoll.core.errors import Corrupt
from atoll.mesh.filters.views import asset_filter, combined
from atoll.mesh.filters.visible import row_filter, visible

KEY = b"k" * 32
TORQUE = pa.table(
    {
        "weld": range(6),
        "line": ["A", "A", "B", "B", None, "A"],
        "worker": ["Ana Silva", "Rui", "Eva", None, "Ivo", "Eva"],
        "curve": pa.array([[0.5, float(number)] for number in range(6)], pa.list_(pa.float32(), 2)),
    }
)
CONFIGURATION = {
    "columnConfiguration": {"includedColumnNames": ["curve", "weld", "worker"]},
    "columnMasks": {"worker": {"kind": "hash"}},
    "rowConfiguration": {
        "rowFilter": {
            "and": [
                {"expression": {"in": {"columnName": "line", "values": ["A", "C"]}}},
                {"expression": {"like": {"columnName": "worker", "value": "%_a%"}}},
            ]
        }
    },
}


def view_of(schema):
    return combined([asset_filter("line A", CONFIGURATION, schema)], schema)


def assert_shows_line_a(found):
    assert {*found.column_names} == {"weld", "worker", "curve"}
    rows = sorted(found.to_pylist(), key=lambda row: row["weld"])
    assert [(row["weld"], row["curve"]) for row in rows] == [(0, [0.5, 0.0]), (5, [0.5, 5.0])]
    assert len({row["worker"] for row in rows} - {*TORQUE.column("worker").to_pylist()}) == 2


def scanned(dataset, view):
    columns, rows = view.columns_read(dataset.schema), row_filter(view, dataset.schema)
    return visible(dataset.scanner(columns=columns, filter=rows).to_reader(), view, KEY).read_all()


def test_partitions_are_skipped_by_a_hidden_column(tmp_path):
    hive = ds.partitioning(flavor="hive", schema=pa.schema({"line": pa.string()}))
    ds.write_dataset(TORQUE, tmp_path, format="parquet", partitioning=hive)
    (broken,) = tmp_path.glob("line=B/*.parquet")
    broken.write_bytes(b"never read")
    dataset = ds.dataset(tmp_path, partitioning=hive)
    schema = pa.unify_schemas([TORQUE.schema, dataset.schema])
    assert_shows_line_a(scanned(dataset.replace_schema(schema), view_of(schema)))


@pytest.mark.parametrize(
    "text", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_row_groups_of_parquet_are_read_through_a_view(tmp_path, text):
    table = TORQUE.set_column(1, "line", TORQUE.column("line").cast(text))
    pq.write_table(table, tmp_path / "torque.parquet", row_group_size=2)
    dataset = ds.dataset(tmp_path / "torque.parquet")
    assert_shows_line_a(scanned(dataset, view_of(dataset.schema)))


def test_string_views_are_read_without_a_filter_in_the_scan(tmp_path):
    table = TORQUE.set_column(2, "worker", TORQUE.column("worker").cast(pa.string_view()))
    pyarrow.feather.write_feather(table, tmp_path / "torque.arrow", compression="uncompressed")
    dataset = ds.dataset(tmp_path / "torque.arrow", format="feather")
    assert row_filter(view_of(dataset.schema), dataset.schema) is None
    assert_shows_line_a(scanned(dataset, view_of(dataset.schema)))


def test_a_lance_table_is_read_through_a_view(tmp_path):
    dataset = lance.write_dataset(TORQUE, tmp_path / "torque.lance")
    view = view_of(dataset.schema)
    reader = dataset.scanner(columns=view.columns_read(dataset.schema)).to_reader()
    assert_shows_line_a(visible(reader, view, KEY).read_all())


def test_a_file_with_texts_that_are_not_utf8_is_refused(tmp_path):
    texts = pa.array([b"Eva\xff"] * 6).view(pa.string())
    pq.write_table(TORQUE.set_column(2, "worker", texts), tmp_path / "torque.parquet")
    dataset = ds.dataset(tmp_path / "torque.parquet")
    view = view_of(dataset.schema)
    with pytest.raises(Corrupt, match="not UTF-8") as error:
        visible(dataset.scanner().to_reader(), view, KEY).read_all()
    assert "Eva" not in error.value.message
