"""Where new machines go and what they are: racks, addresses, pools. Values in, values out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from atoll.fleet.capacity import Pool
from atoll.fleet.model import Market
from atoll.fleet.planning.allocate import Purchase, allocate
from atoll.fleet.providers.local.inventory import PoolKey, Record, Terms
from atoll.fleet.providers.local.world import World
from atoll.fleet.providers.port import Address, FleetRequest


def pools_of(
    world: World,
    terms: Mapping[PoolKey, Terms],
    types: Sequence[str],
    subnet_ids: Sequence[str],
) -> list[Pool]:
    """List what can be had: every type on both markets in every subnet.

    Raises:
        InvalidInput: the world has no such type.
    """
    return [
        _pool(world, (name, market, subnet_id), terms.get((name, market, subnet_id), Terms()))
        for name in types
        for market in Market
        for subnet_id in subnet_ids
    ]


def _pool(world: World, key: PoolKey, terms: Terms) -> Pool:
    instance_type, market, subnet_id = key
    usual = world.facts_of(instance_type).price_hour
    if market is Market.SPOT:
        usual *= world.spot_price_share
    return Pool(
        instance_type,
        market,
        subnet_id,
        price=usual if terms.price is None else terms.price,
        capacity=terms.capacity,
        score=1.0 if terms.score is None else terms.score,
    )


def purchases_of(request: FleetRequest, pools: Sequence[Pool]) -> list[Purchase]:
    """Choose what to buy for a fleet, on demand first, then spot.

    Raises:
        InvalidInput: see `allocate`.
    """
    fleet, resizing = request.fleet, request.fleet.resizing
    on_demand, spot = fleet.on_demand_strategy, fleet.spot.strategy
    if request.is_resize:
        on_demand = resizing.on_demand_strategy or on_demand
        spot = resizing.spot_strategy or spot
    bought = [
        allocate(
            request.on_demand, fleet.types, pools, market=Market.ON_DEMAND, strategy=on_demand
        ),
        allocate(request.spot, fleet.types, pools, market=Market.SPOT, strategy=spot),
    ]
    return [purchase for allocation in bought for purchase in allocation.purchases]


def racks_for(
    zone: str, group: str | None, living: Collection[Record], racks_per_zone: int
) -> Iterator[str]:
    """Choose a rack for one machine after another: the emptiest that is allowed.

    Args:
        zone: where they go.
        group: machines of one group each stand on a rack of their own; None: anywhere.
        living: machines that are there.
        racks_per_zone: how many racks there are.

    Yields:
        Racks; ends where no further machine of the group has a place.
    """
    load = load_of(zone, living, racks_per_zone)
    barred = racks_of(group, living)
    while allowed := [rack for rack in load if rack not in barred]:
        chosen = min(allowed, key=lambda rack: load[rack])
        load[chosen] += 1
        if group:
            barred.add(chosen)
        yield chosen


def load_of(zone: str, living: Collection[Record], racks_per_zone: int) -> dict[str, int]:
    """Count the machines on each rack of a zone."""
    machines = Counter(record.machine.rack for record in living)
    racks = [f"{zone}-rack-{number + 1}" for number in range(racks_per_zone)]
    return {rack: machines[rack] for rack in racks}


def racks_of(group: str | None, living: Collection[Record]) -> set[str]:
    """Collect the racks that machines of a group stand on; of no group, none."""
    return {record.machine.rack for record in living if group and record.spread_group == group}


def taken_ips(living: Collection[Record], kept: Collection[Address]) -> set[str]:
    """Collect the addresses that are in use or kept."""
    return {record.machine.private_ip for record in living} | {one.private_ip for one in kept}


def with_capacity_taken(terms: Terms, count: int) -> Terms:
    """Return a pool's terms after some of its capacity was bought."""
    if terms.capacity is None:
        return terms
    return replace(terms, capacity=max(terms.capacity - count, 0))
