"""The order of rows within a partition."""

from __future__ import annotations

import numpy as np
import pytest
from vectordata import clustered, gaussian

from atoll.core.resources import limit_threads
from atoll.vectors.nearby import max_rows, nearby_order


@pytest.mark.parametrize("distance_type", ["cosine", "l2", "dot"])
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 127, 128, 1000, 9000])
def test_every_row_has_one_place(rows, distance_type):
    order = nearby_order(clustered(rows, 16).astype(np.float16), distance_type)
    assert sorted(order.tolist()) == list(range(rows))


def test_rows_of_a_clump_lie_together():
    random = np.random.default_rng(1)
    clump = random.permutation(np.repeat(np.arange(10), 100))
    rows = gaussian(10, 32)[clump] * 10 + gaussian(1000, 32, 2) * 0.1
    found = clump[nearby_order(rows, "l2")]
    assert (np.diff(found) != 0).sum() < 200 < 800 < (np.diff(clump) != 0).sum()


def test_lengths_do_not_matter_under_cosine():
    rows = clustered(500, 16)
    scaled = rows * np.random.default_rng(3).choice([0.25, 1, 8], (500, 1)).astype("f4")
    assert (nearby_order(scaled, "cosine") == nearby_order(rows, "cosine")).all()


def test_rows_that_are_equal_stay_as_they_came():
    assert nearby_order(np.ones((500, 8), np.float32), "l2").tolist() == list(range(500))
    assert nearby_order(np.zeros((500, 8), np.float32), "dot").tolist() == list(range(500))


@pytest.mark.parametrize("dim", [3, 960])
def test_the_order_does_not_depend_on_threads_or_where_rows_lie(dim):
    rows = clustered(3000, dim)
    order = nearby_order(rows, "l2")
    limit_threads(1)
    shifted = np.empty(rows.size + 1, np.float32)[1:].reshape(rows.shape)
    shifted[...] = rows
    assert (nearby_order(shifted, "l2") == order).all()


@pytest.mark.parametrize("dim", [1, 960, 1 << 20])
def test_sums_of_whole_numbers_stay_exact(dim):
    top = min(127, int(((1 << 24) / (2 * dim)) ** 0.5))
    assert top**2 * dim <= 1 << 23
    assert max_rows(dim) * 127 <= 1 << 24
