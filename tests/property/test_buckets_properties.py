from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from atoll.vectors.buckets import FileSize, pack

ROWS = st.lists(st.integers(0, 120), min_size=1, max_size=12)
CAPACITY = st.integers(1, 150)


def files(rows):
    return [FileSize(f"{i}", n) for i, n in enumerate(rows)]


def optimum(rows: list[int], capacity: int) -> int:
    """Fewest bins for whole files, by trying every assignment (up to the order of bins)."""

    def least(left: tuple[int, ...], bins: tuple[int, ...], best: int) -> int:
        if len(bins) >= best:
            return best
        if not left:
            return len(bins)
        first, *rest = left
        for i, used in enumerate(bins):
            if used + first <= capacity:
                filled = tuple(sorted((*bins[:i], *bins[i + 1 :], used + first)))
                best = least(tuple(rest), filled, best)
        return least(tuple(rest), tuple(sorted((*bins, first))), best)

    return least(tuple(sorted(rows, reverse=True)), (), len(rows) + 1)


@given(ROWS, CAPACITY)
def test_every_row_is_in_exactly_one_bucket(rows, capacity):
    plan = pack(files(rows), bucket_rows=capacity)
    seen = Counter(
        (s.uri, row)
        for bucket in plan.buckets
        for s in bucket.slices
        for row in range(s.start, s.stop)
    )
    assert set(seen.values()) <= {1}
    assert set(seen) == {(str(i), row) for i, n in enumerate(rows) for row in range(n)}
    assert plan.rows == sum(rows)


@given(ROWS, CAPACITY)
def test_no_bucket_exceeds_its_capacity_and_all_are_even(rows, capacity):
    sizes = [bucket.rows for bucket in pack(files(rows), bucket_rows=capacity).buckets]
    assert all(0 < size <= capacity for size in sizes)
    if sizes:
        assert max(sizes) <= 1.1 * min(sizes) or max(sizes) - min(sizes) == 1


@given(st.data(), ROWS, CAPACITY)
def test_the_order_of_the_files_does_not_matter(data, rows, capacity):
    shuffled = data.draw(st.permutations(files(rows)))
    assert pack(shuffled, bucket_rows=capacity) == pack(files(rows), bucket_rows=capacity)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=7), st.integers(60, 120))
def test_buckets_are_few_against_the_best_whole_file_packing(rows, capacity):
    count = len(pack(files(rows), bucket_rows=capacity).buckets)
    assert count <= 11 / 9 * optimum(rows, capacity) + 1
    assert count <= 11 / 9 * -(-sum(rows) // capacity) + 1


@given(ROWS, CAPACITY)
def test_slices_are_few_sorted_and_never_touch_within_a_bucket(rows, capacity):
    plan = pack(files(rows), bucket_rows=capacity)
    slices = [s for bucket in plan.buckets for s in bucket.slices]
    assert len(slices) <= len([n for n in rows if n]) + len(plan.buckets)
    for bucket in plan.buckets:
        pairs = list(zip(bucket.slices, bucket.slices[1:], strict=False))
        assert all(a < b and not (a.uri == b.uri and a.stop == b.start) for a, b in pairs)
    assert [bucket.index for bucket in plan.buckets] == list(range(len(plan.buckets)))


@given(st.lists(st.integers(9, 11), min_size=8, max_size=12))
def test_files_that_fit_evenly_are_not_cut(rows):
    plan = pack(files(rows), bucket_rows=11)
    if max(rows) <= 1.1 * min(rows):
        assert all(len(bucket.slices) == 1 for bucket in plan.buckets)
        assert len(plan.buckets) == len(rows)
