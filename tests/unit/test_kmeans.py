from __future__ import annotations

import numpy as np
import pytest
from vectordata import clustered, gaussian

from atoll.vectors.kmeans import kmeans, nearest


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


def test_planted_clusters_are_found():
    rows = clustered(2000, 16, clusters=5) * np.float32(0.01)
    rows += np.repeat(np.eye(5, 16, dtype=np.float32) * 100, 400, axis=0)
    partition = nearest(rows, kmeans(rows, 5))[0].reshape(5, 400)
    assert (partition == partition[:, :1]).all()
    assert len(set(partition[:, 0].tolist())) == 5


def test_centroids_are_the_means_of_their_rows_once_nothing_moves():
    rows = clustered(300, 8, clusters=3)
    centroids = kmeans(rows, 3, iterations=100)
    partition = nearest(rows, centroids)[0]
    means = [rows[partition == number].astype(np.float64).mean(axis=0) for number in range(3)]
    np.testing.assert_allclose(centroids, means, rtol=1e-5, atol=1e-5)


def test_a_seed_gives_the_same_centroids_again_and_another_gives_others():
    rows = gaussian(500, 8)
    np.testing.assert_array_equal(kmeans(rows, 9, seed=3), kmeans(rows, 9, seed=3))
    assert (kmeans(rows, 9, seed=3) != kmeans(rows, 9, seed=4)).any()


@pytest.mark.parametrize("rows", [gaussian(3, 4), np.ones((50, 4), np.float32)])
def test_more_partitions_than_distinct_rows_leave_some_empty(rows):
    centroids = kmeans(rows, 20)
    assert centroids.shape == (20, 4)
    distance = ((rows - centroids[nearest(rows, centroids)[0]]) ** 2).sum()
    assert distance == 0
