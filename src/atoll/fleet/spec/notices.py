"""What Atoll does in another way than a specification asks, or than EMR would; always said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from atoll.fleet.model import ClusterSpec, Role
from atoll.fleet.outputs import is_local
from atoll.fleet.spec.releases import parse_release, spark_notice
from atoll.fleet.spec.where import Remark

# What only a provider that launches EC2 instances can use.
_OF_EC2 = (
    "job_flow_role",
    "key_name",
    "custom_ami",
    "root_volume_gib",
    "primary_security_group",
    "worker_security_group",
    "service_security_group",
    "additional_primary_groups",
    "additional_worker_groups",
)


def settled(spec: ClusterSpec) -> ClusterSpec:
    """Return a specification with what follows from high availability.

    Source: EMR management guide, emr-plan-ha-launch: termination protection is enabled for clusters
    with multiple primary nodes, and any auto-termination setting is overridden.
    """
    if not spec.is_highly_available:
        return spec
    return replace(spec, termination_protected=True, keeps_alive=True, idle_timeout_s=None)


def spec_notices(spec: ClusterSpec) -> list[Remark]:
    """List what any provider does otherwise."""
    return list(_spec_notices(spec))


def _spec_notices(spec: ClusterSpec) -> Iterator[Remark]:
    yield Remark(("release_label",), spark_notice(parse_release(spec.release_label)))
    high = "a highly available cluster"
    if spec.is_highly_available and not spec.termination_protected:
        yield Remark(
            ("termination_protected",),
            f"{high} is protected from its start; lift it before you terminate the cluster",
        )
    if spec.is_highly_available and not spec.keeps_alive:
        yield Remark(("keeps_alive",), f"{high} stays when no step is left")
    if spec.is_highly_available and spec.idle_timeout_s is not None:
        yield Remark(("idle_timeout_s",), f"{high} does not end when idle")
    # Source: EMR management guide, emr-instance-group-configuration: "Each node type has a single
    # instance fleet, and using a task instance fleet is optional."
    if sum(one.role is Role.TASK for one in spec.fleets) > 1:
        yield Remark(("fleets",), "EMR would take one task fleet only; Atoll takes several")


def local_notices(spec: ClusterSpec) -> list[Remark]:
    """List what a provider without EC2 leaves aside."""
    return [
        Remark((part,), "instances of this machine have none; it counts on EC2 only")
        for part in _OF_EC2
        if getattr(spec, part)
    ]


def ec2_notices(spec: ClusterSpec) -> list[Remark]:
    """List what instances of EC2 cannot do as asked."""
    return list(_ec2_notices(spec))


def _ec2_notices(spec: ClusterSpec) -> Iterator[Remark]:
    if spec.log_uri is not None and is_local(spec.log_uri):
        what = "a folder of each instance, lost with it; give s3://bucket/folder to keep logs"
        yield Remark(("log_uri",), what)
    if spec.service_security_group:
        what = "does nothing: no service of EMR's has a part in this cluster"
        yield Remark(("service_security_group",), what)
