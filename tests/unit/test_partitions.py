"""Which numbers of partitions are tried on a sample, and which is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.core.errors import InvalidInput
from atoll.vectors import indexspec
from atoll.vectors.model import Calibration, CalibrationPoint, PartitionTrial
from atoll.vectors.options import BuildOptions
from atoll.vectors.partitions import MIN_SAMPLE_PARTITIONS, counts_to_try, decide

K, WISH = 10, 0.95


def trial(count, megabytes, recall=0.97):
    point = CalibrationPoint(
        K, 1, K, recall, recall - 0.01, min(1, recall + 0.01), None,
        rows=1000, requests=11, bytes=megabytes * 1e6,
    )  # fmt: skip
    measured = Calibration(
        created_at="2026-01-01", model="m", buckets=("a",), rows=9, searched_rows=9, queries=200,
        source="held-out rows", seed=0, within=0.5, spread=0.0, cpu_s=1.0, points=(point,),
    )  # fmt: skip
    return PartitionTrial(count, count, measured)


def test_partitions_of_the_sample_hold_as_many_rows_as_those_of_the_whole():
    for count, few in counts_to_try(2000, share=0.05):
        assert few == pytest.approx(count * 0.05)


def test_numbers_for_which_the_sample_is_too_thin_are_not_tried():
    tried = counts_to_try(10_000, share=0.002)
    assert [count for count, _ in tried] == [5000, 10_000]
    assert min(few for _, few in tried) >= MIN_SAMPLE_PARTITIONS


def test_no_more_partitions_are_tried_than_a_default_may_have():
    assert counts_to_try(indexspec.MAX_PARTITIONS, share=1)[-1][0] == indexspec.MAX_PARTITIONS


def test_one_partition_is_tried_beside_more():
    assert counts_to_try(1, share=1) == [(1, 1), (2, 2), (4, 4)]


def test_what_reads_least_and_holds_the_wish_is_chosen():
    trials = [trial(50, 1, recall=0.955), trial(100, 6), trial(200, 4), trial(400, 2)]
    count, why = decide(trials, 100, K, WISH)
    assert (count, why) == (400, "holds recall 0.95 of the 10 nearest and reads least")


def test_the_default_stays_where_another_saves_little():
    count, why = decide([trial(100, 4), trial(200, 3.7)], 100, K, WISH)
    assert count == 100
    assert why.startswith("the default, which holds recall 0.95")


def test_the_default_goes_where_it_does_not_hold_the_wish():
    assert decide([trial(100, 4, recall=0.9), trial(200, 9)], 100, K, WISH)[0] == 200


def test_the_default_stays_where_none_holds_the_wish():
    count, why = decide([trial(50, 1, recall=0.9), trial(100, 1, recall=0.9)], 100, K, WISH)
    assert (count, why) == (100, "the default: none holds recall 0.95 of the 10 nearest")


@pytest.mark.parametrize("kind", ["ivf_pq", "flat"])
def test_partitions_are_chosen_for_our_own_index_only(kind):
    with pytest.raises(InvalidInput, match="num-partitions"):
        indexspec.resolve(kind, 64, 1000, num_partitions="auto", num_sub_vectors=None)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"num_partitions": "some"}, "choose one of auto"),
        ({"recall": 0.9}, "leave one of the two out"),
        ({"num_partitions": 100, "recall": 0.9}, "leave one of the two out"),
        ({"num_partitions": "auto", "recall": 1}, "between 0 and 1"),
        ({"num_partitions": "auto", "recall": float("nan")}, "between 0 and 1"),
    ],
)
def test_what_makes_no_choice_is_refused(given, why):
    with pytest.raises(InvalidInput, match=why):
        replace(BuildOptions(), **given)
