"""Has a search carried out by what `atoll deploy aws` has set up: nothing of it runs here.

stepfunctions   one execution of the state machine; it goes on if whoever waits is gone
lambda          the functions themselves, called from here: sooner, but only while this waits
batch           array jobs, each bucket copied to an instance's disk: for many queries
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from atoll.core import errors
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Incomplete, Unavailable
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.text import counted
from atoll.storage import Threads
from atoll.storage.s3 import aws_client, aws_errors
from atoll.vectors.distributed import steps
from atoll.vectors.distributed.deployment import Deployment
from atoll.vectors.distributed.jobs import JobQueue
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import Cloud

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Of an execution's name.
MAX_NAME = 80
# Functions called at once from here, and how often each is tried.
CALLS_AT_ONCE = 256
ATTEMPTS = 4
RETRY_SECONDS = 1.0
# What Lambda itself says when a call may end well later.
_PASSING = {"Unavailable", "TooManyRequestsException", "ServiceException", "Sandbox.Timedout"}


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
    name, asked = run.storage.url.rsplit("/", 1)[1][:MAX_NAME], json.dumps({"run": run.storage.url})
    try:
        answer = client.start_execution(stateMachineArn=machine, name=name, input=asked)
    except client.exceptions.ExecutionAlreadyExists:
        # It has ended, without hits; AWS takes no name twice.
        name = f"{name[: MAX_NAME - 9]}-{uuid.uuid4().hex[:8]}"
        answer = client.start_execution(stateMachineArn=machine, name=name, input=asked)
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
    url = run.storage.url

    def call(function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        return _called(client, deployment[function], {**event, "run": url})

    def tried(event: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return call("SearchFunction", event)
        except AtollError as error:
            return {"bucket": event["bucket"], "error": {"Error": type(error).__name__}}

    def each(step: str, positions: Sequence[int]) -> list[dict[str, Any]]:
        found = []
        events = [{"step": step, "bucket": position} for position in positions]
        with Threads(min(CALLS_AT_ONCE, max(1, len(events)))) as pool:
            for result in pool.map(tried, events):
                found.append(result)
                on_progress(Progress(step, len(found), len(events), "buckets"))
        return found

    told = call("PlanFunction", {"step": "plan"})
    if told["is_filtered"]:
        filtered = each("filter", told["buckets"])
        told = call("PlanFunction", {"step": "plan", "filtered": filtered})
    searched = each("search", told["buckets"])
    with Threads(CALLS_AT_ONCE) as pool:
        folds = [{"step": "fold", "group": group} for group in told["groups"]]
        list(pool.map(lambda event: call("ReduceFunction", event), folds))
    failed = [each for each in searched if "error" in each]
    call("ReduceFunction", {"step": "refine", "searched": failed})


def _called(client: Any, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Call a function; again where its error may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        with aws_errors(f"function {function}"):
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event))
            said = json.loads(answer["Payload"].read())
        if not answer.get("FunctionError"):
            found: dict[str, Any] = said
            return found
        name = said.get("errorType", "Unavailable")
        if name not in _PASSING or attempt == ATTEMPTS:
            raise _raised(name, json.dumps(said), function)
        time.sleep(RETRY_SECONDS * attempt)
    raise AssertionError


# -- Batch ----------------------------------------------------------------------------------------


def _by_jobs(run: Run, deployment: Deployment, settings: Settings, on_progress: OnProgress) -> None:
    """Plan here, then submit all that is left: each kind of job waits for the one before."""
    queue = JobQueue(aws_client("batch", settings), deployment)
    url = run.storage.url

    def submitted(definition: str, size: int | None, after: str | None = None) -> str:
        name = f"{definition}-{url.rsplit('/', 1)[1]}"
        return queue.submit(definition, name, size=size, after=after, parameters={"run": url})

    told = steps.plan(run, settings)
    if told["is_filtered"]:
        queue.wait([submitted("FilterJob", len(told["buckets"]))], str(run), on_progress)
        told = steps.plan(run, settings)
    jobs = [submitted("SearchJob", len(told["buckets"]))]
    if told["groups"]:
        jobs.append(submitted("FoldJob", len(told["groups"]), jobs[-1]))
    jobs.append(submitted("RefineJob", None, jobs[-1]))
    queue.wait(jobs, str(run), on_progress)
