"""`--num-partitions auto`: tried on a sample, told, stored, and taken up after a kill."""

from __future__ import annotations

import json
import os
import random
import signal
import time

import numpy as np
import pytest
from commandline import atoll as command
from commandline import ended, must, start
from vectordata import clustered, gaussian, hit_ids, names, nearest, recall, settings, write_h5

import atoll
from atoll.core.errors import InvalidInput, Unavailable
from atoll.vectors import bucketjobs, partitions, partitiontrials

ROWS, DIM, K = 3000, 32, 10
AUTO = ("--num-partitions", "auto", "--workers", 1, "-q")


def vectors(rows, seed):
    """Clusters that overlap: recall depends on every setting."""
    return clustered(rows, DIM, clusters=40, seed=1)[:rows] * 0.3 + gaussian(rows, DIM, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with vectors, and a collection `c` whose number of partitions was chosen."""
    folder = tmp_path_factory.mktemp("partitions")
    write_h5(folder / "a.h5", vectors(ROWS, 1))
    (folder / "said").write_text(must("create", folder / "c", folder / "a.h5", *AUTO))
    return folder


def opened(path):
    return atoll.open(path, settings=settings(path.parent))


def without_time(choice):
    """A choice as JSON-ready facts, less the time it took."""
    return {name: value for name, value in partitions.facts(choice).items() if name != "cpu_s"}


def test_what_was_tried_and_chosen_is_printed_and_stored(folder):
    said = (folder / "said").read_text()
    collection = opened(folder / "c")
    choice = collection.partition_choice
    assert [trial.num_partitions for trial in choice.trials] == [1, 3, 6, 12, 24]
    assert collection.spec.index.num_partitions == choice.num_partitions
    assert f"{choice.num_partitions} partitions per bucket: {choice.why}" in said
    assert f"tried with {ROWS - 200:,} rows of {ROWS:,} and 200 queries" in said
    assert choice.why in must("info", folder / "c")
    told = json.loads(must("info", folder / "c", "--json"))["partitions"]
    assert told == json.loads(json.dumps(partitions.facts(choice)))


def test_the_settings_told_hold_the_wish_for_sure(folder):
    for tried in opened(folder / "c").info()["partitions"]["tried"]:
        held = tried["holds"]
        assert held["k"] == K
        assert held["low"] >= partitiontrials.DEFAULT_RECALL


def test_the_grid_is_kept_whole(folder):
    for trial in opened(folder / "c").partition_choice.trials:
        points = trial.measured.points
        assert {point.k for point in points} == {1, K}
        assert len({point.candidates for point in points}) > 3
        # Bytes of a query that has nothing cached: centroids are 2 bytes a value.
        assert min(point.bytes for point in points) > 2 * DIM * trial.num_partitions


def test_a_plan_tells_the_same_and_writes_nothing(folder):
    told = json.loads(must("plan", folder / "nowhere", folder / "a.h5", *AUTO, "--json"))
    assert not (folder / "nowhere").exists()
    before = opened(folder / "c").info()["partitions"]
    del told["partitions"]["cpu_s"], before["cpu_s"]
    assert told["partitions"] == before
    assert told["index"]["num_partitions"] == before["num_partitions"]


def test_what_was_measured_before_the_build_is_found_after_it(folder):
    collection = opened(folder / "c")
    count = collection.spec.index.num_partitions
    (held,) = (
        each["holds"] for each in collection.info()["partitions"]["tried"]
        if each["num_partitions"] == count
    )  # fmt: skip
    queries = vectors(200, 2)
    true = nearest(vectors(ROWS, 1), names(ROWS), queries, "cosine", K)
    refine = -(-held["candidates"] // K)
    found = collection.search(queries, K, nprobes=held["nprobes"], refine_factor=refine)
    assert recall(hit_ids(found), true) == pytest.approx(held["recall"], abs=0.04)


def test_of_many_rows_a_part_is_tried_with_as_many_a_partition(folder, monkeypatch):
    monkeypatch.setattr(partitiontrials, "MAX_SAMPLE_ROWS", ROWS // 2)
    monkeypatch.setattr(partitions, "MIN_SAMPLE_PARTITIONS", 3)
    told = json.loads(must("plan", folder / "n", folder / "a.h5", *AUTO, "--json"))["partitions"]
    assert told["sample_rows"] + told["queries"] == pytest.approx(ROWS // 2, abs=16)
    tried = [(each["num_partitions"], each["sample_partitions"]) for each in told["tried"]]
    assert tried == [(6, 3), (12, 6), (24, 12)]


def test_a_sample_that_is_too_thin_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "MIN_SAMPLE_PARTITIONS", 100)
    monkeypatch.setattr(partitiontrials, "MAX_SAMPLE_ROWS", ROWS // 2)
    done = command("create", tmp_path / "c", folder / "a.h5", *AUTO)
    assert done.code == 1
    assert "too thin" in done.err
    assert "leave --num-partitions out, or give a number" in done.err


def test_few_rows_get_the_default(tmp_path):
    write_h5(tmp_path / "few.h5", gaussian(3, DIM))
    said = must("create", tmp_path / "c", tmp_path / "few.h5", *AUTO)
    assert "1 partition per bucket: the default: 3 rows are too few to try others" in said


def test_rows_that_are_all_equal_get_the_default(tmp_path):
    write_h5(tmp_path / "equal.h5", np.ones((1200, 8), np.float32))
    said = must("create", tmp_path / "c", tmp_path / "equal.h5", *AUTO)
    assert "2 partitions per bucket: the default" in said
    assert len(opened(tmp_path / "c")) == 1200


def test_rows_that_cannot_be_searched_are_not_tried(tmp_path):
    some = vectors(1500, 1)
    some[::10] = np.nan
    write_h5(tmp_path / "some.h5", some)
    must("create", tmp_path / "c", tmp_path / "some.h5", *AUTO, "--on-invalid", "skip")
    choice = opened(tmp_path / "c").partition_choice
    assert choice.sample_rows + choice.queries == 1350


def test_further_columns_and_float16_do_not_hinder(tmp_path):
    write_h5(tmp_path / "a.h5", vectors(1200, 1), length=np.arange(1200))
    told = json.loads(must("plan", tmp_path / "c", tmp_path / "a.h5", *AUTO, "--dtype", "float16",
                           "--distance-type", "l2", "--json"))  # fmt: skip
    assert all(each["holds"] for each in told["partitions"]["tried"])


def test_over_several_buckets_a_query_needs_more_requests(folder):
    more = ("--bucket-rows", ROWS // 3, "--json")
    told = json.loads(must("plan", folder / "n", folder / "a.h5", *AUTO, *more))["partitions"]
    for tried in told["tried"]:
        held = tried["holds"]
        assert held["requests"] >= 3 * held["nprobes"] + K


def test_rows_that_float16_cannot_hold_are_refused_by_their_own_names(tmp_path):
    some = vectors(1200, 1)
    some[::100] *= 1e6
    write_h5(tmp_path / "a.h5", some)
    done = command("create", tmp_path / "c", tmp_path / "a.h5", *AUTO, "--dtype", "float16")
    assert done.code == 1
    assert "p00000" in done.err


@pytest.mark.parametrize(
    ("index", "why"), [("ivf_pq", "goes with --index rabitq"), ("flat", "flat has none")]
)
def test_other_indexes_take_a_number_only(folder, tmp_path, index, why):
    done = command("create", tmp_path / "c", folder / "a.h5", *AUTO, "--index", index)
    assert (done.code, why in done.err) == (1, True)


def test_a_wish_needs_a_choice(folder, tmp_path):
    done = command("create", tmp_path / "c", folder / "a.h5", "--recall", 0.9)
    assert done.code == 1
    assert "leave one of the two out" in done.err


def test_the_same_command_again_tries_nothing(folder, monkeypatch):
    monkeypatch.setattr(partitiontrials, "choose_count", None)
    must("create", folder / "c", folder / "a.h5", *AUTO)


def test_a_build_that_failed_goes_on_with_what_it_chose(folder, tmp_path, monkeypatch):
    given = {"num_partitions": "auto", "workers": 1, "settings": settings(tmp_path)}

    def fails(*_):
        raise Unavailable("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(bucketjobs, "built", fails)
        with pytest.raises(Unavailable):
            atoll.create(tmp_path / "c", folder / "a.h5", **given)
    monkeypatch.setattr(partitiontrials, "choose_count", None)
    made = atoll.create(tmp_path / "c", folder / "a.h5", **given)
    assert without_time(made.partition_choice) == without_time(
        opened(folder / "c").partition_choice
    )


def test_the_choice_stays_until_another_model_is_trained(folder, tmp_path):
    write_h5(tmp_path / "a.h5", vectors(1200, 1))
    must("create", tmp_path / "c", tmp_path / "a.h5", *AUTO)
    write_h5(tmp_path / "b.h5", vectors(100, 2), names(100, 1200))
    must("add", tmp_path / "c", tmp_path / "b.h5", "--workers", 1, "-q")
    must("gc", tmp_path / "c", "-q")
    assert "clean" in must("verify", tmp_path / "c")
    collection = opened(tmp_path / "c")
    assert collection.partition_choice.rows == 1200
    collection.retrain(num_partitions=4)
    assert collection.partition_choice is None


def test_rows_of_which_none_can_be_searched_are_refused(tmp_path):
    write_h5(tmp_path / "zeros.h5", np.zeros((1200, 8), np.float32))
    with pytest.raises(InvalidInput, match="none of the 1,200 rows"):
        atoll.create(tmp_path / "c", tmp_path / "zeros.h5", num_partitions="auto",
                     settings=settings(tmp_path))  # fmt: skip


@pytest.mark.slow
def test_killed_while_it_tries_it_leaves_nothing_and_starts_over(tmp_path, kill_seed):
    write_h5(tmp_path / "a.h5", vectors(1100, 1))
    words = ("create", tmp_path / "c", tmp_path / "a.h5", *AUTO, "--scratch", tmp_path / "s")
    process = start(*words)
    time.sleep(random.Random(kill_seed).uniform(1, 10))
    os.killpg(process.pid, signal.SIGKILL)
    ended(process)
    must(*words)
    assert not [*(tmp_path / "s").glob("*")]
    assert "clean" in must("verify", tmp_path / "c")
    choice = opened(tmp_path / "c").partition_choice
    assert [trial.num_partitions for trial in choice.trials] == [1, 2, 4, 8]
