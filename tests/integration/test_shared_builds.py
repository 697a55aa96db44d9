"""One bucket built by many workers is the bucket that one worker builds."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace

import lance
import numpy as np
import pytest
from commandline import DEADLINE_SECONDS, children_of, ended, must, start
from commandline import atoll as atoll_command
from s3_servers import moto_server
from vectordata import clustered, names, settings, write_h5, write_parquet

import atoll
from atoll.compute.inline import InlineExecutor
from atoll.core.errors import InvalidInput, Unavailable
from atoll.storage import open_storage
from atoll.vectors import blobs, build, garbage, ids, ivfpq, manifests, sharing, teams

ROWS, DIM, PARTITIONS = 5000, 8, 12


class Workers(InlineExecutor):
    """As many workers as a test wants, one after the other; Ctrl-C comes before task `until`."""

    def __init__(self, workers, *, is_local=True, until=1 << 30):
        self.workers, self.is_local, self.until = workers, is_local, until

    def map(self, task, items, *, name=str, on_done=None):
        def counted(item):
            self.until -= 1
            if self.until < 0:
                raise KeyboardInterrupt
            return task(item)

        return super().map(counted, items, name=name, on_done=on_done)


@pytest.fixture(autouse=True)
def small_buckets_are_shared(monkeypatch):
    # Workers without a disk of ours reach the collection all the same, as if it were mounted.
    monkeypatch.setattr(build, "require_shared_build", lambda *_: None)
    monkeypatch.setattr(teams, "MIN_SHARED_ROWS", 1)
    monkeypatch.setattr(ids, "RUN_ROWS", 1500)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two files; some rows cannot be searched, some ids come twice."""
    folder = tmp_path_factory.mktemp("sources")
    rows = clustered(ROWS, DIM)
    rows[[3, 1700, 4999]] = np.nan
    first = write_h5(folder / "a.h5", rows[:3500], names(3500))
    return first, write_parquet(folder / "b.parquet", rows[3500:], names(1500, 3400))


def built(place, sources, executor=None, *, memory=1 << 28, **options):
    options = {"on_invalid": "skip", "on_duplicate": "skip", "num_partitions": PARTITIONS} | options
    limits = settings(place.parent / "scratch", memory_bytes=memory)
    return atoll.create(place, sources, executor=executor, settings=limits, **options)


def all_but_place(collection):
    (bucket,) = collection.buckets
    return replace(bucket, layout=None)


def offsets(collection):
    (bucket,) = collection.buckets
    return blobs.get_layout(open_storage(collection.uri), bucket.layout).offsets.tolist()


@pytest.mark.parametrize("index", ["rabitq", "ivf_pq"])
@pytest.mark.parametrize(
    ("workers", "is_local", "memory"),
    [(2, True, 1 << 28), (3, False, 1 << 28), (7, True, 1 << 17), (1, True, 1 << 17)],
)
def test_workers_and_memory_do_not_change_what_is_stored(
    tmp_path, sources, index, workers, is_local, memory
):
    options = {"index": index, "dtype": "float16"}
    if index == "ivf_pq":
        options["num_sub_vectors"] = 2
    alone = built(tmp_path / "alone", sources, workers=1, **options)
    shared = built(
        tmp_path / "shared", sources, Workers(workers, is_local=is_local), memory=memory, **options
    )
    assert all_but_place(shared) == all_but_place(alone)
    assert offsets(shared) == offsets(alone)
    assert shared.verify().is_clean
    query = clustered(3, DIM, seed=5)
    assert shared.search(query, k=20).equals(alone.search(query, k=20))
    assert report(tmp_path / "shared") == report(tmp_path / "alone") != ""
    assert not list((tmp_path / "shared" / "_atoll").glob("builds/*/shuffle/*/*"))
    assert list((tmp_path / "scratch").iterdir()) == []


def report(place):
    return "".join(path.read_text() for path in place.glob("_atoll/reports/*"))


def test_processes_share_a_bucket(tmp_path, sources):
    alone = built(tmp_path / "alone", sources, workers=1)
    shared = built(tmp_path / "shared", sources, workers=2)
    assert all_but_place(shared) == all_but_place(alone)
    (table,) = (tmp_path / "shared").glob("*.lance")
    assert len(list(table.glob("data/*"))) > 1


def test_what_is_added_lies_in_partition_order_too(tmp_path, sources):
    collection = built(tmp_path / "c", sources, Workers(3), distance_type="l2")
    more = write_parquet(tmp_path / "more.parquet", clustered(900, DIM, seed=9), names(900, 9000))
    collection.add([more], executor=Workers(2))
    manifest = manifests.latest_manifest(open_storage(tmp_path / "c"))
    (model,) = manifest.models.values()
    centroids = blobs.get_model(open_storage(tmp_path / "c"), model).centroids.astype(np.float64)
    assert len(manifest.buckets) == 2
    for bucket in manifest.buckets:
        table = lance.dataset(str(tmp_path / "c" / f"{bucket.name}.lance")).to_table()
        rows = np.stack(table["embedding"].to_numpy(zero_copy_only=False)).astype(np.float64)
        nearest = ((rows[:, None] - centroids) ** 2).sum(axis=2).argmin(axis=1)
        starts = blobs.get_layout(open_storage(tmp_path / "c"), bucket.layout).offsets
        assert nearest.tolist() == np.repeat(np.arange(PARTITIONS), np.diff(starts)).tolist()


def test_workers_meet_in_an_object_store(tmp_path, sources):
    alone = built(tmp_path / "alone", sources, workers=1)
    with moto_server() as server:
        reach = settings(tmp_path / "scratch", storage=server.options())
        place = f"{server.new_bucket()}/c"
        options = {"on_invalid": "skip", "on_duplicate": "skip", "num_partitions": PARTITIONS}
        shared = atoll.create(
            place, sources, executor=Workers(3, is_local=False), settings=reach, **options
        )
        assert all_but_place(shared) == all_but_place(alone)
        assert shared.verify().is_clean
        assert not [o for o in shared._storage.list() if "shuffle" in o.path]


@pytest.mark.parametrize("until", [0, 3, 7, 10])
def test_finished_tasks_are_not_done_again_where_the_store_keeps_them(
    tmp_path, sources, monkeypatch, until
):
    read = []
    original = sharing.read_rows
    monkeypatch.setattr(
        sharing, "read_rows", lambda parts, *more: read.append(parts) or original(parts, *more)
    )
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path / "c", sources, Workers(2, is_local=False, until=until))
    shared = built(tmp_path / "c", sources, Workers(2, is_local=False))
    assert len(read) == len(set(map(str, read))) == 6
    assert all_but_place(shared) == all_but_place(built(tmp_path / "one", sources, workers=1))


@pytest.mark.parametrize(
    ("after", "until", "memory"),
    [("shuffled", 3, 1 << 17), *((at, 1 << 30, 1 << 28) for at in ("shuffled", "facts_of",
     "put_rows", "commit"))],
)  # fmt: skip
def test_two_commands_build_one_bucket_at_once(
    tmp_path, sources, monkeypatch, after, until, memory
):
    alone = built(tmp_path / "one", sources, workers=1)
    real, called = getattr(sharing, after), []

    def with_another(*given, **more):
        found = real(*given, **more)
        called.append(True)
        if len(called) == 1:
            with suppress(KeyboardInterrupt):
                other = Workers(2, is_local=False, until=until)
                built(tmp_path / "c", sources, other, memory=memory)
        return found

    monkeypatch.setattr(sharing, after, with_another)
    shared = built(tmp_path / "c", sources, Workers(2, is_local=False))
    assert all_but_place(shared) == all_but_place(alone)
    assert shared.verify().is_clean
    assert not list((tmp_path / "c" / "_atoll").glob("builds/*/shuffle/*/*"))


@pytest.mark.parametrize("until", [3, 8])
def test_gc_takes_what_workers_of_a_killed_build_left(tmp_path, sources, until):
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path / "c", sources, Workers(2, is_local=False, until=until))
    assert list((tmp_path / "c" / "_atoll").rglob("shuffle"))
    garbage.collect(open_storage(tmp_path / "c"), dry_run=False)
    assert [path for path in (tmp_path / "c").rglob("*") if path.is_file()] == []
    assert built(tmp_path / "c", sources, Workers(2, is_local=False)).verify().is_clean


def test_rows_that_several_tasks_refuse_are_told_together(tmp_path, sources):
    with pytest.raises(InvalidInput, match=r"3 rows cannot be searched: \S*a.h5 row 3 .*row 1700"):
        built(tmp_path / "c", sources, Workers(3), on_invalid="error")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_bucket_of_which_no_row_can_be_searched_is_refused(tmp_path):
    rows = np.full((3000, DIM), np.nan, np.float32)
    rows[0] = 1
    source = write_parquet(tmp_path / "x.parquet", rows)
    collection = built(tmp_path / "c", [source], Workers(2))
    assert report(tmp_path / "c").count("NaN") == 2999
    more = write_parquet(tmp_path / "y.parquet", rows[1:], names(2999, 9000))
    with pytest.raises(InvalidInput, match=r"no row of \S*y.parquet can be searched"):
        collection.add([more], on_invalid="skip", executor=Workers(2))
    assert len(atoll.open(tmp_path / "c")) == 1


def test_one_giant_partition_is_shared_like_any_rows(tmp_path):
    source = write_parquet(tmp_path / "x.parquet", np.ones((ROWS, DIM), np.float32))
    shared = built(tmp_path / "c", [source], Workers(4), memory=1 << 17)
    found = lance.dataset(str(next((tmp_path / "c").glob("*.lance"))))
    assert len(found.get_fragments()) > 3
    assert found.to_table(["id"])["id"].to_pylist() == names(ROWS)
    assert shared.verify().is_clean


def test_an_index_of_lance_that_hangs_is_named_and_made_by_the_next_try(
    tmp_path, sources, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(ivfpq, "DEADLINE_SECONDS", 0.01)
        patch.setattr(ivfpq, "DEADLINE_SECONDS_PER_ROW", 0)
        with pytest.raises(Unavailable, match=r"index of table bucket_\w+ did not end .* hung"):
            built(tmp_path / "c", sources, index="ivf_pq", num_sub_vectors=2, workers=1)
    whole = built(tmp_path / "c", sources, index="ivf_pq", num_sub_vectors=2, workers=1)
    assert whole.verify().is_clean


# -- killed ---------------------------------------------------------------------------------------

MANY = 140_000


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A source of so many rows that two workers share its bucket, and what one makes of it."""
    folder = tmp_path_factory.mktemp("many")
    source = write_h5(folder / "x.h5", clustered(MANY, DIM), names(MANY))
    must(*create(folder / "alone", source, "--workers", 1))
    return source, all_but_place(atoll.open(folder / "alone"))


def create(place, source, *options):
    return ("create", place, source, "--num-partitions", 8, "--workers", 2, "-q", *options)


def await_file(folder, pattern, process):
    deadline = time.monotonic() + DEADLINE_SECONDS
    found = []
    while not found:
        # Folders go while they are looked through.
        with suppress(FileNotFoundError):
            found = list(folder.glob(pattern))
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.slow
@pytest.mark.parametrize(
    "at",
    [
        "atoll-scratch-build-*/*/run-*",
        pytest.param("atoll-scratch-build-*/*/names-*", marks=pytest.mark.nightly),
    ],
)
def test_workers_that_are_killed_are_replaced(tmp_path, many, at):
    source, expected = many
    (scratch := tmp_path / "scratch").mkdir()
    process = start(*create(tmp_path / "c", source, "--scratch", scratch))
    await_file(scratch, at, process)
    for worker in children_of(process):
        os.kill(worker, signal.SIGKILL)
    done = ended(process)
    assert done.code == 0, done.err
    assert all_but_place(atoll.open(tmp_path / "c")) == expected
    assert list(scratch.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "at",
    [
        "atoll-scratch-build-*/*/run-*",
        pytest.param("atoll-scratch-build-*/*/part-*", marks=pytest.mark.nightly),
    ],
)
def test_a_create_that_is_killed_is_not_there_and_finishes(tmp_path, many, at):
    source, expected = many
    (scratch := tmp_path / "scratch").mkdir()
    process = start(*create(tmp_path / "c", source, "--scratch", scratch))
    await_file(scratch, at, process)
    process.kill()
    process.communicate()
    assert atoll_command("info", tmp_path / "c").code == 1
    must(*create(tmp_path / "c", source, "--scratch", scratch))
    collection = atoll.open(tmp_path / "c")
    assert all_but_place(collection) == expected
    for lease in tmp_path.glob("c/_atoll/leases/*.json"):
        lease.unlink()  # it would expire by itself
    collection.gc()
    assert collection.verify().is_clean
    (table,) = (tmp_path / "c").glob("*.lance")
    live = {file.path for f in lance.dataset(str(table)).get_fragments() for file in f.data_files()}
    assert {path.name for path in table.glob("data/*")} == live
    assert list(scratch.iterdir()) == []
