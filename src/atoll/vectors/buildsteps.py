"""Carries out a create or an add in steps that share nothing but the store, a machine for each.

    plan      compares ids, settles the number of partitions, trains the model: once
    build     one bucket of the plan, as many at once as there are machines
    commit    finds every bucket built, measures recall, makes them live

Each step plans anew from the headers of the sources, which comes to the same plan hash, and reads
below it what the step before has left. A step that was killed, or that is given twice, does what
is left of it. Between steps nobody holds the collection: `gc` would take the build for a dead one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from atoll.compute.port import Executor
from atoll.core.config import Settings
from atoll.core.errors import Conflict, Corrupt, InvalidInput, NotFound
from atoll.core.progress import OnProgress
from atoll.core.records import decoded
from atoll.core.text import counted, some_of
from atoll.storage import Storage, Threads
from atoll.vectors import blobs, bucketjobs, build, calibrate, leases, manifests, partitiontrials
from atoll.vectors.buckets import PlannedBucket
from atoll.vectors.idcheck import duplicate_rows
from atoll.vectors.ingest import BucketJob, claimed
from atoll.vectors.model import Blob, Bucket, Manifest, PartitionChoice
from atoll.vectors.options import BuildStep
from atoll.vectors.paths import FOLDER, build_path
from atoll.vectors.planning import Planned
from atoll.vectors.reach import require_shared_build

RECORD = "plan.json"
LOOKS_AT_ONCE = 16
PLAN_AGAIN = "give --step plan again, then build every bucket"


@dataclass(frozen=True)
class Prepared:
    """What the plan step leaves for the others.

    Attributes:
        sources: version of each file, by uri.
        version: of the collection, with whose ids those of the sources were compared; 0: none.
        model: the index model; None for "flat".
        choice: of the number of partitions, where that was left open.
        left_out: rows that no bucket takes because of their ids, by number of the bucket.
    """

    sources: dict[str, str]
    version: int
    model: Blob | None
    choice: PartitionChoice | None
    left_out: dict[int, Blob]


def carry_out(
    step: BuildStep,
    planned: Planned,
    into: Manifest | None,
    *,
    index: int | None = None,
    force: bool = False,
    settings: Settings,
    executor: Executor | None = None,
    on_progress: OnProgress,
) -> dict[str, Any] | Manifest:
    """Do one step; see `plan`, `build_one` and `commit`.

    Raises:
        InvalidInput: the step "build" without an index.
    """
    if step == "plan":
        return plan(planned, into, force=force, settings=settings, on_progress=on_progress)
    if step == "commit":
        return commit(planned, into, force=force, settings=settings, on_progress=on_progress)
    if index is None:
        raise InvalidInput("the step build needs an index: which bucket, from 0")
    return build_one(
        planned, into, index, settings=settings, executor=executor, on_progress=on_progress
    )


def plan(
    planned: Planned,
    into: Manifest | None,
    *,
    force: bool = False,
    settings: Settings,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Do what is done once for all buckets, and leave it for the other steps.

    Args:
        planned: what is built.
        into: the collection, for an add; None for a create.
        force: whether a create may replace a collection.
        settings: threads, memory, scratch folder.
        on_progress: told as stages go on.

    Returns:
        "step", "plan" (its hash), "buckets", "rows", "left_out" (rows, because of their ids),
        "is_live" (this plan was carried out before, and nothing is left to do).

    Raises:
        InvalidInput: ids that were met before and may not be left out.
        Conflict: something else lives at the place.
    """
    calibrate.check_planned(planned)
    storage = planned.storage
    left = _left(planned, into)
    if not force and into is None and left is not None:
        build.refuse_occupied(storage, manifests.latest_manifest(storage))
    count = 0
    if left is not None:
        with leases.hold(storage, "build"):
            storage.probe_conditional_put()
            left = partitiontrials.settled(left, settings, on_progress)
            prepared = _known(planned)
            if prepared is None or not _is_whole(storage, prepared, into):
                excluded = duplicate_rows(left, into, settings, on_progress)
                model = build.model_for(left, into, on_progress)
                prepared = _put(left, into, excluded, model)
            count = sum(map(len, _left_out(left, prepared).values()))
    return {
        "step": "plan",
        "plan": planned.hash,
        "buckets": len(planned.buckets.buckets),
        "rows": planned.buckets.rows,
        "left_out": count,
        "is_live": left is None,
    }


def build_one(
    planned: Planned,
    into: Manifest | None,
    index: int,
    *,
    settings: Settings,
    executor: Executor | None = None,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """Build one bucket, unless that was done before.

    Args:
        planned, into, settings, on_progress: as for `plan`.
        index: which, from 0; there may be none of this number.
        executor: whose workers share the bucket; None uses processes on this machine.

    Returns:
        "step", "bucket" (the number), "buckets", "table" (its name; None where none was made),
        "rows" (in it), "why" (there is none).

    Raises:
        InvalidInput: rows that cannot be searched.
        NotFound, Conflict: no plan step was carried out for these sources.
    """
    told: dict[str, Any] = {
        "step": "build", "bucket": index, "buckets": len(planned.buckets.buckets), "table": None,
        "rows": 0,
    }  # fmt: skip
    if index >= len(planned.buckets.buckets):
        return told | {"why": f"the plan has {counted(told['buckets'], 'bucket')}, from 0"}
    one = _only(planned, planned.buckets.buckets[index])
    left = _left(one, into)
    if left is None:
        return told | {"why": "it is live already"}
    require_shared_build(executor, planned)
    prepared = require_prepared(planned)
    with leases.hold(planned.storage, "build"):
        left = _settled(left, prepared)
        excluded = _left_out(left, prepared)
        found = bucketjobs.built(left, excluded, prepared.model, settings, executor, on_progress)
        for job, bucket in found:
            if bucket is not None:
                return told | {"table": job.name, "rows": bucket.rows, "why": ""}
            planned.storage.put(_empty_path(job), b"{}")
    why = "no row of it can be searched" if found else "all its ids were met before"
    return told | {"why": why}


def commit(
    planned: Planned,
    into: Manifest | None,
    *,
    force: bool = False,
    settings: Settings,
    on_progress: OnProgress,
) -> Manifest:
    """Make the buckets live that were built; as `build.create` and `build.add` otherwise.

    Args:
        planned, into, force, settings, on_progress: as for `plan`.

    Returns:
        The manifest in force.

    Raises:
        NotFound: buckets are not built, which are named; or there was no plan step.
        Conflict: the sources, or the collection, are not what was planned.
    """
    if _left(planned, into) is not None:
        planned = _settled(planned, require_prepared(planned))
    make = partial(_collected, whole=planned, settings=settings, on_progress=on_progress)
    if into is None:
        return build.create(
            planned, force=force, settings=settings, on_progress=on_progress, make=make
        )
    return build.add(planned, into, settings=settings, on_progress=on_progress, make=make)


def _left(planned: Planned, into: Manifest | None) -> Planned | None:
    """Return what of a plan is not live yet; None where all is."""
    if into is None:
        found = manifests.latest_manifest(planned.storage)
        return None if found is not None and found.plan == planned.hash else planned
    left = build.missing(into, planned)
    return left if left.buckets.buckets else None


def _settled(planned: Planned, prepared: Prepared) -> Planned:
    if prepared.choice is None:
        return planned
    return partitiontrials.with_choice(planned, prepared.choice)


def _only(planned: Planned, bucket: PlannedBucket) -> Planned:
    return replace(planned, buckets=replace(planned.buckets, buckets=(bucket,)))


# -- what the plan step leaves --------------------------------------------------------------------


def _known(planned: Planned) -> Prepared | None:
    path = build_path(planned.hash, RECORD)
    data = planned.storage.find(path)
    return None if data is None else _parsed(planned.storage, path, data)


def _parsed(storage: Storage, path: str, data: bytes) -> Prepared:
    try:
        return decoded(data, Prepared)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(
            f"{storage}/{path} is not what the step plan leaves ({error}); remove the object, "
            f"{PLAN_AGAIN}",
            path=path,
        ) from error


def _is_whole(storage: Storage, prepared: Prepared, into: Manifest | None) -> bool:
    """Tell whether a plan step need not be done again."""
    if prepared.version != (into.version if into else 0):
        return False  # ids may have come, or the model may be another
    named = [prepared.model, *prepared.left_out.values()]
    return all(storage.exists(blob.path) for blob in named if blob is not None)


def _put(
    planned: Planned, into: Manifest | None, excluded: bucketjobs.Excluded, model: Blob | None
) -> Prepared:
    left_out = {}
    for bucket in planned.buckets.buckets:
        rows = [_rows_of(excluded, part.uri, part.start, part.stop) for part in bucket.slices]
        if any(map(len, rows)):
            left_out[bucket.index] = _put_rows(planned, bucket.index, rows)
    prepared = Prepared(
        {uri: source.version for uri, source in sorted(planned.sources.items())},
        into.version if into else 0,
        model,
        planned.choice,
        left_out,
    )
    planned.storage.put(build_path(planned.hash, RECORD), msgspec.json.encode(prepared))
    return prepared


def _rows_of(excluded: bucketjobs.Excluded, uri: str, start: int, stop: int) -> NDArray[np.int64]:
    rows = excluded.get(uri, np.empty(0, np.int64))
    return rows[slice(*np.searchsorted(rows, (start, stop)))]


def _put_rows(planned: Planned, number: int, rows: list[NDArray[np.int64]]) -> Blob:
    """Store rows of a bucket's slices, under a name that another plan step does not replace."""
    arrays = {str(place): each for place, each in enumerate(rows)}
    data = zstandard.compress(blobs.pack_arrays(arrays))
    digest = hashlib.sha256(data).hexdigest()
    path = build_path(planned.hash, f"left-out-{number:05d}-{digest[:16]}")
    planned.storage.put(path, data)
    return Blob(path, len(data), digest)


def _left_out(planned: Planned, prepared: Prepared) -> dict[str, NDArray[np.int64]]:
    """Read the rows that the buckets of a plan do not take, by source."""
    found: dict[str, list[NDArray[np.int64]]] = {}
    for bucket in planned.buckets.buckets:
        if (blob := prepared.left_out.get(bucket.index)) is None:
            continue
        data = zstandard.decompress(blobs.get_blob(planned.storage, blob))
        arrays = blobs.unpack_arrays(data)
        for place, part in enumerate(bucket.slices):
            found.setdefault(part.uri, []).append(arrays[str(place)])
    return {uri: np.sort(np.concatenate(parts)) for uri, parts in found.items()}


def require_prepared(planned: Planned) -> Prepared:
    """Read what the plan step left.

    Raises:
        NotFound: there was none at this place.
        Corrupt: what it left is damaged.
        Conflict: there was one, of other sources or options.
    """
    if (found := _known(planned)) is not None:
        return found
    records = f"{FOLDER}/builds"
    others = [
        _parsed(planned.storage, entry.path, planned.storage.get(entry.path))
        for entry in planned.storage.list(records)
        if entry.path.endswith(f"/{RECORD}")
    ]
    if not others:
        raise NotFound(
            f"{planned.storage} has no plan of these sources; give the same command with "
            "--step plan first. If it was, `gc` has removed what it left",
            uri=str(planned.storage),
        )
    raise _other_plan(planned, max(others, key=lambda other: _shared(planned, other)))


def _shared(planned: Planned, other: Prepared) -> int:
    return len(planned.sources.keys() & other.sources.keys())


def _other_plan(planned: Planned, other: Prepared) -> Conflict:
    """Name what differs between this plan and one that was carried out."""
    now = {uri: source.version for uri, source in planned.sources.items()}
    changed = {
        "has changed": [uri for uri in now if other.sources.get(uri, now[uri]) != now[uri]],
        "is new": [uri for uri in now if uri not in other.sources],
        "is gone": [uri for uri in other.sources if uri not in now],
    }
    said = [f"{some_of(sorted(uris))} {what}" for what, uris in changed.items() if uris]
    why = "; ".join(said) or "the options, or the index of the collection, are others"
    return Conflict(
        f"{planned.storage} was planned for something else: {why}; {PLAN_AGAIN}",
        uri=str(planned.storage),
        **{what.rpartition(" ")[2]: sorted(uris) for what, uris in changed.items() if uris},
    )


# -- what the build steps leave -------------------------------------------------------------------


def _empty_path(job: BucketJob) -> str:
    """Name the object that says that no row of a bucket can be searched."""
    return build_path(job.plan, f"{job.name}.empty")


def _collected(
    planned: Planned,
    manifest: Manifest | None,
    *,
    whole: Planned,
    settings: Settings,
    on_progress: OnProgress,
) -> build.Made:
    """Find the buckets of a plan, or of what is left of it; the `make` of a commit.

    Raises:
        NotFound: some are not built.
        Conflict: the collection was trained anew, or got ids, since the plan step.
    """
    prepared = require_prepared(whole)
    is_current = prepared.version == (manifest.version if manifest else 0)
    excluded: bucketjobs.Excluded
    if is_current:
        excluded = _left_out(planned, prepared)
    else:
        excluded = duplicate_rows(planned, manifest, settings, on_progress)
    if manifest is not None and build.model_for(planned, manifest, on_progress) != prepared.model:
        raise Conflict(
            f"{planned.storage} was trained anew since it was planned to add to it; {PLAN_AGAIN}",
            uri=str(planned.storage),
        )
    jobs = bucketjobs.jobs_of(planned, excluded, prepared.model, settings, 1)
    with Threads(LOOKS_AT_ONCE) as pool:
        found = list(zip(jobs, pool.map(_look, jobs), strict=True))
    _require_built(planned, found, is_current=is_current)
    buckets = [(job, seen.bucket) for job, seen in found if seen is not None]
    return bucketjobs.with_rows(planned, manifest, buckets), prepared.model


@dataclass(frozen=True)
class _Seen:
    """A build step is done: its bucket, None where no row can be searched."""

    bucket: Bucket | None


def _look(job: BucketJob) -> _Seen | None:
    """Find what the build step of a bucket left; None where it was not carried out."""
    if (bucket := claimed(job)) is not None:
        return _Seen(bucket)
    return _Seen(None) if job.collection.exists(_empty_path(job)) else None


def _require_built(
    planned: Planned, found: list[tuple[BucketJob, _Seen | None]], *, is_current: bool
) -> None:
    unbuilt = [job for job, seen in found if seen is None]
    if not unbuilt:
        return
    numbers = [int(job.name.split("_")[1]) for job in unbuilt]
    mend = f"give --step build --step-index {numbers[0]}, and so for each, then commit again"
    if not is_current:
        mend = f"the collection has changed since it was planned, so {PLAN_AGAIN}"
    raise NotFound(
        f"{len(unbuilt):,} of {counted(len(planned.buckets.buckets), 'bucket')} of "
        f"{planned.storage} not built: {some_of(numbers)}; {mend}",
        buckets=numbers,
    )
