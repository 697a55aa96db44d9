"""Fills the template of AWS for one collection; no more than text is made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from textwrap import indent
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.core.functions import JOB_VCPUS, MEMORY_MB, TIMEOUT_SECONDS, FunctionMemory

MAP_MODES = ("distributed", "inline")
# AWS's own limit of buckets under way at once.
MAX_CONCURRENCY = {"distributed": 10_000, "inline": 40}
DEFAULT_CONCURRENCY = {"distributed": 500, "inline": 40}
# More must go through a bucket to be deployed.
TEMPLATE_BYTES = 51_200
# Share of the time allowed from which on an alarm is raised.
NEAR_TIMEOUT = 0.8
DEFINITION = "search.asl.json"
# Statements that a Map without executions of its own can do without.
_DISTRIBUTED_ONLY = ("StartMapRuns", "FollowMapRuns")


@dataclass(frozen=True)
class SearchStack:
    """How searches of one collection are to run; checked when made.

    Attributes:
        collection: "s3://bucket/prefix".
        image: image of the functions and jobs; "" leaves it to whoever deploys.
        map_mode: "distributed", an execution for each bucket; "inline", all in one, which costs
            fewer state transitions and suits few buckets.
        max_concurrency: buckets searched at once; None for a default of the mode.
        search_memory: MB of the function that searches a bucket.
        reduce_memory: MB of the function that merges and refines.
        step_timeout: seconds that one run of a function may take.
        endpoint: of an S3-compatible store; "" for AWS.
        allow_http: whether that store may be reached without TLS.
    """

    collection: str
    image: str = ""
    map_mode: str = "distributed"
    max_concurrency: int | None = None
    search_memory: int = FunctionMemory.search
    reduce_memory: int = FunctionMemory.reduce
    step_timeout: int = TIMEOUT_SECONDS[1]
    endpoint: str = ""
    allow_http: bool = False

    def __post_init__(self) -> None:
        """Refuse what AWS would.

        Raises:
            InvalidInput: a value is not possible on AWS, or the collection is no s3:// URI.
        """
        split_collection(self.collection)
        if self.map_mode not in MAP_MODES:
            raise InvalidInput(f"map mode {self.map_mode!r} is not known; use distributed, inline")
        if self.image and not re.fullmatch(r"[\w.:-]+(/[\w.-]+)+([:@][\w.:-]+)?", self.image):
            raise InvalidInput(
                f"image {self.image!r} is no image URI; write registry/repository:tag"
            )
        _check("search memory", self.search_memory, MEMORY_MB, "MB")
        _check("reduce memory", self.reduce_memory, MEMORY_MB, "MB")
        _check("step timeout", self.step_timeout, TIMEOUT_SECONDS, "seconds")
        limits = (1, MAX_CONCURRENCY[self.map_mode])
        _check(f"max concurrency of a map that is {self.map_mode}", self.concurrency, limits, "")

    @property
    def concurrency(self) -> int:
        """Buckets searched at once."""
        if self.max_concurrency is None:
            return DEFAULT_CONCURRENCY[self.map_mode]
        return self.max_concurrency


def split_collection(uri: str) -> tuple[str, str]:
    """Take a collection's place apart: bucket, and prefix with a slash at its end or "".

    Raises:
        InvalidInput: it is no s3:// URI, or holds what a policy would take for a wildcard.
    """
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", uri)
    if not found:
        raise InvalidInput(
            f"{uri!r} is no place that functions on AWS can read; write s3://bucket/prefix"
        )
    prefix = (found[2] or "").strip("/")
    if re.search(r"[*?$\x00-\x1f]", prefix):
        raise InvalidInput(
            f"{uri!r}: in a policy '*', '?' and '$' stand for other names; copy the collection to "
            "a prefix without them"
        )
    return found[1], prefix and f"{prefix}/"


def render(stack: SearchStack) -> str:
    """Make the CloudFormation template of a stack, its state machine within.

    Returns:
        YAML of at most TEMPLATE_BYTES; what the stack says is the default of a parameter.
    """
    template = read("template.yaml")
    bucket, prefix = split_collection(stack.collection)
    defaults: dict[str, str | int] = {
        "CollectionBucket": bucket,
        "CollectionPrefix": prefix,
        "MaxConcurrency": stack.concurrency,
        "PlanMemory": FunctionMemory.plan,
        "SearchMemory": stack.search_memory,
        "ReduceMemory": stack.reduce_memory,
        "StepTimeout": stack.step_timeout,
        "BatchJobVcpus": JOB_VCPUS,
        "StepRetry": _compact(next(_tasks(definition(stack)))["Retry"]),
        "NearTimeoutMs": int(stack.step_timeout * 1000 * NEAR_TIMEOUT),
        "S3Endpoint": stack.endpoint,
        "S3AllowHttp": str(stack.allow_http).lower(),
    }
    if stack.image:
        defaults["ImageUri"] = stack.image
    for parameter, value in defaults.items():
        template = _with_default(template, parameter, value)
    if stack.map_mode == "inline":
        for sid in _DISTRIBUTED_ONLY:
            template = _without_statement(template, sid)
    return _with_definition(template, definition(stack))


def definition(stack: SearchStack) -> dict[str, Any]:
    """Make the state machine of a stack; functions stay ${names} that the template fills in."""
    found: dict[str, Any] = json.loads(read(DEFINITION))
    for state in _bucket_maps(found):
        state["MaxConcurrency"] = stack.concurrency
        if stack.map_mode == "inline":
            state["ItemProcessor"]["ProcessorConfig"] = {"Mode": "INLINE"}
    return found


def read(name: str) -> str:
    """Read one of the files for AWS as it is shipped."""
    return (files(__package__) / "aws" / name).read_text()


def _check(what: str, value: int, limits: tuple[int, int], unit: str) -> None:
    low, high = limits
    if not low <= value <= high:
        raise InvalidInput(
            f"{what} {value:,} is not possible on AWS: {low:,} to {high:,} {unit}".rstrip()
        )


def _with_default(template: str, parameter: str, value: str | int) -> str:
    """Set the default of a parameter, whether it had one or not."""
    pattern = rf"^(  {parameter}:\n(?:    (?!Default:).*\n)+)(?:    Default:.*\n)?"
    filled, count = re.subn(
        pattern,
        lambda found: f"{found[1]}    Default: {json.dumps(value)}\n",
        template,
        count=1,
        flags=re.MULTILINE,
    )
    assert count, parameter
    return filled


def _without_statement(template: str, sid: str) -> str:
    """Drop a statement of a policy, with the comment right above it."""
    pattern = rf"(?:^ +#.*\n)*^( +)- Sid: {sid}\n(?:\1  .*\n)+"
    cut, count = re.subn(pattern, "", template, flags=re.MULTILINE)
    assert count == 1, sid
    return cut


def _with_definition(template: str, machine: dict[str, Any]) -> str:
    """Embed the state machine, a state a line.

    How many at once and what is tried again, the same of all tasks, are the template's parameters.
    """
    for state in _bucket_maps(machine):
        state["MaxConcurrency"] = "${MaxConcurrency}"
    for task in _tasks(machine):
        task["Retry"] = "${StepRetry}"
    states = [f"{json.dumps(name)}:{_compact(state)}" for name, state in machine["States"].items()]
    rest = _compact({key: value for key, value in machine.items() if key != "States"})
    text = f'{rest[:-1]},"States":{{\n' + ",\n".join(states) + "\n}}"
    for name in ("MaxConcurrency", "StepRetry"):
        text = text.replace(f'"${{{name}}}"', f"${{{name}}}")
    text = text.replace("FunctionArn}", "Function.Arn}")
    before, after = template.split(f'      DefinitionString: !Sub "{DEFINITION}"\n')
    return f"{before}      DefinitionString: !Sub |\n{indent(text, ' ' * 8)}\n{after}"


def _tasks(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state
        elif state["Type"] == "Map":
            yield from _tasks(state["ItemProcessor"])


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _bucket_maps(machine: dict[str, Any]) -> list[dict[str, Any]]:
    return [state for state in machine["States"].values() if state.get("ItemsPath") == "$.buckets"]
