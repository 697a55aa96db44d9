"""The order of a distributed search's steps, whoever does them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atoll.compute.port import Outcome
from atoll.core.config import Settings
from atoll.core.errors import AtollError
from atoll.vectors.distributed.dispatch import carry_out
from atoll.vectors.distributed.run import Run

logger = logging.getLogger(__name__)

Event = dict[str, Any]
Said = Mapping[str, Any]
# Does steps, side by side if it can: one outcome for each event.
Do = Callable[[Sequence[Event]], list[Outcome[dict[str, Any]]]]
# Plans, given what filter steps said.
PlanStep = Callable[[Sequence[Said]], Said]


def drive(
    run: Run, do: Do, plan: PlanStep, *, needs_all: bool = False, copy: str | None = None
) -> None:
    """Do all steps of a search that are left.

    Args:
        run: begun.
        do: does steps of buckets, merges, refines.
        plan: plans.
        needs_all: end at the first bucket that fails, to be taken up later; else it is named in the
            result.
        copy: folder on a local disk to which each bucket is copied first.

    Raises:
        AtollError: a step failed that the others need.
    """
    told = planned(run, do, plan, needs_all=needs_all)
    events = [_event("search", bucket=number) for number in told["buckets"]]
    if copy is not None:
        # What was answered before the search was killed stays.
        events = [e | {"copy": copy} for e in events if not run.is_answered(e["bucket"])]
    searched = _said(events, do(events), needs_all)
    _said(folds := [_event("fold", group=group) for group in told["groups"]], do(folds), True)
    if told["is_measured"]:
        # What they do not measure, refining does.
        for outcome in do([_event("measure", bucket=number) for number in told["buckets"]]):
            if outcome.error is not None:
                logger.warning("a bucket was not measured run=%s error=%s", run, outcome.error)
    failed = [said for said in searched if "error" in said]
    refine = [_event("refine", searched=failed)]
    _said(refine, do(refine), True)


def planned(run: Run, do: Do, plan: PlanStep, *, needs_all: bool = False) -> Said:
    """Plan a search, and find the rows that pass its predicate before that; see `steps.plan`."""
    told = plan([])
    if told["is_filtered"]:
        events = [_event("filter", bucket=number) for number in told["buckets"]]
        told = plan(_said(events, do(events), needs_all))
    return told


def in_order(settings: Settings, run: Run) -> Do:
    """Do steps here, one after the other."""

    def do(events: Sequence[Event]) -> list[Outcome[dict[str, Any]]]:
        return [_tried(event | {"run": run.storage.url}, settings) for event in events]

    return do


def _tried(event: Event, settings: Settings) -> Outcome[dict[str, Any]]:
    try:
        return Outcome(carry_out(event, settings), None, attempts=1)
    except AtollError as error:
        return Outcome(None, error, attempts=1)


def _event(step: str, **told: Any) -> Event:
    return {"step": step, **told}


def _said(
    events: Sequence[Event], outcomes: Sequence[Outcome[dict[str, Any]]], needs_all: bool
) -> list[Said]:
    """Tell what steps said, as the state machine does: of a failure its bucket and its name."""
    said: list[Said] = []
    for event, outcome in zip(events, outcomes, strict=True):
        if outcome.value is not None:
            said.append(outcome.value)
            continue
        assert outcome.error is not None
        if needs_all or not isinstance(outcome.error, AtollError):
            raise outcome.error
        name = type(outcome.error).__name__
        said.append({"bucket": event["bucket"], "error": {"Error": name}})
    return said
