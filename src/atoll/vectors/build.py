"""Carries out a create or an add: buckets built where the executor runs, one manifest commit."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Executor, Outcome
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Conflict, InvalidInput
from atoll.core.files import scratch_folder
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import some_of
from atoll.storage import Storage, open_storage
from atoll.vectors import blobs, calibrate, garbage, leases, manifests, partitiontrials
from atoll.vectors.idcheck import duplicate_rows
from atoll.vectors.ingest import BucketJob, build_bucket
from atoll.vectors.model import Blob, Bucket, Manifest
from atoll.vectors.paths import FOLDER, bucket_name, build_path
from atoll.vectors.planning import Planned
from atoll.vectors.rows import JobSlice
from atoll.vectors.scalarindexes import with_indexes
from atoll.vectors.sharing import build_shared, raise_failures
from atoll.vectors.teams import SHUFFLE_SHARE, Team, team
from atoll.vectors.training import index_model

logger = logging.getLogger(__name__)


def create(
    planned: Planned,
    *,
    force: bool,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> Manifest:
    """Carry out a plan as a new collection.

    Returns:
        The manifest in force; the one found, where this very plan was carried out before.

    Raises:
        Conflict: something else lives at the place, or another create won.
        InvalidInput: rows that cannot be searched, duplicate ids.
    """
    calibrate.check_planned(planned)
    storage = planned.storage
    found = manifests.latest_manifest(storage)
    if found is not None and found.plan == planned.hash:
        return found
    if not force:
        _refuse_occupied(storage, found)
    with _discarding_refused(planned), leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        planned = partitiontrials.settled(planned, settings, on_progress)
        buckets, model = _build(planned, None, settings, executor, on_progress)
        manifest = Manifest(
            version=found.version + 1 if found else 1,
            created_at=manifests.now(),
            spec=planned.spec,
            models={model.key: model} if model else {},
            model=model.key if model else None,
            buckets=buckets,
            created_by=manifests.created_by(),
            plan=planned.hash,
            partitions=blobs.put_choice(storage, planned.choice) if planned.choice else None,
            action="create",
        )
        manifest = calibrate.with_recall(planned, manifest, settings, on_progress)
        lease.require()
        if manifests.commit_manifest(storage, manifest):
            return manifest
    winner = manifests.latest_manifest(storage)
    if winner is not None and winner.plan == planned.hash:
        return winner
    raise Conflict(
        f"another create of {storage} from other sources or options ended first; what it "
        "made is live, what this one made is not. Use `atoll add`, another place, or --force",
        uri=str(storage),
    )


def add(
    planned: Planned,
    manifest: Manifest,
    *,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> Manifest:
    """Carry out a plan as new buckets of a collection; no old object is touched.

    Returns:
        The manifest in force; the one found, where every row is there already and may be skipped.

    Raises:
        InvalidInput: rows that cannot be searched, ids that are there already.
    """
    calibrate.check_planned(planned)
    storage, model = planned.storage, manifest.model
    with _discarding_refused(planned), leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()

        def more(current: Manifest) -> Manifest:
            # After a lost race once more: somebody else's ids may be among ours.
            left = missing(current, planned)
            if not left.buckets.buckets:
                return current
            _require_same(storage, planned, current, model)
            buckets, _ = _build(left, current, settings, executor, on_progress)
            if not buckets:
                return current
            live = with_indexes(storage, current, current.buckets + buckets)
            following = manifests.next_manifest(current, "add", buckets=live, plan=planned.hash)
            return calibrate.with_recall(planned, following, settings, on_progress)

        return manifests.commit_next(storage, manifest, more, lease)[0]


def _require_same(
    storage: Storage, planned: Planned, manifest: Manifest, model: str | None
) -> None:
    if manifest.spec != planned.spec or manifest.model != model:
        raise Conflict(
            f"{storage} was replaced by another collection, or trained anew, meanwhile; run the "
            "same command again to add to what is there now",
            uri=str(storage),
        )


def upsert(
    planned: Planned,
    manifest: Manifest,
    replacing: Callable[[Manifest, Sequence[Bucket]], tuple[Bucket, ...]],
    *,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> Manifest:
    """Carry out a plan as new buckets whose rows replace those of the same ids.

    Args:
        planned: its hash must be of no live bucket.
        manifest: the collection.
        replacing: from the manifest in force and the new buckets makes those of the next.
        settings, executor, on_progress: as for `add`.

    Raises:
        InvalidInput: rows that cannot be searched, an id twice in the sources.
    """
    calibrate.check_planned(planned)
    storage, model = planned.storage, manifest.model
    with _discarding_refused(planned), leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        excluded = duplicate_rows(planned, None, settings, on_progress)
        buckets, _ = _build(planned, manifest, settings, executor, on_progress, excluded)

        def replaced(current: Manifest) -> Manifest:
            _require_same(storage, planned, current, model)
            live = with_indexes(storage, current, replacing(current, buckets))
            following = manifests.next_manifest(current, "upsert", buckets=live, plan="")
            return calibrate.with_recall(planned, following, settings, on_progress)

        return manifests.commit_next(storage, manifest, replaced, lease)[0]


@contextmanager
def _discarding_refused(planned: Planned) -> Iterator[None]:
    """Leave nothing of a build whose rows were refused: mended files make another plan."""
    try:
        yield
    except InvalidInput as error:
        if error.details.get("rows"):
            # Another build may be running; what is left then is for `gc`.
            with suppress(AtollError):
                garbage.discard(planned.storage, planned.hash)
        raise


def missing(manifest: Manifest, planned: Planned) -> Planned:
    """Return what is left of a plan without the buckets that are live.

    Some may never be: those none of whose rows may be added.
    """
    live = {
        (part.uri, part.start, part.stop)
        for bucket in manifest.buckets
        for part in bucket.sources
        if (bucket.plan if part.plan is None else part.plan) == planned.hash
    }
    left = tuple(
        bucket
        for bucket in planned.buckets.buckets
        if any((part.uri, part.start, part.stop) not in live for part in bucket.slices)
    )
    return replace(planned, buckets=replace(planned.buckets, buckets=left))


def _refuse_occupied(storage: Storage, found: Manifest | None) -> None:
    if found is not None:
        raise Conflict(
            f"{storage} is a collection already ({found.rows:,} rows); add to it with "
            "`atoll add`, choose another place, or replace it with --force",
            uri=str(storage),
        )
    for entry in storage.list():
        if entry.path.startswith(f"{FOLDER}/"):
            return  # an unfinished build of ours
        if not entry.path.startswith(("bucket_", ".")):
            raise Conflict(
                f"{storage} is not empty ({entry.path}); choose another place, or use "
                "--force to create beside what is there",
                uri=str(storage),
            )


def _build(
    planned: Planned,
    manifest: Manifest | None,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
    excluded: Mapping[str, NDArray[np.int64]] | None = None,
) -> tuple[tuple[Bucket, ...], Blob | None]:
    if excluded is None:
        excluded = duplicate_rows(planned, manifest, settings, on_progress)
    if manifest is None:
        model = index_model(planned, on_progress)
    else:
        model = manifest.models[manifest.model] if manifest.model else None
    builders = _team(planned, settings, executor)
    executor = executor or _local_executor(builders.workers, settings)
    # What a killed worker spilled goes with the folder of the build.
    with scratch_folder(settings.scratch, "build") as scratch:
        ours = replace(settings, scratch=scratch)
        jobs = _jobs(planned, excluded, model, ours, executor.workers)
        run = _run_shared if builders.is_shared else _run
        outcomes = run(jobs, executor, on_progress)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    raise_failures(errors, len(jobs), "buckets")
    buckets = tuple(outcome.value for outcome in outcomes if outcome.value is not None)
    is_first = manifest is None or not any(b.plan == planned.hash for b in manifest.buckets)
    if not buckets and is_first and len(jobs) == len(planned.buckets.buckets):
        raise _nothing_left(planned)
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.value is None:
            files = some_of(sorted({part.source.uri for part in job.slices}))
            logger.warning("bucket left out, no row can be searched sources=%s", files)
    return buckets, model


def _nothing_left(planned: Planned) -> InvalidInput:
    return InvalidInput(
        f"no row of {some_of(sorted(planned.sources))} can be searched, so there is nothing to "
        "build; look at the files",
        rows=planned.buckets.rows,
    )


def _team(planned: Planned, settings: Settings, executor: Executor | None) -> Team:
    spec = planned.spec
    return team(
        [bucket.rows for bucket in planned.buckets.buckets],
        spec.dim,
        spec.dtype,
        spec.index.kind,
        workers=executor.workers if executor else planned.options.workers or settings.threads,
        memory_bytes=settings.memory_bytes,
    )


def _local_executor(workers: int, settings: Settings) -> Executor:
    return InlineExecutor() if workers == 1 else ProcessExecutor(workers, threads=settings.threads)


def _jobs(
    planned: Planned,
    excluded: Mapping[str, NDArray[np.int64]],
    model: Blob | None,
    settings: Settings,
    workers: int,
) -> list[BucketJob]:
    memory = int(settings.memory_bytes * SHUFFLE_SHARE / workers)
    jobs = []
    for bucket in planned.buckets.buckets:
        slices = []
        decides = hashlib.sha256(f"{planned.hash} {model}".encode())
        left = bucket.rows
        for part in bucket.slices:
            rows = excluded.get(part.uri, np.empty(0, np.int64))
            mine = rows[slice(*np.searchsorted(rows, (part.start, part.stop)))]
            packed = mine.astype("<i8").tobytes()
            source = planned.sources[part.uri]
            slices.append(JobSlice(source, part.start, part.stop, packed))
            # What is left out depends on the live buckets, which may change before a second try.
            decides.update(packed)
            left -= len(mine)
        if not left:
            continue
        fingerprint = decides.hexdigest()[:32]
        jobs.append(
            BucketJob(
                collection=planned.storage,
                plan=planned.hash,
                name=bucket_name(bucket.index, fingerprint),
                fingerprint=fingerprint,
                slices=tuple(slices),
                spec=planned.spec,
                model=model,
                on_invalid=planned.options.on_invalid,
                batch_rows=planned.options.batch_rows,
                memory_bytes=memory,
                scratch=settings.scratch,
                device=planned.options.device,
            )
        )
    return jobs


def _run(
    jobs: Sequence[BucketJob], executor: Executor, on_progress: OnProgress
) -> list[Outcome[Bucket | None]]:
    """Build buckets, each in a task of its own."""
    total = sum(job.rows for job in jobs)
    done = 0

    def report(number: int, _: Outcome[Bucket | None]) -> None:
        nonlocal done
        done += jobs[number].rows
        on_progress(Progress("build buckets", done, total, "rows"))

    on_progress(Progress("build buckets", 0, total, "rows"))
    return executor.map(build_bucket, jobs, name=lambda job: job.name, on_done=report)


def _run_shared(
    jobs: Sequence[BucketJob], executor: Executor, on_progress: OnProgress
) -> list[Outcome[Bucket | None]]:
    """Build buckets one after the other, each by all workers."""
    # Every row is read, then written.
    total = 2 * sum(job.rows for job in jobs)
    done = 0

    def report(rows: int) -> None:
        nonlocal done
        done += rows
        on_progress(Progress("build buckets", done // 2, total // 2, "rows"))

    report(0)
    outcomes: list[Outcome[Bucket | None]] = []
    for job in jobs:
        try:
            bucket = build_shared(job, executor, _place(job, executor), report)
            outcomes.append(Outcome(bucket, None, attempts=1))
        except AtollError as error:
            outcomes.append(Outcome(None, error, attempts=1))
    return outcomes


def _place(job: BucketJob, executor: Executor) -> Storage:
    """Choose where workers leave what others read."""
    if executor.is_local and job.scratch is not None:
        return open_storage(job.scratch / job.name)
    return job.collection.child(build_path(job.plan, f"shuffle/{job.name}"))
