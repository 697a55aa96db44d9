from __future__ import annotations

import math

import numpy as np
import pytest
from vectordata import DISTANCE_TYPES, gaussian, stored

from atoll.vectors.distance import (
    close_pairs,
    decoded,
    distances_of,
    pair_distances,
    product_distances,
    unsearchable,
)


def exactly(query, row, distance_type):
    """One distance from sums without rounding."""
    query, row = query.astype(float).tolist(), row.astype(float).tolist()
    if distance_type == "l2":
        return math.fsum((a - b) ** 2 for a, b in zip(query, row, strict=True))
    product = math.fsum(a * b for a, b in zip(query, row, strict=True))
    if distance_type == "dot":
        return 1 - product
    return 1 - product / math.hypot(*query) / math.hypot(*row)


@pytest.mark.parametrize("distance_type", DISTANCE_TYPES)
@pytest.mark.parametrize("dim", [1, 2, 63, 960])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_distances_are_those_of_exact_arithmetic(distance_type, dim, dtype):
    queries, rows = gaussian(5, dim), stored(gaussian(5, dim, seed=1), dtype)
    found = pair_distances(queries, rows, distance_type)
    true = [exactly(q, r, distance_type) for q, r in zip(queries, rows, strict=True)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, true, rtol=2e-7, atol=1e-7)


@pytest.mark.parametrize("distance_type", DISTANCE_TYPES)
def test_a_pairs_distance_does_not_depend_on_what_else_is_computed(distance_type):
    queries, rows = gaussian(1100, 65), gaussian(1100, 65, seed=1)
    together = pair_distances(queries, rows, distance_type)
    for at in (0, 1, 1023, 1024, 1099):
        pair = slice(at, at + 1)
        assert pair_distances(queries[pair], rows[pair], distance_type) == together[pair]


@pytest.mark.parametrize("distance_type", DISTANCE_TYPES)
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_products_stay_within_the_bound_they_state(distance_type, scale):
    queries = gaussian(7, 960) * np.float32(scale)
    rows = gaussian(50, 960, seed=1) * np.float32(scale)
    rows[0] = queries[0]
    near, slack = product_distances(queries, rows, distance_type)
    for number, query in enumerate(queries):
        same = np.broadcast_to(query, rows.shape)
        exact = pair_distances(same, rows, distance_type)
        assert (np.abs(near[number] - exact) <= slack[number]).all()


def test_a_vector_is_at_distance_zero_of_itself_and_never_below():
    rows = gaussian(200, 33)
    assert (pair_distances(rows, rows, "l2") == 0).all()
    cosine = pair_distances(rows, rows, "cosine")
    assert (cosine >= 0).all()
    assert cosine.max() < 1e-7


def test_each_vector_without_distances_has_one_reason():
    rows = gaussian(9, 4)
    rows[1, 2], rows[2, 0], rows[3], rows[4] = np.nan, -np.inf, 0, 1e30
    rows[5], rows[6], rows[7] = 1e-30, 1e18 / 4, 1e-44
    found = {reason.split(" ")[0]: bad.nonzero()[0].tolist()
             for reason, bad in unsearchable(rows, "cosine").items()}  # fmt: skip
    assert found == {"NaN": [1, 2], "longer": [4], "zero": [3], "shorter": [5, 7]}
    for distance_type in ("l2", "dot"):
        masks = unsearchable(rows, distance_type).values()
        assert [bad.nonzero()[0].tolist() for bad in masks] == [[1, 2], [4]]


@pytest.mark.parametrize("distance_type", DISTANCE_TYPES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_gathered_pairs_have_the_distances_of_pairs_side_by_side(distance_type, dtype):
    queries, rows = gaussian(4, 13), stored(gaussian(9, 13, seed=1), dtype)
    query_of, row_of = np.array([3, 0, 0, 1]), np.array([8, 8, 2, 0])
    found = distances_of(queries, query_of, rows, row_of, distance_type)
    alone = pair_distances(queries[query_of], rows[row_of], distance_type)
    np.testing.assert_array_equal(found, alone)


def test_decoded_directions_have_unit_length_and_are_rounded_to_the_same_levels():
    levels = stored(gaussian(200, 33) * np.float32(1e5), "int8")
    floats = decoded(levels)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(floats, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(stored(floats, "int8"), levels)


def test_a_zero_vector_is_at_cosine_distance_one():
    rows = np.zeros((1, 5), np.float32)
    assert pair_distances(gaussian(1, 5), rows, "cosine") == 1
    assert pair_distances(rows, rows, "cosine") == 1


def test_read_only_rows_are_taken():
    rows = np.frombuffer(gaussian(2, 9).tobytes(), np.float32).reshape(2, 9)
    assert (pair_distances(rows, rows, "l2") == 0).all()


@pytest.mark.parametrize("distance_type", DISTANCE_TYPES)
@pytest.mark.parametrize("k", [1, 5, 60])
def test_close_pairs_hold_the_nearest_and_few_others(distance_type, k):
    queries, rows = gaussian(6, 20), gaussian(50, 20, seed=1)
    limits = np.array([np.inf, np.inf, np.inf, 0.5, 5, -1], np.float32)
    near, slack = product_distances(queries, rows, distance_type)
    query, row = close_pairs(near, slack, limits, k)
    exact = distances_of(queries, np.repeat(np.arange(6), 50), rows, np.tile(np.arange(50), 6),
                         distance_type).reshape(6, 50)  # fmt: skip
    last = np.sort(exact, axis=1)[:, min(k, 50) - 1]
    wanted = exact <= np.minimum(last, limits)[:, None]
    found = np.zeros_like(wanted)
    found[query, row] = True
    assert (found >= wanted).all()
    assert found.sum() <= wanted.sum() + 2


def test_close_pairs_take_every_row_that_ties():
    near = np.zeros((3, 400), np.float32)
    limits = np.full(3, np.inf, np.float32)
    query, row = close_pairs(near, np.zeros((3, 1), np.float32), limits, 2)
    assert (query * 400 + row).tolist() == list(range(1200))
