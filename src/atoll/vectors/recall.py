"""Recall: how many of the true neighbours an answer holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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


class TrueNeighbours:
    """What an exact search found, to hold other searches for the same queries against.

    Ids are compared, as in `recall_at_k`; here for many queries and many k at once.
    """

    def __init__(self, hits: pa.Table, query_ids: Sequence[str]) -> None:
        """Take the hits of an exact search for `query_ids`."""
        self._queries = pa.array(query_ids, pa.string())
        self._ids = hits["id"].combine_chunks().unique()
        pair = self._pairs(hits)
        order = np.argsort(pair)
        self._pair = pair[order]
        self._rank = hits["rank"].to_numpy()[order]
        self._distance = hits["_distance"].to_numpy()[order]

    def shares(self, hits: pa.Table, k: int, within: float = float("inf")) -> NDArray[np.float64]:
        """Measure what share of its k true nearest each query found.

        Args:
            hits: of a search for the same queries, k or more each; the first k count.
            k: at most the k of the exact search.
            within: count only true neighbours up to this distance.

        Returns:
            (queries,) 0 to 1; NaN where a query has no such neighbour.
        """
        is_true = (self._rank <= k) & (self._distance <= within)
        found = self._pairs(hits.filter(pc.less_equal(hits["rank"], k)))
        at = np.minimum(np.searchsorted(self._pair, found), len(self._pair) - 1)
        is_hit = (self._pair[at] == found) & is_true[at]
        wanted = self._per_query(self._pair[is_true])
        with np.errstate(invalid="ignore"):
            share: NDArray[np.float64] = self._per_query(found[is_hit]) / wanted
        return share

    def nearest_distance(self) -> float:
        """Tell the median distance of the queries to their nearest neighbour."""
        return float(np.median(self._distance[self._rank == 1]))

    def _per_query(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        count: NDArray[np.int64] = np.bincount(pairs // self._stride, minlength=len(self._queries))
        return count

    @property
    def _stride(self) -> int:
        return len(self._ids) + 1

    def _pairs(self, hits: pa.Table) -> NDArray[np.int64]:
        """Number (query, id) pairs; ids that are no true neighbour of any query share one."""
        query = pc.index_in(hits["query_id"], self._queries).to_numpy().astype(np.int64)
        name = pc.fill_null(pc.index_in(hits["id"], self._ids), len(self._ids))
        pair: NDArray[np.int64] = query * self._stride + name.to_numpy()
        return pair
