"""Laws of the quote: what grows with what; requests joined, against the code that joins them."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atoll.vectors.layout import DEAR_PIECES, MAX_RANGE_BYTES, count_ranges, join_ranges
from atoll.vectors.pricing.bill import Bill, cost
from atoll.vectors.pricing.prices import load_prices
from atoll.vectors.pricing.ranges import joined
from atoll.vectors.pricing.searchcost import cold_search, search_cost
from atoll.vectors.pricing.shape import SearchSettings, planned_shape
from atoll.vectors.pricing.storedcost import building, stored

PRICES = load_prices()
GAP = 1 << 16
SHAPES = st.builds(
    planned_shape,
    st.integers(1, 10**11),
    st.sampled_from([16, 128, 960, 1536]),
    st.sampled_from(["float32", "float16"]),
    index=st.sampled_from(["rabitq", "ivf_pq"]),
    bucket_rows=st.integers(10**5, 10**10),
)
SETTINGS = st.builds(
    SearchSettings,
    k=st.integers(1, 50_000),
    nprobes=st.integers(1, 1000),
    refine_factor=st.integers(1, 20),
    queries=st.integers(1, 1000),
)


def usd(shape, asked):
    return cost(search_cost(shape, asked).bill, PRICES)


@given(SHAPES, SETTINGS)
def test_every_figure_is_a_number_and_not_below_nothing(shape, asked):
    bill = search_cost(shape, asked).bill
    for field in fields(Bill):
        assert 0 <= getattr(bill, field.name) < float("inf")
    assert bill.gets >= 4 * shape.buckets
    assert cold_search(shape, asked).bytes_in > 0


@given(SHAPES, SETTINGS, st.integers(2, 5))
def test_more_queries_take_more_work_but_each_of_them_asks_hardly_more(shape, asked, times):
    more = replace(asked, queries=asked.queries * times)
    few_steps, many_steps = search_cost(shape, asked), search_cost(shape, more)
    # The parts of many queries may have to be folded first, by functions of their own.
    assume(len(few_steps.steps) == len(many_steps.steps))
    one, many = few_steps.bill, many_steps.bill
    # Not always more requests: where most rows are wanted, they are read in fewer, longer ranges.
    assert many.cpu_s > one.cpu_s
    hits = [each.step("refine").step.bytes_out for each in (few_steps, many_steps)]
    assert hits[0] < hits[1]
    # Up to DEAR_PIECES requests are saved at more bytes, once in a bucket however many follow.
    # What is expected of either is no whole number, so the bound is one of about.
    assert many.requests <= 1.01 * times * (one.requests + 2 * DEAR_PIECES * shape.buckets)


@given(SHAPES, st.integers(2, 10))
def test_more_rows_take_more_room_and_time(shape, times):
    more = replace(shape, rows=shape.rows * times)
    assert stored(more).bytes > stored(shape).bytes
    assert stored(more).month(PRICES).usd > stored(shape).month(PRICES).usd
    assert building(more, None).post_hours == pytest.approx(
        times * building(shape, None).post_hours
    )


@given(SHAPES, SETTINGS, st.integers(2, 10))
def test_more_buckets_of_the_same_size_cost_more(shape, asked, times):
    more = replace(shape, rows=shape.rows * times, buckets=shape.buckets * times)
    assert usd(more, asked) > usd(shape, asked)


@given(SHAPES, SETTINGS, st.sampled_from(["get", "put", "gb_second", "state_transition"]))
def test_a_price_that_rises_makes_nothing_cheaper(shape, asked, name):
    dear = replace(PRICES, **{name: 2 * getattr(PRICES, name)})
    bill = search_cost(shape, asked).bill
    assert cost(bill, PRICES) < cost(bill, dear) <= 2 * cost(bill, PRICES)


@given(SHAPES, SETTINGS, st.integers(1, 100))
def test_fewer_functions_at_once_are_no_quicker_and_no_dearer(shape, asked, concurrency):
    limited = replace(asked, concurrency=concurrency)
    free, held = search_cost(shape, asked), search_cost(shape, limited)
    assert held.latency_s >= free.latency_s
    assert held.bill == free.bill


@given(
    st.integers(1, 5000), st.integers(1, 10**6), st.floats(1, 1e4), st.floats(0.1, 2),
    st.integers(1, 20),
)  # fmt: skip
def test_joined_ranges_stay_within_their_bounds(pieces, size, spread, shape, files):
    found = joined(
        pieces, size, stretch_bytes=pieces * size * spread, shape=shape, unit_bytes=size,
        gap_bytes=GAP, files=files,
    )  # fmt: skip
    wanted = pieces * size
    assert min(files, pieces) <= found.requests <= max(pieces, found.bytes / MAX_RANGE_BYTES)
    assert wanted <= found.bytes <= wanted + GAP * (min(pieces, 32) + pieces / 32)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(64, 2000), st.sampled_from([132, 960, 3840]), st.floats(1.1, 3000),
    st.floats(0.3, 1.5), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_expected_requests_are_what_joining_drawn_pieces_gives(pieces, size, spread, shape, seed):
    """The oracle is the code that searches join with, on pieces drawn with gaps of that shape."""
    random = np.random.default_rng(seed)
    mean = (spread - 1) * size
    counts, sizes = [], []
    for _ in range(20):
        drawn = random.weibull(shape, pieces - 1)
        gaps = drawn * mean * pieces / (pieces - 1) / drawn.mean()
        gaps = np.floor(gaps / size + 0.5).astype(np.int64) * size
        start = np.concatenate([[0], np.cumsum(gaps + size)])
        asked = join_ranges(np.zeros(pieces, np.int64), start, np.full(pieces, size, np.int64), GAP)
        counts.append(len(asked.start))
        sizes.append(int(asked.length.sum()))
    found = joined(
        pieces, size, stretch_bytes=pieces * size * spread, shape=shape, unit_bytes=size,
        gap_bytes=GAP,
    )  # fmt: skip
    assert found.requests == pytest.approx(np.mean(counts), rel=0.1, abs=2)
    assert found.bytes == pytest.approx(np.mean(sizes), rel=0.25, abs=2 * GAP)


@st.composite
def pieces(draw):
    """Pieces of some files, ascending, that do not overlap: file, start, length."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, width = draw(st.integers(0, 300)), draw(st.sampled_from([1, 144, 1 << 20]))
    file = np.sort(random.integers(0, draw(st.integers(1, 5)), count))
    length = random.integers(1, 4, count) * width
    gap = random.integers(0, draw(st.sampled_from([1, 3, 1000])), count) * width
    return file, np.cumsum(gap + length) - length, length


@given(pieces(), st.sampled_from([0, 1 << 10, GAP]))
def test_requests_are_counted_as_they_are_joined(given_pieces, gap_bytes):
    asked = join_ranges(*given_pieces, gap_bytes)
    found = count_ranges(*given_pieces, gap_bytes)
    assert found == (len(asked.start), asked.length.sum())


@given(pieces(), st.sampled_from([0, 1 << 10, GAP]))
def test_the_smallest_gaps_are_closed_first_within_the_allowance(given_pieces, gap_bytes):
    file, start, length = given_pieces
    asked = join_ranges(file, start, length, gap_bytes)
    stop = start + length
    is_near = file[1:] == file[:-1]
    is_closed = np.diff(asked.of_piece) == 0
    gap = start[1:] - stop[:-1]
    assert not is_closed[~is_near].any()
    allowed = gap_bytes * (min(len(start), DEAR_PIECES) + max(0, len(start) - DEAR_PIECES) / 32)
    assert gap[is_closed].sum() <= allowed
    if stop.max(initial=0) < MAX_RANGE_BYTES and (is_near & ~is_closed).any():
        least_open = gap[is_near & ~is_closed].min()
        assert gap[is_closed].max(initial=0) <= least_open
        assert gap[is_closed].sum() + least_open > allowed - 1
    assert (asked.start[asked.of_piece] + asked.within == start).all()
