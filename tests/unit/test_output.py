from __future__ import annotations

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atoll.core.errors import Conflict, InvalidInput
from atoll.vectors.output import describe_search, write_hits, write_table

ODD_IDS = ["plain", 'quo"te,comma', "new\nline", "Ünï 蛋白", "x" * 10_000, ""]


def hits(ids=ODD_IDS, **columns):
    return pa.table(
        {
            "query_id": ["q"] * len(ids),
            "rank": pa.array(range(1, len(ids) + 1), pa.int32()),
            "id": ids,
            "_distance": pa.array(np.linspace(0, 1, len(ids)), pa.float32()),
            **columns,
        }
    )


def written(path, table, **options):
    write_hits(table, path, force=False, **options)
    return path


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_odd_ids_as_they_are(tmp_path):
    path = written(tmp_path / "hits.csv", hits())
    rows = read_csv(path.read_bytes().decode())
    assert [row["id"] for row in rows] == ODD_IDS
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [np.float32(row["_distance"]) for row in rows] == hits()["_distance"].to_pylist()


def test_json_is_a_list_with_one_row_a_line(tmp_path):
    path = written(tmp_path / "hits.json", hits())
    assert json.loads(path.read_text()) == hits().to_pylist()
    assert len(path.read_text().splitlines()) == len(ODD_IDS) + 2


def test_parquet_keeps_types_and_metadata(tmp_path):
    table = hits().replace_schema_metadata({"atoll": "{}"})
    assert pq.read_table(written(tmp_path / "hits.parquet", table)).equals(
        table, check_metadata=True
    )


@pytest.mark.parametrize("item", [pa.float32(), pa.float16()])
def test_vectors_are_numbers_with_spaces_in_csv_and_lists_in_json(tmp_path, item):
    values = np.array([[0.5, -1], [0.25, 3]]).astype(item.to_pandas_dtype())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 2)
    table = hits(["a", "b"], embedding=vectors)
    rows = read_csv(written(tmp_path / "hits.csv", table).read_text())
    assert [row["embedding"] for row in rows] == ["0.5 -1.0", "0.25 3.0"]
    rows = json.loads(written(tmp_path / "hits.json", table).read_text())
    assert [row["embedding"] for row in rows] == [[0.5, -1.0], [0.25, 3.0]]


def test_lists_structs_nulls_and_missing_vectors_fit_into_csv(tmp_path):
    table = hits(
        ["a", "b"],
        tags=[["x", "ü"], None],
        facts=[{"n": 1}, None],
        pair=pa.array([[1.5, 2], None], pa.list_(pa.float32(), 2)),
    )
    rows = read_csv(written(tmp_path / "hits.csv", table).read_text())
    assert [row["tags"] for row in rows] == ['["x", "ü"]', ""]
    assert [row["facts"] for row in rows] == ['{"n": 1}', ""]
    assert [row["pair"] for row in rows] == ["1.5 2.0", ""]


def test_json_has_null_for_what_it_has_no_word_for(tmp_path):
    table = hits(["a"], x=[float("nan")], y=[[float("inf"), 1.0]], z=[b"raw"])
    (row,) = json.loads(
        written(tmp_path / "hits.json", table).read_text(), parse_constant=pytest.fail
    )
    assert (row["x"], row["y"], row["z"]) == (None, [None, 1.0], "raw")


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_no_hits_make_a_file_without_rows(tmp_path, suffix):
    path = written(tmp_path / f"hits.{suffix}", hits([]))
    assert path.stat().st_size


def test_an_existing_file_is_refused_before_the_work_and_replaced_with_force(tmp_path):
    path = tmp_path / "hits.csv"
    path.write_text("precious")
    for table in (None, hits()):
        with pytest.raises(Conflict, match="--force"):
            write_hits(table, path, force=False)
    assert path.read_text() == "precious"
    write_hits(hits(), path, force=True)
    assert path.read_text().startswith('"query_id"')


def test_an_unknown_suffix_is_refused_before_the_work(tmp_path):
    with pytest.raises(InvalidInput, match=r"\.csv, \.parquet, \.json"):
        write_hits(None, tmp_path / "hits.xlsx", force=False)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="make the folder first"):
        written(tmp_path / "nowhere" / "hits.csv", hits())


def test_a_write_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "hits.csv"
    path.write_text("old")

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(pa.csv, "write_csv", fail)
    with pytest.raises(ZeroDivisionError):
        write_hits(hits(), path, force=True)
    assert [each.name for each in tmp_path.iterdir()] == ["hits.csv"]
    assert path.read_text() == "old"


def test_standard_output_that_is_no_terminal_gets_csv(capfdbinary):
    write_hits(hits(), None, force=False)
    assert [row["id"] for row in read_csv(capfdbinary.readouterr().out.decode())] == ODD_IDS


def test_json_can_be_printed(capsys):
    write_hits(hits(), None, force=False, as_json=True)
    assert json.loads(capsys.readouterr().out) == hits().to_pylist()


def test_a_printed_table_is_aligned_cut_and_free_of_control_characters():
    out = io.StringIO()
    write_table(hits(["a", "x\x1b[31m\n", "y" * 100]), out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    at = lines[0].index("id", len("query_id"))
    assert [line[at] for line in lines[1:]] == ["a", "x", "y"]
    assert "\x1b" not in out.getvalue()
    assert max(map(len, lines)) < 80


def test_a_search_describes_itself_and_names_failed_buckets():
    facts = {
        "version": 3, "index": "rabitq", "nprobes": 20, "refine_factor": 5, "recall": None,
        "paths": ["per query"],
        "distance_type": "cosine", "failed_buckets": {"bucket_1": "gone"},
    }  # fmt: skip
    said = describe_search(facts, len(hits()))
    for word in ("6 hits", "nprobes 20", "refine factor 5", "version 3", "WITHOUT", "bucket_1"):
        assert word in said


def test_counts_stand_in_tables_as_in_sentences():
    out = io.StringIO()
    write_table(pa.table({"rows": [20, 3000], "at": [20, 3000]}), out, counts=["rows"])
    assert out.getvalue().splitlines() == [" rows    at", "   20    20", "3,000  3000"]
