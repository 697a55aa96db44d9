"""Instance fleets and instances as EMR's API shows them."""

from __future__ import annotations

from typing import Any

from atoll.fleet.aws.values import given, instant
from atoll.fleet.life.capacity import provisioned
from atoll.fleet.life.records import Fleet, FleetStatus, InstanceRecord
from atoll.fleet.model import FleetSpec, InstanceTypeConfig, Market, Role
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.states import FleetState

_VOLUME_TYPE = "gp3"


def fleet_view(record: ClusterRecord, fleet: Fleet) -> dict[str, Any]:
    """Return an InstanceFleet."""
    spec, instances = fleet.spec, list(record.known.instances.values())
    return given(
        Id=fleet.id,
        Name=spec.name,
        Status=_status(record.known.status.fleets.get(fleet.id)),
        InstanceFleetType=spec.role.value,
        TargetOnDemandCapacity=spec.target_on_demand,
        TargetSpotCapacity=spec.target_spot,
        ProvisionedOnDemandCapacity=provisioned(fleet, instances, Market.ON_DEMAND),
        ProvisionedSpotCapacity=provisioned(fleet, instances, Market.SPOT),
        InstanceTypeSpecifications=[_type(one) for one in spec.types],
        LaunchSpecifications=_launch(spec),
        ResizeSpecifications=_resize(spec),
    )


def _status(status: FleetStatus | None) -> dict[str, Any]:
    if status is None:
        # It was added a moment ago; the cluster's controller has not taken it up.
        return {"State": FleetState.PROVISIONING.value}
    ended = "CLUSTER_TERMINATED" if status.state is FleetState.TERMINATED else None
    return {
        "State": status.state.value,
        "StateChangeReason": given(Code=ended, Message=status.message or None),
        "Timeline": given(
            CreationDateTime=instant(status.created_at),
            ReadyDateTime=instant(status.ready_at),
            EndDateTime=instant(status.ended_at),
        ),
    }


def _type(one: InstanceTypeConfig) -> dict[str, Any]:
    has_price = one.bid_price is not None
    return given(
        InstanceType=one.instance_type,
        WeightedCapacity=one.weighted_capacity,
        BidPrice=str(one.bid_price) if has_price else None,
        BidPriceAsPercentageOfOnDemandPrice=None if has_price else one.bid_price_percent,
        EbsBlockDevices=_disks(one.disk_gib),
        Priority=one.priority,
    )


def _disks(size_gib: int | None) -> list[dict[str, Any]]:
    if size_gib is None:
        return []
    return [{"VolumeSpecification": {"VolumeType": _VOLUME_TYPE, "SizeInGB": size_gib}}]


def _launch(spec: FleetSpec) -> dict[str, Any]:
    on_demand = {"AllocationStrategy": spec.on_demand_strategy.value}
    if spec.role is Role.MASTER:
        return {"OnDemandSpecification": on_demand}
    spot = {
        "TimeoutDurationMinutes": spec.spot.timeout_minutes,
        "TimeoutAction": spec.spot.timeout_action.value,
        "AllocationStrategy": spec.spot.strategy.value,
    }
    return {"SpotSpecification": spot, "OnDemandSpecification": on_demand}


def _resize(spec: FleetSpec) -> dict[str, Any] | None:
    resizing = spec.resizing
    spot = given(
        TimeoutDurationMinutes=resizing.spot_timeout_minutes,
        AllocationStrategy=resizing.spot_strategy and resizing.spot_strategy.value,
    )
    on_demand = given(
        TimeoutDurationMinutes=resizing.on_demand_timeout_minutes,
        AllocationStrategy=resizing.on_demand_strategy and resizing.on_demand_strategy.value,
    )
    found = given(
        SpotResizeSpecification=spot or None, OnDemandResizeSpecification=on_demand or None
    )
    return found or None


def instance_view(record: InstanceRecord) -> dict[str, Any]:
    """Return an Instance; states of ours are shown as EMR's RUNNING."""
    machine = record.machine
    return {
        "Id": record.id,
        "Ec2InstanceId": machine.id,
        # As EMR shows instances of a private subnet.
        "PublicDnsName": "",
        "PrivateDnsName": machine.private_dns,
        "PrivateIpAddress": machine.private_ip,
        "Status": {
            "State": record.state.shown.value,
            "StateChangeReason": given(
                Code=record.reason.value if record.reason else None,
                Message=record.message or record.complaint or None,
            ),
            "Timeline": given(
                CreationDateTime=instant(record.created_at),
                ReadyDateTime=instant(record.ready_at),
                EndDateTime=instant(record.ended_at),
            ),
        },
        "InstanceFleetId": machine.fleet_id,
        "Market": machine.market.value,
        "InstanceType": machine.instance_type,
        "EbsVolumes": [],
    }
