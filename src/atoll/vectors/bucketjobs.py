"""Carries out the buckets of a plan, or says what that takes: one job each."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Executor, Outcome, settings_for
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import AtollError, InvalidInput
from atoll.core.files import scratch_folder
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import some_of
from atoll.storage import Storage, open_storage
from atoll.vectors.ingest import BucketJob, build_bucket
from atoll.vectors.model import Blob, Bucket, Manifest
from atoll.vectors.paths import bucket_name, build_path
from atoll.vectors.planning import Planned
from atoll.vectors.rows import JobSlice
from atoll.vectors.sharing import build_shared, raise_failures
from atoll.vectors.teams import SHUFFLE_SHARE, Team, team

logger = logging.getLogger(__name__)

Excluded: TypeAlias = Mapping[str, NDArray[np.int64]]
"""Row numbers to leave out, ascending, by source."""


def built(
    planned: Planned,
    excluded: Excluded,
    model: Blob | None,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> list[tuple[BucketJob, Bucket | None]]:
    """Build the buckets of a plan, or adopt those that an earlier run of it has built.

    Args:
        planned: the plan.
        excluded: rows to leave out.
        model: the index model.
        settings: threads, memory, scratch folder.
        executor: where buckets are built; None uses processes on this machine.
        on_progress: told of rows.

    Returns:
        Of each job its bucket; None where no row of it can be searched.

    Raises:
        InvalidInput: rows that cannot be searched.
    """
    settings = settings_for(executor, settings, 1) if executor else settings
    builders = _team(planned, settings, executor)
    executor = executor or _local_executor(builders.workers, settings)
    # What a killed worker spilled goes with the folder of the build, where they share disks.
    with scratch_folder(settings.scratch, "build") as scratch:
        ours = replace(settings, scratch=scratch) if executor.is_local else settings
        jobs = jobs_of(planned, excluded, model, ours, executor.workers)
        run = _run_shared if builders.is_shared else _run
        outcomes = run(jobs, executor, on_progress)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    raise_failures(errors, len(jobs), "buckets")
    return [(job, outcome.value) for job, outcome in zip(jobs, outcomes, strict=True)]


def with_rows(
    planned: Planned, manifest: Manifest | None, found: Sequence[tuple[BucketJob, Bucket | None]]
) -> tuple[Bucket, ...]:
    """Keep the buckets that hold a row, and warn of the others.

    Args:
        planned: the plan, or what is left of it.
        manifest: the collection they come to; None for a create.
        found: all of them.

    Raises:
        InvalidInput: there is none, nor was one ever.
    """
    buckets = tuple(bucket for _, bucket in found if bucket is not None)
    is_first = manifest is None or not any(b.plan == planned.hash for b in manifest.buckets)
    if not buckets and is_first and len(found) == len(planned.buckets.buckets):
        raise _nothing_left(planned)
    for job, bucket in found:
        if bucket is None:
            files = some_of(sorted({part.source.uri for part in job.slices}))
            logger.warning("bucket left out, no row can be searched sources=%s", files)
    return buckets


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


def jobs_of(
    planned: Planned,
    excluded: Excluded,
    model: Blob | None,
    settings: Settings,
    workers: int,
) -> list[BucketJob]:
    """Say what it takes to carry out each bucket of a plan that keeps a row.

    Args:
        planned: the plan.
        excluded: rows to leave out, by source.
        model: the index model.
        settings: memory, scratch folder.
        workers: that share the memory.
    """
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
