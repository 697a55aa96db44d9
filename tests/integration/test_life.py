"""Deletes, upserts, compaction, retraining, versions: what searches see of them."""

import json
import random
import threading
from datetime import timedelta

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from commandline import atoll as command
from commandline import must
from vectordata import (
    clustered,
    gaussian,
    hit_ids,
    names,
    nearest,
    recall,
    settings,
    tables_of,
    write_parquet,
)

import atoll
from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.vectors import blobs, store
from atoll.vectors.model import IndexSpec

DIM = 16


class Model:
    """What a collection must hold: vectors and kinds by id, kept by hand."""

    def __init__(self, folder, rows=600, index="rabitq", **options):
        self.folder, self.files = folder, 0
        self.vectors = dict(zip(names(rows), clustered(rows, DIM), strict=True))
        self.kinds = {name: number % 7 for number, name in enumerate(self.vectors)}
        if index != "flat":
            options["num_partitions"] = 4
        self.collection = atoll.create(
            folder / "c", self.file(list(self.vectors)), bucket_rows=rows // 3, workers=1,
            index=index, settings=settings(folder / "scratch"), **options,
        )  # fmt: skip

    def file(self, ids):
        self.files += 1
        vectors = np.array([self.vectors[name] for name in ids])
        kinds = [self.kinds[name] for name in ids]
        return write_parquet(self.folder / f"{self.files}.parquet", vectors, ids, kind=kinds)

    def delete(self, ids):
        for name in ids:
            del self.vectors[name], self.kinds[name]

    def put(self, ids, seed):
        """Give ids new vectors; returns the file that says so."""
        for name, vector in zip(ids, gaussian(len(ids), DIM, seed), strict=True):
            self.vectors[name], self.kinds[name] = vector, 9
        return self.file(ids)

    def check(self, collection=None, k=7):
        """Every path finds what is there, and nothing else."""
        c = self.collection if collection is None else collection
        ids, queries = list(self.vectors), clustered(4, DIM, seed=3)
        rows = np.array([self.vectors[name] for name in ids]).reshape(-1, DIM)
        true = nearest(rows, ids, queries, "cosine", k)
        assert hit_ids(c.search(queries, k=k, exact=True)) == (true if ids else [])
        found = hit_ids(c.search(queries, k=len(ids) + 5, nprobes=100, refine_factor=1))
        assert [sorted(part) for part in found] == [sorted(ids)] * (4 if ids else 0)
        assert len(c) == c.count() == len(ids) == sum(bucket.rows for bucket in c.buckets)
        assert c.count("kind = 3") == sum(kind == 3 for kind in self.kinds.values())
        allowed = [self.kinds[name] == 3 for name in ids]
        some = nearest(rows, ids, queries, "cosine", k, allowed)
        assert hit_ids(c.search(queries, k=k, where="kind = 3")) == (some if any(allowed) else [])
        if ids:
            asked = random.Random(0).sample(ids, min(9, len(ids)))
            assert c.get(asked)["kind"].to_pylist() == [self.kinds[name] for name in asked]
        report = c.verify()
        assert (report.issues, report.notes, report.rows) == ((), (), len(ids))


@pytest.fixture
def model(tmp_path):
    return Model(tmp_path)


# -- delete ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
def test_deleted_rows_are_seen_by_no_path_nor_by_stock_lance(tmp_path, index):
    options = {"num_sub_vectors": 4} if index == "ivf_pq" else {}
    model = Model(tmp_path, index=index, **options)
    c = model.collection
    assert c.delete(["p00000", "p00250", "p00599"]).rows == 3
    model.delete(["p00000", "p00250", "p00599"])
    gone = [name for name, kind in model.kinds.items() if kind == 5]
    assert c.delete(where="kind = 5").rows == len(gone)
    model.delete(gone)
    model.check()
    rows = [lance.dataset(tmp_path / "c" / f"{b.name}.lance").to_table(["id"]) for b in c.buckets]
    assert {name for part in rows for name in part["id"].to_pylist()} == set(model.vectors)


def test_deleting_everything_leaves_an_empty_collection_that_takes_rows_again(model):
    c = model.collection
    file = model.file(list(model.vectors))
    assert c.delete(where="true").rows == 600
    assert (len(c), c.buckets) == (0, ())
    assert c.search(clustered(2, DIM), k=3).num_rows == 0
    c.add(file, workers=1)
    model.check()


def test_deleted_id_may_be_added_again(model):
    c = model.collection
    c.delete(["p00007"])
    with pytest.raises(InvalidInput, match="is in bucket"):
        c.add(model.file(["p00007", "p00008"]), workers=1)
    c.add(model.file(["p00007"]), workers=1)
    model.check()


def test_ids_that_are_not_there_stop_a_delete_unless_allowed(model):
    c = model.collection
    with pytest.raises(
        NotFound, match=r"no row with the id 'x', 'y', so nothing was deleted"
    ) as error:
        c.delete(["p00001", "x", "y"])
    assert error.value.details["missing"] == 2
    assert c.version == 1
    report = c.delete(["p00001", "x", "p00001", "y"], allow_missing=True)
    assert (report.rows, report.missing, c.version) == (1, ("x", "y"), 2)


def test_delete_of_nothing_makes_no_version(model):
    c = model.collection
    assert c.delete([]).rows == c.delete(where="kind > 99").rows == 0
    assert c.delete(["nobody"], allow_missing=True).rows == 0
    assert c.delete(where="kind = 3", dry_run=True).rows == 86
    assert c.delete(["p00001"], dry_run=True).rows == 1
    assert c.version == 1
    model.check()


@pytest.mark.parametrize("where", ["nonsense =", "kind = 3)", "no_such_column = 1", "kind"])
def test_predicate_that_does_not_parse_deletes_nothing(model, where):
    with pytest.raises(InvalidInput, match="where"):
        model.collection.delete(where=where)
    assert model.collection.version == 1


def test_delete_takes_ids_or_a_predicate(model):
    for words in ({}, {"ids": ["a"], "where": "true"}, {"ids": "p00001"}):
        with pytest.raises(InvalidInput, match="ids"):
            model.collection.delete(**words)


def test_strange_ids_are_deleted_as_they_are(tmp_path):
    strange = ["it's", 'say "a"', "ünïcödé 名前", "a\nb", "%", "x" * 10_000, "17", "' OR 1=1 --"]
    ids = [*strange, *names(92)]
    file = write_parquet(tmp_path / "x.parquet", clustered(100, DIM), ids)
    c = atoll.create(tmp_path / "c", file, settings=settings(tmp_path / "scratch"))
    assert c.delete(strange).rows == len(strange)
    found = c.search(clustered(1, DIM), k=100, exact=True)["id"].to_pylist()
    assert sorted(found) == sorted(names(92))


def test_many_ids_are_deleted_at_once(tmp_path):
    ids = [f"protein {number}" for number in range(120_000)]
    file = write_parquet(tmp_path / "x.parquet", gaussian(120_000, 4), ids)
    c = atoll.create(tmp_path / "c", file, settings=settings(tmp_path / "scratch"),
                     num_partitions=4, bucket_rows=60_000, workers=1)  # fmt: skip
    assert c.delete(ids[:100_000]).rows == 100_000
    assert len(c) == 20_000
    assert len(c.buckets) == 1
    assert c.verify().is_clean


def test_fragments_that_lose_all_their_rows_keep_the_others_in_place(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAX_ROWS_PER_FILE", 50)
    model = Model(tmp_path)
    table = store.Table(model.collection._storage, model.collection.buckets[0])
    assert len(table.dataset.get_fragments()) == 4
    gone = table.take(np.arange(40, 160), ["id"])["id"].to_pylist()
    model.collection.delete(gone)
    model.delete(gone)
    model.check()


def test_two_deleters_at_once_lose_nothing_of_each_other(model):
    found = [atoll.open(model.collection.uri, settings=model.collection._settings)
             for _ in range(4)]  # fmt: skip
    ids = [names(60, 40 * number) for number in range(4)]
    threads = [
        threading.Thread(target=c.delete, args=(some,), kwargs={"allow_missing": True})
        for c, some in zip(found, ids, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model.delete(names(180))
    model.collection.refresh()
    assert model.collection.version <= 5
    model.collection.gc()
    model.check()


# -- upsert ---------------------------------------------------------------------------------------


def test_upsert_replaces_rows_and_adds_others_in_one_version(model):
    c = model.collection
    file = model.put([*names(30, 100), *names(10, 9000)], seed=8)
    report = c.upsert(file, workers=1)
    assert (report.replaced, report.added, c.version) == (30, 10, 2)
    assert report.requests > 0
    assert report.size_bytes > 0
    model.check()
    assert c.upsert(file, workers=1).rows == 0
    assert c.version == 2


def test_upsert_given_again_after_a_delete_brings_the_rows_back(model):
    c = model.collection
    file = model.put(names(30, 100), seed=8)
    c.upsert(file, workers=1)
    c.delete(["p00100"])
    assert c.upsert(file, workers=1).rows == 30
    model.check()
    assert c.upsert(file, workers=1).rows == 0


def test_of_two_upserts_of_the_same_ids_the_last_counts(model):
    c = model.collection
    first = model.put(names(30, 100), seed=8)
    c.upsert(first, workers=1)
    c.upsert(model.put(names(10, 100), seed=9), workers=1)
    model.check()
    c.compact()
    before = c.version
    assert c.upsert(first, workers=1).replaced == 30
    assert c.version == before + 1


def test_id_twice_in_the_sources_of_an_upsert_is_refused_or_the_first_kept(tmp_path, model):
    vectors = gaussian(3, DIM, seed=5)
    file = write_parquet(tmp_path / "y.parquet", vectors, ["p00001", "n", "p00001"], kind=[1] * 3)
    with pytest.raises(InvalidInput, match="1 duplicate id:"):
        model.collection.upsert(file)
    report = model.collection.upsert(file, on_duplicate="skip")
    assert (report.replaced, report.added) == (1, 1)
    assert model.collection.get(["p00001"], ["embedding"])["embedding"][0].as_py() == pytest.approx(
        vectors[0]
    )


def test_invalid_rows_of_an_upsert_replace_nothing(tmp_path, model):
    vectors = gaussian(2, DIM, seed=5)
    vectors[0] = np.nan
    file = write_parquet(tmp_path / "y.parquet", vectors, ["p00001", "p00002"], kind=[1] * 2)
    with pytest.raises(InvalidInput, match="cannot be searched"):
        model.collection.upsert(file)
    assert model.collection.upsert(file, on_invalid="skip").replaced == 1
    assert model.collection.get(["p00001", "p00002"], ["kind"])["kind"].to_pylist() == [1, 1]
    assert len(model.collection) == 600


# -- compact and retrain --------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["rabitq", "flat"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_compaction_changes_no_answer(tmp_path, index, dtype):
    model = Model(tmp_path, index=index, dtype=dtype)
    c, queries = model.collection, clustered(30, DIM, seed=4)
    gone = names(150, 130)
    c.delete(gone)
    model.delete(gone)
    c.upsert(model.put(names(20, 590), seed=8), workers=1)
    options = {"k": 9, "columns": ["kind"], "with_vectors": True, "nprobes": 2}
    before = [c.search(queries, **options), c.search(queries, where="kind < 3", **options)]
    assert len(c.compact().merges) == 1
    assert len(c.buckets) == 1
    after = [c.search(queries, **options), c.search(queries, where="kind < 3", **options)]
    assert [one.equals(two) for one, two in zip(before, after, strict=True)] == [True, True]
    assert c.compact().merges == ()
    assert c.verify().is_clean
    if dtype == "float32":
        model.check()


def test_compaction_keeps_partition_order_and_old_objects_until_gc(tmp_path, model):
    c = model.collection
    old = atoll.open(c.uri, version=1, settings=c._settings)
    c.compact()
    offsets = blobs.get_layout(c._storage, c.buckets[0].layout).offsets
    assert (np.diff(offsets) > 0).all()
    model.check(old)
    assert len(tables_of(tmp_path / "c")) == 4
    c.gc()
    assert tables_of(tmp_path / "c") == [c.buckets[0].name]
    model.check()


def test_add_given_again_after_a_compaction_changes_nothing(model):
    c = model.collection
    file = model.put(names(50, 9000), seed=8)
    c.add(file, workers=1)
    c.compact()
    version = c.version
    c.add(file, workers=1)
    assert c.version == version


def test_chosen_buckets_only_are_merged(model):
    c = model.collection
    first, _, last = [bucket.name for bucket in c.buckets]
    report = c.compact(buckets=[first, last], dry_run=True)
    assert [merge.names for merge in report.merges] == [[first, last]]
    assert c.version == 1
    c.compact(buckets=[first, last])
    assert [bucket.rows for bucket in c.buckets] == [400, 200]
    model.check()


def deleting(monkeypatch, module, action):
    """Do something between the building of a bucket and its commit."""
    real, done = module._commit, []

    def commit(*words):
        if not done:
            done.append(True)
            action()
        return real(*words)

    monkeypatch.setattr(module, "_commit", commit)


@pytest.mark.parametrize("what", ["compact", "retrain"])
def test_rows_deleted_or_replaced_while_buckets_are_rebuilt_stay_so(model, monkeypatch, what):
    from atoll.vectors import compact, retrain

    c = model.collection
    other = atoll.open(c.uri, settings=c._settings)

    def meanwhile():
        other.delete(["p00003", "p00300"])
        model.delete(["p00003", "p00300"])
        other.upsert(model.put(names(30, 100), seed=8), workers=1)

    deleting(monkeypatch, {"compact": compact, "retrain": retrain}[what], meanwhile)
    getattr(c, what)()
    model.check()


@pytest.mark.parametrize("what", ["compact", "retrain"])
def test_bucket_dropped_while_it_is_rebuilt_stays_dropped(model, monkeypatch, what):
    from atoll.vectors import compact, retrain

    c = model.collection
    dropped = c.buckets[0]
    ids = store.Table(c._storage, dropped).take(np.arange(dropped.rows), ["id"])["id"]
    other = atoll.open(c.uri, settings=c._settings)
    module = {"compact": compact, "retrain": retrain}[what]
    deleting(monkeypatch, module, lambda: other.drop_bucket(dropped.name))
    getattr(c, what)()
    model.delete(ids.to_pylist())
    model.check()


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq", "flat"])
def test_retrain_builds_every_bucket_anew_under_one_model(tmp_path, index):
    options = {"num_sub_vectors": 4} if index == "ivf_pq" else {}
    model = Model(tmp_path, index=index, **options)
    c = model.collection
    c.delete(["p00000"])
    model.delete(["p00000"])
    c.retrain(num_partitions=3, bits=4)
    assert c.spec.index == IndexSpec("rabitq", 3, bits=4)
    assert {bucket.model for bucket in c.buckets} == set(c._manifest.models) == {c._manifest.model}
    assert [part.uri for part in c.buckets[0].sources] == [str(tmp_path / "1.parquet")]
    c.add(model.put(names(50, 9000), seed=8), workers=1)
    model.check()


def test_searches_go_on_between_the_buckets_of_a_retrain(model, monkeypatch):
    from atoll.vectors import retrain

    c, queries, seen = model.collection, clustered(20, DIM, seed=4), []
    exact = hit_ids(c.search(queries, k=10, exact=True))
    reader = atoll.open(c.uri, settings=c._settings)
    real = retrain._commit

    def commit(*words):
        made = real(*words)
        hits = reader.search(queries, k=10, refine_factor=20)
        seen.append((len(made.models), recall(hit_ids(hits), exact)))
        return made

    monkeypatch.setattr(retrain, "_commit", commit)
    c.retrain(num_partitions=5, bits=2)
    assert [models for models, _ in seen] == [2, 2, 1]
    assert min(found for _, found in seen) > 0.9


@pytest.mark.parametrize("when", ["rebuilt", "_commit"])
def test_of_two_retrains_at_once_the_one_whose_model_came_last_counts(model, monkeypatch, when):
    from atoll.vectors import retrain

    c, wins = model.collection, []
    other = atoll.open(c.uri, settings=c._settings)
    where = retrain._Work if when == "rebuilt" else retrain
    real = getattr(where, when)

    def once(*words):
        done = real(*words)
        if not wins:
            wins.append(True)
            wins.append(other.retrain(num_partitions=4, seed=2)._manifest.model)
        return done

    monkeypatch.setattr(where, when, once)
    with pytest.raises(Conflict, match="trained by somebody else meanwhile"):
        c.retrain(num_partitions=4, seed=1)
    c.refresh()
    assert {bucket.model for bucket in c.buckets} == set(c._manifest.models) == {wins[-1]}
    model.check()


def test_two_retrains_with_the_same_options_join(model, monkeypatch):
    from atoll.vectors import retrain

    c = model.collection
    other = atoll.open(c.uri, settings=c._settings)
    deleting(monkeypatch, retrain, lambda: other.retrain(num_partitions=4, seed=1))
    c.retrain(num_partitions=4, seed=1)
    assert {bucket.model for bucket in c.buckets} == set(c._manifest.models) == {c._manifest.model}
    model.check()


def test_what_is_known_of_recall_outlives_a_compaction_and_is_measured_anew_after_a_retrain(
    tmp_path,
):
    file = write_parquet(tmp_path / "x.parquet", clustered(12_000, 8), names(12_000))
    c = atoll.create(tmp_path / "c", file, settings=settings(tmp_path / "scratch"),
                     num_partitions=4, bucket_rows=4000, workers=1)  # fmt: skip
    before = c.info()["recall"]
    assert before["advice"] == "nothing"
    c.compact()
    assert c.info()["recall"] == before
    old = c.calibration.model
    c.retrain(num_partitions=3)
    assert c.calibration.model == c._manifest.model != old
    assert c.info()["recall"]["advice"] == "nothing"
    assert [past.action for past in c.history()] == ["calibrate", "retrain", "compact", "create"]


def test_retrain_of_an_empty_collection_is_refused(model):
    model.collection.delete(where="true")
    with pytest.raises(InvalidInput, match="no rows to train on"):
        model.collection.retrain()


def adopted(tmp_path):
    """A database that others wrote, as a collection: two tables, rows deleted in one of them."""
    vectors, place = gaussian(400, DIM), tmp_path / "database"
    database = lancedb.connect(place)
    for number in range(2):
        some = slice(200 * number, 200 * number + 200)
        ids = pa.array(names(400)[some])
        flat = pa.array(vectors[some].reshape(-1))
        table = pa.table({"id": ids, "vector": pa.FixedSizeListArray.from_arrays(flat, DIM)})
        database.create_table(f"t{number}", table)
    database.open_table("t0").delete("id < 'p00010'")
    c = atoll.adopt(place, distance_type="cosine", settings=settings(tmp_path / "scratch"))
    return c, vectors


def test_rows_of_adopted_tables_are_deleted_and_the_tables_become_buckets(tmp_path):
    c, vectors = adopted(tmp_path)
    c.delete(["p00011", "p00399"])
    left = np.array([n not in (11, 399) for n in range(10, 400)])
    true = nearest(vectors[10:], names(390, 10), vectors[:5], "cosine", 9, left)
    for change in (lambda: None, lambda: c.retrain(num_partitions=3), lambda: c.compact()):
        change()
        assert hit_ids(c.search(vectors[:5], k=9, exact=True)) == true
        assert len(c) == c.count() == 388
        assert c.verify().issues == ()
    assert [bucket.is_adopted for bucket in c.buckets] == [False]
    c.gc()
    assert len(lancedb.connect(tmp_path / "database").open_table("t1")) == 199


def test_delete_from_an_adopted_table_does_not_undo_what_its_owner_did(tmp_path):
    c, _ = adopted(tmp_path)
    table = lancedb.connect(tmp_path / "database").open_table("t1")
    table.delete("id = 'p00300'")
    with pytest.raises(Conflict, match="changed by its owner since it was adopted"):
        c.delete(["p00399"])
    assert len(lancedb.connect(tmp_path / "database").open_table("t1")) == 199
    atoll.adopt(c.uri, settings=c._settings)
    assert c.delete(["p00399"]).rows == 1
    assert (len(c), c.verify().issues) == (388, ())


def test_adopted_tables_are_not_merged(tmp_path):
    c, _ = adopted(tmp_path)
    assert c.compact().merges == ()
    with pytest.raises(InvalidInput, match="adopted table, which is not merged"):
        c.compact(buckets=["t0"])


def test_life_in_any_order_matches_a_dictionary(tmp_path):
    model, chance = Model(tmp_path, rows=300), random.Random(7)
    c = model.collection
    for step in range(12):
        ids = sorted(model.vectors)
        action = chance.choice(["delete", "upsert", "add", "compact", "retrain", "gc"])
        if action == "delete":
            gone = chance.sample(ids, min(len(ids), 25))
            c.delete(gone)
            model.delete(gone)
        elif action == "upsert":
            some = [*chance.sample(ids, 10), *names(5, 10_000 + 10 * step)]
            c.upsert(model.put(some, seed=step), workers=1)
        elif action == "add":
            c.add(model.put(names(8, 20_000 + 10 * step), seed=step), workers=1)
        elif action == "compact":
            c.compact(bucket_rows=chance.choice([50, 200, 1000]))
        elif action == "retrain":
            c.retrain(num_partitions=chance.choice([2, 6]))
        else:
            c.gc(keep_versions=chance.choice([1, 3]))
        model.check()


# -- versions -------------------------------------------------------------------------------------


def test_every_version_is_searched_as_it_was(model):
    c, at = model.collection, {}
    queries = clustered(5, DIM, seed=4)
    at[1] = c.search(queries, k=9)
    c.delete(where="kind < 4")
    at[2] = c.search(queries, k=9)
    c.compact()
    c.upsert(model.put(names(50), seed=8), workers=1)
    at[c.version] = c.search(queries, k=9)
    for version, hits in at.items():
        old = atoll.open(c.uri, version=version, settings=c._settings)
        assert old.version == version
        assert old.search(queries, k=9).equals(hits)
        assert old.verify().is_clean
    actions = [(past.version, past.action, past.is_kept) for past in c.history()]
    assert actions == [(4, "upsert", True), (3, "compact", True), (2, "delete", True),
                       (1, "create", True)]  # fmt: skip


def test_handle_at_a_version_changes_nothing(model):
    old = atoll.open(model.collection.uri, version=1, settings=model.collection._settings)
    changes = [lambda: old.delete(["p00001"]), lambda: old.compact(), lambda: old.retrain(),
               lambda: old.add("x"), lambda: old.upsert("x"), lambda: old.restore(1),
               lambda: old.drop_bucket("x")]  # fmt: skip
    for change in changes:
        with pytest.raises(InvalidInput, match="open at version 1, which cannot change"):
            change()


def test_restore_brings_a_version_back_for_stock_clients_too(tmp_path, model):
    c = model.collection
    c.delete(where="kind < 4")
    c.compact()
    c.restore(1)
    assert (c.version, c.history()[0].action) == (4, "restore 1")
    model.check()
    tables = [lance.dataset(tmp_path / "c" / f"{bucket.name}.lance") for bucket in c.buckets]
    assert sum(table.count_rows() for table in tables) == 600
    c.restore(1)
    assert c.version == 4
    c.gc()
    model.check()


def test_stock_clients_follow_every_restore(tmp_path, model):
    c = model.collection
    c.delete(where="kind < 4")
    lost = [name for name, kind in model.kinds.items() if kind < 4]

    def check():
        tables = [lance.dataset(tmp_path / "c" / f"{bucket.name}.lance") for bucket in c.buckets]
        assert sum(table.count_rows() for table in tables) == len(c)
        assert c.verify().notes == ()

    for version, rows in [(1, 600), (2, 600 - len(lost)), (1, 600), (2, 600 - len(lost))]:
        c.restore(version)
        assert len(c) == rows
        check()
    c.gc(keep_versions=4)
    check()
    c.restore(1)
    check()
    model.check()


def test_gc_keeps_as_many_versions_as_asked_and_history_tells_the_rest(model):
    c = model.collection
    c.delete(["p00001"])
    c.compact()
    c.delete(["p00002"])
    c.gc(keep_versions=2)
    kept = {past.version: past.is_kept for past in c.history()}
    assert kept == {4: True, 3: True, 2: False, 1: False}
    atoll.open(c.uri, version=3, settings=c._settings).verify()
    for lost in (lambda: c.restore(1), lambda: atoll.open(c.uri, version=1)):
        with pytest.raises(NotFound, match="removed by `atoll gc`"):
            lost()
    c.gc(keep_versions=9)
    assert {past.version: past.is_kept for past in c.history()} == kept


def test_version_that_needs_nothing_more_than_a_kept_one_can_still_be_opened(model):
    c = model.collection
    c.add(model.put(names(20, 9000), seed=8), workers=1)
    c.gc()
    assert [past.is_kept for past in c.history()] == [True, True]
    assert len(atoll.open(c.uri, version=1, settings=c._settings)) == 600


def test_version_that_never_was_is_named(model):
    with pytest.raises(NotFound, match="no version 7; `atoll history`"):
        atoll.open(model.collection.uri, version=7, settings=model.collection._settings)
    with pytest.raises(NotFound, match="no version 7"):
        model.collection.restore(7)


def test_restore_names_what_somebody_removed(tmp_path, model):
    c = model.collection
    lost = c.buckets[0].ids.path
    c.compact()
    (tmp_path / "c" / lost).unlink()
    with pytest.raises(NotFound, match=f"cannot be restored: {lost} is gone"):
        c.restore(1)
    model.check()


def test_stock_cleanup_takes_no_version_that_is_named(tmp_path, model):
    c = model.collection
    c.delete(["p00001"])
    table = lance.dataset(tmp_path / "c" / f"{c.buckets[0].name}.lance")
    table.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True,
                               error_if_tagged_old_versions=False)  # fmt: skip
    old = atoll.open(c.uri, version=1, settings=c._settings)
    model.check(old)
    model.delete(["p00001"])
    model.check()


def test_handle_left_behind_by_gc_sees_the_newest_version(model):
    c = model.collection
    behind = atoll.open(c.uri, settings=c._settings)
    for name in names(4):
        c.delete([name])
    c.gc()
    model.delete(names(4))
    model.check(behind)


# -- command line ---------------------------------------------------------------------------------


def test_commands_of_a_life(tmp_path, model):
    place = model.collection.uri
    (tmp_path / "ids.txt").write_text("p00003\np00004\n")
    said = must("delete", place, "--id", "p00001", "--id", "p00002", "--ids", tmp_path / "ids.txt")
    assert said.startswith("deleted 4 rows of ")
    assert json.loads(must("delete", place, "--where", "kind = 6", "--dry-run", "--json"))["rows"]
    assert "would delete 85 rows" in must("delete", place, "--where", "kind = 6", "--dry-run")
    assert "1 row added, 1 row replaced" in must(
        "upsert", place, model.put(["p00009", "new"], seed=8), "-q"
    )
    assert "would merge 4 buckets into 1" in must("compact", place, "--dry-run")
    assert "merged 4 buckets into 1" in must("compact", place, "-q")
    assert json.loads(must("retrain", place, "--num-partitions", 2, "--json", "-q"))["rows"] == 597
    lines = must("history", place).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["5", "4", "3", "2", "1"]
    assert json.loads(must("info", place, "--version", 1, "--json"))["rows"] == 600
    must("verify", place, "--version", 2)
    found = json.loads(must("search", place, "--id", "p00001", "--version", 1, "--json", "-q"))
    assert found[0]["id"] == "p00001"
    assert "version 6 is what version 1 was: 600 rows" in must("restore", place, 1)
    assert "version 6 is current already: 600 rows" in must("restore", place, 6)
    assert "version 6 is what version 1 was already: 600 rows" in must("restore", place, 1)
    assert len(must("history", place).splitlines()) == 7
    out = tmp_path / "out.parquet"
    assert "596 rows of version 2 in 1 file" in must("export", place, out, "--version", 2, "-q")
    must("gc", place, "--keep-versions", 2)


def test_delete_says_on_the_command_line_what_it_misses(tmp_path, model):
    place = model.collection.uri
    done = command("delete", place, "--id", "x\x1by")
    assert (done.code, done.out) == (1, "")
    assert "nothing was deleted; leave them out, or accept that with --allow-missing" in done.err
    with pytest.raises(NotFound, match=r"no row with the id 'x'.* with allow_missing=True"):
        model.collection.delete(["x"])
    for words in (("create", tmp_path / "d", "x.h5"), ("retrain", place)):
        done = command(*words, "--bits", 3)
        assert (done.code, "is not one of '1', '2', '4', '8'" in done.err) == (2, True)
    done = command("delete", place, "--id", "x\x1by", "--id", "p00001", "--allow-missing")
    assert done.code == 0
    assert "not there: x y" in done.err
    for words in ((), ("--id", "a", "--where", "true")):
        assert command("delete", place, *words).code == 2
