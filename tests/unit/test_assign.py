from __future__ import annotations

import numpy as np
import pytest
from vectordata import clustered, gaussian

from atoll.core.errors import InvalidInput
from atoll.vectors.assign import nearest, nearest_by_groups
from atoll.vectors.kmeans import in_groups, kmeans
from atoll.vectors.torchassign import nearest_on


def by_brute_force(rows, centroids):
    rows, centroids = rows.astype(np.float64), centroids.astype(np.float64)
    return ((rows[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)


@pytest.mark.parametrize(("rows", "dim", "partitions"), [(1, 1, 1), (50, 3, 7), (2500, 16, 40)])
def test_rows_go_to_their_nearest_centroid(rows, dim, partitions):
    values, centroids = gaussian(rows, dim), gaussian(partitions, dim, seed=1)
    np.testing.assert_array_equal(nearest(values, centroids)[0], by_brute_force(values, centroids))


def test_a_row_is_scored_the_same_whatever_comes_with_it():
    rows, centroids = gaussian(2100, 65), gaussian(37, 65, seed=1)
    whole = nearest(rows, centroids)
    for step in (1, 100, 1025):
        parts = [nearest(rows[at : at + step], centroids) for at in range(0, 300, step)]
        for mine, theirs in zip(zip(*parts, strict=True), whole, strict=True):
            joined = np.concatenate(mine)
            np.testing.assert_array_equal(joined, theirs[: len(joined)])


@pytest.fixture(scope="module")
def grouped():
    rows = clustered(12_000, 16, clusters=300)
    return rows[:2100], *in_groups(kmeans(rows, 1500))


def test_near_groups_hold_the_nearest_centroid_of_nearly_every_row(grouped):
    rows, centroids, groups = grouped
    found, distance = nearest_by_groups(rows, centroids, groups)
    exact, least = nearest(rows, centroids)
    assert (found == exact).mean() > 0.98
    assert distance.mean() < 1.02 * least.mean()


def test_a_row_finds_its_groups_alike_whatever_comes_with_it(grouped):
    rows, centroids, groups = grouped
    whole = nearest_by_groups(rows, centroids, groups)
    for step in (1, 70):
        parts = [
            nearest_by_groups(rows[at : at + step], centroids, groups) for at in range(0, 140, step)
        ]
        for mine, theirs in zip(zip(*parts, strict=True), whole, strict=True):
            np.testing.assert_array_equal(np.concatenate(mine), theirs[:140])


def test_a_centroid_belongs_to_its_own_partition(grouped):
    _, centroids, groups = grouped
    found, _ = nearest_by_groups(centroids, centroids, groups)
    assert (centroids[found] == centroids).all()


def test_torch_assigns_rows_alike():
    rows, centroids = clustered(3000, 24), gaussian(600, 24, seed=1)
    found, distance = nearest_on("cpu")(rows, centroids)
    exact, least = nearest(rows, centroids)
    assert (found == exact).mean() > 0.999
    np.testing.assert_allclose(distance, least, rtol=1e-4)


def test_torch_trains_centroids_that_fit_alike():
    rows = clustered(3000, 8)
    ours, theirs = kmeans(rows, 20), kmeans(rows, 20, on_device=nearest_on("cpu"))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InvalidInput, match="is not there"):
        nearest_on("cuda:77")
