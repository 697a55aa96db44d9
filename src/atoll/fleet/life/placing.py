"""What a machine of a cluster is told when it is launched."""

from __future__ import annotations

from atoll.core.errors import InvalidInput
from atoll.fleet.codec import encode
from atoll.fleet.life.records import Desired, Fleet
from atoll.fleet.life.task import AgentTask, without_repeats
from atoll.fleet.model import ClusterSpec, Role
from atoll.fleet.providers.port import USER_DATA_BYTES, Placement, packed_bytes

_ADDRESSES_BYTES = 1 << 10
"""Packed, far more than the addresses of primaries, which are not known before the launch."""


def placement(
    desired: Desired, fleet: Fleet, *, epoch: int, is_founding: bool = False
) -> Placement:
    """Return the placement of machines of a fleet.

    Args:
        desired: the cluster.
        fleet: one of its fleets.
        epoch: the controller's.
        is_founding: whether the machines are the first primaries, which bring along what the
            cluster shall be.
    """
    spec, is_primary = desired.spec, fleet.spec.role is Role.MASTER
    task = AgentTask(
        cluster_id=desired.cluster_id,
        role=fleet.spec.role,
        slots=desired.slots,
        provider=desired.provider,
        founding=without_repeats(desired) if is_founding else None,
        bootstrap_actions=spec.bootstrap_actions,
        spark_properties=spec.spark_properties,
        log_uri=spec.log_uri,
    )
    is_spread = is_primary and spec.spread_primaries
    return Placement(
        cluster_id=desired.cluster_id,
        epoch=epoch,
        subnet_id=desired.subnet_id,
        user_data=encode(task).decode(),
        spread_group=f"{desired.cluster_id}-primaries" if is_spread else None,
        tags={**spec.tags, "Name": f"{spec.name} {fleet.spec.role.value.lower()}"},
        settings=_settings(spec, is_primary=is_primary),
    )


def require_launchable(desired: Desired) -> None:
    """Refuse a cluster whose first primaries cannot be told all that it shall be.

    Raises:
        InvalidInput: it is more than fits into the user data of a machine.
    """
    founding = placement(desired, desired.primary_fleet, epoch=0, is_founding=True)
    size, most = packed_bytes(founding.user_data), USER_DATA_BYTES - _ADDRESSES_BYTES
    if size > most:
        raise InvalidInput(
            f"the cluster's specification has {size} bytes, packed, of which {most} go along with "
            "a machine; name fewer instance types, bootstrap actions, tags or properties",
            size_bytes=size,
        )


def _settings(spec: ClusterSpec, *, is_primary: bool) -> dict[str, str]:
    own = spec.primary_security_group if is_primary else spec.worker_security_group
    more = spec.additional_primary_groups if is_primary else spec.additional_worker_groups
    groups = ",".join([*([own] if own else []), *more])
    wanted = {
        "security_groups": groups,
        "instance_profile": spec.job_flow_role,
        "key_name": spec.key_name,
        "image": spec.custom_ami,
        "root_volume_gib": str(spec.root_volume_gib) if spec.root_volume_gib else None,
    }
    return {key: value for key, value in wanted.items() if value}
