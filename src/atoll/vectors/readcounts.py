"""Counts what searches would ask of the store that have nothing cached, by calibrating queries.

Where codes, vectors and ids lie is known once buckets are open, so that pieces are joined here as
reads join them. Nothing is read for it but the codes by which candidates are chosen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.storage import REMOTE_GAP_BYTES
from atoll.vectors import search
from atoll.vectors.index import prepared
from atoll.vectors.layout import count_ranges
from atoll.vectors.model import Asked, Reads
from atoll.vectors.nested import NestedScan
from atoll.vectors.search import Pairs
from atoll.vectors.shelf import Pieces, Shelf
from atoll.vectors.view import View

# Up to so many rows are counted for so many queries: more rows cost more, and differ less from
# query to query in how they lie. So do codes.
CODE_QUERIES = 32
QUERIES_UP_TO = ((10_000, 64), (100_000, 24), (1 << 62, 8))
# Queries of one search ask for what all of them need; between these and beyond they are estimated.
TOGETHER = (1, 8, 64)
# So many buckets stand for all, where each is read by itself.
BUCKETS_APART = 8

# (requests, bytes) in the last dimension.
Means = NDArray[np.float64]


def steps_to(most: int) -> list[int]:
    """List numbers, evenly on a log scale.

    >>> steps_to(30)
    [1, 2, 5, 10, 20, 30]
    """
    scaled = (step * 10**power for power in range(12) for step in (1, 2, 5))
    # From two that are nearly the same no trend is seen.
    return [*(number for number in scaled if number < most / 1.4), most]


def count_reads(
    view: View, vectors: FloatArray, own: IntArray | None, nprobes: int, candidates: int
) -> tuple[Reads, ...]:
    """Count what queries ask for, one by one and several together.

    Args:
        view: what is searched; all buckets have codes, and one index model.
        vectors: (q, dim) queries.
        own: (q,) the row of each, which a query that is not stored would not find; None where they
            are not stored.
        nprobes, candidates: the most to count.
    """
    probes, counts = steps_to(nprobes), steps_to(min(candidates, view.manifest.rows))
    # How many partitions are probed tells little of where the best rows are.
    row_probes = probes[:-1:2] + probes[-1:]
    (_, most), *_ = QUERIES_UP_TO
    some = _evenly(len(vectors), most)
    together = [number for number in TOGETHER if number <= len(some)]
    found: dict[int, list[tuple[Means, Means]]] = {number: [] for number in together}
    done = 0
    for largest, queries in QUERIES_UP_TO:
        stop = bisect_right(counts, largest)
        if stop > done:
            mine = some[_evenly(len(some), queries)]
            their = own if own is None else own[mine]
            groups = {number: _groups(len(mine), number) for number in together
                      if number <= len(mine)}  # fmt: skip
            more = _rows(view, vectors[mine], their, row_probes, counts[done:stop], groups)
            for number, means in more.items():
                found[number].append(means)
            done = stop
    return tuple(
        _reads(view, vectors[some], number, probes, row_probes, counts, found[number])
        for number in together
    )


def _reads(
    view: View,
    vectors: FloatArray,
    together: int,
    nprobes: Sequence[int],
    row_nprobes: Sequence[int],
    counts: Sequence[int],
    found: Sequence[tuple[Means, Means]],
) -> Reads:
    """Put together what was counted of so many queries together, and count their codes."""
    wanted = max(together, CODE_QUERIES)
    some = vectors[_evenly(len(vectors), wanted)]
    codes, apart = _codes(view, some, nprobes, _groups(len(some), together))
    of_vectors, of_ids = (np.concatenate(each, axis=-2) for each in zip(*found, strict=True))
    return Reads(
        rows=sum(bucket.stored_rows for bucket in view.manifest.buckets),
        buckets=len(view.manifest.buckets),
        queries=len(vectors),
        together=together,
        nprobes=tuple(nprobes),
        codes=_asked(codes),
        codes_apart=_asked(apart),
        row_nprobes=tuple(row_nprobes),
        counts=tuple(counts[: len(of_ids)]),
        vectors=tuple(map(_asked, of_vectors)),
        ids=_asked(of_ids),
    )


def _groups(queries: int, together: int) -> list[IntArray]:
    """Divide queries into groups that have nothing to do with each other."""
    count = queries // together
    return [np.arange(number, queries, count)[:together] for number in range(count)]


def _evenly(count: int, wanted: int) -> IntArray:
    """Pick some of them: stored rows are drawn in the order in which they lie."""
    return np.linspace(0, count, min(count, wanted), endpoint=False).astype(np.int64)


def _asked(means: Means) -> tuple[Asked, ...]:
    return tuple((round(requests, 2), round(size)) for requests, size in means.tolist())


# -- codes ----------------------------------------------------------------------------------------


def _codes(
    view: View, vectors: FloatArray, nprobes: Sequence[int], groups: Sequence[IntArray]
) -> tuple[Means, Means]:
    """Count what codes take, (nprobes, 2): of all buckets together, and each by itself."""
    manifest = view.manifest
    assert manifest.model is not None
    model = view.reader.model(manifest.models[manifest.model])
    queries = prepared(vectors, manifest.spec.distance_type)
    whole = view.reader.shelf(manifest.buckets)
    some = [whole.opened[place].alone for place in _evenly(len(whole), BUCKETS_APART)]
    found, apart = np.zeros((2, len(nprobes), 2))
    for n, probes in enumerate(nprobes):
        order, _ = model.probe_order(queries, probes)
        for mine in groups:
            partitions = np.sort(order[mine], axis=None)
            found[n] += _of_codes(whole, partitions)
            apart[n] += np.mean([_of_codes(each, partitions) for each in some], axis=0)
    return found / len(groups), apart * len(whole) / len(groups)


def _of_codes(shelf: Shelf, partitions: IntArray) -> Means:
    """Count those of ascending partitions, which are read in the rounds of a search."""
    (group,) = shelf.groups
    none = np.zeros(len(partitions), np.int64)
    pairs = Pairs(none, partitions, none.astype(np.float32))
    rounds = search.rounds(pairs, group.held, group.codes.width)
    return _sum([shelf.code_pieces(group, np.unique(each.partition)) for each in rounds])


# -- rows -----------------------------------------------------------------------------------------


def _rows(
    view: View,
    vectors: FloatArray,
    own: IntArray | None,
    nprobes: Sequence[int],
    counts: Sequence[int],
    groups: Mapping[int, Sequence[IntArray]],
) -> dict[int, tuple[Means, Means]]:
    """Count what the best rows by estimate take, by how many queries are together.

    Returns:
        Vectors, (nprobes, counts, 2), and ids, (counts, 2), of a group of queries, mean.
    """
    extra = 0 if own is None else 1
    scan = NestedScan(
        view.reader, view.manifest, vectors, counts[-1] + extra, view.settings.threads
    )
    shelf, shape = view.reader.shelf(view.manifest.buckets), (len(nprobes), len(counts), 2)
    found = {number: (np.zeros(shape), np.zeros(shape[1:])) for number in groups}
    for n, probes in enumerate(nprobes):
        scan.widen(probes)
        best = _best(scan, own, len(vectors))
        for number, (of_vectors, of_ids) in found.items():
            for mine in groups[number]:
                rows, rank = _together([best[query] for query in mine])
                pieces = shelf.vector_pieces(rows)
                for c, count in enumerate(counts):
                    is_best = rank < count
                    of_vectors[n, c] += _of_vectors(pieces, is_best, view.manifest.spec.dim)
                    if probes == nprobes[-1]:
                        of_ids[c] += _joined(shelf.id_pieces(rows[is_best]))
    return {
        number: (of_vectors / len(groups[number]), of_ids / len(groups[number]))
        for number, (of_vectors, of_ids) in found.items()
    }


def _best(scan: NestedScan, own: IntArray | None, queries: int) -> list[IntArray]:
    """List the candidates of each query, the best first, itself left out."""
    query, row = scan.candidates()
    parts = np.split(row, np.searchsorted(query, np.arange(1, queries)))
    if own is None:
        return parts
    return [rows[rows != mine] for rows, mine in zip(parts, own, strict=True)]


def _together(ranked: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """Put the candidates of some queries into the order in which they lie, each once.

    Returns:
        Rows, and the best rank that a row has.
    """
    rows = np.concatenate(ranked)
    rank = np.concatenate([np.arange(len(each)) for each in ranked])
    order = np.argsort(rows)
    ascending = rows[order]
    first = np.flatnonzero(np.diff(ascending, prepend=-1))
    return ascending[first], np.minimum.reduceat(rank[order], first)


def _of_vectors(pieces: Pieces, is_best: NDArray[np.bool_], dim: int) -> Means:
    """Count those of candidates, which are refined as many at once as a search does."""
    file, start = (each[is_best] for each in pieces[:2])
    length = pieces[2][: len(file)]
    at_once = search.refined_at_once(dim)
    parts = [slice(first, first + at_once) for first in range(0, max(1, len(file)), at_once)]
    return _sum([(file[part], start[part], length[part]) for part in parts])


def _sum(parts: Sequence[Pieces]) -> Means:
    """Add up what parts ask for that are read one after the other."""
    if len(parts) == 1:
        return _joined(parts[0])
    return np.asarray(np.sum([_joined(part) for part in parts], axis=0))


def _joined(pieces: Pieces) -> Means:
    return np.array(count_ranges(*pieces, REMOTE_GAP_BYTES), np.float64)
