"""The pure steps of a search, in the order in which `mapreduce` takes them.

    plan            which partitions each query reads, in every bucket
    scans           the rows of those partitions, by estimate: no ids, no vectors
    refined         exact distances of the best, over all buckets
    in_order        the k nearest, ties by id

Estimates and distances are on different scales and never meet in one ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.vectors import rabitq
from atoll.vectors.distance import as_floats, close_pairs, distances_of, product_distances
from atoll.vectors.index import IndexModel, prepared
from atoll.vectors.model import CollectionSpec
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.scan import Best, Codes, scan
from atoll.vectors.shelf import Mask

DEFAULT_NPROBES = 20
# Filters that leave fewer rows than this are answered by comparing them all.
NARROW_ROWS = 10_000
# Rows that one thread estimates before another may go on with other queries: some 50 ms.
SCAN_ROWS = 1 << 21
# Bytes of vectors, of codes and of prepared queries held at once.
REFINE_BYTES = 64 << 20
CODE_BYTES = 128 << 20
PAIRS_AT_ONCE = 1 << 13
ROWS_AT_ONCE = 8192
QUERIES_AT_ONCE = 1024


# -- plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Queries:
    """Query vectors as the index meets them.

    Attributes:
        prepared: (q, dim) float32, of unit length under cosine.
        rotated: (q, dim) float32.
    """

    prepared: FloatArray
    rotated: FloatArray


def prepare_queries(vectors: FloatArray, model: IndexModel) -> Queries:
    """Bring (q, dim) float32 queries into the space of the index."""
    rows = prepared(vectors, model.distance_type)
    return Queries(rows, rabitq.rotate(rows, model.signs))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which query reads which partition; parallel arrays, ordered by partition.

    Attributes:
        query, partition: (n,) the pair.
        base: (n,) float32, squared distance from query to centroid, or under "dot" their product.
    """

    query: IntArray
    partition: IntArray
    base: FloatArray

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.query)

    def slice(self, start: int, stop: int) -> Pairs:
        """Take some of them."""
        at = slice(start, stop)
        return Pairs(self.query[at], self.partition[at], self.base[at])


def plan(
    queries: Queries,
    model: IndexModel,
    allowed_rows: IntArray,
    *,
    nprobes: int | None,
    wanted: int,
) -> Pairs:
    """Choose the partitions each query reads, the same in every bucket.

    Args:
        queries: prepared queries.
        model: the centroids.
        allowed_rows: (num_partitions,) rows that may be hits, over all buckets of this model.
        nprobes: how many; None starts at 20 and widens until `wanted` rows can be found.
        wanted: rows needed, where `nprobes` is None.
    """
    total = len(model.centroids)
    count = min(total, nprobes or DEFAULT_NPROBES)
    left = np.arange(len(queries.prepared))
    partition, base = model.probe_order(queries.prepared, count)
    chosen: list[tuple[IntArray, IntArray, FloatArray]] = []
    while nprobes is None and count < total and len(left):
        is_enough = allowed_rows[partition].sum(axis=1) >= wanted
        chosen.append((left[is_enough], partition[is_enough], base[is_enough]))
        left, count = left[~is_enough], min(total, count * 2)
        partition, base = model.probe_order(queries.prepared[left], count)
    chosen.append((left, partition, base))
    parts = [(who.repeat(near.shape[1]), near.ravel(), far.ravel()) for who, near, far in chosen]
    query, partition, base = map(np.concatenate, zip(*parts, strict=True))
    order = partition.argsort(kind="stable")
    return Pairs(query[order], partition[order], base[order])


def rounds(pairs: Pairs, rows: IntArray, code_bytes: int) -> Iterator[Pairs]:
    """Cut the pairs into rounds whose codes and prepared queries fit into memory.

    Args:
        pairs: ordered by partition.
        rows: (num_partitions,) rows over all buckets.
        code_bytes: size of a code.
    """
    if len(pairs) <= PAIRS_AT_ONCE and rows[pairs.partition].sum() * code_bytes <= CODE_BYTES:
        yield pairs
        return
    is_first = np.diff(pairs.partition, prepend=-1) != 0
    size = np.cumsum(np.where(is_first, rows[pairs.partition], 0)) * code_bytes
    number = np.maximum(size // CODE_BYTES, np.arange(len(pairs)) // PAIRS_AT_ONCE)
    edges = np.flatnonzero(np.diff(number, prepend=-1))
    for start, stop in zip(edges, [*edges[1:], len(pairs)], strict=True):
        yield pairs.slice(int(start), int(stop))


# -- map ------------------------------------------------------------------------------------------


def scans(
    pairs: Pairs,
    queries: Queries,
    partitions: IntArray,
    codes: Codes,
    best: Best,
    model: IndexModel,
) -> list[Callable[[], None]]:
    """Estimate the rows of partitions and fold them into the best of each query.

    Args:
        pairs: ordered by partition.
        queries: whose pairs they are.
        partitions: (m,) the distinct partitions of the pairs, ascending.
        codes: their codes in each bucket.
        best: what is found goes here.
        model: whose partitions these are.

    Returns:
        The work, in parts that threads may do at once: each is for other queries.
    """
    prepared_pairs = rabitq.prepare(
        queries.rotated,
        pairs.query,
        model.rotated_centroids,
        pairs.partition,
        pairs.base,
        model.bits,
    )
    which = np.searchsorted(partitions, pairs.partition)
    rows = codes.rows.sum(axis=0)[which]
    parts = [np.arange(len(pairs))]
    if rows.sum() > SCAN_ROWS:
        share = np.cumsum(np.bincount(pairs.query, rows)) // SCAN_ROWS
        part_of = share[pairs.query].astype(np.int64)
        parts = [np.flatnonzero(part_of == number) for number in np.unique(part_of)]

    def work(mine: IntArray) -> None:
        # Made here: with many buckets the blocks of all parts would take gigabytes.
        blocks = codes.blocks(which[mine], mine, pairs.query[mine])
        scan(blocks, prepared_pairs, best, model.distance_type, model.centroids.shape[1])

    return [partial(work, mine) for mine in parts]


# -- refine ---------------------------------------------------------------------------------------


def refined_at_once(dim: int) -> int:
    """Tell how many vectors are held at once, and so read together."""
    return max(256, REFINE_BYTES // (4 * dim))


@dataclass(frozen=True, eq=False)
class Found:
    """Rows with exact distances; parallel arrays.

    Attributes:
        query: (n,) which query.
        row: (n,) its number over all buckets; see `atoll.vectors.openbucket.Shelf`.
        distance: (n,) float32.
    """

    query: IntArray
    row: IntArray
    distance: FloatArray

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.query)

    def take(self, index: IntArray) -> Found:
        """Pick some."""
        return Found(self.query[index], self.row[index], self.distance[index])


def join(parts: Sequence[Found]) -> Found:
    """Put found rows together, ordered by query."""
    if len(parts) == 1:
        return parts[0]
    none = Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    parts = [none, *parts]
    whole = Found(
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.distance for part in parts]),
    )
    return whole.take(np.argsort(whole.query, kind="stable"))


def refined(
    row: IntArray,
    query: IntArray,
    vectors: FloatArray,
    stored_of: Callable[[IntArray], NDArray[np.generic]],
    spec: CollectionSpec,
) -> FloatArray:
    """Compute distances from stored vectors; each row is read once.

    Args:
        row, query: (n,) pairs: which row, and for which query.
        vectors: (q, dim) float32 queries as given.
        stored_of: reads the vectors of rows, ascending, each once.
        spec: distance and length.

    Returns:
        (n,) float32.
    """
    order = row.argsort(kind="stable")
    ascending = row[order]
    is_first = np.ones(len(row), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=is_first[1:])
    rows = ascending[is_first]
    number = is_first.cumsum() - 1
    which = np.empty(len(row), np.int64)
    which[order] = number
    at_once = refined_at_once(spec.dim)
    if len(rows) <= at_once:
        return distances_of(vectors, query, stored_of(rows), which, spec.distance_type)
    out = np.empty(len(row), np.float32)
    for start in range(0, len(rows), at_once):
        stop = min(len(rows), start + at_once)
        here = order[slice(*number.searchsorted((start, stop)))]
        stored = stored_of(rows[start:stop])
        out[here] = distances_of(
            vectors, query[here], stored, which[here] - start, spec.distance_type
        )
    return out


# -- order ----------------------------------------------------------------------------------------


def in_order(
    found: Found,
    k: int,
    ids_of: Callable[[Found], pa.Array],
    max_distance: float | None = None,
) -> Found:
    """Order rows by query, distance, id; keep the k nearest of each query.

    Args:
        found: ordered by query, with no row twice for one.
        k: rows wanted.
        ids_of: tells ids; asked only for rows whose distances are equal.
        max_distance: no row beyond it.
    """
    if max_distance is not None:
        found = found.take(np.flatnonzero(found.distance <= max_distance))
    from atoll.vectors.kernels.exact import order_nearest

    size = len(found)
    order, key, is_tied = np.empty(size, np.int64), np.empty(size, np.uint64), np.empty(size, "?")
    kept = order_nearest(found.query, found.distance, k, order, key, is_tied)
    order, tied = order[:kept], np.flatnonzero(is_tied[:kept])
    if not len(tied):
        return found.take(order)
    # Rows tied with the k-th stay until their ids decide.
    ids = ids_of(found.take(order[tied]))
    by_id = np.empty(len(tied), np.int64)
    by_id[np.asarray(pa.compute.array_sort_indices(ids))] = np.arange(len(tied))
    order[tied] = order[tied][np.lexsort((by_id, key[tied]))]
    return found.take(order[place_in_query(found.query[order]) < k])


def place_in_query(query: IntArray) -> IntArray:
    """Count each entry's predecessors of the same query, in a sorted array: 0, 1, 2, 0, 1 ..."""
    found: IntArray = np.arange(len(query)) - np.searchsorted(query, query)
    return found


# -- brute force ----------------------------------------------------------------------------------


class Nearest:
    """The k nearest rows of each query seen so far, by (distance, id)."""

    def __init__(self, queries: int, k: int, ids_of: Callable[[Found], pa.Array]) -> None:
        """Start with none."""
        self._k, self._ids_of = k, ids_of
        self._parts: list[Found] = []
        self._held, self._room = 0, 0
        # No row beyond this distance can enter.
        self.limit = np.full(queries, np.inf, np.float32)

    def add(self, found: Found) -> None:
        """Take rows; now and then all but the k nearest of each query are dropped."""
        self._parts.append(found)
        self._held += len(found)
        if self._held >= self._room:
            self.taken()

    def taken(self) -> Found:
        """Return the k nearest rows of each query, in order."""
        best = in_order(join(self._parts), self._k, self._ids_of)
        self._parts, self._held = [best], len(best)
        self._room = 2 * self._held + 4096
        full = place_in_query(best.query) == self._k - 1
        self.limit[best.query[full]] = best.distance[full]
        return best


def scan_bucket(
    bucket: OpenBucket,
    first_row: int,
    vectors: FloatArray,
    spec: CollectionSpec,
    *,
    mask: Mask,
    nearest: Nearest,
    k: int,
) -> None:
    """Compare the rows of a bucket that may be hits with every query.

    `first_row` is the number of its first row. Products in float32 choose who may be among the k
    nearest, within their rounding error; only those get the exact kernel.
    """
    for start in range(0, bucket.bucket.stored_rows, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, bucket.bucket.stored_rows)
        if mask is None:
            rows, stored = np.arange(start, stop), bucket.vectors_between(start, stop)
        else:
            rows = start + np.flatnonzero(mask[start:stop])
            if not len(rows):
                continue
            stored = bucket.vectors(rows)
        if bucket.bucket.is_adopted:
            # Vectors without distances come as NaN.
            known = ~np.isnan(stored[:, 0])
            rows, stored = rows[known], stored[known]
        floats = as_floats(stored)
        for first in range(0, len(vectors), QUERIES_AT_ONCE):
            some = slice(first, first + QUERIES_AT_ONCE)
            near, slack = product_distances(vectors[some], floats, spec.distance_type)
            query, which = close_pairs(near, slack, nearest.limit[some], k)
            query += first
            distance = distances_of(vectors, query, stored, which, spec.distance_type)
            nearest.add(Found(query, first_row + rows[which], distance))
