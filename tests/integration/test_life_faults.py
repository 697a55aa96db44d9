"""Deletes, upserts, compaction, retraining, restores and gc under kills and races."""

import json
import shutil
import threading
import time
from pathlib import Path

import lance
import numpy as np
import pytest
from commandline import DEADLINE_SECONDS, ended, kill_midway, must, start, steps_of
from vectordata import clustered, gaussian, names, settings, write_parquet

import atoll
from atoll.core.errors import NotFound
from atoll.storage import Storage
from atoll.vectors import blobs, schemas, store

DIM, ROWS = 16, 300


class Sample:
    """A collection with a few deletions behind it, and the files that change it."""

    def __init__(self, folder):
        self.folder = folder
        self.vectors, self.ids = clustered(ROWS, DIM), names(ROWS)
        first = write_parquet(folder / "x.parquet", self.vectors, self.ids)
        self.more = write_parquet(folder / "y.parquet", gaussian(20, DIM, seed=9), names(20, 290))
        self.place = folder / "c"
        self.settings = settings(folder / "scratch")
        c = atoll.create(self.place, first, bucket_rows=100, workers=1, num_partitions=3,
                         settings=self.settings)  # fmt: skip
        c.delete(self.ids[5:9])

    def copy(self, target):
        shutil.copytree(self.place, target)
        return target

    def open(self, place):
        return atoll.open(place, settings=self.settings)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("sample"))


CHANGES = {
    "delete ids": lambda s, c: c.delete(s.ids[90:120], allow_missing=True),
    "delete where": lambda s, c: c.delete(where="id < 'p00105'"),
    "upsert": lambda s, c: c.upsert(s.more, workers=1),
    "compact": lambda s, c: c.compact(),
    "retrain": lambda s, c: c.retrain(num_partitions=2),
    "restore": lambda s, c: c.restore(1),
    "gc": lambda s, c: c.gc(keep_versions=1),
}


def content(collection):
    """All live rows by id, as searches read them."""
    rows = {}
    for bucket in collection.buckets:
        for _, batch in collection._reader.table(bucket).batches(["id", "embedding"]):
            vectors = schemas.vectors_of(batch["embedding"], DIM)
            rows |= zip(batch["id"].to_pylist(), map(bytes, vectors), strict=True)
    return rows


def stock_content(place, collection):
    """All rows that a stock client finds in the newest versions of the live tables."""
    rows = {}
    for bucket in collection.buckets:
        found = lance.dataset(place / f"{bucket.name}.lance").to_table(["id", "embedding"])
        vectors = schemas.vectors_of(found["embedding"], DIM)
        rows |= zip(found["id"].to_pylist(), map(bytes, vectors), strict=True)
    return rows


def age_leases(place):
    for path in Path(place).glob("_atoll/leases/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": 0}))


class Died(BaseException):
    """What a kill is in a test: nothing is changed after it."""


def dies_before_change(monkeypatch, number, action):
    """Do something in this process; from the n-th change of the store on nothing is changed."""
    left = number

    def dying(change):
        def act(*words, **more):
            nonlocal left
            left -= 1
            if left < 0:
                raise Died
            return change(*words, **more)

        return act

    with monkeypatch.context() as patch:
        for name in ("put", "put_new", "put_file", "delete"):
            patch.setattr(Storage, name, dying(getattr(Storage, name)))
        for name in ("pin_table", "unpin_others", "commit_table", "show_pinned"):
            patch.setattr(store, name, dying(getattr(store, name)))
        commit = lance.LanceDataset.commit
        patch.setattr(lance.LanceDataset, "commit", staticmethod(dying(commit)))
        try:
            action()
        except Died:
            return True
    return False


@pytest.mark.parametrize("change", CHANGES)
def test_change_killed_anywhere_is_done_or_not_and_the_same_call_finishes(
    sample, tmp_path, monkeypatch, change
):
    undisturbed = sample.open(sample.copy(tmp_path / "whole"))
    before = content(undisturbed)
    CHANGES[change](sample, undisturbed)
    after = content(undisturbed)
    step, died = 0, True
    while died:
        place = sample.copy(tmp_path / f"{step}")
        died = dies_before_change(
            monkeypatch, step, lambda place=place: CHANGES[change](sample, sample.open(place))
        )
        assert content(sample.open(place)) in (before, after)
        assert sample.open(place).verify().issues == ()
        age_leases(place)
        c = sample.open(place)
        CHANGES[change](sample, c)
        assert content(c) == after
        assert_clean(place, c, after)
        shutil.rmtree(place)
        step += 1
    assert step > 4


def assert_clean(place, collection, expected):
    """Nothing is lost, and gc leaves no more than what is live."""
    age_leases(place)
    collection.gc()
    report = collection.verify()
    assert (report.issues, report.notes) == ((), ())
    assert content(collection) == stock_content(Path(place), collection) == expected
    live = {f"{bucket.name}.lance" for bucket in collection.buckets}
    assert {path.name for path in Path(place).glob("*.lance")} == live
    manifest = max(Path(place, "_atoll/manifests").iterdir()).read_text()
    kept = [*Path(place).glob("_atoll/blobs/*"), *Path(place).glob("_atoll/models/*")]
    assert [path.name for path in kept if path.name not in manifest] == []
    for name in live:
        assert len(list((Path(place) / name / "data").iterdir())) == 1


def test_gc_after_a_killed_change_leaves_the_old_state(sample, tmp_path, monkeypatch):
    before = content(sample.open(sample.place))
    for change in ("delete ids", "upsert", "compact", "retrain"):
        for step in (6, 9, 12):
            place = sample.copy(tmp_path / f"{change}{step}")
            dies_before_change(
                monkeypatch, step,
                lambda place=place, change=change: CHANGES[change](sample, sample.open(place)),
            )  # fmt: skip
            c = sample.open(place)
            assert_clean(place, c, content(c))
            if c.version == 2:
                assert content(c) == before


# -- processes ------------------------------------------------------------------------------------


COMMANDS = {
    "delete": lambda s, place: ("delete", place, "--where", "id < 'p00150'"),
    "upsert": lambda s, place: ("upsert", place, s.more, "-q"),
    "compact": lambda s, place: ("compact", place, "-q"),
    "retrain": lambda s, place: ("retrain", place, "--num-partitions", 2, "-q"),
    "gc": lambda s, place: ("gc", place),
}


@pytest.fixture(scope="module")
def undisturbed(sample, tmp_path_factory):
    """The steps of a command, and what is there before and after it."""
    known = {}

    def run(command):
        if command not in known:
            place = sample.copy(tmp_path_factory.mktemp("undisturbed") / "c")
            before = content(sample.open(place))
            steps = steps_of(place, *COMMANDS[command](sample, place))
            known[command] = steps, before, content(sample.open(place))
        return known[command]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_command_killed_at_any_time_leaves_one_state_and_finishes(
    sample, undisturbed, tmp_path, command, kill_seed
):
    steps, before, after = undisturbed(command)
    place = sample.copy(tmp_path / "c")
    kill_midway(place, steps, f"{command}{kill_seed}", *COMMANDS[command](sample, place))
    assert content(sample.open(place)) in (before, after)
    assert sample.open(place).verify().is_clean
    age_leases(place)
    must(*COMMANDS[command](sample, place))
    assert content(sample.open(place)) == after
    assert_clean(place, sample.open(place), after)


def test_deletes_an_upsert_an_add_and_a_compaction_at_once_all_end_well(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    added = write_parquet(tmp_path / "z.parquet", gaussian(30, DIM, seed=3), names(30, 5000))
    processes = [
        start("delete", place, "--where", "id < 'p00050'"),
        start("delete", place, "--where", "id >= 'p00200' and id < 'p00250'"),
        start("upsert", place, sample.more, "-q"),
        start("add", place, added, "-q", "--workers", 1),
        start("compact", place, "-q"),
    ]
    for process in processes:
        done = ended(process)
        assert done.code == 0, done.err
    c = sample.open(place)
    expected = {*names(150, 50), *names(60, 250), *names(30, 5000)}
    assert set(content(c)) == expected
    assert_clean(place, c, content(c))


def test_searches_during_every_kind_of_change_see_one_version_or_another(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    queries, stop, seen, errors = clustered(3, DIM, seed=5), threading.Event(), [], []
    reader = sample.open(place)

    def search():
        while not stop.is_set():
            try:
                found = reader.search(queries, k=ROWS + 50, nprobes=9, refine_factor=1)
            except Exception as error:
                errors.append(error)
                return
            by_query = np.unique(found["query_id"].to_pylist(), return_counts=True)[1]
            seen.append(set(by_query.tolist()))

    thread = threading.Thread(target=search)
    thread.start()
    writer = sample.open(place)
    sizes = {len(writer)}
    for change in ("delete ids", "upsert", "compact", "retrain", "restore"):
        CHANGES[change](sample, writer)
        sizes.add(len(writer))
    stop.set()
    thread.join(DEADLINE_SECONDS)
    assert errors == []
    assert {size for found in seen for size in found} <= sizes
    assert all(len(found) == 1 for found in seen)


def test_gc_refuses_while_a_delete_runs_and_a_delete_while_gc_does(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    for kind, words in (("build", ("gc", place)), ("gc", ("delete", place, "--id", "p00100"))):
        path = place / "_atoll" / "leases" / "forged.json"
        path.parent.mkdir(exist_ok=True)
        # The clock of whoever wrote it is half a minute behind.
        expires = time.time() - 30
        path.write_text(json.dumps({"kind": kind, "holder": "ghost", "expires_at": expires}))
        done = ended(start(*words))
        assert done.code == 1
        assert "ghost" in done.err
        path.unlink()


def test_version_of_a_stock_client_does_no_harm_to_a_delete(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    c = sample.open(place)
    expected = content(c)
    for bucket in c.buckets:
        lance.dataset(place / f"{bucket.name}.lance").delete("id LIKE '%7'")
    assert len(c.verify().notes) == 3
    c.delete(["p00100", "p00200"])
    del expected["p00100"], expected["p00200"]
    assert content(c) == expected
    assert c.verify().issues == ()


def test_deletions_that_are_damaged_are_found(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    c = sample.open(place)
    blob = next(bucket.deleted for bucket in c.buckets if bucket.deleted)
    path = place / blob.path
    path.write_bytes(path.read_bytes()[:-1])
    assert not sample.open(place).verify().is_clean
    path.unlink()
    with pytest.raises(Exception, match="missing"):
        sample.open(place).search(clustered(1, DIM), k=3)
    shutil.rmtree(place)
    place = sample.copy(place)
    c = sample.open(place)
    table = place / f"{next(b for b in c.buckets if b.deleted).name}.lance"
    next(table.glob("_deletions/*")).unlink()
    assert not sample.open(place).verify().is_clean


def test_data_file_cut_off_below_deleted_rows_is_found(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    bucket = next(b for b in sample.open(place).buckets if b.deleted)
    path = next((place / f"{bucket.name}.lance" / "data").iterdir())
    data = bytearray(path.read_bytes())
    layout = blobs.get_layout(sample.open(place)._storage, bucket.layout)
    deleted = blobs.get_rows(sample.open(place)._storage, bucket.deleted)
    _, at = layout.vectors.locate(deleted[:1])
    data[int(at[0])] ^= 0xFF
    path.write_bytes(data)
    assert [i.what for i in sample.open(place).verify().issues] == [
        "column 'embedding' is not what was written"
    ]


def test_restore_after_gc_is_refused_and_changes_nothing(sample, tmp_path):
    place = sample.copy(tmp_path / "c")
    c = sample.open(place)
    c.compact()
    c.gc()
    with pytest.raises(NotFound, match="removed by `atoll gc`"):
        c.restore(1)
    assert c.version == 3
