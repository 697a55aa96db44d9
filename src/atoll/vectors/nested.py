"""Says what searches at many settings would find, having scanned the codes once.

Settings nest. The partitions that a query probes are among those it probes with a larger nprobes,
and its candidates are the best, by estimate, of what they hold: the first c of them are those of a
search that refines c. None need be refined to know which of the true neighbours are hits: no row
is nearer than those, so all that are candidates are.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.vectors import search
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.idcheck import matching
from atoll.vectors.model import Manifest
from atoll.vectors.reader import Reader
from atoll.vectors.scan import Best
from atoll.vectors.search import Pairs


class NestedScan:
    """Candidates of some queries, in more and more partitions of all buckets."""

    def __init__(
        self, reader: Reader, manifest: Manifest, vectors: FloatArray, keep: int, threads: int
    ) -> None:
        """Scan nothing yet.

        Args:
            reader, manifest: the buckets; all have codes, and one index model.
            vectors: (q, dim) queries.
            keep: candidates kept of each query.
            threads: that scan.
        """
        assert manifest.model is not None
        self._reader, self._threads = reader, threads
        self._shelf = reader.shelf(manifest.buckets)
        (self._group,) = self._shelf.groups
        self._model = reader.model(manifest.models[manifest.model])
        self._queries = search.prepare_queries(vectors, self._model)
        self._best = Best.of(len(vectors), min(keep, max(1, manifest.rows)))
        self._is_scanned = np.zeros((len(vectors), len(self._group.stored)), np.bool_)

    def widen(self, nprobes: int) -> float:
        """Scan what a search with so many partitions scans, less what has been.

        Returns:
            Rows in those partitions, mean over queries.
        """
        partition, base = self._model.probe_order(self._queries.prepared, nprobes)
        query = np.arange(len(partition))[:, None]
        before = self._is_scanned.sum(axis=1)
        is_new = ~self._is_scanned[query, partition]
        # With many partitions a few of the nearest are overlooked, other ones for each nprobes.
        is_other = (~is_new).sum(axis=1) < before
        self._forget(is_other)
        is_new[is_other] = True
        self._is_scanned[query, partition] = True
        order = np.flatnonzero(is_new)[np.argsort(partition[is_new], kind="stable")]
        pairs = Pairs(order // partition.shape[1], partition.ravel()[order], base.ravel()[order])
        for part in search.rounds(pairs, self._group.held, self._group.codes.width):
            self._scan(part)
        return float(self._group.stored[partition].sum() / len(partition))

    def _forget(self, which: NDArray[np.bool_]) -> None:
        self._is_scanned[which] = False
        self._best.sizes[which] = 0
        self._best.limits[which] = np.iinfo(np.uint64).max

    def _scan(self, pairs: Pairs) -> None:
        model, shelf, partitions = self._model, self._shelf, np.unique(pairs.partition)
        codes = shelf.codes(self._group, partitions, model.bits, shelf.live)
        self._reader.run(
            search.scans(pairs, self._queries, partitions, codes, self._best, model), self._threads
        )

    def candidates(self) -> tuple[IntArray, IntArray]:
        """Return (query, row) of the candidates: by query, the best first; rows as on the shelf."""
        query, key, row = self._best.taken()
        edges = np.searchsorted(query, np.arange(len(self._best.sizes) + 1)).tolist()
        parts = [
            start + _ranked(key[start:stop], row[start:stop]) for start, stop in pairwise(edges)
        ]
        return query, row[np.concatenate(parts)].view(np.int64)


def _ranked(key: NDArray[np.uint64], row: NDArray[np.uint64]) -> IntArray:
    """Order one query's candidates by key, then row; all queries at once would take far longer."""
    order = np.argsort(key)
    ascending = key[order]
    is_tied = bool((ascending[1:] == ascending[:-1]).any())
    return np.lexsort((row, key)) if is_tied else order


def rows_of(reader: Reader, manifest: Manifest, ids: pa.Array) -> IntArray:
    """Find the rows of ids that are there: (n,) as they are numbered on the shelf.

    Args:
        reader, manifest: the buckets.
        ids: (n,) of live rows.
    """
    rows = np.empty(len(ids), np.int64)
    hashes = hash_ids(ids)
    for bucket, start in zip(manifest.buckets, reader.shelf(manifest.buckets).starts, strict=False):
        at, found = reader.id_index(bucket).find(hashes)
        at, mine = matching(reader.bucket(bucket), found.astype(np.int64), at, ids)
        rows[at] = start + mine
    return rows
