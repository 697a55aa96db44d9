"""Laws of the interval and of the choice, over data that nobody picked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atoll.vectors.calibration import interval


@given(st.lists(st.integers(0, 10), min_size=1, max_size=200))
@example([10, 10, 10, 10])
def test_an_interval_holds_its_mean_and_is_never_empty(found):
    shares = np.array(found) / 10
    mean, low, high = interval(shares)
    assert mean == pytest.approx(shares.mean())
    assert 0 <= low <= mean <= high <= 1
    assert low < high


@given(st.lists(st.integers(0, 10), min_size=2, max_size=50))
def test_more_queries_like_these_never_widen_the_interval(found):
    shares = np.array(found) / 10
    _, low, high = interval(shares)
    _, lower, higher = interval(np.tile(shares, 4))
    assert higher - lower <= high - low


@pytest.mark.parametrize(("a", "b"), [(8, 2), (30, 1), (4, 4), (2, 0.1)])
@pytest.mark.parametrize("queries", [100, 1000])
def test_intervals_hold_the_true_mean_about_as_often_as_they_say(a, b, queries):
    random = np.random.default_rng(0)
    # Queries differ in how hard they are, and each finds some of 10 neighbours.
    samples = random.binomial(10, random.beta(a, b, (600, queries))) / 10
    held = [low <= a / (a + b) <= high for _, low, high in map(interval, samples)]
    assert np.mean(held) >= 0.93
