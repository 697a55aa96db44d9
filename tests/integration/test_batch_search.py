"""Searches of many queries by workers that copy their bucket to a disk of their own."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pyarrow.parquet as parquet
import pytest
from commandline import atoll as command
from commandline import ended, kill_midway, must, start, steps_of
from vectordata import clustered, settings, write_parquet

import atoll
from atoll.vectors import output
from atoll.vectors.distributed import copies, steps, workers
from atoll.vectors.options import search_options

ROWS, DIM, BUCKET_ROWS = 1200, 32, 300
VECTORS = clustered(ROWS, DIM)
QUERIES = clustered(40, DIM, seed=8)
ASKED = ("-k", 7, "--nprobes", 3)


def built(url, folder, reach, index="rabitq"):
    source = write_parquet(folder / "x.parquet", VECTORS, length=np.arange(ROWS))
    found = atoll.create(
        url, source, settings=reach, bucket_rows=BUCKET_ROWS, workers=1, num_partitions=6,
        index=index, calibrate=False,
    )  # fmt: skip
    found.delete(["p00003", "p00305"])
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A collection on this disk, a file of queries, and what one process answers."""
    folder = tmp_path_factory.mktemp("world")
    built(folder / "c", folder, settings(folder / "scratch"))
    np.save(folder / "q.npy", QUERIES)
    must("search", folder / "c", folder / "q.npy", *ASKED, "-o", folder / "hits.csv", "-q")
    return folder


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_give_what_one_process_gives(here, tmp_path, workers):
    words = ("batch-search", here / "c", here / "q.npy", *ASKED, "--workers", workers)
    done = ended(start(*words, "-o", tmp_path / "out"))
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "hits.csv").read_bytes() == (here / "hits.csv").read_bytes()
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {"hits.csv", "summary.json", "request.json"}


def test_hits_may_be_parquet(here, tmp_path):
    words = (here / "c", here / "q.npy", *ASKED, "-q")
    must("batch-search", *words, "-o", tmp_path / "out", "--format", "parquet")
    must("search", *words, "-o", tmp_path / "hits.parquet")
    found = parquet.read_table(tmp_path / "out" / "hits.parquet")
    assert found.equals(parquet.read_table(tmp_path / "hits.parquet"))


@pytest.mark.slow
def test_killed_at_any_time_it_goes_on_and_gives_the_same(here, tmp_path, kill_seed):
    def words(out):
        return ("batch-search", here / "c", here / "q.npy", *ASKED, "--workers", 2, "-o", out, "-q")

    undisturbed = steps_of(tmp_path / "first", *words(tmp_path / "first"))
    kill_midway(tmp_path / "out", undisturbed, f"batch{kill_seed}", *words(tmp_path / "out"))
    must(*words(tmp_path / "out"))
    assert (tmp_path / "out" / "hits.csv").read_bytes() == (here / "hits.csv").read_bytes()


def test_single_steps_give_the_same(here, tmp_path):
    out = tmp_path / "out"
    told = json.loads(
        must("batch-search", here / "c", here / "q.npy", *ASKED, "-o", out, "--plan-only", "-q")
    )
    assert (told["buckets"], told["groups"]) == ([0, 1, 2, 3], [])
    for index in told["buckets"]:
        environment = {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
        done = ended(start("step", "search", out, "--download", **environment))
        assert (done.code, json.loads(done.out)) == (0, {"bucket": index})
    must("step", "refine", out)
    assert (out / "hits.csv").read_bytes() == (here / "hits.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("step", "search", "{run}"), "needs --index"),
        (("step", "search", "{run}", "--index", 4), "there is no bucket 4"),
        (("step", "fold", "{run}", "--index", 0), "there is no group 0"),
        (("step", "refine", "{run}", "--download"), "--download goes with the step search"),
        (("step", "plan", "{run}/nothing"), "is no search that was begun"),
        (("step", "search", "{run}/nothing", "--index", 0), "is not planned yet"),
    ],
    ids=str,
)
def test_steps_that_cannot_be_done_say_why(here, tmp_path, words, said):
    out = tmp_path / "out"
    must("batch-search", here / "c", here / "q.npy", *ASKED, "-o", out, "--plan-only", "-q")
    done = command(*(str(word).format(run=out) for word in words))
    assert done.code in (1, 2)
    assert said in done.err


def test_a_run_that_others_wrote_empties_no_file_of_ours(moto_s3, tmp_path):
    reach = settings(tmp_path / "scratch", storage=moto_s3.options())
    collection = built(moto_s3.new_bucket() + "/c", tmp_path, reach)
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=7, nprobes=3))
    steps.plan(run, reach)
    (tmp_path / "thesis").write_text("years of work")
    theirs = tmp_path / "run" / "_run" / "buckets" / "0.json"
    told = json.loads(theirs.read_text())
    told[0]["layout"] |= {"path": str(tmp_path / "thesis"), "size_bytes": 0}
    theirs.write_text(json.dumps(told))
    with pytest.raises(atoll.Corrupt, match="thesis' is no path inside a collection"):
        workers.batch_search(run, replace(reach, scratch=tmp_path / "disk"), workers=1)
    assert (tmp_path / "thesis").read_text() == "years of work"


# -- copies ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["rabitq", "ivf_pq"])
def distant(request, store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distant")
    reach = settings(folder / "scratch", storage=store[0].options())
    return built(store[0].new_bucket() + "/c", folder, reach, request.param), reach


def searched(distant, tmp_path, **changes):
    collection, reach = distant
    options = search_options(k=7, nprobes=3)
    run = collection.begin_run(tmp_path / "run", QUERIES, options, is_refined_early=True)
    workers.batch_search(run, replace(reach, scratch=tmp_path / "disk", **changes), workers=1)
    return (tmp_path / "run" / "hits.csv").read_bytes()


def expected(distant):
    return output.as_bytes(distant[0].search(QUERIES, k=7, nprobes=3), ".csv")


@pytest.mark.ceph
def test_buckets_are_copied_searched_and_removed(distant, behaviour, tmp_path):
    hits = searched(distant, tmp_path)
    assert not [
        path for path in (tmp_path / "disk").rglob("*") if path.is_dir() and "bucket" in path.name
    ]
    names = {bucket.name for bucket in distant[0].buckets}
    assert {
        name for name in names if any(f"{name}.lance/data" in p for _, p in behaviour.paths)
    } == names
    assert hits == expected(distant)


@pytest.mark.ceph
def test_a_copy_that_came_damaged_is_fetched_anew(distant, behaviour, tmp_path):
    damaged = []

    def once(kind, path):
        is_hit = ".lance/data/" in path and not damaged
        damaged.extend([path] if is_hit else [])
        return is_hit

    behaviour.breaks = once
    hits = searched(distant, tmp_path)
    assert damaged
    assert hits == expected(distant)


@pytest.mark.ceph
def test_what_is_damaged_in_the_store_is_named(distant, behaviour, tmp_path):
    name = distant[0].buckets[2].name
    behaviour.breaks = lambda kind, path: f"{name}.lance/data/" in path
    with pytest.raises(atoll.Corrupt, match=f"{name} came damaged twice"):
        searched(distant, tmp_path)
    behaviour.breaks = None
    assert searched(distant, tmp_path) == expected(distant)


@pytest.mark.ceph
def test_a_disk_that_is_too_small_is_named_before_anything_is_copied(
    distant, behaviour, tmp_path, monkeypatch
):
    monkeypatch.setattr(copies, "SPARE_BYTES", shutil.disk_usage(tmp_path).total)
    with pytest.raises(atoll.Unavailable, match="is too small for a copy of the bucket"):
        searched(distant, tmp_path)
    assert not any(".lance/data/" in path for _, path in behaviour.paths)


@pytest.mark.ceph
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_fills_up_is_named(distant, behaviour, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", tmp_path / "disk"], check=True
    )
    monkeypatch.setattr(copies, "_require_room", lambda files, folder: None)
    try:
        with pytest.raises(
            atoll.Unavailable, match=r"disk full; free some room, or give --scratch"
        ):
            searched(distant, tmp_path)
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


@pytest.mark.ceph
def test_a_copy_that_was_cut_off_goes_on_where_it_stopped(
    distant, behaviour, tmp_path, monkeypatch
):
    monkeypatch.setattr(copies, "PIECE_BYTES", 4096)
    monkeypatch.setattr(copies, "PIECES_AT_ONCE", 2)
    collection, reach = distant
    few = replace(reach, storage=replace(reach.storage, retries=0))

    def stop(*_):
        behaviour.is_down = sum(".lance/data/" in path for _, path in behaviour.paths) > 6
        return False

    behaviour.breaks = stop
    with pytest.raises(atoll.Unavailable):
        searched((atoll.open(collection.uri, settings=few), few), tmp_path)
    (record,) = (tmp_path / "disk").rglob("*.pieces")
    noted = record.stat().st_size // 16
    assert noted > 2
    part = record.with_suffix(".part")
    # The last piece may be half written: its hash says so.
    data = bytearray(part.read_bytes())
    data[-1] ^= 1
    part.write_bytes(data)
    behaviour.is_down, behaviour.breaks = False, None
    behaviour.forget()
    hits = searched(distant, tmp_path)
    path = record.name.removesuffix(".pieces")
    again = sum(asked.endswith(path) for _, asked in behaviour.paths)
    size = next(e.size_bytes for e in collection._storage.list() if e.path.endswith(path))
    assert again == -(-size // 4096) - noted + 1
    assert hits == expected(distant)
