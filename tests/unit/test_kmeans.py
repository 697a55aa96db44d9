from __future__ import annotations

import numpy as np
import pytest
from vectordata import clustered, gaussian

from atoll.vectors.assign import nearest
from atoll.vectors.kmeans import in_groups, kmeans, lloyd


def test_planted_clusters_are_found():
    rows = clustered(2000, 16, clusters=5) * np.float32(0.01)
    rows += np.repeat(np.eye(5, 16, dtype=np.float32) * 100, 400, axis=0)
    partition = nearest(rows, kmeans(rows, 5))[0].reshape(5, 400)
    assert (partition == partition[:, :1]).all()
    assert len(set(partition[:, 0].tolist())) == 5


def test_centroids_are_the_means_of_their_rows_once_nothing_moves():
    rows = clustered(300, 8, clusters=3)
    centroids = lloyd(rows, 3, iterations=100)
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


def mean_distance(rows, centroids):
    return nearest(rows, centroids)[1].mean()


def test_many_centroids_fit_as_well_as_flat_rounds_within_two_percent():
    rows = clustered(6000, 12, clusters=200)
    found = mean_distance(rows, kmeans(rows, 600))
    assert found <= 1.02 * mean_distance(rows, lloyd(rows, 600))


@pytest.mark.parametrize(
    "rows",
    [
        gaussian(3, 4),
        np.ones((700, 4), np.float32),
        np.concatenate([np.ones((900, 4), np.float32), 9 + gaussian(300, 4)]),
    ],
    ids=["few rows", "one value", "mostly one value"],
)
def test_many_centroids_are_found_where_rows_hardly_differ(rows):
    centroids = kmeans(rows, 530)
    assert centroids.shape == (530, 4)
    assert np.isfinite(centroids).all()
    assert mean_distance(rows, centroids) < 0.5


def test_groups_hold_every_centroid_once_in_runs_of_near_ones():
    centroids = clustered(900, 6, clusters=40)
    ordered, groups = in_groups(centroids)
    np.testing.assert_array_equal(np.sort(ordered, axis=0), np.sort(centroids, axis=0))
    assert groups.starts[0] == 0
    assert groups.starts[-1] == 900
    assert (np.diff(groups.starts) > 0).all()
    for start, stop, center in zip(
        groups.starts[:-1], groups.starts[1:], groups.centers, strict=True
    ):
        np.testing.assert_allclose(center, ordered[start:stop].mean(axis=0), atol=1e-4)
    steps = np.linalg.norm(np.diff(ordered, axis=0), axis=1).mean()
    assert steps < 0.7 * np.linalg.norm(np.diff(centroids, axis=0), axis=1).mean()


def test_few_centroids_are_one_group():
    assert in_groups(gaussian(512, 3))[1].starts.tolist() == [0, 512]
