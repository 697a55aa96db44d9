"""EMR's rules for one instance fleet, whatever its role.

Where a rule's wording is EMR's, a comment says where it is from; all other wording is ours.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from atoll.fleet.model import FleetSpec, InstanceTypeConfig, OnDemandStrategy, SpotStrategy
from atoll.fleet.spec.where import Path, Remark

MOST_TYPES = 30
"""Instance types of a fleet. Source: EMR API reference, InstanceTypeConfigs."""
MOST_UNITS = 1_000_000
"""Capacity units of a fleet, ours: far above what a subnet holds."""
SPOT_TIMEOUT = (5, 1440)
"""Minutes. Source: EMR API reference, SpotProvisioningSpecification."""
RESIZE_TIMEOUT = (5, 10_080)
"""Minutes. Source: the same, SpotResizingSpecification."""
DISK = (1, 16_384)
"""GiB. Source: EBS user guide, the largest volume."""

_PRIORITIZED = (SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED, OnDemandStrategy.PRIORITIZED)


def fleet_problems(fleet: FleetSpec, place: int, *, may_be_empty: bool = False) -> Iterator[Remark]:
    """List the rules that one fleet breaks, whatever its role.

    Args:
        fleet: the fleet.
        place: where it stands in the cluster.
        may_be_empty: both targets may be 0, as after a resize.
    """
    part: Path = ("fleets", place)
    if not 1 <= len(fleet.name) <= 256:
        yield Remark((*part, "name"), f"has {len(fleet.name)} characters; 1 to 256 are allowed")
    yield from _targets(fleet, part, may_be_empty)
    yield from _timeouts(fleet, part)
    if not 1 <= len(fleet.types) <= MOST_TYPES:
        yield Remark(
            (*part, "types"), f"has {len(fleet.types)} instance types; 1 to {MOST_TYPES} may be"
        )
    for name in twice([one.instance_type for one in fleet.types]):
        yield Remark((*part, "types"), f"{name!r} is there twice; each type counts once")
    for which, one in enumerate(fleet.types):
        yield from _type(one, (*part, "types", which))
        if one.priority is not None and not _uses_priorities(fleet):
            yield Remark(
                (*part, "types", which, "priority"),
                f"is {one.priority:g}; priorities count with the strategies "
                f"{' and '.join(_PRIORITIZED)} only",
            )


def _targets(fleet: FleetSpec, part: Path, may_be_empty: bool) -> Iterator[Remark]:
    yield from in_range((*part, "target_on_demand"), fleet.target_on_demand, (0, MOST_UNITS))
    yield from in_range((*part, "target_spot"), fleet.target_spot, (0, MOST_UNITS))
    if not may_be_empty and fleet.target_on_demand == fleet.target_spot == 0:
        # Wording: EMR API reference, InstanceFleetConfig.
        yield Remark(
            (*part, "target_on_demand"),
            "At least one of TargetSpotCapacity and TargetOnDemandCapacity should be greater "
            "than 0",
        )


def _timeouts(fleet: FleetSpec, part: Path) -> Iterator[Remark]:
    resize: Path = (*part, "resizing")
    yield from in_range(
        (*part, "spot", "timeout_minutes"), fleet.spot.timeout_minutes, SPOT_TIMEOUT
    )
    yield from in_range(
        (*resize, "spot_timeout_minutes"), fleet.resizing.spot_timeout_minutes, RESIZE_TIMEOUT
    )
    yield from in_range(
        (*resize, "on_demand_timeout_minutes"),
        fleet.resizing.on_demand_timeout_minutes,
        RESIZE_TIMEOUT,
    )


def _uses_priorities(fleet: FleetSpec) -> bool:
    resizing = fleet.resizing
    used = (
        fleet.spot.strategy,
        fleet.on_demand_strategy,
        resizing.spot_strategy,
        resizing.on_demand_strategy,
    )
    return any(one in _PRIORITIZED for one in used)


def _type(one: InstanceTypeConfig, part: Path) -> Iterator[Remark]:
    if not one.instance_type or any(char.isspace() for char in one.instance_type):
        yield Remark((*part, "instance_type"), "is no name of an instance type, such as m5.xlarge")
    # Source: EMR API reference, WeightedCapacity: "must be 1 or greater".
    yield from in_range((*part, "weighted_capacity"), one.weighted_capacity, (1, MOST_UNITS))
    yield from in_range((*part, "disk_gib"), one.disk_gib, DISK)
    for name, value in (
        ("bid_price", one.bid_price),
        ("bid_price_percent", one.bid_price_percent),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            yield Remark((*part, name), f"is {value:g}; a bid is more than 0")
    if one.bid_price is not None and one.bid_price_percent != 100.0:
        yield Remark((*part, "bid_price"), "give a price or a percentage, not both")
    if one.priority is not None and not (math.isfinite(one.priority) and one.priority >= 0):
        yield Remark((*part, "priority"), f"is {one.priority:g}; 0 is the first, none is negative")


def in_range(part: Path, value: int | None, bounds: tuple[int, int]) -> Iterator[Remark]:
    """Say so if a value is out of its bounds, both of which are allowed."""
    if value is not None and not bounds[0] <= value <= bounds[1]:
        yield Remark(part, f"is {value:,}; {bounds[0]:,} to {bounds[1]:,} are allowed")


def twice(names: Sequence[str]) -> list[str]:
    """List the names that are there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]
