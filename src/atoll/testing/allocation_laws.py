"""The laws of an allocation, checked without any of the allocator's code.

Tests and the bench of 10^6 cases share them and the random cases. A case is what `allocate` takes.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from atoll.fleet.capacity import Pool
from atoll.fleet.model import InstanceTypeConfig, Market, OnDemandStrategy, SpotStrategy
from atoll.fleet.planning.allocate import Allocation

CENT = 1e-6
"""Sums of prices are compared with this much room: they were added in different orders."""


@dataclass(frozen=True)
class Case:
    """What was asked of the allocator."""

    units: int
    types: Sequence[InstanceTypeConfig]
    pools: Sequence[Pool]
    market: Market


@dataclass(frozen=True)
class Buyable:
    """A pool within its price limit: weight and priority of its type, the most it may give."""

    name: str
    weight: int
    most: int
    price: float
    priority: float
    score: float


def random_case(seed: int, market: Market, *, most_types: int = 5, most_units: int = 40) -> Case:
    """Make up a case: scarce, plenty and empty pools, bids too low, types not offered or listed."""
    draw = random.Random(seed)
    names = [f"t{number}" for number in range(draw.randint(1, most_types))]
    types = [
        InstanceTypeConfig(
            name,
            draw.choice((1, 1, 2, 3, 4, 8)),
            bid_price=draw.choice((None, None, draw.randint(1, 400) / 100)),
            bid_price_percent=draw.choice((100.0, 100.0, 50.0, 20.0)),
            priority=draw.choice((None, 0.0, 1.0, 2.0)),
        )
        for name in names
    ]
    pools = [
        Pool(
            name,
            kind,
            "subnet-1",
            draw.randint(1, most) / 100,
            _capacity(draw),
            draw.randint(1, 10),
        )
        for name in (*names, "not listed")
        for kind, most in ((Market.ON_DEMAND, 400), (Market.SPOT, 200))
        if kind is Market.ON_DEMAND or draw.random() < 0.95
    ]
    draw.shuffle(pools)
    return Case(draw.randint(-1, most_units), types, pools, market)


def _capacity(draw: random.Random) -> int | None:
    return draw.choice((None, 0, 1, 2, 3, 6))


def buyable(case: Case) -> list[Buyable]:
    """List what may be bought, in the order of the pools, all of which have prices."""
    configs = {one.instance_type: one for one in case.types}
    priced = [(one, one.price) for one in case.pools if one.price is not None]
    prices = {one.instance_type: price for one, price in priced if one.market is Market.ON_DEMAND}
    found = []
    for pool, price in priced:
        config = configs.get(pool.instance_type)
        if config is None or pool.market is not case.market:
            continue
        limit = config.bid_price
        if limit is None:
            limit = prices[pool.instance_type] * config.bid_price_percent / 100
        if case.market is Market.ON_DEMAND or price <= limit:
            most = max(case.units, 0) if pool.capacity is None else pool.capacity
            priority = math.inf if config.priority is None else config.priority
            weight = config.weighted_capacity
            found.append(Buyable(pool.instance_type, weight, most, price, priority, pool.score))
    return found


def violations(case: Case, found: Allocation) -> Iterator[str]:
    """Name the laws of every strategy that an allocation breaks."""
    there = {one.name: one for one in buyable(case)}
    bought = {one.instance_type: one.count for one in found.purchases}
    if len(bought) < len(found.purchases) or any(count < 1 for count in bought.values()):
        yield "one purchase of at least one instance from each pool used"
    if any(name not in there or count > there[name].most for name, count in bought.items()):
        yield "only what pools have, within price limits"
        return
    held = sum(there[name].weight * count for name, count in bought.items())
    most = sum(one.weight * one.most for one in there.values())
    price = sum(there[name].price * count for name, count in bought.items())
    if found.missing_units != max(case.units - most, 0):
        yield "the units are reached exactly when the pools hold enough"
    if found.missing_units and held != most:
        yield "all is bought where it is not enough"
    if bool(found.missing_units) != bool(found.reasons):
        yield "reasons exactly where something is missing"
    if any(held - there[name].weight >= case.units for name in bought):
        yield "no instance is surplus"
    if (found.units, found.nodes) != (held, sum(bought.values())):
        yield "the sums are right"
    if abs(found.price_per_hour - price) > CENT:
        yield "the price is right"


def spot_violations(case: Case, found: Mapping[SpotStrategy, Allocation]) -> Iterator[str]:
    """Name the laws between strategies that the allocations of one case break."""
    both = SpotStrategy.PRICE_CAPACITY_OPTIMIZED, SpotStrategy.CAPACITY_OPTIMIZED
    cheap, safe = (found[strategy].price_per_hour for strategy in both)
    if cheap > safe + CENT:
        yield "price-capacity-optimized is never dearer than capacity-optimized"
    if not is_even(case, found[SpotStrategy.DIVERSIFIED]):
        yield "diversified deals evenly"


def order_violations(
    case: Case, strategy: SpotStrategy | OnDemandStrategy, found: Allocation
) -> Iterator[str]:
    """Name the law that an allocation breaks of a strategy which prefers some pools to others.

    A preferred pool is left with room only where the last instance, of the least preferred pools
    that were bought from and needed for want of others, covers that share, too.
    """
    rank = _ranks(case, strategy)
    bought = {one.instance_type: one.count for one in found.purchases}
    if rank is None or not bought:
        return
    there = {one.name: one for one in buyable(case)}
    worst = max(rank[name] for name in bought)
    room = sum(
        (one.most - bought.get(name, 0)) * one.weight
        for name, one in there.items()
        if name in rank and rank[name] < worst
    )
    heaviest = max(there[name].weight for name in bought if rank[name] == worst)
    if room and room + max(found.units - case.units, 0) >= heaviest:
        yield f"{strategy} takes no worse pool while a better one has room"


def _ranks(
    case: Case, strategy: SpotStrategy | OnDemandStrategy
) -> dict[str, tuple[float, ...]] | None:
    """Rank the pools that have anything, the least first; None: the strategy goes by price."""
    there = [one for one in buyable(case) if one.most]
    bands: dict[str, int] = {}
    band, best = -1, math.inf
    for one in sorted(there, key=lambda one: -one.score):
        # Scores that differ by no more than one step of AWS's scale count as alike.
        if best - one.score > 1:
            band, best = band + 1, one.score
        bands[one.name] = band
    keys: dict[str, Callable[[Buyable], tuple[float, ...]]] = {
        OnDemandStrategy.PRIORITIZED: lambda one: (one.priority,),
        SpotStrategy.CAPACITY_OPTIMIZED: lambda one: (-one.score,),
        SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED: lambda one: (bands[one.name], one.priority),
        SpotStrategy.PRICE_CAPACITY_OPTIMIZED: lambda one: (bands[one.name],),
    }
    key = keys.get(strategy)
    return None if key is None else {one.name: key(one) for one in there}


def least_price(case: Case) -> float | None:
    """Try every choice: the least price that reaches the units, None where nothing does."""
    there = buyable(case)
    needed = [-(-max(case.units, 0) // one.weight) for one in there]
    ranges = [range(min(one.most, most) + 1) for one, most in zip(there, needed, strict=True)]
    prices = [
        sum(count * one.price for count, one in zip(counts, there, strict=True))
        for counts in product(*ranges)
        if sum(count * one.weight for count, one in zip(counts, there, strict=True)) >= case.units
    ]
    return min(prices, default=None)


def dealt_evenly(case: Case) -> dict[str, int]:
    """Deal out instances singly, the next one always to the pool that holds the fewest units."""
    heap = [(0, one.price / one.weight, one.name, one) for one in buyable(case) if one.most]
    heapq.heapify(heap)
    counts: dict[str, int] = {}
    left = case.units
    while left > 0 and heap:
        units, price, name, one = heapq.heappop(heap)
        counts[name] = counts.get(name, 0) + 1
        left -= one.weight
        if counts[name] < one.most:
            heapq.heappush(heap, (units + one.weight, price, name, one))
    return counts


def is_even(case: Case, found: Allocation) -> bool:
    """Tell whether an allocation is what was dealt evenly, less what of that was surplus."""
    weights = {one.name: one.weight for one in buyable(case)}
    dealt = dealt_evenly(case)
    over = sum(weights[name] * count for name, count in dealt.items()) - case.units
    bought = {one.instance_type: one.count for one in found.purchases}
    dropped = {name: count - bought.get(name, 0) for name, count in dealt.items()}
    return (
        bought.keys() <= dealt.keys()
        and all(count >= 0 for count in dropped.values())
        and sum(weights[name] * count for name, count in dropped.items()) <= max(over, 0)
    )
