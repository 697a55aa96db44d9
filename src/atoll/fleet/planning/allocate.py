"""Which instances to buy for a number of capacity units.

Laws, tested against brute force:

- The units are reached exactly when the pools hold enough; otherwise all of it is bought and what
  is missing is told, with the reasons.
- No instance is surplus: without any one of them the units would not be reached.
- No pool gives more than it has, none above its price limit, none of a type not listed.
- The order of pools does not matter, nor that of types, but for those without a known price: these
  are bought last, in the order of the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.fleet.capacity import Pool
from atoll.fleet.model import InstanceTypeConfig, Market, OnDemandStrategy, SpotStrategy
from atoll.fleet.planning.offers import offers, refusals
from atoll.fleet.planning.strategies import STRATEGIES, without_surplus


@dataclass(frozen=True, slots=True)
class Purchase:
    """Instances to buy from one pool.

    Attributes:
        instance_type, market, subnet_id: the pool.
        count: how many, 1 or more.
        weight: capacity units of each.
        price: US dollars an hour for each; None: not known.
    """

    instance_type: str
    market: Market
    subnet_id: str
    count: int
    weight: int
    price: float | None

    @property
    def units(self) -> int:
        """Capacity units of all of them."""
        return self.count * self.weight


@dataclass(frozen=True, slots=True)
class Allocation:
    """What to buy.

    Attributes:
        purchases: in the strategy's order of preference, one for each pool used.
        missing_units: capacity units that cannot be had.
        reasons: why, by type; empty where nothing is missing.
    """

    purchases: tuple[Purchase, ...] = ()
    missing_units: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Capacity units bought; the last instance may overshoot."""
        return sum(one.units for one in self.purchases)

    @property
    def nodes(self) -> int:
        """Instances bought, each of which needs an address."""
        return sum(one.count for one in self.purchases)

    @property
    def price_per_hour(self) -> float:
        """US dollars an hour for all of it whose price is known."""
        return sum(one.count * (one.price or 0.0) for one in self.purchases)

    @property
    def unpriced_nodes(self) -> int:
        """Instances whose price is not known."""
        return sum(one.count for one in self.purchases if one.price is None)


def allocate(
    units: int,
    types: Sequence[InstanceTypeConfig],
    pools: Sequence[Pool],
    *,
    market: Market,
    strategy: SpotStrategy | OnDemandStrategy,
) -> Allocation:
    """Choose instances for so many capacity units on one market.

    Args:
        units: capacity units wanted; 0 or less buys nothing.
        types: what the fleet may be made of.
        pools: what there is in one subnet, on-demand pools included also for spot: a limit in
            percent is of their price.
        market: on demand or spot; pools of the other are not bought from.
        strategy: one of that market's.

    Raises:
        InvalidInput: pools of several subnets, a strategy of the other market, or a spot limit
            that is a part of an on-demand price which is not known.
    """
    _check(pools, market, strategy)
    if units <= 0:
        return Allocation()
    lots = STRATEGIES[strategy](offers(units, types, pools, market), units)
    purchases = tuple(
        Purchase(
            offer.pool.instance_type,
            market,
            offer.pool.subnet_id,
            count,
            offer.weight,
            offer.pool.price,
        )
        for offer, count in without_surplus(lots, units)
    )
    missing = max(units - sum(one.units for one in purchases), 0)
    return Allocation(purchases, missing, refusals(types, pools, market) if missing else ())


def _check(
    pools: Sequence[Pool], market: Market, strategy: SpotStrategy | OnDemandStrategy
) -> None:
    subnets = sorted({pool.subnet_id for pool in pools})
    if len(subnets) > 1:
        raise InvalidInput(
            f"pools of {len(subnets)} subnets ({', '.join(subnets)}) were given, but a cluster"
            " stands in one; choose it first",
            subnets=subnets,
        )
    wanted = SpotStrategy if market is Market.SPOT else OnDemandStrategy
    if not isinstance(strategy, wanted):
        names = ", ".join(wanted)
        raise InvalidInput(
            f"strategy '{strategy}' is not one for {market}; use one of {names}",
            strategy=str(strategy),
            market=str(market),
        )
