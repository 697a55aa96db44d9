"""Exports: what a collection holds, in files that appear whole and can be built again."""

from __future__ import annotations

import datetime
import json
import os
import signal
import time

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commandline import atoll as command
from commandline import ended, must, start
from vectordata import clustered, hit_ids, names, settings, write_h5, write_parquet

import atoll
from atoll.vectors import export as exporting

VECTORS = clustered(300, 16)
MADE_BY = {"model": "randconv", "revision": "1", "pooling": "max", "precision": "bfloat16"}
SUFFIXES = ("parquet", "h5")


@pytest.fixture
def made(tmp_path):
    """A collection of three buckets with two further columns, whose maker is known."""
    columns = {"length": np.arange(300), "description": [f"protein {i} é" for i in range(300)]}
    source = write_h5(tmp_path / "a.h5", VECTORS, attributes=MADE_BY, **columns)
    return built(tmp_path, "c", source)


def built(folder, name, *sources, **options):
    options = {"bucket_rows": 100, "workers": 1, "settings": settings(folder / "scratch")} | options
    return atoll.create(folder / name, list(sources), **options)


def rows_of(path):
    """Rows of an exported file by id, read by other means than ours: id to (vector, the rest)."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        vectors = np.array(table["embedding"].to_pylist(), np.float32)
        rest = table.drop_columns(["embedding", "id"]).to_pylist()
        ids = table["id"].to_pylist()
    else:
        with h5py.File(path) as file:
            vectors, ids = file["embedding"][:], file["id"].asstr()[:].tolist()
            others = sorted(set(file) - {"embedding", "id"})
            texts = {n for n in others if h5py.check_string_dtype(file[n].dtype)}
            data = {n: (file[n].asstr() if n in texts else file[n])[:].tolist() for n in others}
        rest = [{name: data[name][row] for name in others} for row in range(len(ids))]
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, zip(vectors, rest, strict=True), strict=True))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_row_is_written_once_with_all_it_has(made, tmp_path, suffix):
    report = made.export(tmp_path / f"out.{suffix}")
    found = rows_of(tmp_path / f"out.{suffix}")
    assert (report.rows, sorted(found)) == (300, names(300))
    for number, name in enumerate(names(300)):
        vector, rest = found[name]
        assert np.array_equal(vector, VECTORS[number])
        assert rest == {"length": number, "description": f"protein {number} é"}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_what_is_built_from_an_export_is_the_same_collection(tmp_path, suffix, dtype):
    source = write_h5(tmp_path / "a.h5", VECTORS, attributes=MADE_BY, length=np.arange(300))
    first = built(tmp_path, "c", source, index="flat", dtype=dtype)
    first.export(tmp_path / f"out.{suffix}")
    again = built(tmp_path, "again", tmp_path / f"out.{suffix}", index="flat", dtype=dtype)
    assert again.spec == first.spec
    assert [bucket.digest for bucket in again.buckets] == [b.digest for b in first.buckets]
    one, two = (each.search(VECTORS[:20], k=7, columns=["length"]) for each in (first, again))
    assert one.equals(two)


def test_searches_find_the_same_under_the_index_too(made, tmp_path):
    made.export(tmp_path / "out.parquet")
    again = built(tmp_path, "again", tmp_path / "out.parquet")
    assert again.spec.embedder == made.spec.embedder
    assert again.spec.embedder.precision == "bfloat16"
    one, two = (hit_ids(each.search(VECTORS[:20], k=5, exact=True)) for each in (made, again))
    assert one == two
    assert again.verify().is_clean


def test_parquet_holds_vectors_as_other_programs_expect_them(made, tmp_path):
    made.export(tmp_path / "out.parquet")
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert file.schema_arrow.field("embedding").type == pa.list_(pa.float32(), 16)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert "_code" not in file.schema_arrow.names


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_predicate_and_columns_choose_what_is_written(made, tmp_path, suffix):
    report = made.export(tmp_path / f"o.{suffix}", where="length >= 290", columns=["length"])
    found = rows_of(tmp_path / f"o.{suffix}")
    assert report.rows == 10
    assert {name: rest for name, (_, rest) in found.items()} == {
        f"p{number:05d}": {"length": number} for number in range(290, 300)
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_of_no_rows_is_a_file_of_none(made, tmp_path, suffix):
    assert made.export(tmp_path / f"o.{suffix}", where="length > 1000", columns=[]).rows == 0
    assert rows_of(tmp_path / f"o.{suffix}") == {}


@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
def test_a_folder_holds_files_of_so_many_rows(made, tmp_path, kind):
    report = made.export(tmp_path / "out", rows_per_file=70, format=kind)
    parts = sorted(path for path in (tmp_path / "out").iterdir() if path.name != "_export.json")
    assert [str(path) for path in parts] == list(report.files)
    assert [len(rows_of(path)) for path in parts] == [70, 70, 70, 70, 20]
    assert sorted(name for path in parts for name in rows_of(path)) == names(300)
    told = json.loads((tmp_path / "out" / "_export.json").read_text())
    assert (told["rows"], told["files"]) == (300, [path.name for path in parts])
    assert len(built(tmp_path, "again", tmp_path / "out")) == 300


def test_rows_of_a_dropped_bucket_are_not_written(made, tmp_path):
    gone = made.buckets[0]
    made.drop_bucket(gone.name)
    assert made.export(tmp_path / "out.parquet").rows == 300 - gone.rows


def test_what_hdf5_cannot_hold_is_refused_by_name(tmp_path):
    day = pa.array([datetime.date(2020, 1, 1)] * 300)
    source = write_parquet(tmp_path / "a.parquet", VECTORS, day=day)
    made = built(tmp_path, "c", source)
    with pytest.raises(atoll.InvalidInput, match="'day' is date32"):
        made.export(tmp_path / "out.h5")
    made.export(tmp_path / "out.h5", columns=[])


@pytest.mark.parametrize("value", [None, "a\0b"])
def test_nulls_and_zero_bytes_are_refused_by_hdf5_and_kept_by_parquet(tmp_path, value):
    source = write_parquet(tmp_path / "a.parquet", VECTORS, note=pa.array(["x"] * 299 + [value]))
    made = built(tmp_path, "c", source)
    with pytest.raises(atoll.InvalidInput, match="'note' has"):
        made.export(tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()
    made.export(tmp_path / "out.parquet")
    assert rows_of(tmp_path / "out.parquet")["p00299"][1] == {"note": value}


def test_what_is_there_is_replaced_only_by_force(made, tmp_path):
    made.export(tmp_path / "out.parquet")
    before = (tmp_path / "out.parquet").read_bytes()
    with pytest.raises(atoll.Conflict, match="--force"):
        made.export(tmp_path / "out.parquet", where="length < 5")
    assert (tmp_path / "out.parquet").read_bytes() == before
    assert made.export(tmp_path / "out.parquet", where="length < 5", force=True).rows == 5
    assert len(rows_of(tmp_path / "out.parquet")) == 5


def test_an_older_folder_is_replaced_whole(made, tmp_path):
    made.export(tmp_path / "out", rows_per_file=50)
    with pytest.raises(atoll.Conflict, match="--force"):
        made.export(tmp_path / "out", rows_per_file=200)
    made.export(tmp_path / "out", rows_per_file=200, force=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_export.json", "part-00000.parquet", "part-00001.parquet",
    ]  # fmt: skip


def test_a_folder_of_something_else_is_never_replaced(made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(atoll.Conflict, match=r"thesis.txt, which no export wrote"):
        made.export(tmp_path / "mine", rows_per_file=50, force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_wrong_targets_are_refused_with_what_to_do(made, tmp_path):
    for target, options, words in (
        ("out.txt", {}, "none of .parquet"),
        ("c/out.parquet", {}, "lies in the collection"),
        ("none/out.parquet", {}, "make the folder first"),
        ("scratch", {"format": "hdf5"}, "is a folder"),
        ("a.h5", {"rows_per_file": 5}, "is a file"),
        ("out.parquet", {"format": "csv"}, "choose one of parquet, hdf5"),
        ("out.parquet", {"columns": ["nope"]}, "has no column 'nope'"),
        ("out.parquet", {"where": "nope = 3"}, "nope"),
        ("out.parquet", {"rows_per_file": 0}, "at least 1"),
    ):
        with pytest.raises(atoll.InvalidInput, match=words):
            made.export(tmp_path / target, **options)
    assert not list(tmp_path.glob("out*"))


def test_a_disk_too_small_is_told_before_the_work(made, tmp_path, monkeypatch):
    full = exporting.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(exporting.shutil, "disk_usage", lambda _: full)
    with pytest.raises(atoll.Unavailable, match="disk full"):
        made.export(tmp_path / "out.parquet")
    assert not list(tmp_path.glob("*out*"))


def test_memory_does_not_grow_with_the_rows(tmp_path):
    source = write_h5(tmp_path / "a.h5", clustered(40_000, 64))
    made = built(tmp_path, "c", source, bucket_rows=40_000, index="flat")
    made.export(tmp_path / "out.parquet")
    before = pa.total_allocated_bytes()
    peaks = []
    made.export(
        tmp_path / "out.h5", on_progress=lambda _: peaks.append(pa.total_allocated_bytes() - before)
    )
    assert len(peaks) > 3
    assert max(peaks) < 40_000 * 64 * 4


@pytest.mark.parametrize("words", [["out.h5"], ["out", "--rows-per-file", "1000"]])
def test_a_killed_export_leaves_nothing_that_looks_complete(tmp_path, words):
    source = write_h5(tmp_path / "a.h5", clustered(60_000, 64))
    built(tmp_path, "c", source, bucket_rows=60_000, index="flat")
    out = tmp_path / words[0]
    process = start("export", tmp_path / "c", out, *words[1:])
    deadline = time.monotonic() + 60
    unfinished = "atoll-scratch-export-*/**/*.part"
    while not list(tmp_path.glob(unfinished)) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    ended(process)
    assert not out.exists()
    must("export", tmp_path / "c", out, *words[1:])
    assert out.exists()
    assert not list(tmp_path.glob("atoll-scratch-export-*"))


def test_the_command_line_says_what_was_written(made, tmp_path):
    out = tmp_path / "out.parquet"
    said = must("export", made.uri, out, "--columns", "length")
    assert said.startswith("300 rows of version 1 in 1 file, ")
    assert command("export", made.uri, out).code == 1
    report = json.loads(must("export", made.uri, out, "--force", "--json"))
    assert (report["rows"], report["files"], report["format"]) == (300, [str(out)], "parquet")
    assert report["size_bytes"] == out.stat().st_size
    assert command("export", made.uri, out, "--format", "csv").code == 2


def test_an_object_store_gets_whole_files_and_the_list_last(made, moto_s3, tmp_path):
    url = moto_s3.new_bucket()
    reach = settings(tmp_path / "scratch", storage=moto_s3.options())
    reached = atoll.open(made.uri, settings=reach)
    reached.export(f"{url}/x/out.h5")
    assert len(built(tmp_path, "one", f"{url}/x/out.h5", settings=reach)) == 300
    reached.export(f"{url}/parts", rows_per_file=60)
    reached.export(f"{url}/parts", rows_per_file=200, force=True)
    again = built(tmp_path, "two", f"{url}/parts", settings=reach)
    assert len(again) == 300
    assert again.spec.embedder == made.spec.embedder
    with pytest.raises(atoll.Conflict, match="--force"):
        reached.export(f"{url}/parts", rows_per_file=60)
    with pytest.raises(atoll.Conflict, match="--force"):
        reached.export(f"{url}/x/out.h5")


def test_an_export_to_a_store_that_was_killed_may_be_repeated(made, moto_s3, tmp_path, monkeypatch):
    url = moto_s3.new_bucket()
    reach = settings(tmp_path / "scratch", storage=moto_s3.options())
    reached = atoll.open(made.uri, settings=reach)

    def stop(progress):
        if progress.done > 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reached.export(f"{url}/parts", rows_per_file=50, on_progress=stop)
    left = [each.path for each in exporting.open_storage(f"{url}/parts", reach.storage).list()]
    assert left
    assert "_export.json" not in left
    assert reached.export(f"{url}/parts", rows_per_file=200).rows == 300
    assert len(built(tmp_path, "again", f"{url}/parts", settings=reach)) == 300
