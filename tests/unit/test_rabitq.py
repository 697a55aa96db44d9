from __future__ import annotations

import numpy as np
import pytest

from atoll.vectors import rabitq, scan
from atoll.vectors.index import prepared

DIMS = (1, 2, 3, 63, 64, 65, 960, 3000)
GOLDEN_SIGNS = [
    [1, 1, 1, -1, 1, -1, -1, 1, 1],
    [-1, 1, 1, 1, -1, 1, -1, 1, 1],
    [-1, -1, 1, 1, -1, -1, -1, -1, 1],
    [-1, 1, -1, -1, 1, -1, 1, 1, 1],
]


def gaussian(rows, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def encoded(rows, centroids, partition, signs, distance_type="l2"):
    id_hash = np.arange(len(rows), dtype=np.uint64) << np.uint64(32)
    return rabitq.encode(rows, partition, centroids, signs, distance_type, id_hash)


def estimates(queries, rows, centroid, signs, distance_type):
    """Estimate the distance of each query to each row, as a search does."""
    rows = np.ascontiguousarray(rows)
    codes = encoded(rows, centroid[None], np.zeros(len(rows), np.uint32), signs, distance_type)
    return found_estimates(codes, *prepare(queries, centroid[None], signs, distance_type))


def prepare(queries, centroids, signs, distance_type):
    """Prepare all pairs of query and centroid."""
    query = np.repeat(np.arange(len(queries)), len(centroids))
    partition = np.tile(np.arange(len(centroids)), len(queries))
    one, other = queries[query].astype(np.float64), centroids[partition].astype(np.float64)
    base = (one * other if distance_type == "dot" else (one - other) ** 2).sum(axis=1)
    rotated = [rabitq.rotate(each, signs) for each in (queries, centroids)]
    found = rabitq.prepare(rotated[0], query, rotated[1], partition, base.astype(np.float32))
    return found, distance_type


def found_estimates(codes, prepared, distance_type):
    """Scan all codes for each prepared pair; (pairs, codes) float32."""
    pairs = len(prepared.step)
    blocks = np.zeros(pairs, scan.BLOCK)
    held = scan.arranged(codes.view(np.uint8).reshape(len(codes), -1), prepared.bits)
    blocks["address"], blocks["rows"] = held.ctypes.data, len(codes)
    blocks["pair"] = blocks["query"] = np.arange(pairs)
    best = scan.Best.of(pairs, len(codes))
    dim = 64 * codes["bits"].shape[1]
    scan.scan(blocks, prepared, best, distance_type, dim)
    query, key, ref = best.taken()
    out = np.empty((pairs, len(codes)), np.float32)
    out[query, ref.astype(np.int64)] = scan.estimates_of(key)
    return out


def true_distances(queries, rows, distance_type):
    queries, rows = queries.astype(np.float64), rows.astype(np.float64)
    if distance_type == "l2":
        return ((queries[:, None] - rows[None]) ** 2).sum(axis=2)
    return 1 - queries @ rows.T


@pytest.mark.parametrize("dim", DIMS)
def test_rotation_keeps_lengths_and_angles(dim):
    rows, signs = gaussian(5, dim), rabitq.rotation_signs(dim, 0)
    turned = rabitq.rotate(rows, signs).astype(np.float64)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, rtol=1e-4, atol=2e-3 * dim**0.5)


def test_rotation_is_the_same_on_every_machine():
    assert rabitq.rotation_signs(9, 0).tolist() == GOLDEN_SIGNS
    assert rabitq.rotation_signs(9, 1).tolist() != GOLDEN_SIGNS


def test_rotation_spreads_a_single_value_over_the_whole_vector():
    turned = rabitq.rotate(np.eye(960, dtype=np.float32)[:3], rabitq.rotation_signs(960, 0))
    assert np.abs(turned).max() < 0.25


@pytest.mark.parametrize(("dim", "size"), [(1, 20), (64, 20), (65, 28), (960, 132)])
def test_a_code_takes_a_bit_per_dimension_and_twelve_bytes(dim, size):
    assert rabitq.code_dtype(dim).itemsize == size


@pytest.mark.parametrize("dim", DIMS)
def test_a_row_gets_the_same_code_whatever_comes_with_it(dim):
    count = 700 if dim < 100 else 400
    rows, signs = gaussian(count, dim), rabitq.rotation_signs(dim, 0)
    centroids = gaussian(3, dim, seed=1)
    partition = np.arange(count, dtype=np.uint32) % 3
    whole = encoded(rows, centroids, partition, signs)
    for step in (1, 100, 255, 256, 300) if dim < 100 else (255, 300):
        parts = [
            encoded(rows[at : at + step], centroids, partition[at : at + step], signs)
            for at in range(0, min(count, 3 * step), step)
        ]
        joined = np.concatenate(parts)
        for name in ("bits", "scale", "offset"):
            np.testing.assert_array_equal(joined[name], whole[name][: len(joined)])


@pytest.mark.parametrize("distance_type", ["l2", "dot", "cosine"])
def test_estimates_are_unbiased_over_rotations(distance_type):
    rows, queries = gaussian(8, 64), gaussian(2, 64, seed=4)
    rows, queries = prepared(rows, distance_type), prepared(queries, distance_type)
    centroid = rows.mean(axis=0)
    found = np.array(
        [
            estimates(queries, rows, centroid, rabitq.rotation_signs(64, seed), distance_type)
            for seed in range(300)
        ],
        np.float64,
    )
    error = found - true_distances(queries, rows, distance_type)
    standard_error = error.std(axis=0) / len(error) ** 0.5
    assert (np.abs(error.mean(axis=0)) < 4.5 * standard_error).all()


def test_estimates_rank_rows_much_as_distances_do():
    rows, query = gaussian(2000, 960), gaussian(1, 960, seed=5)
    signs = rabitq.rotation_signs(960, 0)
    found = estimates(query, rows, rows.mean(axis=0), signs, "l2")[0]
    true = true_distances(query, rows, "l2")[0]
    assert np.corrcoef(found, true)[0, 1] > 0.8


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("distance_type", ["l2", "dot"])
def test_a_row_on_its_centroid_is_estimated_exactly(dim, distance_type):
    rows, query = gaussian(1, dim), gaussian(1, dim, seed=6)
    signs = rabitq.rotation_signs(dim, 0)
    found = estimates(query, rows, rows[0], signs, distance_type)
    np.testing.assert_allclose(found, true_distances(query, rows, distance_type), rtol=1e-4)


def test_equal_rows_have_equal_codes_but_for_their_ids():
    rows = np.repeat(gaussian(1, 65), 600, axis=0)
    codes = encoded(
        rows, gaussian(1, 65, 1), np.zeros(600, np.uint32), rabitq.rotation_signs(65, 0)
    )
    assert len(np.unique(codes[["bits", "scale", "offset"]])) == 1
    assert len(np.unique(codes["id_hash"])) == 600
