"""What may be bought: pools joined with the types a fleet lists, within its price limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.fleet.capacity import Pool
from atoll.fleet.model import InstanceTypeConfig, Market

LAST_PRIORITY = float("inf")
"""Of a type without a priority. Source: EC2 API reference, FleetLaunchTemplateOverrides."""
NO_LIMIT_PERCENT = 100.0
"""EC2's own limit for spot is the on-demand price; nothing is said where that is meant."""
_UNKNOWN_PRICE = 1e6
"""US dollars an hour for a unit of a type without a known price: all others are bought first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A pool that a fleet may buy from.

    Attributes:
        pool: the pool.
        weight: capacity units of one of its instances.
        priority: 0 is tried first.
        most: instances that may be bought; never more than the units wanted need.
        price: US dollars an hour for one instance. Where it is not known, more than any costs, and
            the more the later its type is in the fleet's list.
    """

    pool: Pool
    weight: int
    priority: float
    most: int
    price: float

    @property
    def unit_price(self) -> float:
        """US dollars an hour for one capacity unit."""
        return self.price / self.weight


def offers(
    units: int, types: Sequence[InstanceTypeConfig], pools: Sequence[Pool], market: Market
) -> list[Offer]:
    """Join pools with types; pools of types that are not listed and exhausted ones are left out."""
    configs = {one.instance_type: one for one in types}
    places = {one.instance_type: place for place, one in enumerate(types)}
    on_demand = _on_demand_prices(pools)
    return [
        _offer(units, configs[pool.instance_type], pool, places[pool.instance_type])
        for pool in pools
        if pool.market is market
        and pool.instance_type in configs
        and pool.capacity != 0
        and _is_affordable(configs[pool.instance_type], pool, on_demand)
    ]


def _on_demand_prices(pools: Sequence[Pool]) -> dict[str, float]:
    return {
        pool.instance_type: pool.price
        for pool in pools
        if pool.market is Market.ON_DEMAND and pool.price is not None
    }


def _offer(units: int, config: InstanceTypeConfig, pool: Pool, place: int) -> Offer:
    weight = config.weighted_capacity
    needed = -(-units // weight)
    most = needed if pool.capacity is None else min(needed, pool.capacity)
    priority = LAST_PRIORITY if config.priority is None else config.priority
    price = weight * (_UNKNOWN_PRICE + place) if pool.price is None else pool.price
    return Offer(pool, weight, priority, most, price)


def _is_affordable(config: InstanceTypeConfig, pool: Pool, on_demand: dict[str, float]) -> bool:
    if pool.market is Market.ON_DEMAND or pool.price is None:
        return True
    return pool.price <= price_limit(config, on_demand)


def price_limit(config: InstanceTypeConfig, on_demand: dict[str, float]) -> float:
    """Return the most that spot of a type may cost, in US dollars an hour for one instance.

    All of an on-demand price that is not known is no limit: no more is ever asked for spot.

    Args:
        config: the type and its bid.
        on_demand: on-demand prices by type.

    Raises:
        InvalidInput: the bid is a part of an on-demand price that is not known.
    """
    if config.bid_price is not None:
        return config.bid_price
    if config.instance_type not in on_demand:
        if config.bid_price_percent >= NO_LIMIT_PERCENT:
            return float("inf")
        raise InvalidInput(
            f"spot {config.instance_type} may cost {config.bid_price_percent:g} % of its on-demand"
            " price, which is not known here; give a BidPrice in US dollars",
            instance_type=config.instance_type,
        )
    return on_demand[config.instance_type] * config.bid_price_percent / 100


def refusals(
    types: Sequence[InstanceTypeConfig], pools: Sequence[Pool], market: Market
) -> tuple[str, ...]:
    """Say for each listed type why there is not more of it, in the order of the list."""
    on_demand = _on_demand_prices(pools)
    by_type = {pool.instance_type: pool for pool in pools if pool.market is market}
    return tuple(
        reason
        for config in types
        if (reason := _refusal(config, by_type.get(config.instance_type), market, on_demand))
    )


def _refusal(
    config: InstanceTypeConfig, pool: Pool | None, market: Market, on_demand: dict[str, float]
) -> str:
    what = f"{config.instance_type} {'spot' if market is Market.SPOT else 'on demand'}"
    if pool is None:
        return f"{what} is not offered there"
    if not _is_affordable(config, pool, on_demand):
        limit = price_limit(config, on_demand)
        return f"{what} costs ${pool.price or 0:.4f} an hour, its limit is ${limit:.4f}"
    if pool.capacity is None:
        return ""
    return f"{what}: {pool.capacity} to be had" if pool.capacity else f"{what}: none to be had"
