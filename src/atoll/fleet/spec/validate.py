"""EMR's rules for a cluster on instance fleets, applied to a specification: all at once.

Where a rule's wording is EMR's, a comment says where it is from; all other wording is ours.
Reading order: problems_of, then the cluster, its roles, its primaries, its work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from atoll.core.errors import InvalidInput
from atoll.fleet.model import (
    ActionOnFailure,
    ClusterSpec,
    FleetSpec,
    HealthPolicy,
    Role,
    StepSpec,
)
from atoll.fleet.outputs import problem_of
from atoll.fleet.spec.fleetrules import fleet_problems, in_range, twice
from atoll.fleet.spec.reader import Problem, refusal
from atoll.fleet.spec.releases import need_high_availability, parse_release
from atoll.fleet.spec.where import Path, Remark

MOST_TASK_FLEETS = 48
"""Ours: as many as EMR has task groups."""
MOST_STEPS = 256
"""Source: EMR API reference, RunJobFlow."""
MOST_BOOTSTRAP_ACTIONS = 16
"""Source: EMR management guide, emr-plan-bootstrap."""
MOST_TAGS = 50
"""Source: EC2 user guide, tag restrictions; also the lengths below."""
TAG_KEY_LENGTH = 128
TAG_VALUE_LENGTH = 256
STEP_LENGTH = 10_280
"""Characters of a step's arguments. Source: EMR API reference."""

IDLE_TIMEOUT = (60, 604_800)
"""Seconds. Source: EMR API reference, AutoTerminationPolicy."""


def check(spec: ClusterSpec) -> None:
    """Check a specification that no document stands behind.

    Raises:
        InvalidInput: all rules it breaks.
    """
    found = problems_of(spec)
    if found:
        raise refusal(Problem(".".join(map(str, one.part)), one.message) for one in found)


def problems_of(spec: ClusterSpec) -> list[Remark]:
    """List the rules that a specification breaks; none: it can be launched."""
    return [
        *_cluster(spec),
        *_roles(spec),
        *_primaries(spec),
        *(one for place, fleet in enumerate(spec.fleets) for one in fleet_problems(fleet, place)),
        *step_problems(spec.steps, spec.step_concurrency),
        *_bootstrap(spec),
        *_tags(spec.tags),
        *_health(spec.health),
    ]


def _cluster(spec: ClusterSpec) -> Iterator[Remark]:
    if not 1 <= len(spec.name) <= 256:
        yield Remark(("name",), f"has {len(spec.name)} characters; 1 to 256 are allowed")
    yield from in_range(("step_concurrency",), spec.step_concurrency, (1, 256))
    yield from in_range(("idle_timeout_s",), spec.idle_timeout_s, IDLE_TIMEOUT)
    # Source: EBS, the largest volume.
    yield from in_range(("root_volume_gib",), spec.root_volume_gib, (1, 16_384))
    for name in twice(spec.subnet_ids):
        yield Remark(("subnet_ids",), f"{name!r} is there twice; each subnet counts once")
    if "" in spec.subnet_ids:
        yield Remark(("subnet_ids",), "has an empty id; take it out")
    groups = (spec.primary_security_group, spec.worker_security_group)
    if any(groups) and not all(groups):
        # Source: EMR API reference, JobFlowInstancesConfig.
        missing = "primary_security_group" if groups[1] else "worker_security_group"
        yield Remark((missing,), "is missing; the two groups are given together or not at all")
    if spec.log_uri is not None and (why := problem_of(spec.log_uri)):
        yield Remark(("log_uri",), why)
    for key in spec.spark_properties:
        if not key.startswith("spark."):
            yield Remark(
                ("spark_properties",), f"{key!r} is no property of Spark: they start with spark."
            )


def _roles(spec: ClusterSpec) -> Iterator[Remark]:
    count = Counter(one.role for one in spec.fleets)
    if count[Role.MASTER] != 1:
        yield Remark(("fleets",), f"has {count[Role.MASTER]} MASTER fleets; give exactly one")
    if count[Role.CORE] > 1:
        yield Remark(("fleets",), f"has {count[Role.CORE]} CORE fleets; one is the most")
    if count[Role.TASK] > MOST_TASK_FLEETS:
        yield Remark(
            ("fleets",), f"has {count[Role.TASK]} TASK fleets; {MOST_TASK_FLEETS} are the most"
        )
    if not count[Role.CORE]:
        # EMR starts a primary alone, which then does the work; Atoll's primaries run no tasks, so
        # that a job would wait for ever.
        yield Remark(("fleets",), "has no CORE fleet; primaries run no tasks: give one")


def _primaries(spec: ClusterSpec) -> Iterator[Remark]:
    for place, fleet in enumerate(spec.fleets):
        if fleet.role is Role.MASTER:
            yield from _primary(fleet, ("fleets", place))
            if fleet.target_on_demand != 1:
                yield from _release(spec.release_label)


def _primary(fleet: FleetSpec, part: Path) -> Iterator[Remark]:
    if fleet.target_on_demand not in (1, 3):
        yield Remark(
            (*part, "target_on_demand"),
            f"is {fleet.target_on_demand}; a cluster has 3 primaries, or 1 that may fail",
        )
    if fleet.target_spot != 0:
        # Source: EMR management guide, emr-plan-ha-considerations: "Amazon EMR only supports the
        # launch of primary nodes with On Demand instances". Atoll launches a single one so, too.
        yield Remark(
            (*part, "target_spot"),
            f"is {fleet.target_spot}; primaries are launched on demand only: make it 0",
        )
    for place, one in enumerate(fleet.types):
        if one.weighted_capacity != 1:
            # Source: EMR API reference: "This value is 1 for a master instance fleet".
            yield Remark(
                (*part, "types", place, "weighted_capacity"),
                f"is {one.weighted_capacity}; it is 1 for a master instance fleet",
            )


def _release(label: str) -> Iterator[Remark]:
    try:
        need_high_availability(parse_release(label))
    except InvalidInput as error:
        yield Remark(("release_label",), error.message)


def step_problems(steps: Sequence[StepSpec], concurrency: int) -> Iterator[Remark]:
    """List the rules that steps break which are handed in together."""
    if len(steps) > MOST_STEPS:
        yield Remark(("steps",), f"has {len(steps)} steps; {MOST_STEPS} are the most")
    for place, step in enumerate(steps):
        if not 1 <= len(step.name) <= 256:
            yield Remark(
                ("steps", place, "name"), f"has {len(step.name)} characters; 1 to 256 are allowed"
            )
        if not step.args or not step.args[0]:
            yield Remark(("steps", place, "args"), "is empty; name the command to run")
        if sum(map(len, step.args)) > STEP_LENGTH:
            yield Remark(("steps", place, "args"), f"has more than {STEP_LENGTH:,} characters")
        if concurrency > 1 and step.action_on_failure is not ActionOnFailure.CONTINUE:
            # Source: EMR API reference, StepConfig: such a step "is not submitted" where
            # StepConcurrencyLevel is greater than 1.
            yield Remark(
                ("steps", place, "action_on_failure"),
                f"is {step.action_on_failure}; with steps that run at once it is CONTINUE",
            )


def _bootstrap(spec: ClusterSpec) -> Iterator[Remark]:
    if len(spec.bootstrap_actions) > MOST_BOOTSTRAP_ACTIONS:
        yield Remark(
            ("bootstrap_actions",),
            f"has {len(spec.bootstrap_actions)} actions; {MOST_BOOTSTRAP_ACTIONS} are the most",
        )
    for place, action in enumerate(spec.bootstrap_actions):
        if not action.name or not action.path:
            yield Remark(("bootstrap_actions", place), "needs a name and the path of a script")


def _tags(tags: dict[str, str]) -> Iterator[Remark]:
    if len(tags) > MOST_TAGS:
        yield Remark(("tags",), f"has {len(tags)} tags; {MOST_TAGS} are the most")
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_LENGTH or key.lower().startswith("aws:"):
            yield Remark(
                ("tags",),
                f"{key[:40]!r} is no key: 1 to {TAG_KEY_LENGTH} characters, not starting with aws:",
            )
        if len(value) > TAG_VALUE_LENGTH:
            yield Remark(
                ("tags",), f"the value of {key[:40]!r} has more than {TAG_VALUE_LENGTH} characters"
            )


def _health(health: HealthPolicy) -> Iterator[Remark]:
    for name in ("heartbeat_timeout_s", "failing_probes", "cpu_for_s", "bootstrap_timeout_s"):
        value = getattr(health, name)
        if not (math.isfinite(value) and value > 0):
            yield Remark(("health", name), f"is {value:g}; it is more than 0")
    for name in ("primary_grace_s", "worker_grace_s"):
        value = getattr(health, name)
        if not (math.isfinite(value) and value >= 0):
            yield Remark(("health", name), f"is {value:g}; it is 0 or more")
    for name in ("disk_percent", "cpu_percent"):
        value = getattr(health, name)
        if not 0 < value <= 100:
            yield Remark(("health", name), f"is {value:g}; it is more than 0 and at most 100")
