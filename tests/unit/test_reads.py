"""What is told of reads at counted settings, between them, beyond them, and of more buckets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.vectors import reads
from atoll.vectors.model import CalibrationPoint, Reads

# A query asks for 2 x nprobes ranges of codes; for all candidates one by one, then half of them.
COUNTED = Reads(
    rows=4000, buckets=4, queries=10, together=1,
    nprobes=(1, 10), codes=((2, 100), (20, 1000)), codes_apart=((4, 80), (40, 800)),
    row_nprobes=(1, 10), counts=(1, 100, 400),
    vectors=(((1, 10), (100, 1000), (200, 4000)),) * 2,
    ids=((1, 5), (10, 50), (20, 100)),
)  # fmt: skip


def codes(nprobes, rows=4000, buckets=4, *, is_apart=False):
    return reads.codes(COUNTED, nprobes, rows, buckets, is_apart=is_apart)


def test_counted_settings_are_told_as_they_were_counted():
    assert codes(10) == pytest.approx((20, 1000))
    assert codes(10, is_apart=True) == pytest.approx((40, 800))
    assert reads.vectors(COUNTED, 10, 400, 4000) == pytest.approx((200, 4000))
    assert reads.ids(COUNTED, 100, 4000) == pytest.approx((10, 50))


def test_between_them_and_beyond_a_power_goes_on():
    assert codes(5) == pytest.approx((10, 500))
    assert codes(100) == pytest.approx((200, 10_000))
    assert reads.vectors(COUNTED, 3, 10, 4000) == pytest.approx((10, 100))
    # From 100 to 400 candidates requests double.
    assert reads.vectors(COUNTED, 3, 1600, 4000) == pytest.approx((400, 16_000))


def test_requests_that_fall_do_not_fall_on_and_none_is_for_less_than_a_row():
    falling = replace(COUNTED, vectors=(((1, 10), (100, 1000), (50, 9000)),) * 2)
    assert reads.vectors(falling, 1, 10**6, 4000)[0] == pytest.approx(50)
    steep = replace(COUNTED, ids=((1, 5), (1, 5), (300, 5)))
    assert reads.ids(steep, 4000, 4000)[0] == pytest.approx(3000)


def test_twice_the_buckets_ask_for_twice_as_much_and_share_the_candidates():
    assert codes(10, 8000, 8) == pytest.approx((40, 2000))
    assert reads.vectors(COUNTED, 10, 200, 8000) == pytest.approx((200, 2000))
    assert reads.ids(COUNTED, 800, 8000) == pytest.approx((40, 200))
    # In 1,000 times as many each candidate is alone.
    assert reads.vectors(COUNTED, 10, 50, 4_000_000) == pytest.approx((50, 500))


def test_of_one_counted_number_each_further_row_asks_for_as_much():
    lone = replace(COUNTED, counts=(1,), vectors=(((1, 10),),) * 2, ids=((1, 5),))
    assert reads.vectors(lone, 1, 30, 4000) == pytest.approx((30, 300))
    assert reads.ids(lone, 7, 4000) == pytest.approx((7, 35))


def test_a_collection_of_one_partition_and_one_row_has_one_answer():
    lone = replace(
        COUNTED, rows=1, buckets=1, nprobes=(1,), codes=((1, 7),), row_nprobes=(1,), counts=(1,),
        vectors=(((1, 3),),), ids=((1, 2),),
    )  # fmt: skip
    assert reads.codes(lone, 1, 1, 1, is_apart=False) == (1, 7)
    assert reads.vectors(lone, 1, 1, 1) == (1, 3)


def test_a_point_tells_what_its_codes_and_vectors_take():
    point = CalibrationPoint(10, 10, 100, 0.9, 0.8, 1.0, None, 400.0, requests=140, bytes=1)
    found = reads.as_counted(point, COUNTED)
    assert (found.requests, found.bytes) == pytest.approx((120, 2000))
    assert replace(found, requests=140, bytes=1) == point
