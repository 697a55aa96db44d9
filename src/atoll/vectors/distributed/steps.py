"""The steps of a distributed search; each reads the run's folder and adds to it.

    plan      which partitions each query reads, the same in every bucket
    filter    of one bucket: which rows pass the predicate
    search    of one bucket: the best rows by estimate, or by distance where it has no codes
    fold      of several buckets: the best of their rows
    refine    over all buckets: exact distances of the best, ids, the file of hits

A step that ends twice leaves the same. One that fails raises; whoever runs it may try it again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Corrupt, NotFound
from atoll.storage import Storage, open_storage
from atoll.vectors import manifests, output
from atoll.vectors.distributed.rows import Part, Rows, best_of, folded, join
from atoll.vectors.distributed.run import Plan, Probes, Run, Target
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.mapreduce import BucketsFailed, MapReduce
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.reader import Reader
from atoll.vectors.search import Found
from atoll.vectors.search import join as joined
from atoll.vectors.view import search_facts
from atoll.vectors.work import Work, described, together, watched

logger = logging.getLogger(__name__)

# What one process merges: parts of so many buckets, and rows of some 100 bytes in memory.
MAX_PARTS = 1000
MAX_MERGED_ROWS = 20_000_000
# Buckets whose parts an inner step merges where there are more.
GROUP = 100


# -- plan -----------------------------------------------------------------------------------------


def plan(
    run: Run, settings: Settings, filtered: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Choose the partitions that each query reads.

    Args:
        run: begun.
        settings: threads, memory, caches, stores.
        filtered: what the filter steps said; a bucket that was given up has "bucket" and "error",
            and is not searched.

    Returns:
        run, buckets and groups (numbers for the steps to come), is_filtered: whether the rows that
        pass the predicate must be found first, by `filter_bucket` for each bucket; then nothing
        else is planned yet.

    Raises:
        NotFound: the collection or its version is gone.
    """
    request, options = run.request, run.request.options
    with watched("plan") as watch:
        storage = open_storage(request.collection, settings.storage)
        manifest = manifests.load_manifest(storage, request.version)
        target, buckets = Target.of(manifest), manifest.buckets
        run.put_target(target)
        run.put_buckets(buckets)
        given_up = _given_up(filtered)
        for position, why in given_up.items():
            run.put_failure(position, {"error": why, "message": why}, is_guess=True)
        positions = [each for each in range(len(buckets)) if each not in given_up]
        told = {"run": run.storage.url, "buckets": positions}
        counts = None
        if _is_filtered_first(run, target):
            counts = _passing_counts(run, positions)
            if counts is None:
                return told | {"groups": [], "is_filtered": True}
        rows = max(1, target.rows)
        passing = None if counts is None else sum(total for total, _ in counts.values())
        reader = _reader(run, target.spec, settings)
        live = dict(enumerate(buckets))
        one = _searching(run, reader, target, live, 0, settings)
        wanted = min(rows, one.wanted)
        is_compared = one.is_brute_force(wanted, rows, passing)
        allowed = {} if is_compared else _allowed(run, target, buckets, counts)
        for block in request.blocks:
            one = _searching(run, reader, target, live, block, settings)
            pairs = one.pairs(wanted, allowed)
            known = {model: reader.model(target.models[model]) for model in pairs}
            run.put_probes(block, Probes(pairs, known))
        keep = min(rows, wanted * (1 if is_compared else options.refine_factor))
        group = _group(keep * min(request.block, request.queries), buckets)
        found = Plan(request, target, is_compared, keep, group, watch.taken())
        run.put_plan(found)
    return told | {"groups": list(found.groups), "is_filtered": False}


def _is_filtered_first(run: Run, target: Target) -> bool:
    """Tell whether all buckets' rows must be filtered before partitions can be chosen."""
    options = run.request.options
    return options.where is not None and not options.exact and target.spec.index.kind != "flat"


def _given_up(said: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Tell which buckets steps have given up, and by which error."""
    found = {}
    for each in said:
        if error := each.get("error"):
            found[int(each["bucket"])] = str(error.get("Error", "failed"))
    return found


def _passing_counts(run: Run, positions: Iterable[int]) -> dict[int, tuple[int, IntArray]] | None:
    counts = {}
    for position in positions:
        if (found := run.passing_counts(position)) is None:
            return None
        counts[position] = found
    return counts


def _allowed(
    run: Run,
    target: Target,
    buckets: Sequence[Bucket],
    counts: Mapping[int, tuple[int, IntArray]] | None,
) -> dict[str, IntArray] | None:
    """Count the rows of each partition that may be hits; None leaves that to whoever needs it."""
    models = {bucket.model for bucket in buckets if _has_codes(bucket, target.spec)}
    if run.request.options.nprobes is not None:
        # As many partitions are read whatever is in them, so that no bucket need be opened.
        return {model: np.empty(0, np.int64) for model in models if model}
    if counts is None:
        return None
    allowed: dict[str, IntArray] = {}
    for position, (_, mine) in counts.items():
        bucket = buckets[position]
        if bucket.model in models and bucket.model:
            allowed[bucket.model] = allowed.get(bucket.model, np.zeros_like(mine)) + mine
    return allowed


def _group(rows: int, buckets: Sequence[Bucket]) -> int:
    """Choose how many parts inner steps merge, given the rows of one part at most."""
    in_all = sum(min(rows, bucket.stored_rows) for bucket in buckets)
    if len(buckets) <= MAX_PARTS and in_all <= MAX_MERGED_ROWS:
        return 0
    return max(2, min(GROUP, MAX_MERGED_ROWS * len(buckets) // max(1, in_all)))


def _has_codes(bucket: Bucket, spec: CollectionSpec) -> bool:
    return bucket.model is not None and spec.index_of(bucket).kind == "rabitq"


# -- map ------------------------------------------------------------------------------------------


def filter_bucket(run: Run, position: int, settings: Settings) -> dict[str, Any]:
    """Find the rows of a bucket that pass the predicate."""
    target, where = run.target, run.request.options.where
    assert where is not None, "nothing is to be filtered"
    with noting_failure(run, position):
        bucket = run.bucket(position)
        reader = _reader(run, target.spec, settings)
        mask = reader.table(bucket).allowed(where)
        counts = np.empty(0, np.int64)
        if _has_codes(bucket, target.spec):
            shelf = reader.shelf((bucket,))
            counts = shelf.count(shelf.groups[0], [mask])
        run.put_passing(position, mask, counts)
    return {"bucket": position}


def search_bucket(
    run: Run, position: int, settings: Settings, copy: Storage | None = None
) -> dict[str, Any]:
    """Find the best rows of a bucket for every query.

    Args:
        run: planned.
        position: the bucket's, in the manifest.
        settings: threads, memory, caches, stores.
        copy: where the bucket's files are, if not in the collection.

    Raises:
        Unavailable: the store fails; another try may end well.
        Corrupt, NotFound, Forbidden: the bucket cannot be read.
    """
    with watched("search") as watch, noting_failure(run, position):
        run.at_once(
            [
                lambda: run.plan,
                partial(run.bucket, position),
                partial(run.batch, 0),
                partial(run.probes, 0),
            ]
        )
        request, planned, bucket = run.request, run.plan, run.bucket(position)
        reader = _reader(run, planned.target.spec, settings, copy)
        for block in request.blocks:
            # A step that was killed goes on where it stopped; a single block is sooner done anew.
            if len(request.blocks) > 1 and run.has_part(block, position):
                continue
            one = _searching(run, reader, planned.target, {position: bucket}, block, settings)
            if _is_filtered_first(run, planned.target):
                one.masks[position] = run.passing(position)
            part = _answer(run, planned, one, block, position)
            works = (watch.taken(),)
            run.put_part(
                replace(part, paths=tuple(sorted(one.paths)), works=works), block, position
            )
    return {"bucket": position}


def _answer(run: Run, planned: Plan, one: MapReduce, block: int, position: int) -> Part:
    bucket, request = one.live[position], run.request
    wanted = min(max(1, planned.target.rows), one.wanted)
    try:
        if planned.is_compared:
            return Part(Rows.none(), _as_rows(one.by_comparing(wanted), position))
        if not _has_codes(bucket, planned.target.spec):
            found = one.nearest_of(one.by_lance(wanted))
            return Part(Rows.none(), _as_rows(found, position))
        probes = run.probes(block)
        one.known = probes.known
        best = one.candidates(probes.pairs, min(planned.keep, bucket.stored_rows))
        rows = Rows.of_best(best, position)
        if request.is_refined_early:
            rows = replace(rows, distance=one.refined(rows.query, rows.row).distance)
        else:
            rows = replace(rows, hash=None)
        return Part(rows, Rows.none())
    except BucketsFailed as failure:
        raise failure.errors[position] from failure


def _as_rows(found: Found, position: int) -> Rows:
    order = np.lexsort((found.row, found.query))
    rows = Rows(found.query, np.full(len(found), position), found.row, distance=found.distance)
    return rows.take(order)


@contextmanager
def noting_failure(run: Run, position: int) -> Iterator[None]:
    """Write down why a bucket does not answer, for whoever merges what the others say."""
    try:
        yield
    except AtollError as error:
        with suppress(AtollError):
            run.put_failure(position, {"error": type(error).__name__, "message": error.message})
        raise


# -- reduce ---------------------------------------------------------------------------------------


@dataclass
class _Merged:
    """The rows of all buckets, for one block of queries.

    Attributes:
        rows: estimated, then exact ones.
        paths, works: of those who found them.
        missing: buckets that did not answer.
    """

    estimated: Rows
    exact: Rows
    paths: set[str]
    works: list[Work]
    missing: set[int]


def fold(run: Run, group: int, settings: Settings) -> dict[str, Any]:
    """Merge the parts of several buckets into one."""
    del settings  # as all steps take them
    with watched("fold") as watch:
        planned = run.plan
        for block in run.request.blocks:
            found = _merged(run, planned, block, planned.members(group))
            part = Part(
                found.estimated,
                found.exact,
                tuple(sorted(found.paths)),
                (*found.works, watch.taken()),
                tuple(sorted(found.missing)),
            )
            run.put_fold(part, block, group)
    return {"group": group}


def refine(
    run: Run, settings: Settings, searched: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Merge what all buckets answer, compute exact distances of the best, write the hits.

    Args:
        run: searched, and folded where the plan says so.
        settings: threads, memory, stores.
        searched: what the map steps said; one that was given up has "bucket" and "error".

    Returns:
        run, hits (URL of the file, or of the folder of several), rows, failed_buckets (name: why).

    Raises:
        Unavailable: the store fails; another try may end well.
        AtollError: no bucket answers; the error is that of the first.
    """
    with watched("refine") as watch:
        planned, request = run.plan, run.request
        # The state machine tells the error's name; what it said stands in the run's folder.
        failed = {
            position: f"{name}: {run.failure(position)}"
            for position, name in _given_up(searched).items()
        }
        reader = _reader(run, planned.target.spec, settings)
        paths: set[str] = set()
        works, rows = [planned.work], 0
        for block in request.blocks:
            found = _all_merged(run, planned, block)
            for position in found.missing:
                failed.setdefault(position, run.failure(position))
            if failed and len(failed) == planned.target.buckets:
                raise run.error(min(failed))
            hits = _hits(run, planned, reader, found, block, settings, failed)
            run.storage.put(run.hits_path(block), output.as_bytes(hits, request.suffix))
            paths |= found.paths
            works += found.works
            rows += len(hits)
        names = {run.bucket(position).name: why for position, why in sorted(failed.items())}
        target = planned.target
        told = search_facts(
            target.version, target.spec, target.kinds, request.options, request.recall, paths, names
        )
        works.append(watch.taken())
        run.put_summary(told | {"hits": rows, "works": described(together(works))})
    is_one = len(request.blocks) == 1
    where = f"{run.storage.url}/{run.hits_path(0)}" if is_one else run.storage.url
    return {"run": run.storage.url, "hits": where, "rows": rows, "failed_buckets": names}


def _all_merged(run: Run, planned: Plan, block: int) -> _Merged:
    if not planned.group:
        return _merged(run, planned, block, range(planned.target.buckets))
    whole = _Merged(Rows.none(), Rows.none(), set(), [], set())
    estimated, exact = [], []
    folds = run.at_once([partial(run.fold, block, group) for group in planned.groups])
    for group, part in zip(planned.groups, folds, strict=True):
        if part is None:
            raise NotFound(
                f"group {group} of {run} is not merged; run its step `fold`", run=str(run)
            )
        estimated.append(part.estimated)
        exact.append(part.exact)
        whole.paths.update(part.paths)
        whole.missing.update(part.missing)
        whole.works += [*part.works, _written(part)]
    whole.estimated, whole.exact = _cut(run, planned, block, estimated, exact)
    return whole


def _merged(run: Run, planned: Plan, block: int, positions: Sequence[int]) -> _Merged:
    whole = _Merged(Rows.none(), Rows.none(), set(), [], set())
    estimated, exact = [], []
    for position, part in zip(positions, run.parts(block, positions), strict=True):
        if part is None:
            whole.missing.add(position)
            continue
        estimated.append(part.estimated)
        exact.append(part.exact)
        whole.paths.update(part.paths)
        whole.works += [*part.works, _written(part)]
    whole.estimated, whole.exact = _cut(run, planned, block, estimated, exact)
    return whole


def _cut(
    run: Run, planned: Plan, block: int, estimated: Sequence[Rows], exact: Sequence[Rows]
) -> tuple[Rows, Rows]:
    """Join parts, and drop what cannot be among the best."""
    queries = run.request.queries_of(block)
    return folded(join(estimated), queries, planned.keep), join(exact)


def _written(part: Part) -> Work:
    """Count what a part could not say of itself: that it was written."""
    step = part.works[-1].step
    usage = dict.fromkeys(part.works[-1].usage, 0) | {"puts": 1, "bytes_written": part.size_bytes}
    return Work(step, 0, 0.0, 0.0, 0.0, 0, usage)


def _hits(
    run: Run,
    planned: Plan,
    reader: Reader,
    found: _Merged,
    block: int,
    settings: Settings,
    failed: dict[int, str],
) -> pa.Table:
    """Turn the rows of a block into hits; buckets that turn out to be damaged are left out."""
    while True:
        estimated, exact = (_without(rows, failed) for rows in (found.estimated, found.exact))
        used = np.union1d(estimated.bucket, exact.bucket).tolist()
        live = {position: run.bucket(position) for position in used}
        one = _searching(run, reader, planned.target, live, block, settings)
        try:
            return one.result_of(joined([_refined(one, planned, estimated), _as_found(one, exact)]))
        except BucketsFailed as failure:
            for position, error in failure.errors.items():
                if not isinstance(error, Corrupt | NotFound):
                    raise error from failure
                failed[position] = error.message


def _without(rows: Rows, failed: Mapping[int, str]) -> Rows:
    if not failed:
        return rows
    return rows.take(np.flatnonzero(~np.isin(rows.bucket, list(failed))))


def _refined(one: MapReduce, planned: Plan, rows: Rows) -> Found:
    def hashes_of(some: Rows) -> NDArray[np.uint32]:
        ids = one.ids(one.numbered(some.bucket, some.row))
        return (hash_ids(ids) >> np.uint64(32)).astype(np.uint32)

    best = best_of(rows, len(one.batch), planned.keep, hashes_of)
    if best.distance is not None:
        return _as_found(one, best)
    return one.refined(best.query, one.numbered(best.bucket, best.row))


def _as_found(one: MapReduce, rows: Rows) -> Found:
    distance = np.empty(0, np.float32) if rows.distance is None else rows.distance
    return Found(rows.query, one.numbered(rows.bucket, rows.row), distance)


# -- what all of them need ------------------------------------------------------------------------


def _searching(
    run: Run,
    reader: Reader,
    target: Target,
    live: Mapping[int, Bucket],
    block: int,
    settings: Settings,
) -> MapReduce:
    """Make what searches some buckets for a block of queries."""
    batch = run.batch(block)
    return MapReduce(reader, target.models, live, batch, run.request.options, settings.threads)


_last: list[tuple[Storage, CollectionSpec, Reader]] = []


def _reader(
    run: Run, spec: CollectionSpec, settings: Settings, copy: Storage | None = None
) -> Reader:
    """Open the collection; what the last step of this process had open is still open."""
    storage = copy or open_storage(run.request.collection, settings.storage).cached(
        settings.disk_cache, settings.disk_cache_bytes
    )
    if not _last or _last[0][:2] != (storage, spec):
        _last[:] = [(storage, spec, Reader(storage, spec, ByteCache(settings.cache_bytes)))]
    return _last[0][2]
