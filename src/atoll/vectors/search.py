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

from atoll.vectors import rabitq
from atoll.vectors.distance import pair_distances, product_distances
from atoll.vectors.index import IndexModel, prepared
from atoll.vectors.model import CollectionSpec
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.store import Table, vectors_of

DEFAULT_NPROBES = 20
# Filters that leave fewer rows than this are answered by comparing them all.
NARROW_ROWS = 10_000
REFINE_BYTES = 64 << 20
PAIRS_AT_ONCE = 4096
CODES_AT_ONCE = 1 << 18

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
    return Queries(rows, np.concatenate([rabitq.rotate(row[None], model.signs) for row in rows]))


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


def sort_keys(estimates: FloatArray, id_hash: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Fold an estimate and an id hash into one integer that sorts like the pair."""
    bits = (estimates + np.float32(0)).view(np.uint32)  # + 0 turns -0 into 0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    return (ordered << np.uint64(32)) | (id_hash >> np.uint64(32))


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
    bucket: OpenBucket,
    position: int,
    model: IndexModel,
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
    parts: list[Candidates] = []
    for together in _probed(bucket, probes, mask, dtype):
        alone: dict[int, list[_Probed]] = {}
        for probed in together:
            if len(probed.who) < rabitq.PRODUCT_MIN_QUERIES:
                for number in probed.who.tolist():
                    alone.setdefault(number, []).append(probed)
            else:
                keys = _keys_of_many(probed, queries, model)
                parts.append(_best_of_keys(keys, probed.who, probed.rows, position, keep))
        for number, theirs in alone.items():
            keys = _keys_of_one(number, theirs, queries, model)
            rows = np.concatenate([probed.rows for probed in theirs])
            parts.append(_best_of_keys(keys, np.array([number]), rows, position, keep))
    return best(join(parts), keep)


@dataclass(frozen=True, eq=False)
class _Probed:
    """A partition that has rows: its number, the queries that probe it, its rows, their codes."""

    partition: int
    who: IntArray
    rows: IntArray
    codes: NDArray[np.void]


def _keys_of_many(probed: _Probed, queries: Queries, model: IndexModel) -> NDArray[np.uint64]:
    query = rabitq.prepare(
        queries.prepared[probed.who],
        queries.rotated[probed.who],
        model.centroids[probed.partition],
        model.rotated_centroids[probed.partition],
        model.distance_type,
    )
    estimates = rabitq.estimate(probed.codes, query, model.distance_type)
    return sort_keys(estimates, probed.codes["id_hash"])


def _keys_of_one(
    number: int, theirs: Sequence[_Probed], queries: Queries, model: IndexModel
) -> NDArray[np.uint64]:
    """Estimate all partitions of one query at once: most of the cost of one is fixed."""
    partitions = [probed.partition for probed in theirs]
    codes = np.concatenate([probed.codes for probed in theirs])
    query = rabitq.prepare(
        queries.prepared[number : number + 1],
        queries.rotated[number : number + 1],
        model.centroids[partitions],
        model.rotated_centroids[partitions],
        model.distance_type,
    )
    which = np.repeat(np.arange(len(theirs)), [len(probed.rows) for probed in theirs])
    estimates = rabitq.estimate_each(codes, query, which, model.distance_type)
    return sort_keys(estimates, codes["id_hash"])[None]


def _probed(
    bucket: OpenBucket,
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
        start, stop = bucket.layout.offsets[partition : partition + 2].tolist()
        rows = np.arange(start, stop)
        if mask is not None:
            rows = rows[mask[start:stop]]
        if len(rows):
            held.append((partition, who, rows))
            count += len(rows)
        if count >= CODES_AT_ONCE:
            yield _with_codes(bucket, held, dtype)
            held, count = [], 0
    if held:
        yield _with_codes(bucket, held, dtype)


def _with_codes(
    bucket: OpenBucket, held: list[tuple[int, IntArray, IntArray]], dtype: np.dtype[np.void]
) -> list[_Probed]:
    found = []
    whole = bucket.codes([partition for partition, _, _ in held])
    for (partition, who, rows), codes in zip(held, whole, strict=True):
        some = codes.view(dtype)[:, 0][rows - bucket.layout.offsets[partition]]
        found.append(_Probed(partition, who, rows, some))
    return found


def _grouped(keys: IntArray, values: IntArray) -> Iterator[tuple[int, IntArray]]:
    if len(keys):
        cuts = np.flatnonzero(np.diff(keys)) + 1
        for key, group in zip(
            keys[np.concatenate([[0], cuts])], np.split(values, cuts), strict=True
        ):
            yield int(key), group


def _best_of_keys(
    keys: NDArray[np.uint64], who: IntArray, rows: IntArray, position: int, keep: int
) -> Candidates:
    count = min(keep, keys.shape[1])
    if count < keys.shape[1]:
        near = np.argpartition(keys, count - 1, axis=1)[:, :count]
        keys, found = np.take_along_axis(keys, near, axis=1), rows[near]
    else:
        found = np.broadcast_to(rows, keys.shape)
    size = keys.size
    return Candidates(np.repeat(who, count), np.full(size, position), found.ravel(), keys.ravel())


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
    query: IntArray, row: IntArray, vectors: FloatArray, bucket: OpenBucket, spec: CollectionSpec
) -> FloatArray:
    """Compute distances from stored vectors; each row is read once.

    Args:
        query, row: (n,) pairs: which query, which row of the bucket.
        vectors: (q, dim) float32 queries as given.
        bucket: where the rows are.
        spec: distance and length.

    Returns:
        (n,) float32.
    """
    out = np.empty(len(row), np.float32)
    rows, inverse = np.unique(row, return_inverse=True)
    at_once = max(256, REFINE_BYTES // (4 * spec.dim))
    for start in range(0, len(rows), at_once):
        stored = bucket.vectors(rows[start : start + at_once])
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
