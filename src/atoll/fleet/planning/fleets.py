"""What the fleets of a cluster buy in one subnet: pools are shared, primaries come first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from atoll.fleet.capacity import Pool
from atoll.fleet.model import FleetSpec, InstanceTypeConfig, Market, OnDemandStrategy, Role
from atoll.fleet.planning.allocate import Allocation, Purchase, allocate
from atoll.fleet.planning.offers import LAST_PRIORITY

ORDER = (Role.MASTER, Role.CORE, Role.TASK)


@dataclass(frozen=True)
class FleetPlan:
    """What one fleet buys.

    Attributes:
        fleet: the fleet.
        on_demand: for its on-demand units.
        spot: for its spot units.
    """

    fleet: FleetSpec
    on_demand: Allocation
    spot: Allocation

    @property
    def nodes(self) -> int:
        """Instances, each of which needs an address."""
        return self.on_demand.nodes + self.spot.nodes

    @property
    def missing_units(self) -> int:
        """Capacity units that cannot be had now."""
        return self.on_demand.missing_units + self.spot.missing_units

    @property
    def price_per_hour(self) -> float:
        """US dollars an hour for the instances whose price is known."""
        return self.on_demand.price_per_hour + self.spot.price_per_hour

    @property
    def unpriced_nodes(self) -> int:
        """Instances whose price is not known."""
        return self.on_demand.unpriced_nodes + self.spot.unpriced_nodes


def plan_fleets(fleets: Iterable[FleetSpec], pools: Sequence[Pool]) -> tuple[FleetPlan, ...]:
    """Plan the launch of all fleets of a cluster, each from what those before it left.

    Args:
        fleets: in any order; primaries are served first, then core, then task fleets.
        pools: what there is in one subnet.
    """
    plans: list[FleetPlan] = []
    for fleet in sorted(fleets, key=lambda one: ORDER.index(one.role)):
        plan = plan_fleet(fleet, pools, on_demand=fleet.target_on_demand, spot=fleet.target_spot)
        plans.append(plan)
        pools = without(pools, (*plan.on_demand.purchases, *plan.spot.purchases))
    return tuple(plans)


def plan_fleet(
    fleet: FleetSpec, pools: Sequence[Pool], *, on_demand: int, spot: int, is_resize: bool = False
) -> FleetPlan:
    """Plan what a fleet buys for so many units; a resize has strategies of its own.

    Several primaries are all of one type: the first in the strategy's order that there is enough
    of. Source: EMR management guide, "Launch a cluster with multiple primary nodes".
    """
    spot_strategy, strategy = fleet.spot.strategy, fleet.on_demand_strategy
    if is_resize:
        spot_strategy = fleet.resizing.spot_strategy or spot_strategy
        strategy = fleet.resizing.on_demand_strategy or strategy
    if fleet.role is Role.MASTER:
        bought = _of_one_type(fleet, pools, on_demand, strategy)
    else:
        bought = allocate(on_demand, fleet.types, pools, market=Market.ON_DEMAND, strategy=strategy)
    return FleetPlan(
        fleet,
        bought,
        allocate(spot, fleet.types, pools, market=Market.SPOT, strategy=spot_strategy),
    )


def _of_one_type(
    fleet: FleetSpec, pools: Sequence[Pool], units: int, strategy: OnDemandStrategy
) -> Allocation:
    choices = {
        one: allocate(units, (one,), pools, market=Market.ON_DEMAND, strategy=strategy)
        for one in fleet.types
    }

    def order(one: InstanceTypeConfig) -> tuple[int, float, int, float, str]:
        found = choices[one]
        priority = LAST_PRIORITY if one.priority is None else one.priority
        if strategy is OnDemandStrategy.LOWEST_PRICE:
            priority = LAST_PRIORITY
        # Types without a known price come last, in the order of the list.
        place = fleet.types.index(one) + 1 if found.unpriced_nodes else 0
        price = found.price_per_hour
        return found.missing_units, priority, place, price, one.instance_type

    return choices[min(choices, key=order)]


def without(pools: Sequence[Pool], purchases: Iterable[Purchase]) -> list[Pool]:
    """Return the pools as they are after the purchases."""
    bought = Counter[tuple[str, Market]]()
    for one in purchases:
        bought[one.instance_type, one.market] += one.count
    return [
        pool
        if pool.capacity is None
        else replace(pool, capacity=pool.capacity - bought[pool.instance_type, pool.market])
        for pool in pools
    ]
