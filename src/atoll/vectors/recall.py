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

    Ids are compared, as in `recall_at_k`; here for many queries and many k at once. A pair is a
    query with one of its true neighbours.

    Attributes:
        ids: (m,) of all neighbours, each once.
    """

    def __init__(self, hits: pa.Table, query_ids: Sequence[str]) -> None:
        """Take the hits of an exact search for `query_ids`."""
        self.ids: pa.Array = hits["id"].combine_chunks().unique()
        self._queries = pa.array(query_ids, pa.string())
        pair = self._pairs(*self._numbers(hits))
        order = np.argsort(pair)
        self._pair = pair[order]
        self._rank = hits["rank"].to_numpy()[order]
        self._distance = hits["_distance"].to_numpy()[order]

    def places(self, query: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
        """Look each pair up in what a search found.

        Args:
            query: (n,) number of the query.
            number: (n,) of the row found for it, in `ids`; `len(ids)` for a row that is not there.

        Returns:
            (pairs,) where in these arrays it stands, n where it does not.
        """
        found = self._pairs(query, number)
        place = np.full(len(self._pair), len(found))
        at = np.minimum(np.searchsorted(self._pair, found), len(self._pair) - 1)
        is_pair = np.flatnonzero(self._pair[at] == found)
        place[at[is_pair]] = is_pair
        return place

    def found_by(self, hits: pa.Table) -> NDArray[np.bool_]:
        """Tell of each pair whether a search for the same queries has it among its hits."""
        query, number = self._numbers(hits)
        return self.places(query, number) < len(query)

    def shares(
        self, is_found: NDArray[np.bool_], k: int, within: float = float("inf")
    ) -> NDArray[np.float64]:
        """Measure what share of its k true nearest each query found.

        Args:
            is_found: (pairs,) which were.
            k: at most the k of the exact search.
            within: count only true neighbours up to this distance.

        Returns:
            (queries,) 0 to 1; NaN where a query has no such neighbour.
        """
        is_wanted = (self._rank <= k) & (self._distance <= within)
        with np.errstate(invalid="ignore"):
            share: NDArray[np.float64] = self._per_query(is_wanted & is_found) / self._per_query(
                is_wanted
            )
        return share

    def nearest_distance(self) -> float:
        """Tell the median distance of the queries to their nearest neighbour."""
        return float(np.median(self._distance[self._rank == 1]))

    def _per_query(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        query = self._pair[chosen] // (len(self.ids) + 1)
        count: NDArray[np.int64] = np.bincount(query, minlength=len(self._queries))
        return count

    def _numbers(self, hits: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        query = pc.index_in(hits["query_id"], self._queries).to_numpy().astype(np.int64)
        number = pc.fill_null(pc.index_in(hits["id"], self.ids), len(self.ids))
        return query, number.to_numpy().astype(np.int64)

    def _pairs(self, query: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number pairs of a query and any row; rows that are no true neighbour share one."""
        pair: NDArray[np.int64] = query * (len(self.ids) + 1) + number
        return pair
