"""Changes to a cluster that runs: AddInstanceFleet, ModifyInstanceFleet, AddJobFlowSteps.

Source: Amazon EMR API reference 2009-03-31. The cluster's own id is the caller's to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from atoll.fleet.model import ClusterSpec, FleetSpec, Resizing, Role, StepSpec
from atoll.fleet.spec.fleetrules import fleet_problems
from atoll.fleet.spec.fleets import read_resizing, read_types
from atoll.fleet.spec.reader import Notice, Reader, Section
from atoll.fleet.spec.releases import parse_release
from atoll.fleet.spec.runjobflow import read_fleets
from atoll.fleet.spec.validate import MOST_STEPS, problems_of, step_problems
from atoll.fleet.spec.where import EMR_NAMES, Where, finish
from atoll.fleet.spec.work import read_steps


@dataclass(frozen=True)
class AddedFleet:
    """A fleet to be added.

    Attributes:
        fleet: the fleet, checked.
        notices: what is taken but not done as EMR would.
    """

    fleet: FleetSpec
    notices: tuple[Notice, ...]


def parse_add_instance_fleet(request: Mapping[str, object], cluster: ClusterSpec) -> AddedFleet:
    """Read the input of AddInstanceFleet.

    Args:
        request: the input, as botocore parses it.
        cluster: what the fleet is added to.

    Raises:
        InvalidInput: all that is wrong, each with its path.
    """
    reader, section = _request(request, "ClusterId")
    inner = section.inner("InstanceFleet")
    role = inner.choice("InstanceFleetType", Role.TASK)
    inner.needed("InstanceFleetType")
    if role is not Role.TASK:
        inner.problem("InstanceFleetType", f"is {role}; a running cluster takes TASK fleets only")
    where = Where("", EMR_NAMES)
    where.put(("fleets",), inner.path)
    tasks = sum(one.role is Role.TASK for one in cluster.fleets)
    release, place = parse_release(cluster.release_label), len(cluster.fleets)
    (fleet,) = read_fleets([(Role.TASK, inner)], release, where, first=place, tasks=tasks)
    finish(reader, where, problems_of(replace(cluster, fleets=(*cluster.fleets, fleet))))
    return AddedFleet(fleet, tuple(reader.notices))


def parse_modify_instance_fleet(request: Mapping[str, object], fleet: FleetSpec) -> FleetSpec:
    """Read the input of ModifyInstanceFleet into the fleet as it shall be.

    Args:
        request: the input, as botocore parses it.
        fleet: as it is; its id in the request is the caller's to read.

    Raises:
        InvalidInput: all that is wrong, each with its path.
    """
    reader, section = _request(request, "ClusterId")
    inner = section.inner("InstanceFleet")
    name = inner.needed("InstanceFleetId")
    inner.accept("Context", "EMR reserves it; it does nothing here")
    if fleet.role is Role.MASTER:
        inner.problem("", "is that of the primaries, which is not resized")
    if not ("TargetOnDemandCapacity" in inner and "TargetSpotCapacity" in inner):
        # Wording: EMR's, as in go-to-k/cdkd#1416.
        inner.problem(
            "",
            f"The instance fleet ({name}) should have both targetOnDemandCapacity and "
            "targetSpotCapacity specified.",
        )
    wanted = replace(
        fleet,
        target_on_demand=inner.whole("TargetOnDemandCapacity", fleet.target_on_demand),
        target_spot=inner.whole("TargetSpotCapacity", fleet.target_spot),
        types=read_types(inner) if "InstanceTypeConfigs" in inner else fleet.types,
        resizing=_merged(fleet.resizing, inner),
    )
    where = Where("", EMR_NAMES)
    where.put(("fleets", 0), inner.path)
    may_be_empty = fleet.role is Role.TASK
    finish(reader, where, list(fleet_problems(wanted, 0, may_be_empty=may_be_empty)))
    return wanted


def _merged(old: Resizing, section: Section) -> Resizing:
    new = read_resizing(section)
    return Resizing(
        spot_strategy=new.spot_strategy or old.spot_strategy,
        on_demand_strategy=new.on_demand_strategy or old.on_demand_strategy,
        spot_timeout_minutes=_given(new.spot_timeout_minutes, old.spot_timeout_minutes),
        on_demand_timeout_minutes=_given(
            new.on_demand_timeout_minutes, old.on_demand_timeout_minutes
        ),
    )


def _given(new: int | None, old: int | None) -> int | None:
    return old if new is None else new


def parse_add_job_flow_steps(
    request: Mapping[str, object], cluster: ClusterSpec, waiting: int
) -> tuple[StepSpec, ...]:
    """Read the input of AddJobFlowSteps.

    Args:
        request: the input, as botocore parses it.
        cluster: what the steps are for.
        waiting: how many steps of the cluster have not ended.

    Raises:
        InvalidInput: all that is wrong, each with its path; too many steps would wait.
    """
    reader, section = _request(request, "JobFlowId")
    section.refuse("ExecutionRoleArn", "steps run with the instance's own rights")
    steps = read_steps(section, "Properties")
    if not steps:
        section.problem("Steps", "is empty; give a step")
    if len(steps) + waiting > MOST_STEPS:
        # Source: EMR management guide, emr-work-with-steps: 256 PENDING and RUNNING steps.
        section.problem(
            "Steps",
            f"has {len(steps)} steps, and {waiting} have not ended; {MOST_STEPS} are the most",
        )
    found = list(step_problems(steps, cluster.step_concurrency))
    finish(reader, Where("", EMR_NAMES), found)
    return steps


def _request(request: Mapping[str, object], cluster_id: str) -> tuple[Reader, Section]:
    reader = Reader()
    section = reader.section(request, "")
    section.needed(cluster_id)
    return reader, section
