"""What others do between two steps of a command is kept: one test for each time it was not."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pytest
from vectordata import clustered, gaussian, names, settings, write_parquet

import atoll
from atoll.compute.inline import InlineExecutor
from atoll.vectors import ids, manifests, retrain, search, sharing, shelf, store, teams

DIM = 16


def owners_table(vectors, ids):
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.table({"vector": pa.FixedSizeListArray.from_arrays(values, DIM), "id": ids})


@pytest.fixture
def owned(tmp_path):
    """A table that somebody else keeps, adopted."""
    place = tmp_path / "owned"
    place.mkdir()
    lance.write_dataset(owners_table(gaussian(300, DIM, seed=1), names(300)), place / "t.lance")
    return atoll.adopt(place, settings=settings(tmp_path))


def append(collection):
    more = owners_table(gaussian(50, DIM, seed=2), names(50, 300))
    lance.write_dataset(more, f"{collection.uri}/t.lance", mode="append")


def opened(collection, tmp_path):
    return atoll.open(collection.uri, settings=settings(tmp_path))


def once(monkeypatch, where, name, then):
    """Do something right after the first call of a function."""
    real, done = getattr(where, name), []

    def called(*given, **more):
        found = real(*given, **more)
        if not done:
            done.append(True)
            then()
        return found

    monkeypatch.setattr(where, name, called)


def stop():
    raise KeyboardInterrupt


def test_retrain_keeps_rows_that_were_adopted_meanwhile(owned, tmp_path, monkeypatch):
    def owner_goes_on():
        append(owned)
        atoll.adopt(owned.uri, settings=settings(tmp_path))

    once(monkeypatch, retrain._Work, "rebuilt", owner_goes_on)
    owned.retrain(num_partitions=2)
    assert len(opened(owned, tmp_path)) == 350


def test_a_delete_leaves_what_the_owner_of_a_table_appends(owned, tmp_path, monkeypatch):
    once(monkeypatch, store, "_delete_operation", lambda: append(owned))
    with pytest.raises(atoll.Conflict):
        owned.delete(names(3))
    assert lance.dataset(f"{owned.uri}/t.lance").count_rows() == 350
    assert len(opened(owned, tmp_path)) == 300


def test_adopting_again_does_not_carry_out_a_killed_delete(owned, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "commit_manifest", lambda *_: stop())
        with pytest.raises(KeyboardInterrupt):
            owned.delete(names(3))
    try:
        again = atoll.adopt(owned.uri, settings=settings(tmp_path))
    except atoll.Conflict:
        again = opened(owned, tmp_path)
    assert len(again) == 300


def test_searches_answer_while_retrain_changes_the_index_and_others_add(tmp_path, monkeypatch):
    vectors = clustered(400, DIM)
    first = write_parquet(tmp_path / "x.parquet", vectors[:300], names(300))
    more = write_parquet(tmp_path / "y.parquet", vectors[300:], names(100, 300))
    place, ours = tmp_path / "c", settings(tmp_path)
    made = atoll.create(place, first, index="flat", settings=ours, workers=1)
    once(
        monkeypatch,
        retrain._Work,
        "rebuilt",
        lambda: atoll.open(place, settings=ours).add(more, workers=1),
    )
    answers = []
    real = manifests.commit_manifest

    def commit(storage, manifest):
        is_done = real(storage, manifest)
        answers.append(atoll.open(place, settings=ours).search(vectors[:2], k=3).num_rows)
        return is_done

    monkeypatch.setattr(manifests, "commit_manifest", commit)
    made.retrain(num_partitions=2)
    assert answers
    assert set(answers) == {6}
    assert len(atoll.open(place, settings=ours)) == 400


def test_compact_waits_for_a_retrain_to_new_codes(tmp_path, monkeypatch):
    source = write_parquet(tmp_path / "x.parquet", clustered(400, DIM), names(400))
    place, ours = tmp_path / "c", settings(tmp_path)
    made = atoll.create(place, source, bucket_rows=100, num_partitions=2, settings=ours, workers=1)
    with monkeypatch.context() as patch:
        once(patch, retrain, "_commit", stop)
        with pytest.raises(KeyboardInterrupt):
            made.retrain(bits=8, num_partitions=2)
    with pytest.raises(atoll.Conflict, match="retrain"):
        atoll.open(place, settings=ours).compact()


def test_a_killed_retrain_that_is_finished_is_calibrated_again(tmp_path, monkeypatch):
    source = write_parquet(tmp_path / "x.parquet", clustered(300, DIM), names(300))
    place, ours = tmp_path / "c", settings(tmp_path)
    made = atoll.create(place, source, bucket_rows=150, num_partitions=4, settings=ours, workers=1)
    made.calibrate(k=[1], num_queries=20)
    with monkeypatch.context() as patch:
        once(patch, retrain, "_commit", stop)
        with pytest.raises(KeyboardInterrupt):
            made.retrain(num_partitions=3)
    again = atoll.open(place, settings=ours)
    again.retrain(num_partitions=3)
    assert again.calibration is not None


class ManyWorkers(InlineExecutor):
    """Workers, of which the command dies after so many tasks."""

    def __init__(self, workers, tasks=1 << 30):
        self.workers, self.tasks = workers, tasks

    def map(self, task, items, **more):
        def counted(item):
            self.tasks -= 1
            return stop() if self.tasks < 0 else task(item)

        return super().map(counted, items, **more)


@pytest.mark.parametrize("workers", [(3, 2), (2, 3)])
def test_a_shared_build_goes_on_with_other_workers(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(teams, "MIN_SHARED_ROWS", 1)
    monkeypatch.setattr(ids, "RUN_ROWS", 1500)
    vectors = clustered(6000, 8)
    source = write_parquet(tmp_path / "x.parquet", vectors, names(6000))
    options = {"num_partitions": 12, "settings": settings(tmp_path), "calibrate": False}
    for count in workers:
        maps = -(-6000 // sharing.task_rows(6000, count))
        with pytest.raises(KeyboardInterrupt):
            atoll.create(tmp_path / "c", source, executor=ManyWorkers(count, maps + 1), **options)
    made = atoll.create(tmp_path / "c", source, executor=ManyWorkers(workers[0]), **options)
    some = names(6000)[::100]
    assert made.search(vectors[::100], k=1, exact=True)["id"].to_pylist() == some
    assert made.get(some)["id"].to_pylist() == some
    assert made.verify().is_clean


def test_a_filter_does_not_make_a_search_hold_more_codes(tmp_path, monkeypatch):
    rows = 20_000
    source = write_parquet(
        tmp_path / "x.parquet", clustered(rows, DIM), names(rows), flag=np.arange(rows) % 2
    )
    made = atoll.create(
        tmp_path / "c", source, num_partitions=40, settings=settings(tmp_path), calibrate=False,
        workers=1,
    )  # fmt: skip
    monkeypatch.setattr(search, "CODE_BYTES", 100_000)
    monkeypatch.setattr(search, "NARROW_ROWS", 10)
    held = []
    real = shelf.Shelf.codes

    def read(*given):
        codes = real(*given)
        held.append(int(codes.rows.sum()) * made._reader.schema.field("_code").type.byte_width)
        return codes

    monkeypatch.setattr(shelf.Shelf, "codes", read)
    made.search(gaussian(20, DIM, seed=3), k=10, nprobes=40, where="flag = 0")
    assert len(held) > 1
    assert max(held) < 150_000
