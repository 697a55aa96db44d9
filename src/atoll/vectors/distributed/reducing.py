"""The steps of a distributed search that merge; see `steps`.

fold      of several buckets: the best of their rows
measure   of one bucket: exact distances of its rows among the best of all, where they are many
refine    over all buckets: the exact distances that are left, ids, the file of hits
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput, Unavailable
from atoll.vectors import output
from atoll.vectors.distributed.failures import given_up, note, require_some, why_failed
from atoll.vectors.distributed.model import Plan
from atoll.vectors.distributed.opened import opened_reader, searching
from atoll.vectors.distributed.rows import Part, Rows, best_of, folded, join, places_in
from atoll.vectors.distributed.run import Run
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.mapreduce import BucketsFailed, MapReduce
from atoll.vectors.reader import Reader
from atoll.vectors.search import Found
from atoll.vectors.search import join as joined
from atoll.vectors.view import search_facts
from atoll.vectors.work import Work, described, together, watched

# What a step says of buckets that failed, at most: states may pass on little.
NAMED_FAILURES, NAMED_CHARACTERS = 20, 500


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
        if not planned.is_measured:
            raise InvalidInput(f"the candidates of {run} are few; its step `refine` reads them all")
        reader = opened_reader(run, planned.target.spec, settings)
        for block in run.request.blocks:
            best = _all_merged(run, planned, block, dict.fromkeys(planned.given_up, "")).estimated
            mine = best.take(np.flatnonzero(best.bucket == position))
            one = searching(run, reader, planned.target, {position: bucket}, block, settings)
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
        reader = opened_reader(run, planned.target.spec, settings)
        failed = {number: _why_missing(run, number) for number in planned.given_up}
        failed |= given_up(run, searched)
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
        require_some(run, failed, planned.target.buckets)
        found = _all_merged(run, planned, block, failed)
        if unknown := found.missing - set(failed):
            failed.update({n: _why_missing(run, n) for n in sorted(unknown)})
            continue
        used = np.union1d(found.estimated.bucket, found.exact.bucket).tolist()
        live = {position: run.bucket(position) for position in used}
        one = searching(run, reader, planned.target, live, block, settings)
        try:
            known = _measured(run, planned, block, found)
            parts = [_refined(one, planned, found.estimated, known), _as_found(one, found.exact)]
            return one.result_of(joined(parts)), found
        except BucketsFailed as failure:
            note(run, failure, failed)


def _why_missing(run: Run, position: int) -> str:
    why = why_failed(run, position)
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
    if not planned.is_measured:
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
