"""Where the parts of a `ClusterSpec` stand in what somebody wrote, so that messages can say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atoll.fleet.spec.reader import Notice, Problem, Reader, refusal

Path = tuple[str | int, ...]
"""A part of a specification: ("fleets", 1, "types", 0, "priority")."""

EMR_NAMES: Mapping[str, str] = {
    "name": "Name",
    "release_label": "ReleaseLabel",
    "applications": "Applications",
    "spread_primaries": "PlacementGroupConfigs",
    "termination_protected": "Instances.TerminationProtected",
    "keeps_alive": "Instances.KeepJobFlowAliveWhenNoSteps",
    "idle_timeout_s": "AutoTerminationPolicy.IdleTimeout",
    "step_concurrency": "StepConcurrencyLevel",
    "bootstrap_actions": "BootstrapActions",
    "steps": "Steps",
    "args": "HadoopJarStep.Args",
    "action_on_failure": "ActionOnFailure",
    "spark_properties": "Configurations",
    "tags": "Tags",
    "log_uri": "LogUri",
    "service_role": "ServiceRole",
    "job_flow_role": "JobFlowRole",
    "key_name": "Instances.Ec2KeyName",
    "custom_ami": "CustomAmiId",
    "root_volume_gib": "EbsRootVolumeSize",
    "primary_security_group": "Instances.EmrManagedMasterSecurityGroup",
    "worker_security_group": "Instances.EmrManagedSlaveSecurityGroup",
    "service_security_group": "Instances.ServiceAccessSecurityGroup",
    "additional_primary_groups": "Instances.AdditionalMasterSecurityGroups",
    "additional_worker_groups": "Instances.AdditionalSlaveSecurityGroups",
    "target_on_demand": "TargetOnDemandCapacity",
    "target_spot": "TargetSpotCapacity",
    "types": "InstanceTypeConfigs",
    "instance_type": "InstanceType",
    "weighted_capacity": "WeightedCapacity",
    "bid_price": "BidPrice",
    "bid_price_percent": "BidPriceAsPercentageOfOnDemandPrice",
    "priority": "Priority",
    "disk_gib": "EbsConfiguration",
    "spot": "LaunchSpecifications.SpotSpecification",
    "timeout_minutes": "TimeoutDurationMinutes",
    "resizing": "ResizeSpecifications",
    "spot_timeout_minutes": "SpotResizeSpecification.TimeoutDurationMinutes",
    "on_demand_timeout_minutes": "OnDemandResizeSpecification.TimeoutDurationMinutes",
}
"""What EMR calls the parts of a specification."""


@dataclass(frozen=True)
class Remark:
    """Something to say about a part of a specification: a rule it breaks, or what is done instead.

    Attributes:
        part: which.
        message: what, and how to mend it.
    """

    part: Path
    message: str


class Where:
    """Turns parts of a specification into paths of a document."""

    def __init__(self, root: str, names: Mapping[str, str]) -> None:
        """Take the path of the cluster, and what the document calls its parts."""
        self._names = names
        self._known: dict[Path, str] = {(): root}

    def put(self, part: Path, path: str) -> None:
        """Note where a part stands."""
        self._known[part] = path

    def path(self, part: Path) -> str:
        """Return the path of a part, from the nearest one that was noted."""
        length = max(size for size in range(len(part) + 1) if part[:size] in self._known)
        path = self._known[part[:length]]
        for step in part[length:]:
            named = self._names.get(str(step), step)
            path += f"[{step}]" if isinstance(step, int) else f".{named}" if path else f"{named}"
        return path

    def placed(self, remark: Remark) -> Problem:
        """Say where a rule was broken."""
        return Problem(self.path(remark.part), remark.message)

    def noted(self, remark: Remark) -> Notice:
        """Say where something is done in another way than asked for."""
        return Notice(self.path(remark.part), remark.message)


def finish(reader: Reader, where: Where, remarks: Iterable[Remark]) -> None:
    """Refuse what was read if anything is wrong with it.

    Args:
        reader: what was wrong in reading.
        where: the paths of the parts.
        remarks: the rules that what was read breaks.

    Raises:
        InvalidInput: all that is wrong.
    """
    reader.close_sections()
    found = map(where.placed, remarks)
    # Where nothing could be read, what stands in for it may break a rule, too: one message will do.
    new = [one for one in found if not reader.is_wrong(one.path)]
    if reader.problems or new:
        raise refusal([*reader.problems, *new])
