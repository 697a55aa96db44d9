"""Collections from file to hits, through the command line and through Python."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commandline import atoll as command
from commandline import must
from vectordata import (
    clustered,
    distances,
    gaussian,
    hit_ids,
    names,
    nearest,
    objects_of,
    settings,
    stored,
    tables_of,
    write_h5,
    write_parquet,
)

import atoll
from atoll.vectors.model import CODE_COLUMN

ATOLL = str(Path(sys.executable).with_name("atoll"))


def created(folder, *sources, name="c", **options):
    options = {"workers": 1, "settings": settings(folder / "scratch")} | options
    return atoll.create(folder / name, list(sources), **options)


# -- the command line -----------------------------------------------------------------------------


def test_a_collection_lives_its_life_on_the_command_line(tmp_path, monkeypatch):
    vectors = clustered(300, 16)
    write_parquet(tmp_path / "a.parquet", vectors[:250], length=pa.array(range(250)))
    write_parquet(tmp_path / "b.parquet", vectors[250:], names(50, 250), length=pa.array(range(50)))
    np.save(tmp_path / "q.npy", vectors[:3])
    uri = tmp_path / "c"

    monkeypatch.chdir(tmp_path)
    said = json.loads(must("plan", uri, "a.parquet", "--bucket-rows", 100, "--json"))
    assert [bucket["rows"] for bucket in said["buckets"]] == [84, 84, 82]
    assert said["largest_to_smallest"] <= 1.1
    assert not uri.exists()

    info = json.loads(must("create", uri, "a.parquet", "--bucket-rows", 100, "--json"))
    assert (info["rows"], info["dim"], info["version"]) == (250, 16, 1)
    assert info["columns"] == {"length": "int64"}
    before = objects_of(uri)

    hits = list(csv.DictReader(must("search", uri, "q.npy", "-k", 5).splitlines()))
    assert list(hits[0]) == ["query_id", "rank", "id", "_distance"]
    true = nearest(vectors[:250], names(250), vectors[:3], "cosine", 5)
    exact = must("search", uri, "q.npy", "-k", 5, "--exact", "-q")
    assert [row["id"] for row in csv.DictReader(exact.splitlines())] == [
        name for found in true for name in found
    ]

    assert "300 rows" in must("add", uri, "b.parquet")
    after = objects_of(uri)
    assert {path: after[path] for path in before if path != "_atoll/hint"} == {
        path: found for path, found in before.items() if path != "_atoll/hint"
    }

    output = ["search", uri, "--id", "p00299", "--exclude-self", "-k", 2, "--columns", "length",
              "--where", "length < 20", "--with-vectors", "-o", "hits.json"]  # fmt: skip
    must(*output)
    found = json.loads((tmp_path / "hits.json").read_text())
    assert [sorted(row) for row in found] == [
        ["_distance", "embedding", "id", "length", "query_id", "rank"]
    ] * 2
    assert all(row["length"] < 20 and row["id"] != "p00299" for row in found)
    assert "--force" in command(*output).err
    must(*output, "--force")

    listed = must("info", uri, "--tables").split()
    assert [path.rsplit("/", 1)[1] for path in listed] == [
        f"{name}.lance"
        for name in sorted(tables_of(uri), key=[b.name for b in atoll.open(uri).buckets].index)
    ]
    assert "clean" in must("verify", uri)
    dropped = listed[0].rsplit("/", 1)[1].removesuffix(".lance")
    assert "216 rows" in must("drop-bucket", uri, dropped)
    assert dropped in tables_of(uri)
    assert "would free" in must("gc", uri, "--dry-run")
    assert dropped in tables_of(uri)
    assert json.loads(must("gc", uri, "--json"))["tables"] == [f"{dropped}.lance"]
    assert dropped not in tables_of(uri)
    assert "clean" in must("verify", uri)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder with a small collection `c`, a query file and a file of another dimension."""
    folder = tmp_path_factory.mktemp("shared")
    vectors = gaussian(20, 16)
    np.save(folder / "q.npy", vectors[:2])
    np.save(folder / "wide.npy", gaussian(4, 3))
    write_parquet(folder / "x.parquet", vectors, length=pa.array(range(20)))
    created(folder, folder / "x.parquet")
    return folder


# -- what comes out is what went in ---------------------------------------------------------------


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
@pytest.mark.parametrize("distance_type", ["cosine", "l2", "dot"])
def test_vectors_come_back_bit_for_bit_in_every_kind_of_collection(tmp_path, index, distance_type):
    vectors = clustered(200, 32) * np.float32(1e-3)
    source = write_h5(tmp_path / "x.h5", vectors)
    collection = created(tmp_path, source, index=index, distance_type=distance_type, bucket_rows=70)
    hits = collection.search(vectors[:5], k=3, with_vectors=True, exact=True)
    row = {name: number for number, name in enumerate(names(200))}
    found = np.array(hits["embedding"].to_pylist(), np.float32)
    np.testing.assert_array_equal(found, vectors[[row[name] for name in hits["id"].to_pylist()]])
    got = collection.get(names(200)[::-1])
    flat = got["embedding"].combine_chunks().flatten().to_numpy()
    np.testing.assert_array_equal(flat.reshape(200, 32), vectors[::-1])
    assert collection.verify().is_clean


def test_float16_is_stored_on_request_and_its_error_is_told(tmp_path):
    vectors = gaussian(100, 24)
    write_h5(tmp_path / "x.h5", vectors)
    said = must("create", tmp_path / "c", tmp_path / "x.h5", "--dtype", "float16")
    error = np.linalg.norm(vectors.astype("f2").astype("f8") - vectors) / np.linalg.norm(vectors)
    (bucket,) = atoll.open(tmp_path / "c").buckets
    assert bucket.rounding_error == pytest.approx(error, rel=1e-4)
    assert "rounding_error" in said
    hits = atoll.open(tmp_path / "c").search(vectors[:1], k=1, with_vectors=True)
    np.testing.assert_array_equal(hits["embedding"].to_pylist()[0], vectors[0].astype("f2"))


def test_float16_that_would_lose_vectors_is_refused(tmp_path):
    large, small = gaussian(5, 4), gaussian(5, 4)
    large[3] *= 1e6
    small[1] *= 1e-9
    for vectors, first in ((large, "p00003"), (small, "p00001")):
        source = write_h5(tmp_path / "x.h5", vectors)
        with pytest.raises(atoll.InvalidInput, match=f"float16.*'{first}'.*--dtype float32"):
            created(tmp_path, source, dtype="float16", name=first)


def test_int8_keeps_directions_and_gives_them_at_unit_length(tmp_path):
    vectors = gaussian(100, 24) * np.arange(1, 101, dtype="f4")[:, None]
    said = must("create", tmp_path / "c", write_h5(tmp_path / "x.h5", vectors), "--dtype", "int8")
    collection = atoll.open(tmp_path / "c")
    levels = stored(vectors, "int8").astype("f8")
    true = levels / np.linalg.norm(levels, axis=1, keepdims=True)
    gap = true - vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    (bucket,) = collection.buckets
    assert bucket.rounding_error == pytest.approx(np.sqrt((gap**2).sum() / 100), rel=1e-3)
    assert "rounding_error" in said
    hits = collection.search(vectors[:9], k=1, with_vectors=True)
    assert hit_ids(hits) == [[name] for name in names(9)]
    for found, rows in ((hits, true[:9]), (collection.get(names(100)), true)):
        assert found.schema.field("embedding").type == pa.list_(pa.float32(), 24)
        np.testing.assert_allclose(found["embedding"].to_pylist(), rows, rtol=1e-6)
    assert collection.get([], ["embedding"]).schema == found.select(["embedding"]).schema
    assert collection.verify().is_clean


def test_stored_ids_ask_an_int8_collection_for_themselves(tmp_path):
    write_h5(tmp_path / "x.h5", gaussian(100, 24))
    must("create", tmp_path / "c", tmp_path / "x.h5", "--dtype", "int8", "--index", "flat")
    must("search", tmp_path / "c", "--id", "p00007", "-k", 1, "-o", tmp_path / "hits.parquet")
    (hit,) = pq.read_table(tmp_path / "hits.parquet").to_pylist()
    assert (hit["query_id"], hit["id"]) == ("p00007", "p00007")
    assert hit["_distance"] < 1e-7


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"distance_type": "l2"}, "goes with --distance-type cosine.*lengths that l2 needs"),
        ({"distance_type": "dot"}, "goes with --distance-type cosine.*lengths that dot needs"),
        ({"index": "ivf_pq"}, "goes with --index rabitq and flat"),
    ],
)
def test_int8_is_refused_where_directions_are_not_enough(tmp_path, option, words):
    source = write_h5(tmp_path / "x.h5", gaussian(5, 4))
    with pytest.raises(atoll.InvalidInput, match=words):
        created(tmp_path, source, dtype="int8", **option)


def test_columns_are_kept_filled_with_null_and_filtered_on(tmp_path):
    vectors = gaussian(30, 8)
    one = write_parquet(
        tmp_path / "a.parquet", vectors[:20],
        text=[None if n % 3 else f"it's {n}" for n in range(20)], n=pa.array(range(20), pa.int32()),
    )  # fmt: skip
    other = write_parquet(
        tmp_path / "b.parquet",
        vectors[20:],
        names(10, 20),
        kind=pa.array(["x", "y"] * 5).dictionary_encode(),
    )
    collection = created(tmp_path, one, other, bucket_rows=11)
    assert list(collection.spec.columns) == ["text", "n", "kind"]
    got = collection.get(names(30), ["kind", "text", "n"]).to_pylist()
    assert got[3] == {"kind": None, "text": "it's 3", "n": 3}
    assert got[21] == {"kind": "y", "text": None, "n": None}
    assert collection.count("text = 'it''s 3'") == 1
    assert collection.count("n IS NULL AND kind = 'x'") == 5
    hits = collection.search(vectors[0], k=30, where="text LIKE 'it%' OR kind IN ('y')")
    assert set(hits["id"].to_pylist()) == {*names(20)[::3], *names(10, 20)[1::2]}
    with pytest.raises(atoll.InvalidInput, match=r"column 'new' that collection .* does not have"):
        collection.add(write_parquet(tmp_path / "n.parquet", vectors, names(30, 90), new=names(30)))


def test_sources_of_every_kind_make_the_same_collection(tmp_path):
    vectors, ids = gaussian(50, 8), names(50)
    write_h5(tmp_path / "x.h5", vectors, ids)
    write_parquet(tmp_path / "x.parquet", vectors, ids)
    np.save(tmp_path / "n.npy", vectors)
    (tmp_path / "n.ids.txt").write_text("\n".join(ids) + "\n")
    (tmp_path / "v.fvecs").write_bytes(
        b"".join(np.int32(8).tobytes() + v.tobytes() for v in vectors)
    )
    (tmp_path / "v.ids.txt").write_text("\n".join(ids) + "\n")
    found = [
        created(tmp_path, tmp_path / file, name=f"c-{file}").buckets[0].digest
        for file in ("x.h5", "x.parquet", "n.npy", "v.fvecs")
    ]
    assert found[0] == found[1] == found[2] == found[3]


def test_a_large_file_is_split_and_small_files_are_joined(tmp_path):
    vectors = gaussian(100, 8)
    sizes = {"a": 70, "b": 10, "c": 20}
    first = 0
    for name, size in sizes.items():
        write_h5(tmp_path / f"{name}.h5", vectors[first : first + size], names(size, first))
        first += size
    collection = created(tmp_path, tmp_path / "*.h5", bucket_rows=25)
    sizes_made = [bucket.rows for bucket in collection.buckets]
    assert max(sizes_made) <= min(25, 1.1 * min(sizes_made))
    parts = sorted((p.uri, p.start, p.stop) for b in collection.buckets for p in b.sources)
    for name, size in sizes.items():
        spans = [span for uri, *span in parts if uri.endswith(f"{name}.h5")]
        assert [row for start, stop in spans for row in range(start, stop)] == list(range(size))
    assert collection.get(names(100))["id"].to_pylist() == names(100)


def test_several_workers_make_what_one_makes(tmp_path):
    source = write_h5(tmp_path / "x.h5", clustered(600, 16))
    options = {"bucket_rows": 150, "num_partitions": 5}
    one = created(tmp_path, source, name="one", workers=1, **options)
    three = created(tmp_path, source, name="three", workers=3, batch_rows=64, **options)
    assert [bucket.digest for bucket in one.buckets] == [bucket.digest for bucket in three.buckets]
    assert [bucket.name for bucket in one.buckets] == [bucket.name for bucket in three.buckets]


def test_a_build_that_spills_makes_what_one_in_memory_makes(tmp_path):
    source = write_parquet(tmp_path / "x.parquet", clustered(600, 16), text=names(600))
    options = {"num_partitions": 5, "batch_rows": 50}
    ample = created(tmp_path, source, name="ample", **options)
    tight = settings(tmp_path / "tight", memory_bytes=20_000)
    spilled = created(tmp_path, source, name="spilled", settings=tight, **options)
    assert ample.buckets[0].digest == spilled.buckets[0].digest
    assert list((tmp_path / "tight").iterdir()) == []


def test_ids_may_be_long_and_of_any_language(tmp_path):
    ids = ["x" * 10_000, "蛋白 质", "a\nb", "", "'", '"', "%", "🧬"]
    vectors = gaussian(len(ids), 8)
    collection = created(tmp_path, write_parquet(tmp_path / "x.parquet", vectors, ids))
    assert collection.get(ids)["id"].to_pylist() == ids
    hits = collection.search(vectors, k=1)
    assert hits["id"].to_pylist() == ids
    with pytest.raises(atoll.NotFound, match="has no row with the id 'y'"):
        collection.get(["x", "y"][1:])


@pytest.mark.parametrize("index", ["rabitq", "flat"])
@pytest.mark.parametrize("distance_type", ["cosine", "l2", "dot"])
def test_vectors_of_a_single_value_can_be_searched(tmp_path, index, distance_type):
    vectors = gaussian(40, 1)
    source = write_h5(tmp_path / "x.h5", vectors)
    collection = created(tmp_path, source, index=index, distance_type=distance_type, bucket_rows=15)
    found = hit_ids(collection.search(vectors[:4], k=40, refine_factor=40))
    assert found == nearest(vectors, names(40), vectors[:4], distance_type, 40)


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
@pytest.mark.parametrize("rows", [1, 3, 300])
def test_few_rows_or_equal_rows_are_no_trouble(tmp_path, index, rows):
    vectors = np.repeat(gaussian(1, 16), rows, axis=0)
    source = write_h5(tmp_path / "x.h5", vectors)
    collection = created(
        tmp_path, source, index=index, num_partitions=None if index == "flat" else 8
    )
    hits = collection.search(vectors[:1], k=rows + 5)
    assert hits["id"].to_pylist() == names(rows)
    assert collection.verify().is_clean


def test_a_giant_cluster_beside_small_ones_is_found_whole(tmp_path):
    vectors = gaussian(2000, 8) * np.float32(0.001) + np.float32(1)
    vectors[1950:] = gaussian(50, 8, seed=1) - np.float32(5)
    source = write_h5(tmp_path / "x.h5", vectors)
    collection = created(tmp_path, source, distance_type="l2", num_partitions=16, batch_rows=100)
    hits = collection.search(vectors[[7, 1990]], k=2000)
    assert hit_ids(hits) == nearest(vectors, names(2000), vectors[[7, 1990]], "l2", 2000)


# -- rows that cannot be searched, ids met before -------------------------------------------------


def broken(rows=40, dim=6):
    vectors = gaussian(rows, dim)
    vectors[3, 2], vectors[11, 0], vectors[12], vectors[30] = np.nan, np.inf, 0, 0
    return vectors


def test_rows_that_cannot_be_searched_are_named_with_their_count(tmp_path):
    source = write_h5(tmp_path / "x.h5", broken())
    with pytest.raises(
        atoll.InvalidInput, match=r"4 rows cannot.*row 3 \(id 'p00003'\): NaN"
    ) as error:
        created(tmp_path, source)
    assert "row 30 (id 'p00030'): zero vector" in error.value.message
    assert "--on-invalid skip" in error.value.message
    assert error.value.details["rows"] == 4
    assert not (tmp_path / "c" / "_atoll" / "manifests").exists()
    with pytest.raises(atoll.NotFound):
        atoll.open(tmp_path / "c")


def test_the_count_covers_all_buckets(tmp_path):
    source = write_h5(tmp_path / "x.h5", broken())
    with pytest.raises(atoll.InvalidInput, match=r"^4 rows cannot be searched"):
        created(tmp_path, source, bucket_rows=10)


def test_zero_vectors_are_fine_where_they_have_a_distance(tmp_path):
    vectors = broken()
    vectors[[3, 11]] = 1
    source = write_h5(tmp_path / "x.h5", vectors)
    collection = created(tmp_path, source, distance_type="l2")
    assert collection.search(np.zeros(6), k=2)["id"].to_pylist() == ["p00012", "p00030"]


def test_invalid_rows_can_be_skipped_and_are_reported(tmp_path):
    source = write_h5(tmp_path / "x.h5", broken())
    collection = created(tmp_path, source, on_invalid="skip", bucket_rows=20)
    assert len(collection) == 36
    assert [bucket.skipped for bucket in collection.buckets] == [3, 1]
    reports = sorted((tmp_path / "c" / "_atoll" / "reports").iterdir())
    lines = [line for report in reports for line in csv.reader(report.read_text().splitlines())]
    assert [line[1:3] for line in lines if line[0] != "file"] == [
        ["3", "p00003"], ["11", "p00011"], ["12", "p00012"], ["30", "p00030"]
    ]  # fmt: skip
    assert created(tmp_path, source, on_invalid="skip", bucket_rows=20).version == 1
    collection.gc()
    assert sorted((tmp_path / "c" / "_atoll" / "reports").iterdir()) == reports


@pytest.mark.parametrize("index", ["rabitq", "flat"])
def test_a_bucket_without_a_valid_row_is_left_out_for_good(tmp_path, index):
    """The middle one of three; whoever repeats the command finds nothing to do."""
    vectors = gaussian(30, 8)
    vectors[10:20] = np.nan
    files = [write_h5(tmp_path / f"{at}.h5", vectors[at : at + 10], names(10, at))
             for at in (0, 10, 20)]  # fmt: skip
    options = {"on_invalid": "skip", "bucket_rows": 10, "workers": 1}
    collection = created(tmp_path, files[0], index=index, name="d").add(files, **options | {
        "on_duplicate": "skip"})  # fmt: skip
    assert (len(collection), collection.version) == (20, 2)
    collection = created(tmp_path, write_h5(tmp_path / "z.h5", gaussian(9, 8), names(9, 90)))
    collection.add(files, **options)
    assert [bucket.rows for bucket in collection.buckets] == [9, 10, 10]
    assert len(list((tmp_path / "c" / "_atoll" / "reports").iterdir())) == 1
    assert collection.verify().is_clean
    before = objects_of(tmp_path / "c")
    assert collection.add(files, **options).version == 2
    assert objects_of(tmp_path / "c") == before
    collection.drop_bucket(collection.buckets[1].name)
    collection.gc()
    assert len(collection.add(files, **options)) == 29
    assert collection.get(names(10) + names(10, 20)).num_rows == 20


def test_a_create_leaves_out_a_bucket_without_a_valid_row(tmp_path):
    vectors = gaussian(20, 8)
    vectors[:10] = 0
    source = write_h5(tmp_path / "x.h5", vectors)
    for _ in range(2):
        collection = created(tmp_path, source, on_invalid="skip", bucket_rows=10)
        assert (len(collection), collection.version) == (10, 1)
    assert len(tables_of(tmp_path / "c")) == 1


def test_duplicate_ids_are_named_at_both_places(tmp_path):
    ids = names(30)
    ids[17] = ids[4]
    source = write_h5(tmp_path / "x.h5", gaussian(30, 8), ids)
    with pytest.raises(atoll.InvalidInput, match=r"'p00004' at .*x\.h5 row 4 and .*x\.h5 row 17"):
        created(tmp_path, source)
    collection = created(tmp_path, source, on_duplicate="skip", bucket_rows=10)
    assert len(collection) == 29
    assert created(tmp_path, source, on_duplicate="skip", bucket_rows=10).version == 1
    stored = collection.get(["p00004"])["embedding"].to_pylist()[0]
    np.testing.assert_array_equal(stored, gaussian(30, 8)[4])


def test_ids_of_live_buckets_are_refused_or_skipped_at_add(tmp_path):
    vectors = gaussian(50, 8)
    collection = created(tmp_path, write_h5(tmp_path / "a.h5", vectors[:30]), bucket_rows=10)
    more = write_h5(tmp_path / "b.h5", vectors[20:], names(30, 20))
    with pytest.raises(atoll.InvalidInput, match=r"10 duplicate ids: 'p00020' .* is in bucket_"):
        collection.add(more)
    assert (collection.version, len(collection)) == (1, 30)
    collection.add(more, on_duplicate="skip", bucket_rows=10)
    assert (collection.version, len(collection)) == (2, 50)
    assert collection.get(names(50))["id"].to_pylist() == names(50)
    collection.add(more, on_duplicate="skip", bucket_rows=10)
    assert (collection.version, len(collection)) == (2, 50)


def test_skipping_looks_again_at_what_is_there_before_a_second_try(tmp_path):
    """Bucket B is built while A holds half its ids; without A those rows are wanted after all."""
    vectors = gaussian(40, 8)
    a = write_h5(tmp_path / "a.h5", vectors[:20])
    b = write_h5(tmp_path / "b.h5", vectors[10:30], names(20, 10))
    collection = created(
        tmp_path, a, write_h5(tmp_path / "z.h5", vectors[30:], names(10, 30)), bucket_rows=20
    )
    collection.add(b, on_duplicate="skip")
    first, second, added = (bucket.name for bucket in collection.buckets)
    held = next(x.name for x in collection.buckets if x.sources[0].uri.endswith("a.h5"))
    collection.drop_bucket(added).drop_bucket(held)
    collection.add(b, on_duplicate="skip")
    assert collection.get(names(20, 10))["id"].to_pylist() == names(20, 10)
    assert {first, second} - {held} <= {bucket.name for bucket in collection.buckets}


# -- again and again ------------------------------------------------------------------------------


def test_create_and_add_may_be_repeated(tmp_path):
    a = write_h5(tmp_path / "a.h5", gaussian(30, 8))
    b = write_h5(tmp_path / "b.h5", gaussian(30, 8, seed=1), names(30, 30))
    assert created(tmp_path, a).version == created(tmp_path, a).version == 1
    collection = atoll.open(tmp_path / "c")
    assert collection.add(b, workers=1).add(b, workers=1).version == 2
    with pytest.raises(atoll.Conflict, match="is a collection already"):
        created(tmp_path, a)


def test_a_changed_source_is_another_plan(tmp_path):
    created(tmp_path, write_h5(tmp_path / "a.h5", gaussian(30, 8)))
    with pytest.raises(atoll.Conflict, match="--force"):
        created(tmp_path, write_h5(tmp_path / "a.h5", gaussian(31, 8)))


def test_force_replaces_a_collection_and_open_handles_follow(tmp_path):
    created(tmp_path, write_h5(tmp_path / "a.h5", gaussian(30, 8)))
    handle = atoll.open(tmp_path / "c")
    handle.search(gaussian(1, 8))
    b = write_parquet(tmp_path / "b.parquet", gaussian(20, 4), length=pa.array(range(20)))
    created(tmp_path, b, force=True)
    hits = handle.search(gaussian(1, 4), k=1, columns=["length"])
    assert hits["id"].to_pylist() == ["p00000"]
    assert handle.spec.dim == 4
    assert len(handle.gc().tables) == 1
    again = created(tmp_path, tmp_path / "a.h5", force=True)
    assert again.search(gaussian(1, 8), k=1)["id"].to_pylist() == ["p00000"]
    assert again.verify().is_clean


def test_a_dropped_bucket_can_be_added_again_before_and_after_gc(tmp_path):
    source = write_h5(tmp_path / "a.h5", gaussian(30, 8))
    collection = created(tmp_path, source)
    for collect in (False, True):
        collection.drop_bucket(collection.buckets[0].name)
        assert len(collection) == 0
        assert collection.search(gaussian(1, 8)).num_rows == 0
        if collect:
            collection.gc()
        collection.add(source, workers=1)
        assert len(collection) == 30
        assert collection.verify().is_clean
        assert atoll.open(tmp_path / "c").search(gaussian(1, 8), k=1)["id"].to_pylist() == names(1)


def test_add_finds_columns_by_their_usual_names_as_create_does(tmp_path):
    vectors = gaussian(20, 8)
    tables = [
        pa.table({"vectors": vectors[at : at + 10].tolist(), "ids": names(10, at)})
        for at in (0, 10)
    ]
    for number, table in enumerate(tables):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    collection = created(tmp_path, tmp_path / "0.parquet")
    assert len(collection.add(tmp_path / "1.parquet", workers=1)) == 20


def test_add_refuses_another_model_in_any_of_the_files(tmp_path):
    def model(revision):
        return {"model": "m", "revision": revision, "pooling": "mean", "dim": 8}

    collection = created(
        tmp_path, write_h5(tmp_path / "a.h5", gaussian(5, 8), attributes=model("1"))
    )
    assert collection.spec.embedder is not None
    plain = write_h5(tmp_path / "b.h5", gaussian(5, 8), names(5, 10))
    other = write_h5(tmp_path / "d.h5", gaussian(5, 8), names(5, 20), attributes=model("2"))
    with pytest.raises(atoll.InvalidInput, match=r"d\.h5: embedded with"):
        collection.add([plain, other])
    with pytest.raises(atoll.InvalidInput, match="cannot be compared"):
        collection.search(other)


# -- search ---------------------------------------------------------------------------------------


def test_a_long_vector_or_a_short_one_does_not_spoil_its_neighbours(tmp_path):
    vectors = gaussian(50, 8)
    vectors[7] *= np.float32(1e16)
    vectors[9] *= np.float32(1e-16)
    source = write_h5(tmp_path / "x.h5", vectors)
    for distance_type in ("cosine", "l2", "dot"):
        collection = created(tmp_path, source, distance_type=distance_type, name=distance_type)
        for exact in (True, False):
            found = collection.search(vectors[:10], k=50, exact=exact)
            true = distances(vectors[:10], vectors, distance_type)
            np.testing.assert_allclose(
                found["_distance"].to_numpy().reshape(10, 50),
                np.sort(true, axis=1),
                rtol=1e-6,
                atol=1e-6,
            )


def test_a_collection_of_960_values_finds_what_brute_force_finds(tmp_path):
    vectors = clustered(3000, 960, clusters=40)
    collection = created(tmp_path, write_h5(tmp_path / "x.h5", vectors), bucket_rows=1000)
    asked = clustered(20, 960, clusters=40, seed=0)[:20] + gaussian(20, 960, seed=3) * np.float32(
        0.3
    )
    true = nearest(vectors, names(3000), asked, "cosine", 10)
    assert hit_ids(collection.search(asked, exact=True)) == true
    found = hit_ids(collection.search(asked, refine_factor=20))
    assert sum(len(set(a) & set(b)) for a, b in zip(found, true, strict=True)) >= 190


def test_tiles_are_grouped_by_protein_however_many_one_has(tmp_path):
    vectors = gaussian(200, 8)
    vectors[:150] = vectors[0] + gaussian(150, 8, seed=1) * np.float32(0.01)
    protein = ["titin"] * 150 + [f"q{n}" for n in range(50)]
    source = write_parquet(tmp_path / "x.parquet", vectors, protein=protein)
    collection = created(tmp_path, source, bucket_rows=60)
    hits = collection.search(vectors[:1], k=4, group_by="protein", columns=["protein"], exact=True)
    assert hits["protein"].to_pylist()[0] == "titin"
    assert len(set(hits["protein"].to_pylist())) == 4
    with pytest.raises(atoll.InvalidInput, match="no column 'taxon'"):
        collection.search(vectors[:1], group_by="taxon")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k is 0"),
        ({"nprobes": 0}, "nprobes is 0"),
        ({"refine_factor": 0}, "refine_factor is 0"),
        ({"columns": ["x", CODE_COLUMN]}, "no column 'x'"),
        ({"columns": [CODE_COLUMN]}, f"no column '{CODE_COLUMN}'"),
        ({"where": ""}, "where: "),
        ({"where": "nope = 1"}, "nope"),
        ({"where": "length"}, "boolean"),
        ({"where": "id = 'connect' AND (("}, "where: "),
    ],
)
def test_options_that_make_no_sense_are_refused(shared, options, words):
    with pytest.raises(atoll.InvalidInput, match=words) as error:
        atoll.open(shared / "c").search(gaussian(1, 16), **options)
    assert "_rowid" not in error.value.message


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (np.full((2, 16), np.nan), "2 of 2 queries .* '0', '1': NaN"),
        (np.zeros(16), "zero vector"),
        (np.full(16, 1e30), "too long for float32"),
        (np.zeros((0, 16)), "there is no query"),
        (np.zeros((2, 2, 16)), "3 dimensions"),
        (np.ones((1, 15)), "vectors of 15 values, but the collection holds vectors of 16"),
        (["a", "b"], "neither vectors nor the path"),
    ],
)
def test_queries_that_make_no_sense_are_refused(shared, queries, words):
    with pytest.raises(atoll.InvalidInput, match=words):
        atoll.open(shared / "c").search(queries)


def test_numbers_beyond_all_measure_are_taken_for_everything(shared):
    collection = atoll.open(shared / "c")
    assert collection.search(gaussian(1, 16), k=10**30, nprobes=10**30).num_rows == 20
    assert collection.search(gaussian(1, 16), k=3, refine_factor=10**30).num_rows == 3


def test_columns_asked_for_twice_come_once(shared):
    hits = atoll.open(shared / "c").search(
        gaussian(1, 16), k=1, columns=["length", "embedding", "length", "id"], with_vectors=True
    )
    assert hits.column_names == ["query_id", "rank", "id", "_distance", "length", "embedding"]


def test_rows_are_read_by_id_in_the_order_asked(shared):
    collection = atoll.open(shared / "c")
    got = collection.get(["p00007", "p00003", "p00007"], ["length"])
    assert got["length"].to_pylist() == [7, 3, 7]
    assert collection.get([]).num_rows == 0
    with pytest.raises(atoll.NotFound, match="'x', 'y'") as error:
        collection.get(["x", "p00001", "y"])
    assert error.value.details["missing"] == 2


def test_odd_places_hold_collections(tmp_path, monkeypatch):
    place = tmp_path / "sp ace %41 ü#1" / "c"
    source = write_h5(tmp_path / "x.h5", gaussian(30, 8))
    atoll.create(place, source, workers=1, bucket_rows=10, settings=settings(tmp_path / "s"))
    for uri in (place, str(place), place.as_uri(), f"{place}/"):
        collection = atoll.open(uri)
        assert collection.search(gaussian(1, 8), k=1)["id"].to_pylist() == names(1)
        assert collection.verify().is_clean
    monkeypatch.chdir(place.parent)
    assert len(atoll.open("c")) == 30


def test_a_reader_that_leaves_early_is_no_error(shared):
    done = subprocess.run(
        f"{ATOLL} search c q.npy -k 20 | head -1",
        shell=True, cwd=shared, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == '"query_id","rank","id","_distance"\n'
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_first_rows_are_live_ones_of_as_many_buckets_as_it_takes(tmp_path, dtype):
    vectors = gaussian(200, 8)
    source = write_parquet(tmp_path / "a.parquet", vectors, length=pa.array(range(200)))
    made = created(tmp_path, source, bucket_rows=60, calibrate=False, dtype=dtype)
    first = made.head(100)["id"].to_pylist()
    assert len(set(first)) == 100
    made.delete(first[:10])
    found = made.head(95, ["id", "embedding"])
    assert found["id"].to_pylist()[:90] == first[10:]
    assert found.equals(made.get(found["id"].to_pylist(), ["id", "embedding"]))
    assert (len(made.head(1000)), len(made.head(0)), made.head(0, ["id"]).num_columns) == (
        190,
        0,
        1,
    )
    with pytest.raises(atoll.InvalidInput, match="nothing"):
        made.head(1, ["nothing"])
