from __future__ import annotations

import numpy as np
import pyarrow as pa

from atoll.vectors.recall import TrueNeighbours

NAMES = ["q0", "q1", "q2"]


def hits(lists, distances=None):
    """A search's result: a list of ids for each query."""
    pairs = [(q, rank, name) for q, found in zip(NAMES, lists, strict=True)
             for rank, name in enumerate(found, 1)]  # fmt: skip
    return pa.table(
        {
            "query_id": [q for q, _, _ in pairs],
            "rank": pa.array([rank for _, rank, _ in pairs], pa.int32()),
            "id": [name for _, _, name in pairs],
            "_distance": pa.array([float(rank) for _, rank, _ in pairs], pa.float32()),
        }
    )


def test_shares_are_those_of_comparing_sets():
    random = np.random.default_rng(0)
    true = [random.permutation(30)[:10].astype(str).tolist() for _ in NAMES]
    found = [random.permutation(30)[:20].astype(str).tolist() for _ in NAMES]
    known = TrueNeighbours(hits(true), NAMES)
    for k in (1, 3, 10):
        wanted = [len(set(f) & set(t[:k])) / k for f, t in zip(found, true, strict=True)]
        assert known.shares(known.found_by(hits(found)), k).tolist() == wanted


def test_pairs_are_found_where_they_stand():
    known = TrueNeighbours(hits([["a", "b"], ["a"], ["c"]]), NAMES)
    number = {name: i for i, name in enumerate(known.ids.to_pylist())}
    query, rows = np.array([1, 0, 0, 2]), np.array([number["a"], number["b"], 3, 3])
    # By query, then in the order of `ids`: q0 has no "a" among them, q2 no "c".
    assert known.places(query, rows).tolist() == [4, 1, 0, 4]


def test_a_neighbour_of_another_query_is_no_hit():
    known = TrueNeighbours(hits([["a"], ["b"], ["c"]]), NAMES)
    assert known.shares(known.found_by(hits([["b"], ["b"], []])), 1).tolist() == [0, 1, 0]


def test_only_neighbours_within_a_distance_count_and_a_query_may_have_none():
    known = TrueNeighbours(hits([["a", "b"], ["a"], []]), NAMES)
    shares = known.shares(known.found_by(hits([["b"], ["a"], ["x"]])), 2, within=1)
    assert shares[:2].tolist() == [0, 1]
    assert np.isnan(shares[2])


def test_a_query_with_fewer_neighbours_than_k_can_find_them_all():
    known = TrueNeighbours(hits([["a"], ["b"], ["c"]]), NAMES)
    assert known.shares(known.found_by(hits([["a"], ["b"], ["c"]])), 10).tolist() == [1, 1, 1]
