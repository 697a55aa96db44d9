"""Instance fleets as EMR writes them, in its API and in CloudFormation.

Every member of InstanceFleetConfig is read, refused by name, or taken with a notice.
Source: Amazon EMR API reference, InstanceFleetConfig and what it holds.
"""

from __future__ import annotations

from atoll.fleet.model import (
    FleetSpec,
    InstanceTypeConfig,
    OnDemandStrategy,
    Resizing,
    Role,
    SpotProvisioning,
    SpotStrategy,
    TimeoutAction,
)
from atoll.fleet.spec.reader import Section
from atoll.fleet.spec.releases import Release

NAME_LENGTH = 256
# Source: EMR API reference, InstanceTypeConfigs; management guide, emr-instance-fleet.
_TYPES_WITHOUT_STRATEGY = 5


def fleet_name(role: Role, place: int = 0) -> str:
    """Name a fleet nobody named; `place` counts those of its role from 0."""
    word = {Role.MASTER: "primary", Role.CORE: "core", Role.TASK: "task"}[role]
    return f"{word}-{place + 1}" if place else word


def read_fleet(section: Section, role: Role, release: Release, *, place: int = 0) -> FleetSpec:
    """Read one InstanceFleetConfig.

    Args:
        section: the configuration.
        role: what it is for.
        release: decides how spot is chosen where nothing is said.
        place: which fleet of its role it is, from 0.
    """
    section.accept("Context", "EMR reserves it; it does nothing here")
    launch = section.inner("LaunchSpecifications")
    types = read_types(section)
    fleet = FleetSpec(
        role=role,
        name=section.text("Name", longest=NAME_LENGTH) or fleet_name(role, place),
        target_on_demand=section.whole("TargetOnDemandCapacity", 0),
        target_spot=section.whole("TargetSpotCapacity", 0),
        types=types,
        spot=_read_spot(launch, release),
        on_demand_strategy=_read_on_demand(launch),
        resizing=read_resizing(section),
    )
    _check_number_of_types(section, launch, types, release)
    return fleet


def read_types(section: Section) -> tuple[InstanceTypeConfig, ...]:
    """Read the InstanceTypeConfigs of a fleet."""
    return tuple(map(_read_type, section.sections("InstanceTypeConfigs")))


def _read_type(section: Section) -> InstanceTypeConfig:
    section.refuse("Configurations", "configure the cluster as a whole")
    section.refuse("CustomAmiId", "give the cluster's own CustomAmiId")
    # Wording: EMR's, as in hashicorp/terraform-provider-aws#22792.
    if "BidPrice" in section and "BidPriceAsPercentageOfOnDemandPrice" in section:
        section.problem(
            "BidPrice",
            "Specify at most one of bidPrice or bidPriceAsPercentageOfOnDemandPrice value for the "
            "Spot Instance fleet",
        )
    return InstanceTypeConfig(
        instance_type=section.needed("InstanceType", longest=NAME_LENGTH),
        weighted_capacity=section.whole("WeightedCapacity", 1),
        bid_price=section.maybe_number("BidPrice"),
        bid_price_percent=section.number("BidPriceAsPercentageOfOnDemandPrice", 100.0),
        priority=section.maybe_number("Priority"),
        disk_gib=_read_disk(section.inner("EbsConfiguration")),
    )


def _read_disk(section: Section) -> int | None:
    section.accept("EbsOptimized", "today's instance types always are")
    total = 0
    for device in section.sections("EbsBlockDeviceConfigs"):
        volume = device.inner("VolumeSpecification")
        volume.accept("VolumeType", "Atoll asks for the size only")
        volume.refuse("Iops", "a volume has what its type gives")
        volume.refuse("Throughput", "a volume has what its type gives")
        count = device.whole("VolumesPerInstance", 1)
        if count < 1:
            device.problem("VolumesPerInstance", f"is {count}; 1 is the least")
        volume.needed("SizeInGB")
        total += max(count, 1) * volume.whole("SizeInGB", 0)
    return total if "EbsBlockDeviceConfigs" in section else None


def _read_spot(launch: Section, release: Release) -> SpotProvisioning:
    section = launch.inner("SpotSpecification")
    section.refuse("BlockDurationMinutes", "EC2 ended spot blocks in 2022; leave it out")
    if "SpotSpecification" in launch:
        section.needed("TimeoutDurationMinutes")
        section.needed("TimeoutAction")
    return SpotProvisioning(
        strategy=section.choice("AllocationStrategy", release.spot_strategy),
        timeout_minutes=section.whole("TimeoutDurationMinutes", SpotProvisioning.timeout_minutes),
        timeout_action=section.choice("TimeoutAction", TimeoutAction.SWITCH_TO_ON_DEMAND),
    )


def _read_on_demand(launch: Section) -> OnDemandStrategy:
    section = launch.inner("OnDemandSpecification")
    _refuse_reservations(section)
    if "OnDemandSpecification" in launch:
        section.needed("AllocationStrategy")
    return section.choice("AllocationStrategy", OnDemandStrategy.LOWEST_PRICE)


def read_resizing(section: Section) -> Resizing:
    """Read the ResizeSpecifications of a fleet."""
    resize = section.inner("ResizeSpecifications")
    spot = resize.inner("SpotResizeSpecification")
    on_demand = resize.inner("OnDemandResizeSpecification")
    _refuse_reservations(on_demand)
    return Resizing(
        spot_strategy=spot.maybe_choice("AllocationStrategy", SpotStrategy),
        on_demand_strategy=on_demand.maybe_choice("AllocationStrategy", OnDemandStrategy),
        spot_timeout_minutes=spot.maybe_whole("TimeoutDurationMinutes"),
        on_demand_timeout_minutes=on_demand.maybe_whole("TimeoutDurationMinutes"),
    )


def _refuse_reservations(section: Section) -> None:
    section.refuse("CapacityReservationOptions", "capacity is not taken from reservations")


def _check_number_of_types(
    section: Section, launch: Section, types: tuple[InstanceTypeConfig, ...], release: Release
) -> None:
    specifications = ("SpotSpecification", "OnDemandSpecification")
    has_strategy = any("AllocationStrategy" in launch.inner(one) for one in specifications)
    if has_strategy and not release.has_strategies:
        launch.problem(
            "", f"{release.label} has no allocation strategies; 5.12.1 and later have them"
        )
    if not has_strategy and len(types) > _TYPES_WITHOUT_STRATEGY:
        section.problem(
            "InstanceTypeConfigs",
            f"has {len(types)} instance types; without an AllocationStrategy "
            f"{_TYPES_WITHOUT_STRATEGY} are the most, with one 30",
        )
