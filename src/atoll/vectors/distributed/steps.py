"""The steps of a distributed search; each reads the run's folder and adds to it.

    plan      which partitions each query reads, the same in every bucket
    filter    of one bucket: which rows pass the predicate
    search    of one bucket: the best rows by estimate, or by distance where it has no codes
    fold      of several buckets: the best of their rows
    measure   of one bucket: exact distances of its rows among the best of all, where they are many
    refine    over all buckets: the exact distances that are left, ids, the file of hits

A step that ends twice leaves the same. One that fails raises; whoever runs it may try it again.
A bucket that cannot be read is named, with the reason, and the others answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Corrupt, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.storage import Storage, open_storage
from atoll.vectors import manifests, output
from atoll.vectors.distributed.grouping import group_of, is_filtered_first, is_measured_apart
from atoll.vectors.distributed.model import Plan, Probes, Target
from atoll.vectors.distributed.rows import Part, Rows, best_of, folded, join, places_in
from atoll.vectors.distributed.run import Run
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.mapreduce import BucketsFailed, MapReduce
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.reader import Reader
from atoll.vectors.search import Found
from atoll.vectors.search import join as joined
from atoll.vectors.view import search_facts
from atoll.vectors.work import Work, described, together, watched

# What a step says of buckets that failed, at most: states may pass on little.
NAMED_FAILURES, NAMED_CHARACTERS = 20, 500
# Whoever asks has to mend these; no bucket is to blame.
_CALLERS = (InvalidInput, Forbidden)


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
        failed = _given_up(run, filtered)
        _require_some(run, failed, len(buckets))
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
    groups, is_measured = list(planned.groups), planned.is_measured_apart
    return told | {"groups": groups, "is_measured": is_measured}


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
    reader = _reader(run, target.spec, settings)
    while True:
        live = {n: bucket for n, bucket in enumerate(buckets) if n not in failed}
        one = _searching(run, reader, target, live, 0, settings)
        wanted = min(rows, one.wanted)
        is_compared = one.is_brute_force(wanted, rows, passing)
        allowed = {} if is_compared else _allowed(run, target, live, counts)
        digest = hashlib.sha256()
        try:
            for block in request.blocks:
                one = _searching(run, reader, target, live, block, settings)
                pairs = one.pairs(wanted, allowed)
                known = {model: reader.model(target.models[model]) for model in pairs}
                digest.update(run.put_probes(block, Probes(pairs, known)))
            break
        except BucketsFailed as failure:
            _note(run, failure, failed)
            _require_some(run, failed, len(buckets))
    keep = min(rows, wanted * (1 if is_compared else request.options.refine_factor))
    each = keep * min(request.block, request.queries)
    group = group_of(len(buckets), sum(min(each, bucket.stored_rows) for bucket in buckets))
    has_candidates = "rabitq" in target.kinds and not (is_compared or request.is_refined_early)
    is_apart = has_candidates and is_measured_apart(each, len(buckets), group)
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


# -- failures -------------------------------------------------------------------------------------


def _given_up(run: Run, said: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Tell which buckets steps have given up, and why.

    The state machine passes on the name of the error; what it said stands in the run's folder.

    Raises:
        InvalidInput, Forbidden: a step refused what was asked.
    """
    found = {}
    for each in said:
        if error := each.get("error"):
            position = int(each["bucket"])
            found[position] = _why(run, position, str(error.get("Error", "failed")))
    return found


def _why(run: Run, position: int, name: str = "") -> str:
    noted = run.failure(position)
    if isinstance(noted, _CALLERS):
        raise noted
    return name if noted is None else noted.message


def _note(run: Run, failure: BucketsFailed, failed: dict[int, str]) -> None:
    """Take buckets for failed that cannot be read; what may pass is raised."""
    for position, error in failure.errors.items():
        if not isinstance(error, Corrupt | NotFound):
            raise error from failure
        run.put_failure(position, error)
        failed[position] = error.message


def _require_some(run: Run, failed: Mapping[int, str], buckets: int) -> None:
    """Raise why where no bucket is left."""
    if failed and len(failed) == buckets:
        first = min(failed)
        raise run.failure(first) or Unavailable(f"no bucket answers: {failed[first]}")


@contextmanager
def noting_failure(run: Run, position: int) -> Iterator[None]:
    """Write down why a bucket does not answer, for whoever merges what the others say."""
    try:
        yield
    except AtollError as error:
        with suppress(AtollError):
            run.put_failure(position, error)
        raise


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
        reader = _reader(run, target.spec, settings)
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
        reader = _reader(run, planned.target.spec, settings, copy)
        for block in request.blocks:
            # A step that was killed goes on where it stopped; a single block is sooner done anew.
            if len(request.blocks) > 1 and run.has_part(block, position):
                continue
            one = _searching(run, reader, planned.target, {position: bucket}, block, settings)
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


# -- reduce ---------------------------------------------------------------------------------------


@dataclass
class _Merged:
    """What buckets answer, for one block of queries.

    Attributes:
        estimated, exact: their rows; those that cannot be among the best are gone.
        paths, works: of those who found them.
        missing: buckets that did not answer.
    """

    estimated: Rows = field(default_factory=Rows.none)
    exact: Rows = field(default_factory=Rows.none)
    paths: set[str] = field(default_factory=set)
    works: list[Work] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)

    def add(self, part: Part) -> None:
        """Take what a part says of itself."""
        self.paths.update(part.paths)
        self.missing.update(part.missing)
        self.works += [*part.works, _written(part)]


def fold(run: Run, group: int, settings: Settings) -> dict[str, Any]:
    """Merge the parts of several buckets into one."""
    with watched("fold", settings.function_mb) as watch:
        planned = run.plan
        for block in run.request.blocks:
            found = _merged(run, planned, block, planned.members(group))
            part = Part(
                found.estimated,
                found.exact,
                tuple(sorted(found.paths)),
                (*together(found.works), watch.taken()),
                tuple(sorted(found.missing)),
            )
            run.put_fold(part, block, group)
    return {"group": group}


def measure(run: Run, position: int, settings: Settings) -> dict[str, Any]:
    """Compute the exact distances of a bucket's rows that are among the best of all buckets.

    They are read by `refine`, which computes itself what is not there: of buckets whose step
    failed, and of rows that another bucket's failure brings among the best.

    Raises:
        Unavailable: the store fails; another try may end well.
        Corrupt, NotFound, Forbidden: the bucket cannot be read.
    """
    with watched("measure", settings.function_mb) as watch:
        planned, bucket = run.plan, run.bucket(position)
        if not planned.is_measured_apart:
            raise InvalidInput(f"the candidates of {run} are few; its step `refine` reads them all")
        reader = _reader(run, planned.target.spec, settings)
        for block in run.request.blocks:
            best = _all_merged(run, planned, block, dict.fromkeys(planned.given_up, "")).estimated
            mine = best.take(np.flatnonzero(best.bucket == position))
            one = _searching(run, reader, planned.target, {position: bucket}, block, settings)
            try:
                found = one.refined(mine.query, mine.row).distance
            except BucketsFailed as failure:
                raise failure.errors[position] from failure
            exact = Rows(mine.query, mine.bucket, mine.row, distance=found)
            part = Part(Rows.none(), exact, works=(watch.taken(),))
            run.put_measured(part, block, position)
    return {"bucket": position}


def refine(
    run: Run, settings: Settings, searched: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Merge what all buckets answer, compute exact distances of the best, write the hits.

    Args:
        run: searched, and folded where the plan says so; what distances are there are used.
        settings: threads, memory, stores.
        searched: what the map steps said; one that was given up has "bucket" and "error".

    Returns:
        run, hits (URL of the file, or of the folder of several), rows, failed (how many buckets),
        failed_buckets (name: why, of the first).

    Raises:
        Unavailable: the store fails, or a bucket has neither answered nor said why; another try may
            end well.
        AtollError: no bucket answers; the error is that of the first.
    """
    if (ended := run.summary()) is not None:
        return _result(run, ended)
    with watched("refine", settings.function_mb) as watch:
        planned, request = run.plan, run.request
        reader = _reader(run, planned.target.spec, settings)
        failed = {number: _why_missing(run, number) for number in planned.given_up}
        failed |= _given_up(run, searched)
        paths: set[str] = set()
        works, rows = [*planned.works], 0
        for block in request.blocks:
            hits, found = _hits(run, planned, reader, block, settings, failed)
            run.put_hits(block, output.as_bytes(hits, request.suffix))
            paths |= found.paths
            works += found.works
            rows += len(hits)
        names = {run.bucket(position).name: why for position, why in sorted(failed.items())}
        target = planned.target
        told = search_facts(
            target.version, target.spec, target.kinds, request.options, request.recall, paths, names
        )
        works.append(watch.taken())
        summary = told | {"hits": rows, "works": described(together(works))}
        run.put_summary(summary)
    return _result(run, summary)


def _result(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    is_one = len(run.request.blocks) == 1
    failed = summary["failed_buckets"]
    named = list(failed.items())[:NAMED_FAILURES]
    return {
        "run": run.storage.url,
        "hits": f"{run.storage.url}/{run.hits_path(0)}" if is_one else run.storage.url,
        "rows": summary["hits"],
        "failed": len(failed),
        "failed_buckets": {name: why[:NAMED_CHARACTERS] for name, why in named},
    }


def _hits(
    run: Run,
    planned: Plan,
    reader: Reader,
    block: int,
    settings: Settings,
    failed: dict[int, str],
) -> tuple[pa.Table, _Merged]:
    """Turn what buckets answer into the hits of a block.

    Buckets that did not answer, or turn out to be damaged, join `failed`, and all is merged again
    without them: what they held must not have taken the place of others.
    """
    while True:
        _require_some(run, failed, planned.target.buckets)
        found = _all_merged(run, planned, block, failed)
        if unknown := found.missing - set(failed):
            failed.update({n: _why_missing(run, n) for n in sorted(unknown)})
            continue
        used = np.union1d(found.estimated.bucket, found.exact.bucket).tolist()
        live = {position: run.bucket(position) for position in used}
        one = _searching(run, reader, planned.target, live, block, settings)
        try:
            known = _measured(run, planned, block, found)
            parts = [_refined(one, planned, found.estimated, known), _as_found(one, found.exact)]
            return one.result_of(joined(parts)), found
        except BucketsFailed as failure:
            _note(run, failure, failed)


def _why_missing(run: Run, position: int) -> str:
    why = _why(run, position)
    if not why and not run.request.options.allow_partial:
        raise Unavailable(
            f"bucket {position} of {run} ({run.bucket(position).name}) has neither answered nor "
            "said why; run its step `search`",
            bucket=position,
        )
    return why or "its step did not end"


def _all_merged(run: Run, planned: Plan, block: int, failed: Mapping[int, str]) -> _Merged:
    if not planned.group:
        positions = [n for n in range(planned.target.buckets) if n not in failed]
        return _merged(run, planned, block, positions)
    whole, merged = _Merged(), []
    whole_groups = [g for g in planned.groups if not any(n in failed for n in planned.members(g))]
    for part in run.at_once([partial(run.fold, block, group) for group in whole_groups]):
        whole.add(part)
        merged.append((part.estimated, part.exact))
    for group in planned.groups:
        if group in whole_groups:
            continue
        # Its fold may hold rows of a bucket that failed, instead of others'.
        left = [n for n in planned.members(group) if n not in failed]
        again = _merged(run, planned, block, left)
        whole.paths |= again.paths
        whole.missing |= again.missing
        whole.works += again.works
        merged.append((again.estimated, again.exact))
    return _cut(run, planned, block, whole, merged)


def _merged(run: Run, planned: Plan, block: int, positions: Sequence[int]) -> _Merged:
    whole, merged = _Merged(), []
    for position, part in zip(positions, run.parts(block, positions), strict=True):
        if part is None:
            whole.missing.add(position)
            continue
        whole.add(part)
        merged.append((part.estimated, part.exact))
    return _cut(run, planned, block, whole, merged)


def _cut(
    run: Run, planned: Plan, block: int, whole: _Merged, parts: Sequence[tuple[Rows, Rows]]
) -> _Merged:
    """Join the rows of parts, and drop what cannot be among the best."""
    estimated = join([each for each, _ in parts])
    whole.estimated = folded(estimated, run.request.queries_of(block), planned.keep)
    whole.exact = join([each for _, each in parts])
    return whole


def _written(part: Part) -> Work:
    """Count what a part could not say of itself: that it was written."""
    usage = dict.fromkeys(part.works[-1].usage, 0) | {"puts": 1, "bytes_written": part.size_bytes}
    return Work(part.works[-1].step, 0, 0.0, 0.0, 0.0, 0, usage)


def _measured(run: Run, planned: Plan, block: int, found: _Merged) -> Rows:
    """Read the exact distances that buckets have computed, and take note of what that took."""
    if not planned.is_measured_apart:
        return Rows.none()
    parts = [part for part in run.measured(block, planned.searched) if part is not None]
    for part in parts:
        found.works += [*part.works, _written(part)]
    return join([part.exact for part in parts])


def _refined(one: MapReduce, planned: Plan, rows: Rows, known: Rows) -> Found:
    def hashes_of(some: Rows) -> NDArray[np.uint32]:
        ids = one.ids(one.numbered(some.bucket, some.row))
        return (hash_ids(ids) >> np.uint64(32)).astype(np.uint32)

    best = best_of(rows, len(one.batch), planned.keep, hashes_of)
    if not len(best) or best.distance is not None:
        return _as_found(one, best)
    row, distance = one.numbered(best.bucket, best.row), np.empty(len(best), np.float32)
    place, is_known = places_in(known, best)
    if is_known.any():
        assert known.distance is not None
        distance[is_known] = known.distance[place[is_known]]
    distance[~is_known] = one.refined(best.query[~is_known], row[~is_known]).distance
    return Found(best.query, row, distance)


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
