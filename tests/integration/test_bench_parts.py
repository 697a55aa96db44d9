"""What the benches rest on: the generator, the truth, the choice of settings, the projection."""

import json

import h5py
import numpy as np
import pytest

from bench import (
    huge,
    projection,
    remotebills,
    remotesteps,
    sets,
    standing,
    synthetic,
    timesplot,
)
from bench.report import compared, measured
from bench.sizes import Sizes


def test_a_range_of_rows_is_the_same_however_it_is_drawn():
    whole = synthetic.rows(0, 12_000)
    assert np.array_equal(synthetic.rows(9_990, 10_020), whole[9_990:10_020])
    assert not np.array_equal(synthetic.queries(10), whole[:10])


def test_truth_of_files_one_by_one_is_the_truth_of_all(tmp_path):
    paths = synthetic.write_files(str(tmp_path), 2, 500)
    queries = str(tmp_path / "queries.npy")
    np.save(queries, synthetic.queries(7))
    whole, grown = str(tmp_path / "whole.npz"), str(tmp_path / "grown.npz")
    sets.truth(paths, queries, 10, whole)
    for path in paths:
        sets.truth([path], queries, 10, grown)
    vectors = np.concatenate([h5py.File(path)["embedding"][:] for path in paths]).astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.argsort(-(synthetic.queries(7) @ vectors.T), axis=1)[:, :10]
    for path in (whole, grown):
        assert np.array_equal(np.load(path)["ids"], synthetic.ids_of(0, 1000).astype(str)[expected])


def test_a_tie_at_rank_k_counts_as_found(tmp_path):
    path = str(tmp_path / "truth.npz")
    np.savez(path, ids=np.array([["a", "b", "c"]]), distances=np.array([[0.1, 0.2, 0.2]]))
    true = standing.Truth(path)
    assert true.recall([["a", "c"]], 2) == 1
    assert true.recall([["a", "x"]], 2) == 0.5


def test_the_cheapest_setting_of_enough_recall_is_chosen_or_else_the_best():
    points = [
        {"setting": [n], "recall": recall, "cpu_ms": cost, "p50_ms": 0}
        for n, recall, cost in ((1, 0.8, 1), (2, 0.96, 3), (3, 0.97, 2))
    ]
    assert standing.cheapest(points, 0.95).setting == (3,)
    assert standing.cheapest(points, 0.99).recall == 0.97


def test_a_row_is_held_against_its_bar_and_its_goal_apart():
    row = compared("bench", "what", 7, 1, least=(6, 9))
    assert (row.is_met, row.reaches_goal) == (True, False)
    assert (row.bar, row.goal) == ("ratio >= 6", "ratio >= 9")
    assert measured("bench", "what", 5, most=8).reaches_goal is None


def test_the_projection_follows_from_the_rates():
    rates = projection.Rates(vectors_per_cpu_s=4_000, training_cpu_s=57_600, stored_bytes=2_000)
    text = "\n".join(projection.steps(rates))
    # 3.5e9 / (4,000 x 16 cores) / 3,600 s; and 57,600 CPU-s on 16 cores are an hour.
    assert "15.2 hours of one instance" in text
    assert "16.2 instance hours against 108" in text


def test_the_projection_reads_what_the_benches_wrote(tmp_path):
    assert projection.from_results(tmp_path) is None
    partitions = {"rate": 5000, "trained": {"cpu_s": 100}}
    (tmp_path / "partitions.json").write_text(json.dumps(partitions))
    (tmp_path / "index.json").write_text(json.dumps({"stored": {"bytes": 4000, "rows": 2}}))
    assert projection.from_results(tmp_path) == projection.Rates(5000, 100, 2000)


def test_a_build_that_would_fill_the_disk_is_refused_before_it_starts(tmp_path):
    with pytest.raises(SystemExit, match=r"needs .* GiB of disk, and .* are free at"):
        huge.check_disk(tmp_path, Sizes(huge_rows=10**12))


def run_of(plan, search, refine, part=0, *, many=False):
    steps = [{"seconds": seconds} for seconds in search]
    return {
        "plan": {"seconds": plan}, "search": steps, "measure": [{"seconds": 4}] if many else [],
        "refine": {"seconds": refine}, "parts": [part, 1],
    }  # fmt: skip


def test_a_run_takes_as_long_as_its_slowest_map_step():
    runs = [run_of(1, [2, 5, 3], 7, part=9), run_of(1, [2, 9, 3], 7), run_of(1, [2, 8, 3], 7)]
    assert [remotesteps._seconds(run) for run in runs] == [13, 17, 16]
    assert remotesteps._seconds(run_of(1, [2, 5, 3], 7, many=True)) == 17
    of_steps = {"plan": 1, "search": 8, "measure": 0, "refine": 7}
    assert remotesteps._parts_of(runs) == of_steps | {"part_bytes": 9}


def test_an_estimate_is_held_against_the_count_of_its_kind():
    each = {
        "counted": {"search": (10, 100), "run": (20, 200)},
        "expected": {"search": (11, 100), "run": (20, 150)},
    }  # fmt: skip
    requests, size = remotebills._rows("a run", [each], "run")
    assert (requests.ours, requests.is_met) == (0, True)
    assert (size.ours, size.is_met) == (25, False)
    requests, _ = remotebills._rows("a search", [each], "search")
    assert requests.ours == pytest.approx(10)
    assert requests.note.endswith("by setting: +10")


def test_time_against_k_is_drawn(tmp_path):
    curve = {
        "ks": [1, 100], "rows": 50_000,
        "curves": [{"buckets": n, "seconds": [0.1, 0.2], "estimated": [0.1, 0.3]} for n in (1, 18)],
    }  # fmt: skip
    timesplot.draw(curve, 0.02, tmp_path / "k.png")
    assert (tmp_path / "k.png").read_bytes().startswith(b"\x89PNG")
