"""A cluster as EMR's API shows it."""

from __future__ import annotations

import math
from typing import Any

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.values import given, instant, tags_of
from atoll.fleet.life.records import ClusterStatus, InstanceRecord
from atoll.fleet.model import ClusterSpec
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.states import InstanceState

_SIZES = {"nano": 0.25, "micro": 0.5, "small": 1.0, "medium": 2.0, "large": 4.0, "xlarge": 8.0}
_XLARGE = 8.0


def cluster_summary(record: ClusterRecord, account: Account, now: float) -> dict[str, Any]:
    """Return a ClusterSummary."""
    return {
        "Id": record.id,
        "Name": record.desired.spec.name,
        "Status": _status(record.known.status),
        "NormalizedInstanceHours": normalized_hours(record, now),
        "ClusterArn": account.cluster_arn(record.id),
    }


def cluster_view(record: ClusterRecord, account: Account, now: float) -> dict[str, Any]:
    """Return a Cluster."""
    spec = record.desired.spec
    return {
        **cluster_summary(record, account, now),
        **given(
            Ec2InstanceAttributes=_attributes(record),
            InstanceCollectionType="INSTANCE_FLEET",
            LogUri=spec.log_uri,
            ReleaseLabel=spec.release_label,
            AutoTerminate=not spec.keeps_alive,
            TerminationProtected=record.desired.termination_protected,
            UnhealthyNodeReplacement=spec.health.replaces_unhealthy,
            VisibleToAllUsers=True,
            Applications=[{"Name": name} for name in spec.applications],
            Tags=tags_of(spec.tags),
            ServiceRole=spec.service_role,
            MasterPublicDnsName=primary_dns(record),
            Configurations=_configurations(spec),
            ScaleDownBehavior="TERMINATE_AT_TASK_COMPLETION",
            CustomAmiId=spec.custom_ami,
            EbsRootVolumeSize=spec.root_volume_gib,
            StepConcurrencyLevel=spec.step_concurrency,
            PlacementGroups=_placement(spec),
        ),
    }


def _status(status: ClusterStatus) -> dict[str, Any]:
    return {
        "State": status.state.value,
        "StateChangeReason": given(
            Code=status.reason.value if status.reason else None, Message=status.message or None
        ),
        "Timeline": given(
            CreationDateTime=instant(status.created_at),
            ReadyDateTime=instant(status.ready_at),
            EndDateTime=instant(status.ended_at),
        ),
    }


def _attributes(record: ClusterRecord) -> dict[str, Any]:
    desired, spec = record.desired, record.desired.spec
    return given(
        Ec2KeyName=spec.key_name,
        Ec2SubnetId=desired.subnet_id,
        RequestedEc2SubnetIds=list(spec.subnet_ids),
        Ec2AvailabilityZone=desired.zone,
        RequestedEc2AvailabilityZones=[],
        IamInstanceProfile=spec.job_flow_role,
        EmrManagedMasterSecurityGroup=spec.primary_security_group,
        EmrManagedSlaveSecurityGroup=spec.worker_security_group,
        ServiceAccessSecurityGroup=spec.service_security_group,
        AdditionalMasterSecurityGroups=list(spec.additional_primary_groups),
        AdditionalSlaveSecurityGroups=list(spec.additional_worker_groups),
    )


def _configurations(spec: ClusterSpec) -> list[dict[str, Any]]:
    if not spec.spark_properties:
        return []
    return [{"Classification": "spark-defaults", "Properties": dict(spec.spark_properties)}]


def _placement(spec: ClusterSpec) -> list[dict[str, str]]:
    if not spec.spread_primaries:
        return []
    return [{"InstanceRole": "MASTER", "PlacementStrategy": "SPREAD"}]


def primary_dns(record: ClusterRecord) -> str | None:
    """Return the name of a primary that runs, else of any; None: none has one yet."""
    running = {
        one.machine.private_ip
        for one in record.known.instances.values()
        if one.state is InstanceState.RUNNING
    }
    named = [one.address for one in record.desired.slots if one.address.private_dns]
    named.sort(key=lambda one: one.private_ip not in running)
    return named[0].private_dns if named else None


def normalized_hours(record: ClusterRecord, now: float) -> int:
    """Count what a cluster has used in hours of an m1.small: each hour that began counts.

    Source: EMR API reference, Cluster.NormalizedInstanceHours; the factors are those of instance
    sizes (EC2 user guide, instance size flexibility): small 1, large 4, xlarge 8, 2xlarge 16.
    """
    return int(sum(_hours(one, now) * size_factor(one) for one in record.known.instances.values()))


def _hours(record: InstanceRecord, now: float) -> int:
    if record.ready_at is None:
        return 0
    return math.ceil(max(0.0, (record.ended_at or now) - record.ready_at) / 3600)


def size_factor(record: InstanceRecord) -> float:
    """Return how many m1.small an instance's type counts for; a size not known counts one xlarge.

    Source: see `normalized_hours`.
    """
    size = record.machine.instance_type.rpartition(".")[2]
    times = size.removesuffix("xlarge")
    return _XLARGE * int(times) if times.isdecimal() else _SIZES.get(size, _XLARGE)
