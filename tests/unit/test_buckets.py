from __future__ import annotations

import pytest

from atoll.core.errors import InvalidInput
from atoll.vectors.buckets import (
    BucketPlan,
    FileSize,
    Slice,
    bucket_rows_for_bytes,
    bytes_per_row,
    pack,
)


def contents(plan: BucketPlan):
    return [[(s.uri, s.start, s.stop) for s in bucket.slices] for bucket in plan.buckets]


def sizes(plan: BucketPlan):
    return [bucket.rows for bucket in plan.buckets]


def files(*rows: int):
    return [FileSize(f"f{i:02}.h5", n) for i, n in enumerate(rows)]


def test_files_that_fit_one_bucket_share_it_in_order_of_their_names():
    plan = pack([FileSize("b", 20), FileSize("a", 30)], bucket_rows=100)
    assert contents(plan) == [[("a", 0, 30), ("b", 0, 20)]]
    assert plan.ratio == 1.0


def test_equal_files_stay_whole_one_per_bucket():
    plan = pack(files(25, 25, 25, 25), bucket_rows=30)
    assert contents(plan) == [[(f"f{i:02}.h5", 0, 25)] for i in range(4)]


def test_balancing_evens_out_what_best_fit_left_lopsided():
    # Best fit fills 100 and leaves 20; the same files make 60 and 60 without a cut.
    plan = pack(files(40, 40, 20, 20), bucket_rows=100)
    assert sizes(plan) == [60, 60]
    assert all(s.start == 0 for bucket in plan.buckets for s in bucket.slices)


def test_a_file_larger_than_a_bucket_is_cut_into_equal_ranges():
    plan = pack(files(250), bucket_rows=100)
    assert contents(plan) == [
        [("f00.h5", 0, 84)],
        [("f00.h5", 84, 168)],
        [("f00.h5", 168, 250)],
    ]


def test_two_uneven_files_are_cut_once_to_come_out_even():
    plan = pack(files(100, 20), bucket_rows=100)
    assert sizes(plan) == [60, 60]
    assert sum(len(bucket.slices) for bucket in plan.buckets) == 3


def test_files_just_over_half_a_bucket_do_not_double_the_number_of_buckets():
    plan = pack(files(*[51] * 40), bucket_rows=100)
    assert len(plan.buckets) == 21
    assert max(sizes(plan)) - min(sizes(plan)) <= 1


def test_thousands_of_uneven_files_make_even_buckets_of_whole_files():
    plan = pack(files(*[1_000_000 + 1000 * i for i in range(2_200)]), bucket_rows=200_000_000)
    assert len(plan.buckets) == 24
    assert plan.ratio < 1.01
    assert sum(len(bucket.slices) for bucket in plan.buckets) == 2_200


def test_empty_files_appear_in_no_bucket():
    assert contents(pack(files(0, 5), bucket_rows=10)) == [[("f01.h5", 0, 5)]]
    assert pack(files(0), bucket_rows=10) == BucketPlan((), 10)


@pytest.mark.parametrize(
    ("given", "bucket_rows", "words"),
    [
        ([FileSize("a", 1)], 0, "at least 1 row"),
        ([FileSize("a", -1)], 10, "a cannot hold -1 rows"),
        ([FileSize("a", 1), FileSize("a", 1)], 10, "a is given twice"),
    ],
)
def test_impossible_packing_is_refused_by_name(given, bucket_rows, words):
    with pytest.raises(InvalidInput, match=words):
        pack(given, bucket_rows=bucket_rows)


def test_bucket_bytes_count_vector_id_and_code():
    assert bytes_per_row(960) == 3840 + 20 + 132
    assert bytes_per_row(960, "float16", index="ivf_pq") == 1920 + 20 + 68
    assert bytes_per_row(4, index="flat") == 36
    assert bucket_rows_for_bytes(10**9, 960) == 10**9 // 3992


def test_a_bucket_smaller_than_a_row_is_refused():
    with pytest.raises(InvalidInput, match="about 3992 bytes; give a larger --bucket-bytes"):
        bucket_rows_for_bytes(1000, 960)


def test_a_slice_knows_its_rows():
    assert Slice("a", 3, 10).rows == 7
