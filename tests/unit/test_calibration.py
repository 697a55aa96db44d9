from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from atoll.core.errors import InvalidInput
from atoll.vectors.calibration import (
    Promise,
    candidates_grid,
    choose,
    cost,
    interval,
    nprobes_grid,
)
from atoll.vectors.drift import advise, at_defaults, wanted_bits
from atoll.vectors.model import Calibration, CalibrationPoint, Drift, IndexSpec
from atoll.vectors.options import SearchOptions

PARTITIONS, ROWS = 100, 100_000
DOUBT = 0.005


def true_recall(k, nprobes, candidates):
    """A law that rises with both in curves that bend down, and falls with k."""
    in_reach = 1 - 0.4 * nprobes**-0.8
    ranked_high = 1 - 0.3 * (candidates / k) ** -1.2
    return in_reach * ranked_high * (1 - 0.01 * math.log10(k))


def point(k, nprobes, candidates):
    recall = true_recall(k, nprobes, candidates)
    return CalibrationPoint(
        k, nprobes, candidates, recall, recall - DOUBT, min(1, recall + DOUBT), None,
        rows=nprobes * ROWS / PARTITIONS,
        requests=nprobes + candidates,
        bytes=nprobes * ROWS / PARTITIONS * 144 + candidates * 3840,
    )  # fmt: skip


def calibration(ks=(1, 10, 100), **changes):
    points = tuple(
        point(k, nprobes, candidates)
        for k in ks
        for nprobes in nprobes_grid(PARTITIONS)
        for candidates in candidates_grid(ks, ROWS)
        if candidates >= k
    )
    made = Calibration(
        created_at="2026-01-01", model="m", buckets=("a", "b"), rows=ROWS, searched_rows=ROWS,
        queries=500, source="stored rows", seed=0, within=0.5, spread=1.0, cpu_s=1.0, points=points,
    )  # fmt: skip
    return replace(made, **changes)


def every_setting(k):
    for nprobes in range(1, PARTITIONS + 1):
        for factor in range(1, 21):
            yield point(k, nprobes, k * factor)


def test_the_grid_of_nprobes_ends_with_all_partitions_and_never_doubles():
    assert nprobes_grid(1) == [1]
    for partitions in (2, 7, 100, 14_142):
        grid = nprobes_grid(partitions)
        assert grid == sorted(set(grid))
        assert (grid[0], grid[-1]) == (1, partitions)
        assert all(after <= 2 * before for before, after in pairwise(grid))


def test_no_more_rows_are_refined_than_there_are():
    assert candidates_grid([1, 10], 30) == [1, 2, 5, 10, 20, 30]


def test_queries_that_found_everything_leave_a_doubt_that_more_queries_shrink():
    lows = [interval(np.ones(count))[1] for count in (10, 100, 1000)]
    assert lows == sorted(lows)
    assert 0.7 < lows[0] < 0.8
    assert 0.996 < lows[-1] < 1


def test_the_interval_is_near_the_normal_one_where_that_is_sound():
    shares = np.random.default_rng(0).choice([0.7, 0.8, 0.9, 1.0], 1000)
    mean, low, high = interval(shares)
    half = 1.96 * shares.std(ddof=1) / math.sqrt(len(shares))
    assert mean == pytest.approx(shares.mean())
    assert low == pytest.approx(mean - half, abs=5e-4)
    assert high == pytest.approx(mean + half, abs=5e-4)


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("wish", [0.8, 0.9, 0.95])
def test_the_choice_holds_the_wish_and_costs_little_more_than_the_best(k, wish):
    chosen = choose(calibration(), k, wish)
    truly = true_recall(k, chosen.nprobes, chosen.candidates)
    assert wish <= truly - DOUBT <= wish + 0.02
    best = min(cost(each) for each in every_setting(k) if each.low >= wish)
    assert cost(point(k, chosen.nprobes, chosen.candidates)) <= 1.25 * best


@pytest.mark.parametrize("k", [2, 7, 30, 99])
def test_between_two_calibrated_k_the_promise_is_kept(k):
    chosen = choose(calibration(), k, 0.9)
    assert (chosen.k, chosen.candidates) == (k, k * chosen.refine_factor)
    assert 0.9 <= true_recall(k, chosen.nprobes, chosen.candidates) <= 0.95


def test_few_neighbours_get_as_many_candidates_as_they_need():
    """Where codes are poor, the nearest row needs as many candidates as the ten nearest."""
    poor = calibration(ks=(1, 10))
    points = [
        replace(each, recall=found, low=found - DOUBT, high=found)
        for each in poor.points
        for found in [min(1.0, each.candidates / 400)]
    ]
    for k in (1, 3, 10):
        chosen = choose(replace(poor, points=tuple(points)), k, 0.9)
        assert 0.9 * 400 <= chosen.candidates <= 500
        assert chosen.candidates / 400 - DOUBT >= 0.9


def test_what_lies_between_measured_settings_is_never_promised_too_much():
    known = calibration()
    for nprobes in (4, 8, 13, 60, 99):
        for factor in (3, 4, 7, 13):
            promised = Promise(known, 10).at(nprobes, factor)
            assert promised.recall <= true_recall(10, nprobes, 10 * factor) + 1e-9


def test_beyond_the_measured_settings_nothing_more_is_promised():
    known = calibration()
    promise = Promise(known, 10)
    assert promise.at(5000, 5).recall == promise.at(PARTITIONS, 5).recall
    assert promise.at(5, 10_000).recall == promise.at(5, 200).recall


def test_a_wish_out_of_reach_is_refused_with_the_best_there_is():
    with pytest.raises(InvalidInput, match=r"best calibrated is 0\.9\d\d at nprobes 100") as caught:
        choose(calibration(), 10, 0.9999)
    sure = caught.value.details["sure"]
    assert choose(calibration(), 10, sure).low >= sure


def test_more_queries_are_advised_where_they_may_reach_the_wish():
    best = Promise(calibration(), 10).at(PARTITIONS, 200).recall
    with pytest.raises(InvalidInput, match="more than 500 queries"):
        choose(calibration(), 10, best - DOUBT / 10)


def test_more_neighbours_than_were_calibrated_are_refused():
    with pytest.raises(InvalidInput, match=r"1 to 100 neighbours, not 101.*-k 101"):
        choose(calibration(), 101, 0.5)


def test_fewer_neighbours_than_were_calibrated_are_refused():
    """With a refine factor the first few have fewer candidates than many have."""
    with pytest.raises(InvalidInput, match=r"10 to 100 neighbours, not 2.*-k 2"):
        choose(calibration(ks=(10, 100)), 2, 0.5)


def test_a_distance_that_is_no_number_is_refused():
    with pytest.raises(InvalidInput, match="max_distance is NaN"):
        SearchOptions(max_distance=float("nan"))


# -- drift ----------------------------------------------------------------------------------------


def drift(recall, bucket="c"):
    return Drift(bucket, 100, recall, recall - 0.01, recall + 0.01, 1.0)


def test_a_collection_that_nobody_measured_should_be():
    assert advise(None, 10, ["a"]).action == "calibrate"


def test_without_later_rows_nothing_is_to_be_done():
    assert advise(calibration(), ROWS, ["a", "b"]).action == "nothing"


def test_later_rows_that_are_found_as_well_change_nothing():
    known = calibration(drift=(drift(at_defaults(calibration()).recall - 0.01),))
    assert advise(known, ROWS + 1, ["a", "b", "c"]).action == "nothing"


def test_later_rows_that_are_found_worse_beyond_doubt_call_for_a_new_model():
    known = calibration(drift=(drift(at_defaults(calibration()).recall - 0.05),))
    advice = advise(known, ROWS + 1, ["a", "b", "c"])
    assert advice.action == "retrain"
    assert "rows of c" in advice.why
    assert advise(known, ROWS, ["a", "b"]).action == "nothing", "the bucket was dropped"


def test_later_rows_that_were_not_measured_should_be():
    assert advise(calibration(), ROWS + 1, ["a", "b", "c"]).action == "calibrate"


def test_a_calibration_that_saw_too_few_of_the_rows_is_out_of_date():
    known = calibration(drift=(drift(at_defaults(calibration()).recall),))
    assert advise(known, 2 * ROWS, ["a", "b", "c"]).action == "calibrate"


def with_recall(law):
    """A calibration whose points find what a law of (nprobes, candidates / k) says."""
    known = calibration()
    points = [
        replace(each, recall=found, low=found - DOUBT, high=found)
        for each in known.points
        for found in [law(each.nprobes, each.candidates / each.k)]
    ]
    return replace(known, points=tuple(points))


def test_more_bits_are_wanted_where_codes_rank_too_roughly():
    rough = with_recall(lambda _, factor: min(1.0, factor / 10))
    wanted = [wanted_bits(rough, IndexSpec("rabitq", PARTITIONS, bits=bits)) for bits in (1, 4, 8)]
    assert wanted == [4, 8, None]
    assert wanted_bits(rough, IndexSpec("ivf_pq", PARTITIONS, 4)) is None


def test_no_more_bits_are_wanted_where_partitions_are_what_is_missed():
    far = with_recall(lambda nprobes, _: nprobes / PARTITIONS)
    assert at_defaults(far).recall < 0.5
    assert wanted_bits(far, IndexSpec("rabitq", PARTITIONS)) is None
