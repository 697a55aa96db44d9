"""Carries out a search of many queries here: each worker copies a bucket and answers all of them.

The same steps run as array jobs of AWS Batch, or under Snakemake or Nextflow; see docs/batch.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from tempfile import gettempdir
from typing import Any

from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Executor, Outcome, settings_for
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import AtollError
from atoll.core.progress import OnProgress, Progress, silent
from atoll.vectors.distributed import driver, steps
from atoll.vectors.distributed.dispatch import carry_out
from atoll.vectors.distributed.driver import Do, Event, Said
from atoll.vectors.distributed.run import FOLDER, REQUEST, Run
from atoll.vectors.reach import require_shared

# A copy's place: the temporary folder of whoever makes it.
_TEMPORARY = ""


@dataclass(frozen=True)
class Task:
    """One step for a worker: picklable.

    Attributes:
        event: as `carry_out` takes it.
        settings: what the worker may use.
    """

    event: Event
    settings: Settings

    def __str__(self) -> str:
        """Name it for messages."""
        number = self.event.get("bucket", self.event.get("group", ""))
        return f"{self.event['step']} {number}".strip()


def batch_search(
    run: Run,
    settings: Settings,
    *,
    workers: int,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Do what is left of a search; what an earlier, killed run has done is not done again.

    Args:
        run: begun, with `is_refined_early`. Where its options allow partial answers, buckets that
            fail are named; else the first one ends it.
        settings: threads, memory and scratch disk, for all workers together.
        workers: buckets searched at once.
        executor: where steps run; None uses processes on this machine.
        on_progress: told as buckets are done.

    Returns:
        The summary, see `Run.summary`.

    Raises:
        AtollError: a step failed; the same call takes up the rest.
        InvalidInput: the executor's machines cannot reach the collection or the run.
    """
    if (found := run.summary()) is None:
        require_shared(executor, [run.request.collection, run.storage])
        do = _side_by_side(run, settings, executor or _local(workers, settings), on_progress)
        needs_all = not run.request.options.allow_partial
        copy = str(settings.scratch.absolute()) if settings.scratch else _TEMPORARY
        try:
            driver.drive(run, do, _plan(run, settings), needs_all=needs_all, copy=copy)
        except AtollError:
            # Another call for the same search may have ended meanwhile, and removed what we read.
            if run.summary() is None:
                raise
        found = run.summary()
        assert found is not None, "refining writes it"
    _tidy(run)
    return found


def search_here(run: Run, settings: Settings) -> dict[str, Any]:
    """Do all steps in this process, one after the other, as functions would; name what fails."""
    driver.drive(run, driver.in_order(settings, run), _plan(run, settings))
    found = run.summary()
    assert found is not None, "refining writes it"
    return found


def planned(run: Run, settings: Settings) -> Said:
    """Plan a search, and leave the rest to others; see `steps.plan`."""
    needs_all = not run.request.options.allow_partial
    do = driver.in_order(settings, run)
    return driver.planned(run, do, _plan(run, settings), needs_all=needs_all)


def _plan(run: Run, settings: Settings) -> driver.PlanStep:
    def plan(filtered: Sequence[Said]) -> Said:
        if run.is_planned:
            return steps.told_of(run, run.plan)
        return steps.plan(Run(run.storage), settings, filtered)

    return plan


def _local(workers: int, settings: Settings) -> Executor:
    return InlineExecutor() if workers == 1 else ProcessExecutor(workers, threads=settings.threads)


def _side_by_side(run: Run, settings: Settings, executor: Executor, on_progress: OnProgress) -> Do:
    """Do steps where the executor runs; each has its share of what there is."""

    def do(events: Sequence[Event]) -> list[Outcome[dict[str, Any]]]:
        share = max(1, min(executor.workers, len(events)))
        mine = settings_for(executor, settings, share)
        tasks = [Task(event | {"run": run.storage.url}, mine) for event in events]
        report = _Report(tasks, on_progress)
        return executor.map(_do, tasks, on_done=report.done)

    return do


class _Report:
    """Counts tasks that have ended."""

    def __init__(self, tasks: Sequence[Task], on_progress: OnProgress) -> None:
        self._total, self._count = len(tasks), 0
        stage = tasks[0].event["step"] if tasks else ""
        self._told = partial(Progress, stage)
        self._on_progress = on_progress

    def done(self, _: int, __: Outcome[dict[str, Any]]) -> None:
        self._count += 1
        self._on_progress(self._told(self._count, self._total, "steps"))


def _do(task: Task) -> dict[str, Any]:
    event = dict(task.event)
    if event.get("copy") == _TEMPORARY:
        event["copy"] = gettempdir()
    return carry_out(event, task.settings)


def _tidy(run: Run) -> None:
    """Remove what only the steps needed; the request stays, to know the search again by."""
    for entry in run.storage.list(FOLDER):
        if entry.path != REQUEST:
            run.storage.delete(entry.path)
