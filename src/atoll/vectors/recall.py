"""Recall: how many of the true neighbours an answer holds."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from atoll.core.errors import InvalidInput


def recall_at_k(found: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> float:
    """Measure the share of true nearest neighbours that a search found.

    Args:
        found: ids per query, in any order; fewer than k where a search found fewer.
        true: the k ids per query of an exact search with the same distance_type.

    Returns:
        Mean over queries, 0 to 1. Ids are compared, so a tie at rank k may count as a miss.

    Raises:
        InvalidInput: the numbers of queries differ, or a query has no true neighbour.

    Source: Aumüller, Bernhardsson, Faithfull (2020), Information Systems 87; there ties count by
    distance.

    >>> recall_at_k([["a", "b"], ["c"]], [["a", "x"], ["c", "d"]])
    0.5
    """
    if len(found) != len(true) or not true or not all(true):
        raise InvalidInput(
            f"found holds {len(found)} queries, true {len(true)}; both must hold the same ones, "
            "each with at least one true neighbour"
        )
    shares = [
        len(set(mine) & set(theirs)) / len(set(theirs))
        for mine, theirs in zip(found, true, strict=True)
    ]
    return sum(shares) / len(shares)


def ids_by_query(hits: pa.Table, query_ids: Sequence[str]) -> list[list[str]]:
    """List the ids of a search result for each of `query_ids`, in their order."""
    groups: dict[str, list[str]] = {name: [] for name in query_ids}
    for query, name in zip(hits["query_id"].to_pylist(), hits["id"].to_pylist(), strict=True):
        if query in groups:
            groups[query].append(name)
    return list(groups.values())
