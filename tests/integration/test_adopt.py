"""A LanceDB database that others wrote becomes a collection as it is, and stays theirs."""

from __future__ import annotations

import json
import os
import signal
import tarfile
import time
from datetime import timedelta
from pathlib import Path

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commandline import DEADLINE_SECONDS, ended, must, start
from commandline import atoll as command
from vectordata import gaussian, hit_ids, names, nearest, objects_of, settings, write_h5

import atoll
from atoll.storage import open_storage
from atoll.vectors.adopted import bucket_table

ARCHIVE = Path(__file__).parents[1] / "data" / "lancedb-0.21.1.tar.xz"
DIM, K = 32, 10
QUERIES = gaussian(20, DIM, seed=5)


@pytest.fixture
def place(tmp_path):
    """The database of lancedb 0.21.1: three tables, two fragments and deletions in one of them."""
    folder = tmp_path / "database"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def adopt(place, **options):
    return atoll.adopt(place, settings=settings(place.parent / "scratch"), **options)


def rows_of(place, **columns):
    """All rows as stock LanceDB reads them: ids, vectors, and what else was asked for."""
    ids, vectors, rest = [], [], {name: [] for name in columns}
    database = lancedb.connect(place)
    for name in database.list_tables().tables:
        table = database.open_table(name).to_arrow()
        ids += table["id"].to_pylist()
        vectors += table["vector"].to_pylist()
        for column, values in rest.items():
            values += table[column].to_pylist()
    return ids, np.array(vectors, np.float32), rest


def table(vectors, ids, **columns):
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    vector = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
    return pa.table({"vector": vector, "id": ids, **columns})


# -- search ---------------------------------------------------------------------------------------


def test_an_adopted_database_answers_as_brute_force_does(place):
    ids, vectors, _ = rows_of(place)
    collection = adopt(place)
    true = nearest(vectors, ids, QUERIES, "cosine", K)
    assert len(collection) == len(ids) == 2082
    assert hit_ids(collection.search(QUERIES, k=K, exact=True)) == true
    assert hit_ids(collection.search(QUERIES, k=K, nprobes=8, refine_factor=40)) == true


@pytest.mark.parametrize(("nprobes", "refine_factor"), [(1, 1), (3, 5)])
def test_search_finds_what_lances_own_search_finds(place, nprobes, refine_factor):
    database = lancedb.connect(place)
    theirs = []
    for query in QUERIES:
        found = []
        for name in database.list_tables().tables:
            search = database.open_table(name).search(query).distance_type("cosine").limit(K)
            hits = search.nprobes(nprobes).refine_factor(refine_factor).to_list()
            found += [(hit["_distance"], hit["id"]) for hit in hits]
        theirs.append({name for _, name in sorted(found)[:K]})
    hits = adopt(place).search(QUERIES, k=K, nprobes=nprobes, refine_factor=refine_factor)
    assert [set(mine) for mine in hit_ids(hits)] == theirs


def test_filters_count_and_further_columns_reach_adopted_tables(place):
    ids, vectors, rest = rows_of(place, length=None)
    collection = adopt(place)
    for where, allowed in [
        ("length < 500", [length < 500 for length in rest["length"]]),
        ("length < 60", [length < 60 for length in rest["length"]]),
        ("id LIKE 'prot%3'", [name.startswith("prot") and name[-1] == "3" for name in ids]),
    ]:
        true = nearest(vectors, ids, QUERIES, "cosine", K, allowed)
        hits = collection.search(QUERIES, k=K, where=where, nprobes=8, refine_factor=40)
        assert hit_ids(hits) == true
        assert hit_ids(collection.search(QUERIES, k=K, where=where, exact=True)) == true
        assert collection.count(where) == sum(allowed)


def test_rows_are_got_by_id_and_deleted_ones_are_not_there(place):
    ids, vectors, rest = rows_of(place, length=None)
    collection = adopt(place)
    asked = [ids[i] for i in (5, 1400, 800, 2081, 1381)]
    found = collection.get(asked)
    assert found.schema.names == ["vector", "id", "length"]
    assert found["id"].to_pylist() == asked
    assert found["length"].to_pylist() == [rest["length"][ids.index(name)] for name in asked]
    np.testing.assert_array_equal(
        found["vector"].to_pylist(), [vectors[ids.index(name)] for name in asked]
    )
    for gone in ("proteases-0000", "proteases-0017", "proteases-0759"):
        with pytest.raises(atoll.NotFound, match=gone):
            collection.get([gone])


def test_rows_are_read_by_their_number_whatever_was_deleted_or_compacted(tmp_path):
    uri = tmp_path / "d" / "t.lance"
    for first in range(0, 500, 100):
        part = table(gaussian(100, DIM, seed=first), names(100, first))
        made = lance.write_dataset(part, uri, mode="append" if first else "create")
    made.delete("id IN ('p00000', 'p00099') OR id LIKE 'p001%' OR id LIKE 'p004%3'")
    options = {"target_rows_per_fragment": 150, "materialize_deletions": False}
    made.optimize.compact_files(**options)
    made.delete("id LIKE 'p002%1'")
    collection = adopt(tmp_path / "d")
    there = lance.dataset(uri).to_table(columns=["id"])["id"].to_pylist()
    opened = bucket_table(open_storage(tmp_path / "d"), collection.buckets[0], collection.spec)
    rows = np.random.default_rng(0).permutation(len(there))
    assert opened.take(rows, ["id"])["id"].to_pylist() == [there[row] for row in rows]
    assert (opened.positions(pa.array(opened.addresses(rows))) == rows).all()


# -- add ------------------------------------------------------------------------------------------


def test_added_buckets_are_searched_together_with_adopted_ones(place, tmp_path):
    ids, vectors, rest = rows_of(place, length=None)
    added = QUERIES[np.arange(600) % len(QUERIES)] + gaussian(600, DIM, seed=8)
    length = np.arange(600, dtype=np.int32)
    source = tmp_path / "more.parquet"
    pq.write_table(table(added, names(600), length=length), source)
    collection = adopt(place).add(source, bucket_rows=300, workers=1)
    assert [bucket.is_adopted for bucket in collection.buckets] == [True] * 3 + [False] * 2
    everything = np.concatenate([vectors, added])
    true = nearest(everything, ids + names(600), QUERIES, "cosine", 40)
    assert {name[0] for name in true[0]} > {"p"}  # both kinds of bucket are among the nearest
    for how in ({"exact": True}, {"nprobes": 8, "refine_factor": 60}):
        assert hit_ids(collection.search(QUERIES, k=40, **how)) == true
    allowed = [value < 300 for value in [*rest["length"], *length]]
    true = nearest(everything, ids + names(600), QUERIES, "cosine", K, allowed)
    assert hit_ids(collection.search(QUERIES, k=K, where="length < 300", nprobes=8)) == true
    assert collection.get(["p00007", "kinases-0003"])["length"][0].as_py() == 7
    assert collection.verify().is_clean


def test_an_id_of_an_adopted_table_cannot_be_added_again(place, tmp_path):
    collection = adopt(place)
    source = tmp_path / "again.parquet"
    pq.write_table(table(gaussian(2, DIM), ["new", "proteases-0700"]), source)
    with pytest.raises(atoll.InvalidInput, match=r"'proteases-0700'.*is in proteases already"):
        collection.add(source)
    assert collection.version == 1


# -- what adopting leaves alone -------------------------------------------------------------------


def their_objects(place):
    return {
        path: found
        for path, found in objects_of(place).items()
        if not path.startswith("_atoll/") and "/_refs/tags/atoll" not in path
    }


def test_adopting_touches_no_object_that_is_there(place):
    before = objects_of(place)
    collection = adopt(place)
    collection.search(QUERIES, k=3)
    assert collection.verify().is_clean
    assert their_objects(place) == before


def test_adopting_twice_changes_nothing(place):
    adopt(place)
    before = objects_of(place)
    assert adopt(place).version == 1
    assert {k: v for k, v in objects_of(place).items() if "leases" not in k} == before


def test_gc_and_drop_bucket_leave_adopted_tables_to_their_owner(place):
    before = objects_of(place)
    collection = adopt(place).drop_bucket("kinases")
    collection.gc()
    assert their_objects(place) == before
    assert len(collection) == 1382
    assert collection.verify().is_clean


def test_a_stock_client_still_writes_and_searches_read_what_was_adopted(place):
    collection = adopt(place)
    before = collection.search(QUERIES, k=K)
    database = lancedb.connect(place)
    kinases = database.open_table("kinases")
    kinases.delete("length > 100")
    kinases.add(table(gaussian(5, DIM), names(5), length=pa.array([1] * 5, pa.int32())))
    with pytest.warns(UserWarning, match="removes every"), pytest.raises(RuntimeError, match="tag"):
        kinases.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
    assert collection.search(QUERIES, k=K).equals(before)
    report = collection.verify()
    assert report.is_clean
    assert "another writer made version" in report.notes[0].what


def test_adopting_again_takes_up_what_a_stock_client_changed(place, tmp_path):
    source = tmp_path / "more.parquet"
    pq.write_table(table(gaussian(50, DIM, seed=2), names(50, 100)), source)
    adopt(place).add(source, workers=1)
    database = lancedb.connect(place)
    kinases = database.open_table("kinases")
    kinases.delete("length > 100")
    ours = [name for name in database.list_tables().tables if name.startswith("bucket_")]
    lengths = pa.array([1] * 5, pa.int32())
    kinases.add(table(gaussian(5, DIM), names(5), length=lengths))
    database.create_table("new", table(gaussian(5, DIM, seed=3), names(5, 10), length=lengths))
    collection = adopt(place)
    found = [bucket.name for bucket in collection.buckets]
    assert found == ["kinases", "proteases", "receptors", *ours, "new"]
    ids, vectors, _ = rows_of(place)
    true = nearest(vectors, ids, QUERIES, "cosine", K)
    assert hit_ids(collection.search(QUERIES, k=K, exact=True)) == true
    assert collection.verify().is_clean


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8, 0.95])
def test_a_killed_adoption_leaves_all_or_nothing(place, fraction):
    before = objects_of(place)
    trial = place.parent / "trial"
    began = time.monotonic()
    lancedb.connect(trial).create_table("t", table(gaussian(5, DIM), names(5)))
    assert ended(start("adopt", trial, "-q")).code == 0
    process = start("adopt", place, "-q")
    time.sleep(fraction * (time.monotonic() - began))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert their_objects(place) == before
    assert command("info", place).code in (0, 1)
    for lease in (place / "_atoll" / "leases").glob("*"):
        lease.unlink()
    must("adopt", place, "-q")
    must("gc", place)
    collection = atoll.open(place)
    assert (collection.version, len(collection)) == (1, 2082)
    assert collection.verify().is_clean
    assert their_objects(place) == before


# -- what does not fit ----------------------------------------------------------------------------


@pytest.fixture
def mixed(place):
    """The database with tables that cannot join the others."""
    database = lancedb.connect(place)
    database.create_table("no_ids", pa.table({"vector": table(QUERIES, names(20))["vector"]}))
    database.create_table("no_vectors", pa.table({"id": names(3, 50)}))
    database.create_table("other_dim", table(gaussian(5, 8), names(5, 60)))
    return place


def test_tables_that_do_not_fit_are_named_and_refused(mixed):
    with pytest.raises(atoll.InvalidInput) as refused:
        adopt(mixed)
    for said in ("no_ids: it has no column 'id'", "no_vectors: it has no column 'embedding'",
                 "other_dim: its dimension is 8, that of the others 32"):  # fmt: skip
        assert said in refused.value.message
    assert command("info", mixed).code == 1


def test_tables_that_do_not_fit_are_left_out_on_request(mixed, caplog):
    collection = adopt(mixed, skip_unfit=True)
    assert [bucket.name for bucket in collection.buckets] == ["kinases", "proteases", "receptors"]
    assert "no_ids" in caplog.text
    assert adopt(mixed, skip_unfit=True).version == 1
    assert [b.name for b in adopt(mixed, tables=["kinases"]).buckets] == [
        "kinases",
        "proteases",
        "receptors",
    ]


def test_chosen_tables_alone_are_adopted(mixed):
    collection = adopt(mixed, tables=["receptors"])
    assert (len(collection), collection.spec.dtype) == (700, "float16")
    assert list(collection.spec.columns) == ["length", "family"]
    with pytest.raises(atoll.NotFound, match="no table nothing; it has kinases"):
        adopt(mixed, tables=["nothing"])


def test_an_id_in_two_tables_is_refused_with_both_places(place):
    lengths = pa.array([1] * 3, pa.int32())
    ids = ["a", "receptors-0009", "b"]
    lancedb.connect(place).create_table("z", table(gaussian(3, DIM), ids, length=lengths))
    with pytest.raises(atoll.InvalidInput, match=r"'receptors-0009' at receptors row 9, z row 1"):
        adopt(place)
    adopt(place, tables=["kinases", "proteases", "receptors"])
    with pytest.raises(atoll.InvalidInput, match=r"'receptors-0009' of z is in receptors already"):
        adopt(place)


def test_a_row_without_id_is_refused(tmp_path):
    rows = table(gaussian(3, DIM), ["a", None, "c"])
    lancedb.connect(tmp_path / "d").create_table("t", rows)
    with pytest.raises(atoll.InvalidInput, match="row 1 of table t has no id"):
        adopt(tmp_path / "d")


def test_a_created_collection_is_not_adopted(tmp_path):
    source = write_h5(tmp_path / "x.h5", gaussian(50, DIM))
    atoll.create(tmp_path / "c", source, workers=1, settings=settings(tmp_path / "scratch"))
    with pytest.raises(atoll.Conflict, match="is a collection already"):
        adopt(tmp_path / "c")


def test_a_place_without_tables_is_not_adopted(tmp_path):
    with pytest.raises(atoll.NotFound, match="holds no LanceDB table"):
        adopt(tmp_path)


def test_indexes_for_different_distances_need_a_choice(place):
    vectors, lengths = gaussian(300, DIM, seed=4), pa.array([1] * 300, pa.int32())
    other = lancedb.connect(place).create_table("z", table(vectors, names(300), length=lengths))
    with pytest.warns(DeprecationWarning, match="create_index"):
        other.create_index("l2", num_partitions=2, num_sub_vectors=4)
    with pytest.raises(atoll.InvalidInput, match=r"cosine in kinases.*l2 in z.*--distance-type"):
        adopt(place)
    collection = adopt(place, distance_type="l2")
    kinds = [bucket.index.kind for bucket in collection.buckets]
    assert kinds == ["flat", "flat", "flat", "ivf_pq"]
    ids, stored, _ = rows_of(place)
    true = nearest(stored, ids, QUERIES, "l2", K)
    assert hit_ids(collection.search(QUERIES, k=K, nprobes=2, refine_factor=60)) == true


# -- odd contents ---------------------------------------------------------------------------------


def test_integers_as_ids_come_as_decimal_strings(tmp_path):
    vectors = gaussian(40, DIM)
    numbers = np.arange(-3, 37)
    lancedb.connect(tmp_path / "d").create_table("t", table(vectors, pa.array(numbers)))
    collection = adopt(tmp_path / "d")
    ids = [str(number) for number in numbers]
    true = nearest(vectors, ids, QUERIES, "cosine", 5)
    assert hit_ids(collection.search(QUERIES, k=5)) == true
    assert collection.get(["-2", "36"])["id"].to_pylist() == ["-2", "36"]
    assert collection.count("id > 30") == 6
    source = tmp_path / "more.parquet"
    pq.write_table(table(QUERIES, names(20)), source)
    hits = hit_ids(collection.add(source, workers=1).search(QUERIES, k=1))
    assert hits == [[name] for name in names(20)]


@pytest.mark.parametrize("is_indexed", [False, True])
def test_rows_without_a_searchable_vector_are_no_hits(tmp_path, is_indexed):
    vectors = gaussian(400, DIM)
    vectors[3], vectors[5, 2], vectors[9] = 0, np.nan, QUERIES[0]
    values = pa.array(vectors.reshape(-1))
    mask = pa.array(np.arange(400) == 9)
    vector = pa.FixedSizeListArray.from_arrays(values, DIM, mask=mask)
    rows = pa.table({"vector": vector, "id": names(400), "n": np.arange(400)})
    # LanceDB's own clients may refuse such rows; pylance writes them.
    made = lance.write_dataset(rows, tmp_path / "d" / "t.lance")
    if is_indexed:
        sizes = {"num_partitions": 1, "num_sub_vectors": 4}
        made.create_index("vector", "IVF_PQ", metric="cosine", **sizes)
    collection = adopt(tmp_path / "d")
    kept = np.setdiff1d(np.arange(400), [3, 5, 9])
    true = nearest(vectors[kept], [names(400)[i] for i in kept], QUERIES, "cosine", 400)
    for how in ({}, {"exact": True}, {"where": "n >= 0"}):
        assert hit_ids(collection.search(QUERIES, k=400, **how)) == true
    report = collection.verify()
    assert report.is_clean
    assert "3 rows without a vector that can be searched" in report.notes[0].what


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_what_lance_indexes_is_no_hit_without_a_distance(tmp_path, kind):
    vectors = gaussian(400, DIM)
    vectors[7] = 1e30  # too long for float32
    rows = table(vectors, names(400))
    made = lance.write_dataset(rows, tmp_path / "d" / "t.lance")
    made.create_index("vector", "IVF_PQ", metric=kind, num_partitions=1, num_sub_vectors=4)
    collection = adopt(tmp_path / "d", distance_type=kind)
    hits = collection.search(QUERIES, k=399, nprobes=1, refine_factor=1)
    assert "p00007" not in hits["id"].to_pylist()


def test_a_lost_index_is_a_fault(place):
    adopt(place)
    for path in place.glob("kinases.lance/_indices/*/index.idx"):
        path.unlink()
    report = atoll.open(place).verify()
    assert [issue.bucket for issue in report.issues] == ["kinases"]


# -- the command, and other stores ----------------------------------------------------------------


def test_the_command_adopts_and_tells_what_it_left_out(mixed):
    done = command("adopt", mixed, "--skip-unfit", "--json")
    info = json.loads(done.out)
    assert (info["rows"], info["version"], info["columns"]) == (2082, 1, {"length": "int32"})
    assert [bucket["adopted"] for bucket in info["buckets"]] == [True] * 3
    assert "other_dim" in done.err
    assert "family" in done.err
    assert "ivf_pq, 8 partitions" in must("info", mixed)
    assert command("adopt", mixed, "--table", "kinases", "--table", "missing").code == 1


def test_a_database_in_s3_is_adopted(place, moto_s3):
    url = moto_s3.new_bucket() + "/some where"
    client = moto_s3.client()
    for path, (data, _) in objects_of(place).items():
        client.put_object(Bucket=url.split("/")[2], Key=f"some where/{path}", Body=data)
    there = settings(place.parent / "scratch", storage=moto_s3.options())
    hits = atoll.adopt(url, settings=there).search(QUERIES, k=K, nprobes=3)
    assert hits.equals(adopt(place).search(QUERIES, k=K, nprobes=3))
    assert atoll.open(url, settings=there).verify().is_clean
