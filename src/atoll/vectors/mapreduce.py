"""Runs one search: map over buckets in threads, merge, refine, fetch what was asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.errors import AtollError, Corrupt, Forbidden, NotFound, Unavailable
from atoll.vectors import lancesearch, search
from atoll.vectors.index import IndexModel
from atoll.vectors.model import Blob, Bucket, SearchOptions
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.queries import QueryBatch
from atoll.vectors.reader import Reader
from atoll.vectors.store import Table

logger = logging.getLogger(__name__)

R = TypeVar("R")
ATTEMPTS = 3
RETRY_SECONDS = 0.2
SCAN_BATCH_ROWS = 8192


class BucketsFailed(Exception):
    """Some buckets did not answer: errors by position among the live buckets."""

    def __init__(self, errors: dict[int, AtollError]) -> None:
        """Keep the errors."""
        super().__init__()
        self.errors = errors


@dataclass
class MapReduce:
    """One batch of queries against some live buckets.

    Attributes:
        reader: opens their tables and models.
        models: the index models by hash.
        live: the buckets to search, by position among the live ones.
        batch: checked queries.
        options: what was asked.
        threads: buckets read at once.
        masks: rows that pass `options.where`, by bucket; filled when first needed, so that the
            batches of one search may share it.
    """

    reader: Reader
    models: Mapping[str, Blob]
    live: Mapping[int, Bucket]
    batch: QueryBatch
    options: SearchOptions
    threads: int
    masks: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    _group_count: int | None = None

    def run(self) -> pa.Table:
        """Return the hits as a table."""
        options = self.options
        rows = max(1, sum(bucket.rows for bucket in self.live.values()))
        wanted = min(rows, options.k + (1 if options.exclude_self else 0))
        while True:
            hits = self._hits(wanted)
            kept = self._kept(hits)
            # With hits left out there may be too few: look further, unless everything was seen.
            if wanted == rows or self._is_enough(hits, kept, wanted, options.k):
                return self._result(hits, kept)
            if options.group_by and self._is_enough(hits, kept, wanted, self._groups(options.k)):
                return self._result(hits, kept)
            wanted = min(rows, wanted * 4)

    def _hits(self, k: int) -> search.Hits:
        if self.options.exact or self.reader.spec.index.kind == "flat":
            candidates, distance = self._scan(k)
        else:
            candidates = self._candidates(k)
            distance = self._distances(candidates)
        return search.rank(candidates, distance, k, self._fetch_ids)

    def _scan(self, k: int) -> tuple[search.Candidates, NDArray[np.float32]]:
        parts = self._each(
            lambda position: search.scan_bucket(
                self._table(position),
                position,
                self.batch.vectors,
                self.reader.spec,
                k=k,
                where=self.options.where,
                batch_rows=SCAN_BATCH_ROWS,
            )
        )
        distances = [np.empty(0, np.float32), *(found for _, found in parts.values())]
        return search.join([part for part, _ in parts.values()]), np.concatenate(distances)

    def _candidates(self, k: int) -> search.Candidates:
        """Find the rows that deserve an exact distance."""
        where = self.options.where
        if where is not None:
            unknown = [position for position in self.live if position not in self.masks]
            # Lance leaves deleted rows out, too.
            self.masks |= self._each(lambda position: self._table(position).allowed(where), unknown)
            masks = {position: self.masks[position] for position in self.live}
            if sum(int(mask.sum()) for mask in masks.values()) <= search.NARROW_ROWS:
                return search.masked_candidates(masks, len(self.batch))
        parts = []
        for name in dict.fromkeys(bucket.model for bucket in self.live.values()):
            mine = [position for position, bucket in self.live.items() if bucket.model == name]
            if self.reader.spec.index.kind == "ivf_pq":
                parts.append(self._map_lance(mine, k))
            else:
                assert name is not None
                parts.append(self._map_rabitq(self.reader.model(self.models[name]), mine, k))
        found = search.join(parts)
        if self.reader.spec.index.kind == "rabitq":
            found = search.best(found, k * self.options.refine_factor)
        return found

    def _map_lance(self, mine: list[int], k: int) -> search.Candidates:
        found = self._each(
            lambda position: lancesearch.map_bucket(
                self._table(position), position, self.batch.vectors, self.reader.spec, self.options, k
            ),
            mine,
        )
        return search.join(list(found.values()))

    def _map_rabitq(self, model: IndexModel, mine: list[int], k: int) -> search.Candidates:
        options = self.options
        queries = search.prepare_queries(self.batch.vectors, model)
        allowed = np.sum(list(self._each(self._allowed_rows, mine).values()), axis=0)
        probes = search.probes_of(queries, model, allowed, nprobes=options.nprobes, wanted=k)
        found = self._each(
            lambda position: search.map_bucket(
                self._bucket(position),
                position,
                model,
                queries,
                probes,
                keep=k * options.refine_factor,
                mask=self._mask(position),
            ),
            mine,
        )
        return search.join(list(found.values()))

    def _mask(self, position: int) -> NDArray[np.bool_] | None:
        return self.masks.get(position, self._bucket(position).live)

    def _allowed_rows(self, position: int) -> NDArray[np.int64]:
        mask, edges = self._mask(position), self._bucket(position).layout.offsets
        if mask is None:
            return np.diff(edges)
        running = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
        found: NDArray[np.int64] = np.diff(running[edges])
        return found

    def _bucket(self, position: int) -> OpenBucket:
        return self.reader.bucket(self.live[position])

    def _table(self, position: int) -> Table:
        return self.reader.table(self.live[position])

    def _distances(self, candidates: search.Candidates) -> NDArray[np.float32]:
        out = np.empty(len(candidates), np.float32)

        def measure(position: int) -> None:
            mine = np.flatnonzero(candidates.bucket == position)
            out[mine] = search.exact_distances(
                candidates.query[mine],
                candidates.row[mine],
                self.batch.vectors,
                self._bucket(position),
                self.reader.spec,
            )

        self._each(measure, np.unique(candidates.bucket).tolist())
        return out

    def _fetch_ids(self, bucket: NDArray[np.int64], row: NDArray[np.int64]) -> pa.Array:
        unique, inverse = _by_bucket(bucket, row)
        parts = self._each(lambda i: self._bucket(i).ids(unique[i]), list(unique))
        empty = pa.array([], pa.string())
        return pa.concat_arrays([empty, *parts.values()]).take(pa.array(inverse))

    def _fetch(
        self, bucket: NDArray[np.int64], row: NDArray[np.int64], columns: list[str]
    ) -> pa.Table:
        """Read columns of (bucket, row) pairs, in their order."""
        empty = pa.schema([self.reader.schema.field(name) for name in columns]).empty_table()
        unique, inverse = _by_bucket(bucket, row)
        parts = self._each(lambda i: self._table(i).take(unique[i], columns), list(unique))
        whole = pa.concat_tables(
            [part.select(columns).cast(empty.schema) for part in parts.values()] or [empty]
        )
        return whole.take(pa.array(inverse))

    def _each(
        self, action: Callable[[int], R], positions: Sequence[int] | None = None
    ) -> dict[int, R]:
        """Do something with each bucket, in threads; failures are tried again with a fresh table.

        Raises:
            BucketsFailed: some failed for good.
        """
        chosen = list(self.live) if positions is None else list(positions)

        def attempt(position: int) -> R:
            bucket = self.live[position]
            for number in range(1, ATTEMPTS + 1):
                try:
                    return action(position)
                # Forbidden too: credentials that were renewed serve a table opened anew.
                except (Unavailable, Corrupt, NotFound, Forbidden) as error:
                    if number == ATTEMPTS:
                        raise
                    logger.info("bucket tried again bucket=%s error=%s", bucket.name, error)
                    self.reader.forget([bucket])
                    time.sleep(RETRY_SECONDS * number)
            raise AssertionError

        results: dict[int, R] = {}
        errors: dict[int, AtollError] = {}
        pool = ThreadPoolExecutor(max(1, self.threads))
        try:
            futures = {position: pool.submit(attempt, position) for position in chosen}
            for position, future in futures.items():
                try:
                    results[position] = future.result()
                except (Unavailable, Corrupt, NotFound) as error:
                    errors[position] = error
        finally:
            # After an interrupt nobody wants the buckets that still wait.
            pool.shutdown(wait=True, cancel_futures=True)
        if errors:
            raise BucketsFailed(errors)
        return results

    # -- what is left out, what is returned -------------------------------------------------------

    def _kept(self, hits: search.Hits) -> NDArray[np.int64]:
        """Choose the hits to return: positions in `hits`, at most k per query."""
        keep = np.ones(len(hits.query), np.bool_)
        if self.options.exclude_self:
            names = np.asarray(self.batch.ids, object)[hits.query]
            keep &= names != np.asarray(hits.ids.to_pylist(), object)
        if self.options.group_by:
            keep &= self._firsts_of_groups(hits, keep)
        index = np.flatnonzero(keep)
        return index[search.place_in_query(hits.query[index]) < self.options.k]

    def _firsts_of_groups(self, hits: search.Hits, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        assert self.options.group_by
        values = self._fetch(hits.bucket, hits.row, [self.options.group_by]).column(0).to_pylist()
        seen: set[tuple[int, Any]] = set()
        first = np.zeros(len(hits.query), np.bool_)
        for index, value in enumerate(values):
            if keep[index] and (pair := (int(hits.query[index]), value)) not in seen:
                seen.add(pair)
                first[index] = True
        return first

    def _groups(self, limit: int) -> int:
        """Count the groups there are, up to `limit`: no query can have hits in more."""
        if self._group_count is None:
            assert self.options.group_by
            seen: set[Any] = set()
            for bucket in self.live.values():
                batches = self.reader.table(bucket).batches(
                    [self.options.group_by], where=self.options.where
                )
                for _, batch in batches:
                    seen.update(batch.column(0).unique().to_pylist())
                    if len(seen) >= limit:
                        break
            self._group_count = min(len(seen), limit)
        return self._group_count

    def _is_enough(
        self, hits: search.Hits, kept: NDArray[np.int64], wanted: int, needed: int
    ) -> bool:
        if not (self.options.exclude_self or self.options.group_by):
            return True
        found = np.bincount(hits.query, minlength=len(self.batch))
        left = np.bincount(hits.query[kept], minlength=len(self.batch))
        return bool(((left >= needed) | (found < wanted)).all())

    def _result(self, hits: search.Hits, kept: NDArray[np.int64]) -> pa.Table:
        options, spec = self.options, self.reader.spec
        query = hits.query[kept]
        rank = search.place_in_query(query) + 1
        columns: dict[str, pa.Array] = {
            "query_id": pa.array(self.batch.ids, pa.string()).take(pa.array(query)),
            "rank": pa.array(rank.astype(np.int32)),
            "id": hits.ids.take(pa.array(kept)),
            "_distance": pa.array(hits.distance[kept]),
        }
        asked = [*options.columns, *([spec.vector_column] if options.with_vectors else [])]
        further = [name for name in dict.fromkeys(asked) if name not in columns]
        if further:
            extra = self._fetch(hits.bucket[kept], hits.row[kept], further)
            columns |= {name: extra[name] for name in further}
        return pa.table(columns)


def _by_bucket(
    bucket: NDArray[np.int64], row: NDArray[np.int64]
) -> tuple[dict[int, NDArray[np.int64]], NDArray[np.int64]]:
    """Sort (bucket, row) pairs out: the distinct rows of each bucket, and each pair's place in
    their concatenation."""
    unique, inverse = {}, np.empty(len(row), np.int64)
    at = 0
    for position in np.unique(bucket).tolist():
        mine = np.flatnonzero(bucket == position)
        unique[position], back = np.unique(row[mine], return_inverse=True)
        inverse[mine] = at + back
        at += len(unique[position])
    return unique, inverse
