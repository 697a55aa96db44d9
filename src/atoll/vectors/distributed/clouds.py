"""Has a search carried out by what `atoll deploy aws` has set up: nothing of it runs here.

stepfunctions   one execution of the state machine; it goes on if whoever waits is gone
lambda          the functions themselves, called from here: sooner, but only while this waits
batch           array jobs, each bucket copied to an instance's disk: for many queries
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atoll.compute.port import Outcome
from atoll.core import errors
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Incomplete, Unavailable
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.text import counted
from atoll.storage import Threads
from atoll.storage.s3 import aws_client, aws_errors
from atoll.vectors.distributed import driver, steps
from atoll.vectors.distributed.deployment import Deployment
from atoll.vectors.distributed.jobs import JobQueue
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import Cloud

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Functions called at once from here, and how often each is tried.
CALLS_AT_ONCE = 256
ATTEMPTS = 4
RETRY_SECONDS = 1.0
# Errors of functions that may pass, and those after which one more try is worth its time.
_PASSING = {"Unavailable", "Runtime.ExitError"}
_TIMEOUTS = {"Sandbox.Timedout", "States.Timeout"}
_FUNCTIONS = {
    "plan": "PlanFunction",
    "filter": "SearchFunction",
    "search": "SearchFunction",
    "fold": "ReduceFunction",
    "measure": "SearchFunction",
    "refine": "ReduceFunction",
}


def carried_out(
    run: Run,
    cloud: Cloud,
    deployment: Deployment,
    settings: Settings,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Have a search carried out, and wait for it; one that has ended is not begun again.

    Returns:
        Its summary.

    Raises:
        Unavailable: what runs it failed.
        AtollError: what a step raised.
    """
    if (found := run.summary()) is not None:
        return found
    ways = {"stepfunctions": _by_machine, "lambda": _by_functions, "batch": _by_jobs}
    ways[cloud](run, deployment, settings, on_progress)
    summary = run.summary()
    if summary is None:
        raise Unavailable(f"{run} ended without a summary; look at the logs of {cloud}")
    return summary


def require_whole(run: Run, summary: Mapping[str, Any]) -> None:
    """Refuse an answer from which buckets are missing, unless that was allowed.

    Raises:
        Incomplete: some are missing.
    """
    failed = summary["failed_buckets"]
    if not failed or run.request.options.allow_partial:
        return
    name, why = next(iter(failed.items()))
    raise Incomplete(
        f"{len(failed):,} of {counted(run.target.buckets, 'bucket')} did not answer "
        f"({', '.join(failed)}): {name}: {why}. Accept the rest with allow_partial=True; "
        f"it lies at {run}",
        buckets=list(failed),
    )


# -- Step Functions -------------------------------------------------------------------------------


def _by_machine(
    run: Run, deployment: Deployment, settings: Settings, on_progress: OnProgress
) -> None:
    client = aws_client("stepfunctions", settings)
    with aws_errors("the state machine"):
        started = _started(client, deployment["StateMachine"], run)
        logger.info("execution started arn=%s run=%s", started, run)
        on_progress(Progress("search", 0, 1, "executions"))
        while (found := client.describe_execution(executionArn=started))["status"] == "RUNNING":
            time.sleep(POLL_SECONDS)
    if found["status"] != "SUCCEEDED":
        raise _raised(found.get("error", found["status"]), found.get("cause", ""), started)
    on_progress(Progress("search", 1, 1, "executions"))


def _started(client: Any, machine: str, run: Run) -> str:
    """Start an execution, or take up one that goes on; return its ARN."""
    asked = json.dumps({"run": run.storage.url})
    name = hashlib.sha256(asked.encode()).hexdigest()[:32]
    try:
        answer = client.start_execution(stateMachineArn=machine, name=name, input=asked)
    except client.exceptions.ExecutionAlreadyExists:
        # It has ended, without hits; AWS takes no name twice.
        again = f"{name}-{uuid.uuid4().hex[:8]}"
        answer = client.start_execution(stateMachineArn=machine, name=again, input=asked)
    return str(answer["executionArn"])


def _raised(name: str, cause: str, where: str) -> AtollError:
    """Make an error of ours of what a step raised; anything else may pass."""
    try:
        said = json.loads(cause)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        said = cause
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, AtollError):
        return kind(said)
    return Unavailable(f"{where}: {name}: {said}"[:1000])


# -- Lambda ---------------------------------------------------------------------------------------


def _by_functions(
    run: Run, deployment: Deployment, settings: Settings, on_progress: OnProgress
) -> None:
    client = aws_client("lambda", settings, connections=CALLS_AT_ONCE)

    def call(event: driver.Event) -> dict[str, Any]:
        function = deployment[_FUNCTIONS[event["step"]]]
        return _called(client, function, event | {"run": run.storage.url})

    def tried(event: driver.Event) -> Outcome[dict[str, Any]]:
        try:
            return Outcome(call(event), None, attempts=1)
        except AtollError as error:
            return Outcome(None, error, attempts=1)

    def do(events: Sequence[driver.Event]) -> list[Outcome[dict[str, Any]]]:
        outcomes = []
        with Threads(min(CALLS_AT_ONCE, max(1, len(events)))) as pool:
            for outcome in pool.map(tried, events):
                outcomes.append(outcome)
                stage = events[0]["step"]
                on_progress(Progress(stage, len(outcomes), len(events), "calls"))
        return outcomes

    driver.drive(run, do, lambda filtered: call({"step": "plan", "filtered": list(filtered)}))


def _called(client: Any, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Call a function; again where its error may pass, after a time-out only once."""
    asked = json.dumps(event)
    for left in range(ATTEMPTS - 1, -1, -1):
        try:
            with aws_errors(f"function {function}"):
                answer = client.invoke(FunctionName=function, Payload=asked)
                said = json.loads(answer["Payload"].read())
        except Unavailable:
            # Lambda refuses calls beyond its concurrency.
            if not left:
                raise
        else:
            if not answer.get("FunctionError"):
                found: dict[str, Any] = said
                return found
            name = said.get("errorType", "Unavailable")
            is_late = name in _TIMEOUTS and left > ATTEMPTS - 2
            if not left or not (is_late or name in _PASSING):
                raise _raised(name, json.dumps(said), function)
        time.sleep(RETRY_SECONDS * (ATTEMPTS - left))
    raise AssertionError


# -- Batch ----------------------------------------------------------------------------------------


def _by_jobs(run: Run, deployment: Deployment, settings: Settings, on_progress: OnProgress) -> None:
    """Plan here, then submit all that is left: each kind of job waits for the one before.

    Where buckets fail, Batch ends all that waits for them; what merges is then submitted again, to
    name them in the result.
    """
    queue = JobQueue(aws_client("batch", settings, is_repeatable=False), deployment)
    name = run.storage.url.rsplit("/", 1)[1]

    def submit(definition: str, size: int | None = None, after: str | None = None) -> str:
        told = {"run": run.storage.url}
        named = f"{definition}-{name}"
        return queue.submit(definition, named, size=size, after=after, parameters=told)

    told = steps.plan(run, settings)
    if told["is_filtered"]:
        # Which of them failed stands in the run's folder.
        queue.wait([submit("FilterJob", len(told["buckets"]))], str(run), on_progress, is_all=False)
        told = steps.plan(Run(run.storage), settings, _unfiltered(run, told["buckets"]))
    # An index is a bucket's position: of those given up the jobs end at once.
    count = run.target.buckets
    jobs = [submit("SearchJob", count)] if count else []
    merging = _merging(submit, len(told["groups"]), jobs[-1] if jobs else None)
    try:
        queue.wait([*jobs, *merging], str(run), on_progress)
    except Unavailable as failure:
        logger.warning("merging without what failed run=%s error=%s", run, failure)
        queue.wait(_merging(submit, len(told["groups"]), None), str(run), on_progress)


def _merging(submit: Callable[..., str], groups: int, after: str | None) -> list[str]:
    jobs = [submit("FoldJob", groups, after)] if groups else []
    return [*jobs, submit("RefineJob", None, jobs[-1] if jobs else after)]


def _unfiltered(run: Run, buckets: Sequence[int]) -> list[dict[str, Any]]:
    """Tell of the buckets that could not be filtered, as the state machine does."""
    lost = [number for number in buckets if run.passing_counts(number) is None]
    return [{"bucket": number, "error": {"Error": "filter failed"}} for number in lost]
