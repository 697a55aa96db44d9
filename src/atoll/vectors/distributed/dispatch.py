"""Carries out one step by its name: what functions and containers are asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.storage import open_storage
from atoll.vectors.distributed import failures, reducing, steps
from atoll.vectors.distributed.copies import copied
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import STEPS


def carry_out(event: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Do one step.

    Args:
        event: "step", one of `STEPS`; "run", the URL of the run's folder; "bucket" for filter,
            search and measure, "group" for fold: a number; "searched" for refine: what the search
            steps said; "copy" for search: a folder on a local disk, to which the bucket is copied
            first.
        settings: threads, memory, stores.

    Returns:
        What the step says; JSON-ready.

    Raises:
        InvalidInput: no such step, or something it needs is missing.
    """
    step, url = event.get("step"), event.get("run")
    if step not in STEPS:
        raise InvalidInput(f"there is no step {step!r}; there are {', '.join(STEPS)}")
    if not isinstance(url, str) or not url:
        raise InvalidInput(f"step {step} needs 'run', the URL of a search's folder")
    run = Run(open_storage(url, settings.storage))
    if step == "plan":
        return steps.plan(run, settings, _said(event, "filtered"))
    if step == "filter":
        return steps.filter_bucket(run, _number(event, "bucket", _buckets(run)), settings)
    if step == "search":
        position = _number(event, "bucket", _buckets(run))
        if (folder := event.get("copy")) is None:
            return steps.search_bucket(run, position, settings)
        if not isinstance(folder, str):
            raise InvalidInput(f"'copy' is {folder!r}; give a folder on a local disk")
        return search_copy(run, position, Path(folder), settings)
    if step == "fold":
        return reducing.fold(run, _number(event, "group", lambda: len(run.plan.groups)), settings)
    if step == "measure":
        return reducing.measure(run, _number(event, "bucket", _buckets(run)), settings)
    return reducing.refine(run, settings, _said(event, "searched"))


def search_copy(run: Run, position: int, scratch: Path, settings: Settings) -> dict[str, Any]:
    """Copy a bucket to a local disk and find its best rows there; see `steps.search_bucket`."""
    if run.is_answered(position):
        return {"bucket": position}
    storage = open_storage(run.request.collection, settings.storage)
    with (
        failures.noting_failure(run, position),
        copied(storage, run.target, run.bucket(position), scratch) as copy,
    ):
        return steps.search_bucket(run, position, settings, copy)


def _said(event: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    said = event.get(name) or []
    if not isinstance(said, list) or not all(map(_is_said, said)):
        raise InvalidInput(f"{name!r} is no list of what steps said of buckets")
    return said


def _is_said(each: object) -> bool:
    """Tell whether this is what a step says of a bucket."""
    return (
        isinstance(each, Mapping)
        and isinstance(each.get("bucket"), int)
        and isinstance(each.get("error", {}), Mapping)
    )


def _buckets(run: Run) -> Callable[[], int]:
    return lambda: run.target.buckets


def _number(event: Mapping[str, Any], name: str, count: Callable[[], int]) -> int:
    number = event.get(name)
    if not isinstance(number, int) or isinstance(number, bool):
        raise InvalidInput(f"step {event['step']} needs {name!r}, a number; it got {number!r}")
    if not 0 <= number < (known := count()):
        raise InvalidInput(f"there is no {name} {number}; {event['run']} has {known}, from 0")
    return number
