"""Recall: asked for, calibrated, kept on queries that calibration never saw."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from commandline import atoll as command
from commandline import kill_midway, must, steps_of
from vectordata import clustered, gaussian, hit_ids, names, nearest, recall, settings, write_h5

import atoll
from atoll.core.errors import InvalidInput
from atoll.vectors import calibrate, calibration, kmeans, probes, search

ROWS, DIM, K = 3000, 64, 10
WISHES = (0.8, 0.85, 0.9)


def hard(rows, seed):
    """Vectors with hardly a cluster among them: recall depends on every setting."""
    return clustered(rows, DIM, clusters=40, seed=1)[:rows] * 0.2 + gaussian(rows, DIM, seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a collection `c` of two buckets that nobody has calibrated, and new vectors."""
    folder = tmp_path_factory.mktemp("recall")
    write_h5(folder / "a.h5", hard(ROWS, 1))
    np.save(folder / "q.npy", hard(400, 2))
    must("create", folder / "c", folder / "a.h5", "--num-partitions", 12, "--workers", 1,
         "--bucket-rows", ROWS // 2, "-q")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def calibrated(folder):
    """The collection, calibrated with stored rows."""
    collection = atoll.open(folder / "c", settings=settings(folder))
    collection.calibrate(k=[K], num_queries=400)
    return collection


@pytest.fixture(scope="module")
def true(folder):
    return nearest(hard(ROWS, 1), names(ROWS), np.load(folder / "q.npy"), "cosine", K)


@pytest.mark.parametrize("wish", WISHES)
def test_recall_asked_for_is_kept_on_other_queries(folder, calibrated, true, wish):
    hits = calibrated.search(folder / "q.npy", k=K, recall=wish)
    assert wish - 0.01 <= recall(hit_ids(hits), true) <= wish + 0.05


def test_the_settings_taken_and_what_they_promise_are_told(folder, calibrated):
    hits = calibrated.search(folder / "q.npy", k=K, recall=0.85)
    facts = json.loads(hits.schema.metadata[b"atoll"])
    told = facts["recall"]
    assert (told["asked"], told["holds"]) == (0.85, True)
    assert 0.85 <= told["low"] <= told["measured"] <= told["high"]
    again = calibrated.search(
        folder / "q.npy", k=K, nprobes=facts["nprobes"], refine_factor=facts["refine_factor"]
    )
    assert hit_ids(again) == hit_ids(hits)
    said = command("search", folder / "c", folder / "q.npy", "--recall", 0.85).err
    assert f"nprobes {facts['nprobes']}" in said
    assert "for recall 0.85: calibrated 0." in said


def test_a_higher_recall_never_reads_less(calibrated):
    chosen = [calibration.choose(calibrated.calibration, K, recall) for recall in WISHES]
    assert [point.bytes for point in chosen] == sorted(point.bytes for point in chosen)
    assert chosen[0].bytes < chosen[-1].bytes


def test_all_neighbours_are_found_where_all_are_asked_for(folder, calibrated, true):
    assert hit_ids(calibrated.search(folder / "q.npy", k=K, recall=1)) == true


def test_leave_one_out_predicts_recall_of_new_queries(folder, calibrated, true):
    for nprobes, factor in ((2, 5), (5, 2), (10, 10)):
        hits = calibrated.search(folder / "q.npy", k=K, nprobes=nprobes, refine_factor=factor)
        (point,) = (
            each for each in calibrated.calibration.points
            if (each.k, each.nprobes, each.candidates) == (K, nprobes, K * factor)
        )  # fmt: skip
        assert recall(hit_ids(hits), true) == pytest.approx(point.recall, abs=0.03)


@pytest.fixture
def worn(folder, tmp_path, monkeypatch):
    """A collection of two buckets with deleted rows, and of centroids in several groups."""
    monkeypatch.setattr(kmeans, "MAX_FLAT", 10)
    collection = atoll.create(tmp_path / "c", folder / "a.h5", num_partitions=40, workers=1,
                              bucket_rows=ROWS // 2, settings=settings(tmp_path))  # fmt: skip
    collection.delete(names(200))
    return collection


# Compared with few centroids, the nearest with a larger nprobes are not those with a smaller one
# and some more.
@pytest.mark.parametrize("compared", [128, 2])
def test_every_calibrated_point_is_what_a_search_finds(folder, worn, monkeypatch, compared):
    monkeypatch.setattr(probes, "MIN_COMPARED", compared)
    monkeypatch.setattr(probes, "COMPARED_PER_WANTED", compared)
    new = np.load(folder / "q.npy")[:150]
    points = worn.calibrate(new, k=[1, K]).points
    for k in (1, K):
        exact = hit_ids(worn.search(new, k=k, exact=True))
        for point in [each for each in points if each.k == k][::6]:
            hits = worn.search(new, k=k, nprobes=point.nprobes, refine_factor=point.refine_factor)
            assert recall(hit_ids(hits), exact) == pytest.approx(point.recall, abs=1e-12)


def test_points_of_stored_rows_are_what_searches_for_those_find(worn):
    points = worn.calibrate(k=[K], num_queries=100).points
    asked = calibrate.stored_rows(
        calibrate.opened(worn._storage, worn._settings, worn._manifest, calibrate.Wanted()), 100, 0
    )
    exact = hit_ids(worn.search(asked, k=K, exact=True, exclude_self=True))
    for point in points[::6]:
        hits = worn.search(asked, k=point.candidates, nprobes=point.nprobes, refine_factor=1,
                           exclude_self=True)  # fmt: skip
        found = [ids[:K] for ids in hit_ids(hits)]
        assert recall(found, exact) == pytest.approx(point.recall, abs=1e-12)


def test_a_filter_or_groups_take_the_promise_away(folder, calibrated):
    hits = calibrated.search(folder / "q.npy", recall=0.8, where="id > 'p0'")
    assert not json.loads(hits.schema.metadata[b"atoll"])["recall"]["holds"]


@pytest.mark.parametrize("settings", [{"nprobes": 3}, {"refine_factor": 2}, {"exact": True}])
def test_recall_goes_with_no_settings_of_ones_own(calibrated, settings):
    with pytest.raises(InvalidInput, match="recall chooses"):
        calibrated.search(hard(1, 3), recall=0.9, **settings)


@pytest.mark.parametrize("wish", [0, -1, 1.5, 95])
def test_recall_is_a_share(calibrated, wish):
    with pytest.raises(InvalidInput, match=r"above 0 and up to 1"):
        calibrated.search(hard(1, 3), recall=wish)


def test_a_wish_that_no_setting_holds_is_refused_with_the_best(folder, calibrated):
    done = command("search", folder / "c", folder / "q.npy", "--recall", 0.99999)
    assert done.code == 1
    assert "the best calibrated is" in done.err
    assert "--exact" in done.err


def test_given_queries_are_calibrated_with_drawn_and_printed(folder, tmp_path):
    must("create", tmp_path / "c", folder / "a.h5", "--num-partitions", 8, "--workers", 1, "-q")
    picture, queries = tmp_path / "recall.png", tmp_path / "q.npy"
    np.save(queries, hard(100, 2))
    said = must("calibrate", tmp_path / "c", queries, "-k", 5, "--plot", picture)
    assert "100 queries" in said
    assert str(queries) in said
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "of the 5 nearest at the default settings" in must("info", tmp_path / "c")
    facts = json.loads(must("calibrate", tmp_path / "c", "-k", 5, "--num-queries", 20, "--json"))
    assert (facts["queries"], facts["source"]) == (20, "stored rows")


def test_a_part_of_a_large_collection_is_measured_and_that_is_said(folder, tmp_path):
    must("create", tmp_path / "c", folder / "a.h5", "--num-partitions", 8, "--workers", 1,
         "--bucket-rows", ROWS // 4, "-q")  # fmt: skip
    said = must("calibrate", tmp_path / "c", "-k", 5, "--num-queries", 20, "--max-rows", ROWS // 2)
    assert f"on {ROWS // 2:,} of {ROWS:,} rows" in said


def test_a_small_collection_answers_exactly_before_it_is_calibrated(folder, uncalibrated, true):
    collection = atoll.open(uncalibrated[0], settings=settings(folder))
    assert collection.calibration is None
    assert hit_ids(collection.search(folder / "q.npy", recall=0.9)) == true


def test_a_larger_one_must_be_calibrated_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "NARROW_ROWS", 100)
    must("create", tmp_path / "c", folder / "a.h5", "--workers", 1, "--no-calibrate", "-q")
    done = command("search", tmp_path / "c", folder / "q.npy", "--recall", 0.9)
    assert done.code == 1
    assert f"run `atoll calibrate {tmp_path / 'c'}`" in done.err


def test_create_calibrates_and_add_measures_drift(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "NARROW_ROWS", 100)
    where = {"settings": settings(tmp_path), "workers": 1}
    collection = atoll.create(tmp_path / "c", folder / "a.h5", num_partitions=12, **where)
    assert collection.version == 1
    assert collection.calibration.queries == calibrate.AT_CREATE.queries
    assert collection.info()["recall"]["advice"] == "nothing"

    write_h5(tmp_path / "alike.h5", hard(300, 5), names(300, ROWS))
    collection.add(tmp_path / "alike.h5", workers=1)
    assert collection.info()["recall"]["advice"] == "nothing"

    write_h5(tmp_path / "other.h5", 5 + gaussian(300, DIM, 6), names(300, 2 * ROWS))
    collection.add(tmp_path / "other.h5", workers=1)
    told = collection.info()["recall"]
    assert [each["bucket"] for each in told["drift"]] == [b.name for b in collection.buckets[1:]]
    assert told["drift"][1]["spread"] != told["drift"][0]["spread"]
    assert collection.verify().is_clean


# Of 20 buckets of 150 rows; or of one that is larger than all that may be searched.
@pytest.mark.parametrize(("bucket_rows", "searched"), [(ROWS // 20, 600), (ROWS, 300 + ROWS)])
def test_drift_is_measured_among_so_many_rows_as_came(
    folder, tmp_path, monkeypatch, bucket_rows, searched
):
    monkeypatch.setattr(search, "NARROW_ROWS", 100)
    monkeypatch.setattr(calibrate, "DRIFT_ROWS", 500)
    found, measure = [], calibrate.with_drift

    def with_drift(view, *rest):
        found.append(view.manifest.rows)
        return measure(view, *rest)

    monkeypatch.setattr(calibrate, "with_drift", with_drift)
    collection = atoll.create(tmp_path / "c", folder / "a.h5", bucket_rows=bucket_rows, workers=1,
                              num_partitions=12, settings=settings(tmp_path))  # fmt: skip
    collection.add(write_h5(tmp_path / "b.h5", hard(300, 5), names(300, ROWS)), workers=1)
    assert found == [searched]
    assert collection.calibration.drift[0].bucket == collection.buckets[-1].name


@pytest.mark.parametrize("index", ["rabitq", pytest.param("ivf_pq", marks=pytest.mark.nightly)])
def test_few_rows_are_calibrated_where_that_is_asked_for(tmp_path, index):
    file = write_h5(tmp_path / "a.h5", gaussian(300, 16))
    must("create", tmp_path / "c", file, "--index", index, "--workers", 1, "--calibrate", "-q")
    collection = atoll.open(tmp_path / "c", settings=settings(tmp_path))
    assert (collection.version, collection.calibration.queries) == (1, 100)


def test_without_an_index_calibration_is_refused_before_anything_is_built(tmp_path):
    file = write_h5(tmp_path / "a.h5", gaussian(300, 16))
    done = command("create", tmp_path / "c", file, "--index", "flat", "--calibrate", "-q")
    assert (done.code, "nothing to calibrate" in done.err) == (1, True)
    assert not (tmp_path / "c").exists()


def test_more_neighbours_than_there_are_cannot_be_calibrated_for(folder, tmp_path):
    done = command("calibrate", folder / "c", "-k", 10, "-k", ROWS, "-q")
    assert done.code == 1
    assert "k is 3000, but among the 3,000 rows searched a query has only 2,999" in done.err
    file = write_h5(tmp_path / "a.h5", gaussian(50, 16))
    small = atoll.create(tmp_path / "c", file, workers=1, settings=settings(tmp_path))
    assert {point.k for point in small.calibrate().points} == {1, 10, 49}


def test_garbage_collection_keeps_the_calibration(folder, calibrated):
    calibrated.gc()
    assert calibrated.verify().is_clean
    assert atoll.open(folder / "c", settings=settings(folder)).calibration == calibrated.calibration


def test_without_an_index_there_is_nothing_to_calibrate(folder, tmp_path, true):
    must("create", tmp_path / "c", folder / "a.h5", "--index", "flat", "--workers", 1, "-q")
    assert "nothing to calibrate" in command("calibrate", tmp_path / "c").err
    collection = atoll.open(tmp_path / "c", settings=settings(tmp_path))
    assert hit_ids(collection.search(folder / "q.npy", recall=0.9)) == true


def test_lances_index_is_calibrated_alike(folder, tmp_path):
    must("create", tmp_path / "c", folder / "a.h5", "--index", "ivf_pq", "--num-partitions", 8,
         "--num-sub-vectors", 8, "--workers", 1, "-q")  # fmt: skip
    collection = atoll.open(tmp_path / "c", settings=settings(tmp_path))
    collection.calibrate(k=[K], num_queries=40)
    hits = collection.search(folder / "q.npy", k=K, recall=0.7)
    assert json.loads(hits.schema.metadata[b"atoll"])["recall"]["low"] >= 0.7


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(folder):
    for name, why in (("x.jpg", "does not end in .png"), ("nowhere/x.png", "make it first")):
        assert why in command("calibrate", folder / "c", "--plot", folder / name).err


@pytest.fixture(scope="module")
def uncalibrated(folder):
    """A collection `u` of one bucket, and the steps of its calibration."""
    must("create", folder / "u", folder / "a.h5", "--num-partitions", 12, "--workers", 1, "-q")
    shutil.copytree(folder / "u", folder / "undisturbed")
    how = ("calibrate", folder / "undisturbed", "-k", K, "--num-queries", 100, "-q")
    return folder / "u", steps_of(folder / "undisturbed", *how)


@pytest.mark.slow
def test_killed_while_it_calibrates_a_collection_is_as_before(
    folder, uncalibrated, tmp_path, kill_seed
):
    place, steps = uncalibrated
    shutil.copytree(place, tmp_path / "c")
    before = must("search", tmp_path / "c", folder / "q.npy", "--json", "-q")
    how = ("calibrate", tmp_path / "c", "-k", K, "--num-queries", 100, "-q")
    kill_midway(tmp_path / "c", steps, kill_seed, *how)
    assert must("search", tmp_path / "c", folder / "q.npy", "--json", "-q") == before
    assert "clean" in must("verify", tmp_path / "c")
    must(*how)
    assert atoll.open(tmp_path / "c", settings=settings(tmp_path)).calibration.queries == 100
