"""Indexes of further columns: the same hits, by another plan, in every bucket there will be."""

import lance
import numpy as np
import pytest
from commandline import atoll as run
from commandline import must
from vectordata import clustered, names, settings, write_parquet

import atoll
from atoll.vectors import manifests, scalarindexes, store

ROWS = 600
VECTORS = clustered(ROWS, 16)
WHERE = "length BETWEEN 100 AND 140 AND kind = 'b'"


def source(path, start, stop):
    rows = np.arange(start, stop)
    kinds = [("a", "b", "c")[row % 3] for row in rows]
    return write_parquet(
        path, VECTORS[start:stop], names(stop - start, start), length=rows, kind=kinds
    )


@pytest.fixture
def made(tmp_path):
    reach = settings(tmp_path / "scratch")
    return atoll.create(
        tmp_path / "c", source(tmp_path / "x.parquet", 0, 400), bucket_rows=200, workers=1,
        num_partitions=4, settings=reach,
    )  # fmt: skip


def plans(collection, where=WHERE):
    """How Lance reads the live tables for a predicate."""
    tables = [collection._reader.table(bucket).dataset for bucket in collection.buckets]
    return [table.scanner(columns=[], filter=where).explain_plan() for table in tables]


def uses_indexes(collection, where=WHERE):
    return [
        ("length_scalar_idx" in plan, "kind_scalar_idx" in plan)
        for plan in plans(collection, where)
    ]


def answers(collection):
    hits = collection.search(VECTORS[:5], k=7, where=WHERE).to_pydict()
    return hits, collection.count(WHERE), collection.search(VECTORS[:3], k=9).to_pydict()


def test_predicates_use_the_indexes_and_hits_stay_the_same(made):
    before, layouts = answers(made), [bucket.layout for bucket in made.buckets]
    made.index(["length", "kind"])
    assert uses_indexes(made) == [(True, True)] * 2
    assert answers(made) == before
    assert [bucket.layout for bucket in made.buckets] == layouts
    assert made.verify().is_clean
    assert made.info()["indexed"] == ["kind", "length"]


def test_few_values_get_a_bitmap(made):
    made.index(["length", "kind"])
    table = made._reader.table(made.buckets[0]).dataset
    kinds = {index.name: index.index_type for index in table.describe_indices()}
    assert kinds == {"kind_scalar_idx": "Bitmap", "length_scalar_idx": "Bitmap"}


def test_more_values_than_a_bitmap_takes_get_a_tree(made, monkeypatch):
    monkeypatch.setattr(scalarindexes, "MAX_BITMAP_VALUES", 10)
    made.index(["length", "kind"])
    table = made._reader.table(made.buckets[0]).dataset
    kinds = {index.name: index.index_type for index in table.describe_indices()}
    assert kinds == {"kind_scalar_idx": "Bitmap", "length_scalar_idx": "BTree"}


def test_it_is_one_version_and_again_none(made):
    made.index(["length"])
    assert (made.version, made.history()[0].action) == (2, "index")
    assert made.index(["length"]).version == 2
    made.index(["kind"])
    assert uses_indexes(made) == [(True, True)] * 2


@pytest.mark.parametrize("change", ["add", "upsert", "delete", "compact", "retrain"])
def test_whatever_comes_later_has_the_indexes(made, tmp_path, change):
    made.index(["length", "kind"])
    more = source(tmp_path / "y.parquet", 390 if change == "upsert" else 400, 600)
    changes = {
        "add": lambda: made.add(more, workers=1),
        "upsert": lambda: made.upsert(more, workers=1),
        "delete": lambda: made.delete(names(50)),
        "compact": lambda: made.compact(),
        "retrain": lambda: made.retrain(num_partitions=2),
    }
    changes[change]()
    again = atoll.open(made.uri, settings=made._settings)
    assert set(uses_indexes(again)) == {(True, True)}
    assert again.verify().is_clean
    expected = [row for row in range(100, 141) if row % 3 == 1]
    assert again.count(WHERE) == len(expected)


def test_deleted_rows_stay_deleted(made):
    made.delete(names(30, 110))
    before = answers(made)
    made.index(["length", "kind"])
    assert answers(made) == before
    assert uses_indexes(made) == [(True, True)] * 2
    stock = lance.dataset(f"{made.uri}/{made.buckets[0].name}.lance")
    assert stock.count_rows() == made.buckets[0].rows
    made.restore(1)
    stock = lance.dataset(f"{made.uri}/{made.buckets[0].name}.lance")
    assert stock.count_rows() == made.buckets[0].rows == 200


def test_dropped_they_are_used_no_more(made):
    before = answers(made)
    made.index(["length", "kind"]).index(["length"], drop=True)
    assert uses_indexes(made) == [(False, True)] * 2
    made.index(["kind"], drop=True)
    assert (answers(made), made.info()["indexed"]) == (before, [])
    made.gc()
    assert made.verify().is_clean


def test_gc_keeps_the_indexes_that_are_live(made):
    before = answers(made)
    made.index(["length", "kind"]).gc()
    again = atoll.open(made.uri, settings=made._settings)
    assert uses_indexes(again) == [(True, True)] * 2
    assert answers(again) == before


def test_what_cannot_be_indexed_is_refused(made):
    for columns, words in (["nothing"], "no column 'nothing'"), (["embedding"], "no column"):
        with pytest.raises(atoll.InvalidInput, match=words):
            made.index(columns)
    with pytest.raises(atoll.InvalidInput, match="has no index to drop"):
        made.index(["length"], drop=True)
    assert made.version == 1


class Died(BaseException):
    """What a kill is in a test: nothing is changed after it."""


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (lance.LanceDataset, "create_scalar_index"),
        (store, "pin_table"),
        (manifests, "commit_manifest"),
    ],
)
def test_killed_it_left_the_state_before_and_may_be_repeated(made, monkeypatch, owner, step):
    before = answers(made)
    real, calls = getattr(owner, step), []

    def dying(*words, **given):
        calls.append(step)
        if len(calls) > 1 or step == "commit_manifest":
            raise Died
        return real(*words, **given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, dying)
        with pytest.raises(Died):
            made.index(["length", "kind"])
    again = atoll.open(made.uri, settings=made._settings)
    assert (again.version, answers(again)) == (1, before)
    assert again.verify().is_clean
    for lease in again._storage.list("_atoll/leases"):
        again._storage.delete(lease.path)
    again.index(["length", "kind"])
    assert (uses_indexes(again), answers(again)) == ([(True, True)] * 2, before)


def test_a_delete_between_is_not_lost(made, monkeypatch):
    other = atoll.open(made.uri, settings=made._settings)
    real, gone = scalarindexes._change, []

    def deleting_first(*words):
        if not gone:
            gone.append(other.delete(names(5, 100)))
        return real(*words)

    monkeypatch.setattr(scalarindexes, "_change", deleting_first)
    made.index(["length", "kind"])
    assert (len(made), made.count("length >= 0")) == (395, 395)
    assert uses_indexes(made) == [(True, True)] * 2
    assert made.verify().is_clean


def test_the_command_line_says_what_is_indexed(made):
    assert "indexed   kind, length\n" in must("index", made.uri, "kind", "length", "-q")
    assert "indexed   kind\n" in must("index", made.uri, "length", "--drop", "-q")
    done = run("index", made.uri, "nothing")
    assert (done.code, "no column 'nothing'" in done.err) == (1, True)
