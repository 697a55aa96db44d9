"""Columns beside vector and id: their types, their names, and grouping by them."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from vectordata import clustered, names, settings, write_parquet

import atoll
from atoll.vectors import search

DAY = datetime.date(2026, 11, 22)


def created(folder, *sources, **options):
    options = {"workers": 1, "settings": settings(folder / "s")} | options
    return atoll.create(folder / "c", list(sources), **options)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 1, None] * 20, pa.timestamp("ns", "UTC")),
        pa.array([0, 1, None] * 20, pa.duration("ns")),
        pa.array([0, 1, None] * 20, pa.time64("ns")),
        pa.array([0, 1, None] * 20, pa.timestamp("ms")),
        pa.array([DAY, None, DAY] * 20, pa.date32()),
        pa.array([True, None, False] * 20),
        pa.array([1.5, None, 0] * 20, pa.float16()),
        pa.array([b"\xff\x00", None, b""] * 20),
    ],
    ids=lambda column: str(column.type),
)
def test_columns_of_every_plain_type_come_back_as_they_were(tmp_path, column):
    source = write_parquet(tmp_path / "x.parquet", clustered(60, 8), extra=column)
    collection = created(tmp_path, source, bucket_rows=20)
    assert collection.get(names(60), ["extra"])["extra"].combine_chunks().equals(column)
    assert collection.verify().is_clean


def test_files_with_and_without_a_column_share_a_bucket(tmp_path):
    one = write_parquet(tmp_path / "a.parquet", clustered(40, 8), length=list(range(40)))
    other = write_parquet(tmp_path / "b.parquet", clustered(40, 8, seed=1), names(40, 100))
    collection = created(tmp_path, one, other)
    assert len(collection.buckets) == 1
    found = collection.get(["p00007", "p00107"], ["length"])["length"].to_pylist()
    assert found == [7, None]


@pytest.mark.parametrize("name", ["a.b", "_rowoffset", "_row_created_at_version", "x\ny", ""])
def test_names_that_tables_cannot_hold_are_refused_before_work(tmp_path, name):
    source = write_parquet(tmp_path / "x.parquet", clustered(20, 8), **{name: list(range(20))})
    with pytest.raises(atoll.InvalidInput):
        created(tmp_path, source)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["rank", "_distance", "_rowid", "query_id"])
def test_vectors_cannot_take_the_name_of_a_result_column(tmp_path, name):
    table = pa.table({name: [[1.0, 2.0]] * 9, "id": names(9)})
    pa.parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(atoll.InvalidInput, match="cannot be named"):
        created(tmp_path, tmp_path / "x.parquet", vector_column=name)


def test_fewer_groups_than_asked_for_do_not_make_every_row_a_candidate(tmp_path, monkeypatch):
    rows = clustered(2000, 8)
    source = write_parquet(tmp_path / "x.parquet", rows, even=[n % 2 == 0 for n in range(2000)])
    collection = created(tmp_path, source)
    counted = []
    original = search.distances_of

    def count(queries, query_of, *rest):
        counted.append(len(query_of))
        return original(queries, query_of, *rest)

    monkeypatch.setattr(search, "distances_of", count)
    hits = collection.search(rows[:3], k=10, group_by="even", columns=["even"])
    assert hits["rank"].to_pylist() == [1, 2] * 3
    assert set(zip(hits["query_id"].to_pylist(), hits["even"].to_pylist(), strict=True)) == {
        (query, even) for query in ("0", "1", "2") for even in (True, False)
    }
    assert 0 < sum(counted) < 3 * 2000


def test_far_groups_are_found_behind_one_that_fills_the_first_hits(tmp_path):
    near, far = np.ones((300, 8), "f4"), np.eye(8, dtype="f4")[:2]
    source = write_parquet(
        tmp_path / "x.parquet", np.concatenate([near, far]), protein=["a"] * 300 + ["b", "c"]
    )
    collection = created(tmp_path, source)
    hits = collection.search(np.ones(8), k=3, group_by="protein", columns=["protein"])
    assert sorted(hits["protein"].to_pylist()) == ["a", "b", "c"]
    assert hits["protein"].to_pylist()[0] == "a"
