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
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from atoll.core import errors
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Incomplete, InvalidInput, NotFound, Unavailable
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.text import counted
from atoll.storage import Threads
from atoll.storage.s3 import aws_client, aws_errors
from atoll.vectors.distributed import steps
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import Cloud

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# Functions called at once from here, and how often each is tried.
CALLS_AT_ONCE = 256
ATTEMPTS = 4
RETRY_SECONDS = 1.0
# What Lambda itself says when a call may end well later.
_PASSING = {"Unavailable", "TooManyRequestsException", "ServiceException", "Sandbox.Timedout"}


@dataclass(frozen=True)
class Deployment:
    """What a stack of `atoll deploy aws` has made, as its outputs name it.

    Attributes:
        stack: its name.
        outputs: by name.
    """

    stack: str
    outputs: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """Return an output.

        Raises:
            InvalidInput: the stack has no such part.
        """
        if name not in self.outputs:
            raise InvalidInput(
                f"stack {self.stack!r} has no {name}; it is another's, or was made without AWS "
                "Batch: render it with `atoll deploy aws`, and set its parameter Batch to true"
            )
        return self.outputs[name]

    def new_run(self) -> str:
        """Name a place for a search's results, where nothing is."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"{self['Results'].rstrip('/')}/{now}-{uuid.uuid4().hex[:8]}"


def find_deployment(settings: Settings) -> Deployment:
    """Look up what was deployed.

    Raises:
        NotFound: there is no such stack.
        Forbidden, Unavailable: AWS does not let us in, or does not answer.
    """
    from botocore.exceptions import ClientError

    stack = settings.aws.stack
    with aws_errors(f"stack {stack!r}"):
        try:
            found = aws_client("cloudformation", settings).describe_stacks(StackName=stack)
        except ClientError as error:
            if "does not exist" in str(error):
                raise NotFound(
                    f"there is no stack {stack!r}; make it from what `atoll deploy aws` renders, "
                    "see docs/aws.md, or name another with --stack"
                ) from error
            raise
    outputs = found["Stacks"][0].get("Outputs", [])
    return Deployment(stack, {each["OutputKey"]: each["OutputValue"] for each in outputs})


def carried_out(
    run: Run,
    cloud: Cloud,
    deployment: Deployment,
    settings: Settings,
    on_progress: OnProgress = silent,
) -> dict[str, Any]:
    """Have a search carried out, and wait for it.

    Returns:
        Its summary.

    Raises:
        Unavailable: what runs it failed.
        AtollError: what a step raised.
    """
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
        started = client.start_execution(
            stateMachineArn=deployment["StateMachine"],
            name=run.storage.url.rsplit("/", 1)[1],
            input=json.dumps({"run": run.storage.url}),
        )["executionArn"]
        logger.info("execution started arn=%s run=%s", started, run)
        on_progress(Progress("search", 0, 1, "executions"))
        while (found := client.describe_execution(executionArn=started))["status"] == "RUNNING":
            time.sleep(POLL_SECONDS)
    if found["status"] != "SUCCEEDED":
        raise _raised(found.get("error", found["status"]), found.get("cause", ""), started)
    on_progress(Progress("search", 1, 1, "executions"))


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
            said = {"Error": type(error).__name__, "Cause": error.message}
            return {"bucket": event["bucket"], "error": said}

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
    client = aws_client("batch", settings)
    told = steps.plan(run, settings)
    if told["is_filtered"]:
        job = _submitted(client, deployment, run, "FilterJob", len(told["buckets"]), None)
        _await_jobs(client, run, [job], on_progress)
        told = steps.plan(run, settings)
    jobs = [_submitted(client, deployment, run, "SearchJob", len(told["buckets"]), None)]
    if told["groups"]:
        jobs.append(_submitted(client, deployment, run, "FoldJob", len(told["groups"]), jobs[-1]))
    jobs.append(_submitted(client, deployment, run, "RefineJob", None, jobs[-1]))
    _await_jobs(client, run, jobs, on_progress)


def _submitted(
    client: Any,
    deployment: Deployment,
    run: Run,
    definition: str,
    size: int | None,
    after: str | None,
) -> str:
    """Submit a job, an array of `size` where it is of several; return its id."""
    # An array has at least two children; one alone is told its index by us.
    array = {"arrayProperties": {"size": size}} if size and size > 1 else {}
    only = {"environment": [{"name": "ATOLL_STEP_INDEX", "value": "0"}]} if size == 1 else {}
    with aws_errors(f"job {definition}"):
        answer = client.submit_job(
            jobName=f"{definition}-{run.storage.url.rsplit('/', 1)[1]}"[:128],
            jobQueue=deployment["JobQueue"],
            jobDefinition=deployment[definition],
            parameters={"run": run.storage.url},
            dependsOn=[{"jobId": after}] if after else [],
            containerOverrides=only,
            **array,
        )
    return str(answer["jobId"])


def _await_jobs(client: Any, run: Run, jobs: Sequence[str], on_progress: OnProgress) -> None:
    done = 0
    while done < len(jobs):
        with aws_errors("AWS Batch"):
            found = {job["jobId"]: job for job in client.describe_jobs(jobs=list(jobs))["jobs"]}
        for job in jobs:
            if found[job]["status"] == "FAILED":
                why = found[job].get("statusReason", "no reason is given")
                raise Unavailable(f"job {job} of {run} failed: {why}; see its log", job=job)
        done = sum(found[job]["status"] == "SUCCEEDED" for job in jobs)
        on_progress(Progress("search", done, len(jobs), "jobs"))
        if done < len(jobs):
            time.sleep(POLL_SECONDS)
