"""The steps of a distributed search; each reads the run's folder and adds to it.

    plan      which partitions each query reads, the same in every bucket
    filter    of one bucket: which rows pass the predicate
    search    of one bucket: the best rows by estimate, or by distance where it has no codes

Those that merge what buckets answer are in `reducing`. A step that ends twice leaves the same. One
that fails raises; whoever runs it may try it again. A bucket that cannot be read is named, with the
reason, and the others answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from atoll.core.arrays import IntArray
from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.storage import Storage, open_storage
from atoll.vectors import manifests
from atoll.vectors.distributed.failures import given_up, note, noting_failure, require_some
from atoll.vectors.distributed.grouping import group_of, is_filtered_first, is_measured
from atoll.vectors.distributed.model import Plan, Probes, Target
from atoll.vectors.distributed.opened import opened_reader, searching
from atoll.vectors.distributed.rows import Part, Rows
from atoll.vectors.distributed.run import Run
from atoll.vectors.mapreduce import BucketsFailed, MapReduce
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.search import Found
from atoll.vectors.work import Work, together, watched

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
        else is planned yet. is_measured: whether the best are measured bucket by bucket.

    Raises:
        NotFound: the collection or its version is gone.
        AtollError: no bucket can be searched, or one refuses what was asked.
    """
    with watched("plan", settings.function_mb) as watch:
        target, buckets = _target(run, settings)
        failed = given_up(run, filtered)
        require_some(run, failed, len(buckets))
        counts: dict[int, tuple[int, IntArray, Work]] | None = None
        if is_filtered_first(run.request.options, target.spec):
            counts = _passing_counts(run, [n for n in range(len(buckets)) if n not in failed])
            if counts is None:
                run.put_target(replace(target, works=(watch.taken(),)), buckets)
                return _told(run, range(len(buckets)), is_filtered=True)
        works = [*run.target.works, *(work for _, _, work in counts.values())] if counts else []
        run.put_target(target, buckets)
        planned = _plan(run, target, buckets, counts, failed, settings)
        found = replace(planned, works=(*together(works), watch.taken()))
        run.put_plan(found)
    return told_of(run, found)


def told_of(run: Run, planned: Plan) -> dict[str, Any]:
    """Say what is left to do; see `plan`."""
    told = _told(run, planned.searched)
    return told | {"groups": list(planned.groups), "is_measured": planned.is_measured}


def _told(run: Run, buckets: Iterable[int], *, is_filtered: bool = False) -> dict[str, Any]:
    return {
        "run": run.storage.url,
        "buckets": list(buckets),
        "groups": [],
        "is_filtered": is_filtered,
        "is_measured": False,
    }


def _target(run: Run, settings: Settings) -> tuple[Target, tuple[Bucket, ...]]:
    storage = open_storage(run.request.collection, settings.storage)
    manifest = manifests.load_manifest(storage, run.request.version)
    return Target.of(manifest), manifest.buckets


def _plan(
    run: Run,
    target: Target,
    buckets: Sequence[Bucket],
    counts: Mapping[int, tuple[int, IntArray, Work]] | None,
    failed: dict[int, str],
    settings: Settings,
) -> Plan:
    """Plan all blocks; buckets that turn out to be damaged join `failed`."""
    request, rows = run.request, max(1, target.rows)
    passing = None if counts is None else sum(total for total, _, _ in counts.values())
    reader = opened_reader(run, target.spec, settings)
    while True:
        live = {n: bucket for n, bucket in enumerate(buckets) if n not in failed}
        one = searching(run, reader, target, live, 0, settings)
        wanted = min(rows, one.wanted)
        is_compared = one.is_brute_force(wanted, rows, passing)
        allowed = {} if is_compared else _allowed(run, target, live, counts)
        digest = hashlib.sha256()
        try:
            for block in request.blocks:
                one = searching(run, reader, target, live, block, settings)
                pairs = one.pairs(wanted, allowed)
                known = {model: reader.model(target.models[model]) for model in pairs}
                digest.update(run.put_probes(block, Probes(pairs, known)))
            break
        except BucketsFailed as failure:
            note(run, failure, failed)
            require_some(run, failed, len(buckets))
    keep = min(rows, wanted * (1 if is_compared else request.options.refine_factor))
    each = keep * min(request.block, request.queries)
    group = group_of(len(buckets), sum(min(each, bucket.stored_rows) for bucket in buckets))
    has_candidates = "rabitq" in target.kinds and not (is_compared or request.is_refined_early)
    is_apart = has_candidates and is_measured(each, len(buckets), group)
    digest.update(f"{sorted(failed)} {is_compared} {keep} {group}".encode())
    key, given_up = digest.hexdigest()[:16], tuple(sorted(failed))
    return Plan(key, request, target, is_compared, keep, group, is_apart, given_up, ())


def _passing_counts(
    run: Run, positions: Sequence[int]
) -> dict[int, tuple[int, IntArray, Work]] | None:
    """Read how many rows pass; None where that is not known of all these buckets."""
    found = run.at_once([partial(run.passing_counts, position) for position in positions])
    if any(each is None for each in found):
        return None
    return dict(zip(positions, found, strict=True))


def _allowed(
    run: Run,
    target: Target,
    live: Mapping[int, Bucket],
    counts: Mapping[int, tuple[int, IntArray, Work]] | None,
) -> dict[str, IntArray] | None:
    """Count the rows of each partition that may be hits; None leaves that to whoever needs it."""
    models = {n: b.model for n, b in live.items() if b.model and _has_codes(b, target.spec)}
    if run.request.options.nprobes is not None:
        # As many partitions are read whatever is in them, so that no bucket need be opened.
        return {model: np.empty(0, np.int64) for model in models.values()}
    if counts is None:
        return None
    allowed: dict[str, IntArray] = {}
    for position, model in models.items():
        mine = counts[position][1]
        allowed[model] = allowed.get(model, np.zeros_like(mine)) + mine
    return allowed


def _has_codes(bucket: Bucket, spec: CollectionSpec) -> bool:
    return bucket.model is not None and spec.index_of(bucket).kind == "rabitq"


# -- map ------------------------------------------------------------------------------------------


def filter_bucket(run: Run, position: int, settings: Settings) -> dict[str, Any]:
    """Find the rows of a bucket that pass the predicate.

    Raises:
        InvalidInput: there is no predicate, or it does not fit the columns.
    """
    with watched("filter", settings.function_mb) as watch, noting_failure(run, position):
        target, where = run.target, run.request.options.where
        if where is None:
            raise InvalidInput(f"the search in {run} has no predicate; nothing is to be filtered")
        bucket = run.bucket(position)
        reader = opened_reader(run, target.spec, settings)
        mask = reader.table(bucket).allowed(where)
        counts = np.empty(0, np.int64)
        if _has_codes(bucket, target.spec):
            shelf = reader.shelf((bucket,))
            counts = shelf.count(shelf.groups[0], [mask])
        run.put_passing(position, mask, counts, watch.taken())
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
    with watched("search", settings.function_mb) as watch, noting_failure(run, position):
        run.at_once(
            [
                lambda: run.plan,
                partial(run.bucket, position),
                # Their paths are known only with the request, which most steps read in the plan.
                partial(run.probes, 0),
            ]
        )
        planned, request, bucket = run.plan, run.request, run.bucket(position)
        is_filtered = is_filtered_first(request.options, planned.target.spec)
        if is_filtered and run.passing_counts(position) is None:
            # It could not be filtered, and the reason is noted.
            return {"bucket": position}
        reader = opened_reader(run, planned.target.spec, settings, copy)
        for block in request.blocks:
            # A step that was killed goes on where it stopped; a single block is sooner done anew.
            if len(request.blocks) > 1 and run.has_part(block, position):
                continue
            one = searching(run, reader, planned.target, {position: bucket}, block, settings)
            if is_filtered:
                one.masks[position] = run.passing(position)
            part = _answer(run, planned, one, block, position)
            paths = tuple(sorted(one.paths))
            run.put_part(replace(part, paths=paths, works=(watch.taken(),)), block, position)
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
