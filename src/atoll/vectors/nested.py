"""Says what searches at many settings would find, having scanned the codes once.

Settings nest. The partitions that a query probes are among those it probes with a larger nprobes,
and its candidates are the best, by estimate, of what they hold: the first c of them are those of a
search that refines c. None need be refined to know which of the true neighbours are hits: no row
is nearer than those, so all that are candidates are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.vectors import rabitq, search
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.idcheck import matching
from atoll.vectors.model import Manifest
from atoll.vectors.reader import Reader
from atoll.vectors.scan import Best, ref_of
from atoll.vectors.search import FloatArray, IntArray, Pairs


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
        self._buckets = [reader.bucket(bucket) for bucket in manifest.buckets]
        self._sizes = np.sum([bucket.partition_rows for bucket in self._buckets], axis=0)
        self._model = reader.model(manifest.models[manifest.model])
        self._queries = search.prepare_queries(vectors, self._model)
        self._best = Best.of(len(vectors), min(keep, max(1, manifest.rows)))
        self._is_scanned = np.zeros((len(vectors), len(self._sizes)), np.bool_)

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
        width = rabitq.code_dtype(self._queries.prepared.shape[1], self._model.bits).itemsize
        for part in search.rounds(pairs, self._sizes, width):
            self._scan(part)
        return float(self._sizes[partition].sum() / len(partition))

    def _forget(self, which: NDArray[np.bool_]) -> None:
        self._is_scanned[which] = False
        self._best.sizes[which] = 0
        self._best.limits[which] = np.iinfo(np.uint64).max

    def _scan(self, pairs: Pairs) -> None:
        model, partitions = self._model, np.unique(pairs.partition)
        with self._reader.threads(self._threads) as start:
            reads = [
                start(search.read_codes, bucket, position, partitions, bucket.live)
                for position, bucket in enumerate(self._buckets)
            ]
            codes = search.Codes.join([read() for read in reads])
            prepared = rabitq.prepare(
                self._queries.rotated,
                pairs.query,
                model.rotated_centroids,
                pairs.partition,
                pairs.base,
                model.bits,
            )
            works = search.scan_codes(pairs, prepared, partitions, codes, self._best, model)
            for done in [start(work) for work in works]:
                done()

    def candidates(self) -> tuple[IntArray, NDArray[np.uint64]]:
        """Return (query, ref) of the candidates: by query, the best first."""
        query, key, ref = self._best.taken()
        order = np.lexsort((ref, key, query))
        return query[order], ref[order]


def refs_of(reader: Reader, manifest: Manifest, ids: pa.Array) -> NDArray[np.uint64]:
    """Find the rows of ids that are there: (n,) as `ref_of` names them.

    Args:
        reader, manifest: the buckets.
        ids: (n,) of live rows.
    """
    refs = np.empty(len(ids), np.uint64)
    hashes = hash_ids(ids)
    for position, bucket in enumerate(manifest.buckets):
        at, rows = reader.id_index(bucket).find(hashes)
        found, live = matching(reader.bucket(bucket), rows.astype(np.int64), at, ids)
        refs[found] = np.uint64(ref_of(position, 0)) + live.astype(np.uint64)
    return refs
