from __future__ import annotations

import numpy as np
import pytest
from vectordata import DISTANCE_TYPES, gaussian

from atoll.core.errors import InvalidInput
from atoll.vectors import rabitq
from atoll.vectors.index import IndexModel, prepared
from atoll.vectors.indexspec import resolve
from atoll.vectors.probes import _products
from atoll.vectors.search import plan, prepare_queries

DIM, PARTITIONS = 8, 70


def model(distance_type="l2"):
    none = np.empty((0, 0, 0), np.float32)
    signs = rabitq.rotation_signs(DIM, 0)
    centroids, whole = gaussian(PARTITIONS, DIM, seed=9), np.array([0, PARTITIONS])
    return IndexModel("rabitq", distance_type, centroids, signs, none, whole)


def probes(allowed, *, nprobes=None, wanted=10, distance_type="l2", queries=5):
    trained = model(distance_type)
    given = prepare_queries(gaussian(queries, DIM), trained)
    allowed = np.asarray(allowed, np.int64)
    pairs = plan(given, trained, allowed, nprobes=nprobes, wanted=wanted)
    sign = -1 if distance_type == "dot" else 1
    nearest_first = np.lexsort((pairs.partition, sign * pairs.base))
    query, partition = pairs.query[nearest_first], pairs.partition[nearest_first]
    return given, [partition[query == number] for number in range(queries)]


def by_brute_force(query, distance_type):
    centroids = model().centroids.astype(np.float64)
    if distance_type == "dot":
        return (-centroids @ query).argsort().tolist()
    return ((centroids - query) ** 2).sum(axis=1).argsort().tolist()


@pytest.mark.parametrize("distance_type", DISTANCE_TYPES)
@pytest.mark.parametrize("nprobes", [1, 13, 70, 1000])
def test_the_nearest_partitions_are_read_nearest_first(distance_type, nprobes):
    given, found = probes([5] * PARTITIONS, nprobes=nprobes, distance_type=distance_type)
    for query, mine in zip(given.prepared, found, strict=True):
        assert mine.tolist() == by_brute_force(query, distance_type)[:nprobes]


def test_twenty_are_read_where_those_hold_enough():
    _, found = probes([1] * PARTITIONS, wanted=20)
    assert [len(mine) for mine in found] == [20] * 5


def test_probing_widens_by_doubling_until_enough_rows_can_be_found():
    _, found = probes([1] * PARTITIONS, wanted=21)
    assert [len(mine) for mine in found] == [40] * 5


def test_probing_widens_to_everything_where_the_allowed_rows_are_few():
    allowed = np.zeros(PARTITIONS)
    allowed[3] = 9
    _, found = probes(allowed, wanted=10)
    assert all(sorted(mine.tolist()) == list(range(PARTITIONS)) for mine in found)


def test_a_given_nprobes_never_widens():
    _, found = probes([0] * PARTITIONS, nprobes=2)
    assert [len(mine) for mine in found] == [2] * 5


def test_queries_are_prepared_alike_alone_and_together():
    trained, rows = model("cosine"), gaussian(300, DIM)
    together = prepare_queries(rows, trained)
    for at in (0, 255, 299):
        alone = prepare_queries(rows[at : at + 1], trained)
        np.testing.assert_array_equal(alone.prepared[0], together.prepared[at])
        np.testing.assert_array_equal(alone.rotated[0], together.rotated[at])


def test_prepared_rows_have_unit_length_under_cosine_however_long_they_were():
    rows = gaussian(6, 960) * np.float32([[1e-15], [1e-3], [1], [1e3], [1e9], [1e16]])
    np.testing.assert_allclose(np.linalg.norm(prepared(rows, "cosine"), axis=1), 1, rtol=1e-6)
    assert prepared(rows, "l2") is rows


@pytest.mark.parametrize(
    ("kind", "dim", "rows", "given", "expected"),
    [
        ("rabitq", 960, 200_000, {}, (400, None)),
        ("rabitq", 3, 10, {}, (1, None)),
        ("rabitq", 960, 10**9, {}, (16384, None)),
        ("ivf_pq", 960, 200_000, {}, (447, 60)),
        ("ivf_pq", 24, 1, {"num_sub_vectors": 3}, (1, 3)),
        ("flat", 960, 200_000, {}, (0, None)),
    ],
)
def test_an_index_is_sized_by_the_stated_rules(kind, dim, rows, given, expected):
    options = {"num_partitions": None, "num_sub_vectors": None} | given
    found = resolve(kind, dim, rows, **options)
    assert (found.num_partitions, found.num_sub_vectors) == expected


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("flat", {"num_partitions": 5}),
        ("flat", {"num_sub_vectors": 5}),
        ("rabitq", {"num_sub_vectors": 4}),
        ("flat", {"bits": 4}),
        ("ivf_pq", {"bits": 4}),
    ],
)
def test_sizes_of_another_index_are_refused(kind, given):
    options = {"num_partitions": None, "num_sub_vectors": None} | given
    with pytest.raises(InvalidInput, match=f"{kind} has none"):
        resolve(kind, 960, 1000, **options)


@pytest.mark.parametrize("given", [{}, {"num_sub_vectors": 7}, {"num_sub_vectors": 0}])
def test_a_dimension_that_does_not_divide_is_refused_with_a_way_out(given):
    options = {"num_partitions": None, "num_sub_vectors": None} | given
    with pytest.raises(InvalidInput, match="divisor"):
        resolve("ivf_pq", 100, 1000, **options)


@pytest.mark.parametrize("dim", [1, 15, 16, 17, 960])
def test_products_of_bytes_are_exact_at_their_extremes(dim):
    random = np.random.default_rng(dim)
    level = random.choice(np.array([-127, 0, 127], np.int8), dim)
    near = random.choice(np.array([-127, 1, 127], np.int8), (5, dim))
    near[0], near[1] = level, -level
    out = np.empty(5, np.int32)
    _products(level, near, out)
    assert out.tolist() == (near.astype(np.int64) @ level.astype(np.int64)).tolist()
