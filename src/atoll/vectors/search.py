"""Search: plan once, map over buckets, merge, refine after the merge.

    probes_of         which partitions each query reads
    map_bucket        one bucket's best candidates, as estimates: no ids, no vectors
    best              the best candidates over all buckets
    exact_distances   for those only
    rank              the hits, whose ids alone are fetched

Estimates and distances are on different scales and never meet in one ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.vectors import rabitq, scan
from atoll.vectors.distance import pair_distances, product_distances
from atoll.vectors.index import IndexModel, prepared
from atoll.vectors.model import CollectionSpec
from atoll.vectors.store import Table, vectors_of

DEFAULT_NPROBES = 20
# Filters that leave fewer rows than this are answered by comparing them all.
NARROW_ROWS = 10_000
REFINE_BYTES = 64 << 20
PAIRS_AT_ONCE = 4096
CODES_AT_ONCE = 1 << 18
# Below this many queries counting bits is quicker than unpacking them for a matrix product.
PRODUCT_MIN_QUERIES = 4

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Queries:
    """Query vectors as RaBitQ meets them.

    Attributes:
        prepared: (q, dim) float32, of unit length under cosine.
        rotated: (q, dim) float32, each rotated by itself.
    """

    prepared: FloatArray
    rotated: FloatArray


def prepare_queries(vectors: FloatArray, model: IndexModel) -> Queries:
    """Bring (q, dim) float32 queries into the space of the index."""
    rows = prepared(vectors, model.distance_type)
    return Queries(rows, rabitq.rotate(rows, model.signs))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows that may be hits; parallel arrays.

    Attributes:
        query: (n,) which query.
        bucket: (n,) which bucket, by position among the live ones.
        row: (n,) position in the bucket.
        key: (n,) uint64 that orders candidates of one query: the estimate, then the id hash.
    """

    query: IntArray
    bucket: IntArray
    row: IntArray
    key: NDArray[np.uint64]

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.query)

    def take(self, index: IntArray) -> Candidates:
        """Pick some."""
        return Candidates(self.query[index], self.bucket[index], self.row[index], self.key[index])


def join(parts: Sequence[Candidates]) -> Candidates:
    """Put candidate sets together."""
    if not parts:
        none = np.empty(0, np.int64)
        return Candidates(none, none, none, np.empty(0, np.uint64))
    return Candidates(
        np.concatenate([part.query for part in parts]),
        np.concatenate([part.bucket for part in parts]),
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.key for part in parts]),
    )


# -- plan -----------------------------------------------------------------------------------------


def probes_of(
    queries: Queries,
    model: IndexModel,
    allowed_rows: IntArray,
    *,
    nprobes: int | None,
    wanted: int,
) -> list[IntArray]:
    """Choose the partitions each query reads, the same in every bucket.

    Args:
        queries: prepared queries.
        model: the centroids.
        allowed_rows: (num_partitions,) rows that may be hits, over all buckets of this model.
        nprobes: how many; None starts at 20 and widens until `wanted` rows can be found.
        wanted: rows needed, where `nprobes` is None.

    Returns:
        For each query its partitions, nearest first.
    """
    total = len(model.centroids)
    chosen = []
    for query in queries.prepared:
        count = min(total, nprobes or DEFAULT_NPROBES)
        order = model.probe_order(query, count)
        while nprobes is None and count < total and allowed_rows[order].sum() < wanted:
            count = min(total, count * 2)
            order = model.probe_order(query, count)
        chosen.append(order)
    return chosen


# -- map ------------------------------------------------------------------------------------------


def map_bucket(
    table: Table,
    position: int,
    model: IndexModel,
    offsets: NDArray[np.uint64],
    queries: Queries,
    probes: Sequence[IntArray],
    *,
    keep: int,
    mask: Mask,
) -> Candidates:
    """Find the best `keep` candidates of each query in one bucket, by estimate.

    Each partition is read once, for all the queries that probe it.
    """
    dtype = rabitq.code_dtype(queries.prepared.shape[1])
    found = scan.Best.of(len(queries.prepared), min(keep, int(offsets[-1])))
    for together in _probed(table, offsets, probes, mask, dtype):
        for probed in together:
            _fold(probed, queries, model, mask, found)
    query, key, ref = found.taken()
    return Candidates(query, np.full(len(query), position), ref.astype(np.int64), key)


@dataclass(frozen=True, eq=False)
class _Probed:
    """A partition that has rows: its number, the queries that probe it, its rows, their codes."""

    partition: int
    who: IntArray
    rows: IntArray
    codes: NDArray[np.void]


def _fold(
    probed: _Probed, queries: Queries, model: IndexModel, mask: Mask, found: scan.Best
) -> None:
    """Fold the rows of a partition into the best of the queries that probe it."""
    who, first, pair = probed.who, int(probed.rows[0]), np.arange(len(probed.who))
    home = model.centroids[probed.partition].astype(np.float64)
    if model.distance_type == "dot":
        base = (queries.prepared[who] * home).sum(axis=1)
    else:
        base = ((queries.prepared[who] - home) ** 2).sum(axis=1)
    turned = model.rotated_centroids[probed.partition][None]
    prepared = rabitq.prepare(
        queries.rotated, who, turned, np.zeros_like(who), base.astype(np.float32)
    )
    codes = np.ascontiguousarray(probed.codes)
    blocks = np.zeros(len(who), scan.BLOCK)
    blocks["address"], blocks["rows"], blocks["ref"] = codes.ctypes.data, len(codes), first
    blocks["allowed"] = 0 if mask is None else mask.ctypes.data + first
    blocks["pair"], blocks["query"] = pair, who
    dim = queries.prepared.shape[1]
    if len(who) < PRODUCT_MIN_QUERIES:
        scan.scan(blocks, prepared, found, model.distance_type, dim)
    else:
        scan.scan_product(blocks[0], prepared, pair, who, found, model.distance_type, dim)


def _probed(
    table: Table,
    offsets: NDArray[np.uint64],
    probes: Sequence[IntArray],
    mask: Mask,
    dtype: np.dtype[np.void],
) -> Iterator[list[_Probed]]:
    """Yield the probed partitions, those whose codes were read in one request together.

    A request costs as much as a thousand rows.
    """
    asking = np.repeat(np.arange(len(probes)), [len(p) for p in probes])
    wanted = np.concatenate(probes) if len(probes) else np.empty(0, np.int64)
    order = np.argsort(wanted, kind="stable")
    held: list[tuple[int, IntArray, IntArray]] = []
    count = 0
    for partition, who in _grouped(wanted[order], asking[order]):
        start, stop = int(offsets[partition]), int(offsets[partition + 1])
        if start < stop and (mask is None or mask[start:stop].any()):
            held.append((partition, who, np.arange(start, stop)))
            count += stop - start
        if count >= CODES_AT_ONCE:
            yield _with_codes(table, held, dtype)
            held, count = [], 0
    if held:
        yield _with_codes(table, held, dtype)


def _with_codes(
    table: Table, held: list[tuple[int, IntArray, IntArray]], dtype: np.dtype[np.void]
) -> list[_Probed]:
    codes = table.codes(np.concatenate([rows for _, _, rows in held]), dtype)
    cuts = np.cumsum([len(rows) for _, _, rows in held])[:-1]
    parts = np.split(codes, cuts)
    return [_Probed(*item, part) for item, part in zip(held, parts, strict=True)]


def _grouped(keys: IntArray, values: IntArray) -> Iterator[tuple[int, IntArray]]:
    if len(keys):
        cuts = np.flatnonzero(np.diff(keys)) + 1
        for key, group in zip(
            keys[np.concatenate([[0], cuts])], np.split(values, cuts), strict=True
        ):
            yield int(key), group


def best(candidates: Candidates, keep: int) -> Candidates:
    """Keep the `keep` smallest keys of each query, ordered by query and key."""
    order = np.lexsort((candidates.key, candidates.query))
    return candidates.take(order[place_in_query(candidates.query[order]) < keep])


def place_in_query(query: IntArray) -> IntArray:
    """Count each entry's predecessors of the same query, in a sorted array: 0, 1, 2, 0, 1 ..."""
    found: IntArray = np.arange(len(query)) - np.searchsorted(query, query)
    return found


# -- merge and refine -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Hits:
    """Answers, ordered by query, distance, id.

    Attributes:
        query: (n,) which query.
        distance: (n,) float32, exact.
        ids: (n,) strings.
        bucket, row: (n,) where each is stored.
    """

    query: IntArray
    distance: FloatArray
    ids: pa.Array
    bucket: IntArray
    row: IntArray


def exact_distances(
    query: IntArray, row: IntArray, vectors: FloatArray, table: Table, spec: CollectionSpec
) -> FloatArray:
    """Compute distances from stored vectors; each row is read once.

    Args:
        query, row: (n,) pairs: which query, which row of the table.
        vectors: (q, dim) float32 queries as given.
        table: the bucket.
        spec: distance and column.

    Returns:
        (n,) float32.
    """
    out = np.empty(len(row), np.float32)
    rows, inverse = np.unique(row, return_inverse=True)
    at_once = max(256, REFINE_BYTES // (4 * spec.dim))
    for start in range(0, len(rows), at_once):
        column = table.take(rows[start : start + at_once], [spec.vector_column])
        stored = vectors_of(column[spec.vector_column], spec.dim)
        here = np.flatnonzero((inverse >= start) & (inverse < start + at_once))
        for at in range(0, len(here), PAIRS_AT_ONCE):
            pairs = here[at : at + PAIRS_AT_ONCE]
            out[pairs] = pair_distances(
                vectors[query[pairs]], stored[inverse[pairs] - start], spec.distance_type
            )
    return out


def rank(
    candidates: Candidates,
    distance: FloatArray,
    k: int,
    fetch_ids: Callable[[IntArray, IntArray], pa.Array],
) -> Hits:
    """Order candidates by distance, then id; keep k of each query.

    Args:
        candidates: with no row twice for a query.
        distance: (n,) exact.
        k: hits wanted.
        fetch_ids: (bucket, row) arrays to ids; asked only for rows that can be among the k.
    """
    order = np.lexsort((distance, candidates.query))
    query, near = candidates.query[order], distance[order]
    first = np.searchsorted(query, query)
    last = np.searchsorted(query, query, "right") - 1
    # Rows tied with the k-th stay until their ids decide.
    order = order[near <= near[np.minimum(first + k - 1, last)]]
    ids = fetch_ids(candidates.bucket[order], candidates.row[order])
    by_id = np.empty(len(ids), np.int64)
    by_id[np.asarray(pa.compute.array_sort_indices(ids))] = np.arange(len(ids))
    final = np.lexsort((by_id, distance[order], candidates.query[order]))
    final = final[place_in_query(candidates.query[order[final]]) < k]
    order = order[final]
    return Hits(
        candidates.query[order],
        distance[order],
        ids.take(pa.array(final)),
        candidates.bucket[order],
        candidates.row[order],
    )


# -- exact ----------------------------------------------------------------------------------------


def scan_bucket(
    table: Table,
    position: int,
    vectors: FloatArray,
    spec: CollectionSpec,
    *,
    k: int,
    where: str | None,
    batch_rows: int,
) -> tuple[Candidates, FloatArray]:
    """Compare every row of a bucket with every query.

    Products in float32 choose who may be among the k nearest, within their rounding error; only
    those get the exact kernel. Equal distances are broken by id, in every batch, so that no more
    than k rows are kept however many are alike.

    Returns:
        Candidates (at most k per query) and their exact distances.
    """
    found = [_Nearest(k) for _ in range(len(vectors))]
    columns = [spec.vector_column, spec.id_column]
    for positions, batch in table.batches(columns, batch_rows=batch_rows, where=where):
        stored = vectors_of(batch[spec.vector_column], spec.dim)
        rows = stored.astype(np.float32, copy=False)
        near, slack = product_distances(vectors, rows, spec.distance_type)
        for number, best_so_far in enumerate(found):
            close = _close(near[number], float(slack[number, 0]), k, best_so_far.limit)
            if len(close):
                query = np.broadcast_to(vectors[number], (len(close), spec.dim))
                distance = pair_distances(query, stored[close], spec.distance_type)
                ids = batch[spec.id_column].take(pa.array(close)).to_pylist()
                best_so_far.add(distance, ids, positions[close])
    rows_found = [best_so_far.rows for best_so_far in found]
    distances = [best_so_far.distance for best_so_far in found]
    query = np.repeat(np.arange(len(found)), [len(rows) for rows in rows_found])
    row = np.concatenate(rows_found)
    here = Candidates(query, np.full(len(row), position), row, np.zeros(len(row), np.uint64))
    return here, np.concatenate(distances)


def _close(near: FloatArray, slack: float, k: int, limit: float) -> IntArray:
    if k < len(near):
        limit = min(limit, float(np.partition(near, k - 1)[k - 1]) + slack)
    found: IntArray = np.flatnonzero(near <= limit + slack)
    return found


class _Nearest:
    """The k nearest rows seen so far, by (distance, id)."""

    def __init__(self, k: int) -> None:
        self._k = k
        self.distance = np.empty(0, np.float32)
        self.rows = np.empty(0, np.int64)
        self._ids: list[str] = []

    @property
    def limit(self) -> float:
        """No row beyond this distance can enter."""
        return float(self.distance[-1]) if len(self.distance) == self._k else float("inf")

    def add(self, distance: FloatArray, ids: list[str], rows: IntArray) -> None:
        distance = np.concatenate([self.distance, distance])
        rows = np.concatenate([self.rows, rows])
        names = self._ids + ids
        order = sorted(range(len(names)), key=lambda i: (distance[i], names[i]))[: self._k]
        self.distance, self.rows = distance[order], rows[order]
        self._ids = [names[i] for i in order]


def masked_candidates(masks: Mapping[int, NDArray[np.bool_]], queries: int) -> Candidates:
    """List every allowed row for every query."""
    parts = []
    for position, mask in masks.items():
        rows = np.flatnonzero(mask)
        size = queries * len(rows)
        parts.append(
            Candidates(
                np.repeat(np.arange(queries), len(rows)),
                np.full(size, position),
                np.tile(rows, queries),
                np.zeros(size, np.uint64),
            )
        )
    return join(parts)
