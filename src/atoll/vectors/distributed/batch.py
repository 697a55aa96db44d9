"""Carries out a search of many queries here: each worker copies a bucket and answers all of them.

The same steps run as an array job of AWS Batch, or under Snakemake or Nextflow; see docs/batch.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Executor, Outcome
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import AtollError
from atoll.core.progress import OnProgress, Progress, silent
from atoll.vectors.distributed import steps
from atoll.vectors.distributed.dispatch import carry_out
from atoll.vectors.distributed.run import FOLDER, REQUEST, Run


@dataclass(frozen=True)
class Job:
    """One step for a worker: picklable.

    Attributes:
        event: as `carry_out` takes it.
        settings: what the worker may use.
    """

    event: dict[str, Any]
    settings: Settings


def batch_search(
    run: Run,
    settings: Settings,
    *,
    workers: int,
    allow_partial: bool = False,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Do what is left of a search; what an earlier, killed run has done is not done again.

    Args:
        run: begun, with `is_refined_early`.
        settings: threads, memory and scratch disk, for all workers together.
        workers: buckets searched at once.
        allow_partial: write the hits also where buckets failed.
        executor: where steps run; None uses processes on this machine.
        on_progress: told as buckets are done.

    Returns:
        The summary, see `Run.summary`.

    Raises:
        AtollError: a step failed; the same call takes up the rest.
    """
    if (found := run.summary()) is not None:
        return found
    executor = executor or _local(workers, settings)
    told = planned(run, settings, executor=executor, on_progress=on_progress)
    left = [position for position in told["buckets"] if not run.is_answered(position)]
    copy = str(settings.scratch or Path(gettempdir()))
    events = [{"step": "search", "bucket": position, "copy": copy} for position in left]
    failed = _carried_out(run, events, settings, executor, "search buckets", on_progress)
    if failed and not allow_partial:
        raise failed[0]
    folds = [{"step": "fold", "group": group} for group in told["groups"]]
    if failed := _carried_out(run, folds, settings, executor, "merge", on_progress):
        raise failed[0]
    steps.refine(run, settings)
    done = run.summary()
    assert done is not None, "refining writes it"
    _tidy(run)
    return done


def planned(
    run: Run,
    settings: Settings,
    *,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Plan a search, and find the rows that pass its predicate before that; see `steps.plan`."""
    executor = executor or InlineExecutor()
    if run.is_planned:
        target = run.target
        groups = list(run.plan.groups)
        return {"run": run.storage.url, "buckets": list(range(target.buckets)), "groups": groups}
    told = steps.plan(run, settings)
    if told["is_filtered"]:
        events = [{"step": "filter", "bucket": position} for position in told["buckets"]]
        if failed := _carried_out(run, events, settings, executor, "filter", on_progress):
            raise failed[0]
        told = steps.plan(run, settings)
    return {name: told[name] for name in ("run", "buckets", "groups")}


def _local(workers: int, settings: Settings) -> Executor:
    return InlineExecutor() if workers == 1 else ProcessExecutor(workers, threads=settings.threads)


def _carried_out(
    run: Run,
    events: Sequence[dict[str, Any]],
    settings: Settings,
    executor: Executor,
    stage: str,
    on_progress: OnProgress,
) -> list[AtollError]:
    """Do steps where the executor runs; return what went wrong."""
    done = 0

    def report(_: int, __: Outcome[dict[str, Any]]) -> None:
        nonlocal done
        done += 1
        on_progress(Progress(stage, done, len(events), "buckets"))

    share = max(1, min(executor.workers, len(events)))
    mine = replace(
        settings,
        threads=max(1, settings.threads // share),
        memory_bytes=settings.memory_bytes // share,
        cache_bytes=settings.cache_bytes // share,
    )
    jobs = [Job(event | {"run": run.storage.url}, mine) for event in events]
    outcomes = executor.map(_do, jobs, name=_name, on_done=report)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in errors:
        if not isinstance(error, AtollError):
            raise error
    return [error for error in errors if isinstance(error, AtollError)]


def _do(job: Job) -> dict[str, Any]:
    return carry_out(job.event, job.settings)


def _name(job: Job) -> str:
    event = job.event
    number = event.get("bucket", event.get("group", ""))
    return f"{event['step']} {number}".strip()


def _tidy(run: Run) -> None:
    """Remove what only the steps needed; the request stays, to know the search again by."""
    for entry in run.storage.list(FOLDER):
        if entry.path != REQUEST:
            run.storage.delete(entry.path)
