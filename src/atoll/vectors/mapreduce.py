"""Runs one search: map over buckets in threads, merge, refine, fetch what was asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Event
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.errors import AtollError, Corrupt, Forbidden, NotFound, Unavailable
from atoll.vectors import lancesearch, search
from atoll.vectors.index import IndexModel
from atoll.vectors.model import Blob, Bucket
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.options import SearchOptions
from atoll.vectors.queries import QueryBatch
from atoll.vectors.reader import Reader
from atoll.vectors.scan import Best, Codes
from atoll.vectors.schemas import seen
from atoll.vectors.search import Found, Pairs, Queries
from atoll.vectors.shelf import Group, Mask, Shelf
from atoll.vectors.store import Table

logger = logging.getLogger(__name__)

R = TypeVar("R")
ATTEMPTS = 3
RETRY_SECONDS = 0.2
# Whose requests a distant store answers at once; they wait, not work.
REMOTE_THREADS = 16
# What may pass when a bucket is opened anew. Forbidden, too: credentials may have been renewed.
PASSING = (Unavailable, Corrupt, NotFound, Forbidden)
_NO_IDS = pa.array([], pa.string())


@dataclass(frozen=True, eq=False)
class Hits:
    """Rows found, in order, with their ids."""

    found: Found
    ids: pa.Array

    def take(self, index: IntArray) -> Hits:
        """Pick some."""
        return Hits(self.found.take(index), self.ids.take(pa.array(index)))


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
        paths: how the rows were found, for the result's metadata.
        known: models by hash, or what is needed of them; others are read.
    """

    reader: Reader
    models: Mapping[str, Blob]
    live: Mapping[int, Bucket]
    batch: QueryBatch
    options: SearchOptions
    threads: int
    masks: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    known: Mapping[str, IndexModel] = field(default_factory=dict)
    _group_count: int | None = None
    _prepared: dict[str, Queries] = field(default_factory=dict)

    def numbered(self, position: IntArray, row: IntArray) -> IntArray:
        """Number rows over the buckets searched here, given each one's bucket and number there."""
        if not len(row):
            return row
        buckets, starts = np.array(list(self.live)), self._shelf.starts
        first, rows = (np.zeros(buckets.max() + 1, np.int64) for _ in range(2))
        first[buckets], rows[buckets] = starts[:-1], np.diff(starts)
        if (row >= rows[position]).any():
            raise Corrupt("a row beyond the end of its bucket was found; search anew")
        return first[position] + row

    def ids(self, row: IntArray) -> pa.Array:
        """Read the ids of rows."""
        return self._ids(Found(np.zeros_like(row), row, np.zeros(len(row), np.float32)))

    def nearest_of(self, found: Found) -> Found:
        """Bring rows with exact distances into order, and keep as many of each query as count."""
        return search.in_order(found, self.wanted, self._ids, self.options.max_distance)

    def result_of(self, found: Found) -> pa.Table:
        """Return the hits among rows that other processes found, with exact distances.

        Args:
            found: ordered by query: of each the k nearest, and one more where the query's own row
                is to be left out.
        """
        found = self.nearest_of(found) if len(found) else found
        hits = Hits(found, self._ids(found) if len(found) else _NO_IDS)
        return self._result(hits.take(self._kept(hits)) if self.options.exclude_self else hits)

    @property
    def wanted(self) -> int:
        """Rows to find at first: k, and one that may be the query's own."""
        return self.options.k + (1 if self.options.exclude_self else 0)

    def run(self) -> pa.Table:
        """Return the hits as a table."""
        options = self.options
        rows = max(1, self._shelf.live_rows)
        wanted = min(rows, self.wanted)
        while True:
            found = self._nearest(wanted)
            hits = Hits(found, self._ids(found))
            if not (options.exclude_self or options.group_by):
                return self._result(hits)
            kept = self._kept(hits)
            # With hits left out there may be too few: look further, unless everything was seen.
            if wanted == rows or self._is_enough(found, kept, wanted, options.k):
                return self._result(hits.take(kept))
            if options.group_by and self._is_enough(found, kept, wanted, self._groups(options.k)):
                return self._result(hits.take(kept))
            wanted = min(rows, wanted * 4)

    def _nearest(self, k: int) -> Found:
        """Find the k nearest rows of each query, with exact distances, in order."""
        is_brute_force = self.is_brute_force(k, self._shelf.live_rows)
        found = self.by_comparing(k) if is_brute_force else self._by_index(k)
        return search.in_order(found, k, self._ids, self.options.max_distance)

    def is_brute_force(self, k: int, rows: int, passing: int | None = None) -> bool:
        """Tell whether to compare every row that may be a hit.

        Apart from what was asked for: where few rows pass a predicate; and where all rows would be
        refined anyway, so that the answer is the same.

        Args:
            k: rows wanted.
            rows: how many there are.
            passing: rows that pass the predicate, if there is one; None counts them.
        """
        if self.options.exact or self.reader.spec.index.kind == "flat":
            return True
        if self.options.where is not None:
            if passing is None:
                passing = sum(int(mask.sum()) for mask in self._masks() if mask is not None)
            return passing <= search.NARROW_ROWS
        partitions = self.reader.spec.index.num_partitions
        return (
            k * self.options.refine_factor >= rows
            and (self.options.nprobes or search.DEFAULT_NPROBES) >= partitions
        )

    # -- brute force ------------------------------------------------------------------------------

    def by_comparing(self, k: int) -> Found:
        """Find the k nearest rows of each query among all that may be hits."""
        self.paths.add("brute force")
        masks, starts = self._masks(), self._shelf.starts

        def compare(position: int) -> Found:
            mine = search.Nearest(len(self.batch), k, self._ids)
            place = self._places[position]
            search.scan_bucket(
                self._bucket(position),
                int(starts[place]),
                self.batch.vectors,
                self.reader.spec,
                mask=masks[place],
                nearest=mine,
                k=k,
            )
            return mine.taken()

        return search.join(list(self._each(compare, is_long=True).values()))

    # -- by index ---------------------------------------------------------------------------------

    def _by_index(self, k: int) -> Found:
        """Find rows in each bucket by its own index. Only their exact distances meet."""
        shelf, parts = self._shelf, []
        ours = {place for group in shelf.groups for place in group.members}
        if ours:
            parts.append(self._by_codes(k))
        if len(ours) < len(shelf):
            theirs = [position for position, place in self._places.items() if place not in ours]
            parts.append(self.by_lance(k, theirs))
        return search.join(parts)

    def by_lance(self, k: int, mine: Sequence[int] | None = None) -> Found:
        """Find rows through Lance's own indexes of buckets, those at positions `mine` or all."""
        mine = list(self.live) if mine is None else list(mine)
        self.paths.add("Lance")
        found = self._each(
            lambda position: lancesearch.map_bucket(
                self._table(position), self.batch.vectors, self.reader.spec, self.options, k
            ),
            mine,
            is_long=True,
        )
        starts = self._shelf.starts
        query = np.concatenate([part[0] for part in found.values()])
        row = np.concatenate([starts[self._places[i]] + rows for i, (_, rows) in found.items()])
        order = np.argsort(query, kind="stable")
        refined = self.refined(query[order], row[order])
        # Lance's index has rows of adopted tables that have no distances: they come as NaN.
        return refined.take(np.flatnonzero(~np.isnan(refined.distance)))

    def _by_codes(self, k: int) -> Found:
        rows = max(1, self._shelf.live_rows)
        best = self.candidates(self.pairs(k), min(rows, k * self.options.refine_factor))
        query, _, row = best.taken()
        return self.refined(query, row.view(np.int64))

    def pairs(self, k: int, allowed: Mapping[str, IntArray] | None = None) -> dict[str, Pairs]:
        """Choose the partitions that each query reads, the same in every bucket of a model.

        Args:
            k: rows wanted.
            allowed: by model, the rows of each partition that may be hits, over all its buckets;
                None counts them.

        Returns:
            By the model's hash.
        """
        if allowed is None:
            masks = self._masks()
            allowed = {
                group.model: self._allowed_rows(group, masks) for group in self._shelf.groups
            }
        return {
            model: search.plan(
                self._queries(model),
                self._model(model),
                rows,
                nprobes=self.options.nprobes,
                wanted=k,
            )
            for model, rows in allowed.items()
        }

    def candidates(self, pairs: Mapping[str, Pairs], keep: int) -> Best:
        """Estimate the rows of the partitions chosen; keep the best of each query.

        They are numbered over the buckets searched here.
        """
        best = Best.of(len(self.batch), keep)
        for group in self._shelf.groups:
            self._scan(group, pairs[group.model], best)
        return best

    def _model(self, model: str) -> IndexModel:
        return self.known.get(model) or self.reader.model(self.models[model])

    def _queries(self, model: str) -> Queries:
        if model not in self._prepared:
            found = self._model(model)
            self._prepared[model] = search.prepare_queries(self.batch.vectors, found)
        return self._prepared[model]

    def _scan(self, group: Group, pairs: Pairs, best: Best) -> None:
        """Fold the rows of all buckets of one model into the best of each query."""
        model, masks = self._model(group.model), self._masks()
        queries = self._queries(group.model)
        for part in search.rounds(pairs, group.held, group.codes.width):
            partitions = np.unique(part.partition)
            codes = self._codes(group, partitions, model.bits, masks)
            scans = search.scans(part, queries, partitions, codes, best, model)
            self.reader.run(scans, self.threads)
            is_shared = len(partitions) < len(part)
            self.paths.add("grouped by partition" if is_shared else "per query")

    def refined(self, query: IntArray, row: IntArray) -> Found:
        """Compute exact distances of candidates, ordered by query."""
        vectors, spec = self.batch.vectors, self.reader.spec
        return Found(query, row, search.refined(row, query, vectors, self._vectors, spec))

    # -- reading: all buckets together; where that fails, one by one, to learn which do not answer

    @cached_property
    def _shelf(self) -> Shelf:
        """The buckets to search, opened; an earlier search has often done it."""
        return self.reader.shelf(
            tuple(self.live.values()),
            lambda: self._each(lambda position: self._bucket(position).open()),
        )

    @cached_property
    def _places(self) -> dict[int, int]:
        """Where each bucket is on the shelf, by its position."""
        return {position: place for place, position in enumerate(self.live)}

    def _codes(self, group: Group, partitions: IntArray, bits: int, masks: Sequence[Mask]) -> Codes:
        try:
            return self._shelf.codes(group, partitions, bits, masks)
        except PASSING as error:
            logger.info("codes read bucket by bucket error=%s", error)

        def read(position: int) -> Codes:
            alone, place = self._bucket(position).alone, self._places[position]
            codes = alone.codes(alone.groups[0], partitions, bits, [masks[place]])
            return replace(codes, ref=codes.ref + np.uint64(self._shelf.starts[place]))

        positions = list(self.live)
        members = [positions[place] for place in group.members]
        return Codes.join(list(self._each(read, members).values()))

    def _vectors(self, rows: IntArray) -> NDArray[np.generic]:
        """Read the vectors of rows, ascending."""
        try:
            return self._shelf.vectors(rows)
        except PASSING as error:
            logger.info("vectors read bucket by bucket error=%s", error)
            parts = self._by_bucket(rows, lambda i, mine: self._bucket(i).vectors(mine))
            return np.concatenate(parts)

    def _ids(self, found: Found) -> pa.Array:
        try:
            return self._shelf.ids(found.row)
        except PASSING as error:
            logger.info("ids read bucket by bucket error=%s", error)
            rows, inverse = np.unique(found.row, return_inverse=True)
            parts = self._by_bucket(rows, lambda i, mine: self._bucket(i).ids(mine))
            return pa.concat_arrays([_NO_IDS, *parts]).take(pa.array(inverse))

    def _fetch(self, found: Found, columns: list[str]) -> pa.Table:
        """Read columns of rows."""
        empty = pa.schema([self.reader.schema.field(name) for name in columns]).empty_table()
        rows, inverse = np.unique(found.row, return_inverse=True)
        parts = self._by_bucket(rows, lambda i, mine: self._table(i).take(mine, columns))
        whole = pa.concat_tables([seen(part, empty.schema) for part in parts] or [empty])
        return whole.take(pa.array(inverse))

    def _by_bucket(self, rows: IntArray, read: Callable[[int, IntArray], R]) -> list[R]:
        """Read rows, ascending, from each bucket by itself, given its position."""
        positions = list(self.live)
        parts = {positions[place]: mine for place, mine in self._shelf.split(rows).items()}
        return list(self._each(lambda position: read(position, parts[position]), parts).values())

    def _masks(self) -> Sequence[Mask]:
        """Mark the rows that may be hits, by place; None where all of a bucket may.

        Lance leaves deleted rows out of those that pass a predicate.
        """
        where = self.options.where
        if where is None:
            return self._shelf.live
        unknown = [position for position in self.live if position not in self.masks]
        self.masks |= self._each(
            lambda position: self._table(position).allowed(where), unknown, is_long=True
        )
        return [self.masks[position] for position in self.live]

    def _allowed_rows(self, group: Group, masks: Sequence[Mask]) -> IntArray:
        """Count the rows of each partition that may be hits, over buckets."""
        if self.options.where is None:
            return self._shelf.live_in(group)
        return self._shelf.count(group, masks)

    def _bucket(self, position: int) -> OpenBucket:
        return self.reader.bucket(self.live[position])

    def _table(self, position: int) -> Table:
        return self.reader.table(self.live[position])

    def _each(
        self,
        action: Callable[[int], R],
        positions: Iterable[int] | None = None,
        *,
        is_long: bool = False,
    ) -> dict[int, R]:
        """Do something with each bucket; failures are tried again with the bucket opened anew.

        Args:
            action: what to do with the bucket at a position.
            positions: which buckets; None takes all live ones.
            is_long: worth a thread for each bucket also where nothing is far away.

        Raises:
            BucketsFailed: some failed for good.
        """
        chosen = list(self.live) if positions is None else list(positions)
        is_stale = Event()

        def attempt(position: int) -> R:
            bucket = self.live[position]
            for number in range(1, ATTEMPTS + 1):
                try:
                    return action(position)
                except PASSING as error:
                    if number == ATTEMPTS:
                        raise
                    logger.info("bucket tried again bucket=%s error=%s", bucket.name, error)
                    self.reader.forget([bucket])
                    is_stale.set()
                    time.sleep(RETRY_SECONDS * number)
            raise AssertionError

        results: dict[int, R] = {}
        errors: dict[int, AtollError] = {}
        count = REMOTE_THREADS if self.reader.is_remote else self.threads if is_long else 1
        with self.reader.threads(min(count, len(chosen))) as start:
            tasks = {position: start(attempt, position) for position in chosen}
            for position, result in tasks.items():
                try:
                    results[position] = result()
                except (Unavailable, Corrupt, NotFound) as error:
                    errors[position] = error
        if is_stale.is_set():
            self.__dict__.pop("_shelf", None)
        if errors:
            raise BucketsFailed(errors)
        return results

    # -- what is left out, what is returned -------------------------------------------------------

    def _kept(self, hits: Hits) -> IntArray:
        """Choose the hits to return: positions in `hits`, at most k per query."""
        query = hits.found.query
        keep = np.ones(len(query), np.bool_)
        if self.options.exclude_self:
            names = np.asarray(self.batch.ids, object)[query]
            keep &= names != np.asarray(hits.ids.to_pylist(), object)
        if self.options.group_by:
            keep &= self._firsts_of_groups(hits, keep)
        index = np.flatnonzero(keep)
        return index[search.place_in_query(query[index]) < self.options.k]

    def _firsts_of_groups(self, hits: Hits, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        assert self.options.group_by
        values = self._fetch(hits.found, [self.options.group_by]).column(0).to_pylist()
        seen: set[tuple[int, Any]] = set()
        first = np.zeros(len(hits.found), np.bool_)
        for index, value in enumerate(values):
            if keep[index] and (pair := (int(hits.found.query[index]), value)) not in seen:
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

    def _is_enough(self, found: Found, kept: IntArray, wanted: int, needed: int) -> bool:
        seen = np.bincount(found.query, minlength=len(self.batch))
        left = np.bincount(found.query[kept], minlength=len(self.batch))
        return bool(((left >= needed) | (seen < wanted)).all())

    def _result(self, hits: Hits) -> pa.Table:
        options, spec, found = self.options, self.reader.spec, hits.found
        rank = search.place_in_query(found.query) + 1
        columns: dict[str, pa.Array] = {
            "query_id": pa.array(self.batch.ids, pa.string()).take(pa.array(found.query)),
            "rank": pa.array(rank.astype(np.int32)),
            "id": hits.ids,
            "_distance": pa.array(found.distance),
        }
        asked = [*options.columns, *([spec.vector_column] if options.with_vectors else [])]
        further = [name for name in dict.fromkeys(asked) if name not in columns]
        if further:
            extra = self._fetch(found, further)
            columns |= {name: extra[name] for name in further}
        return pa.table(columns)
