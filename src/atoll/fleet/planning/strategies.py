"""How pools are chosen: the allocation strategies of EC2 Fleet, each a pure function.

A strategy takes what may be bought and the units wanted (1 or more) and returns lots in the order
of preference. It buys until the units are reached; the last instance may overshoot.

AWS keeps to itself how available a pool is. Here it is `Pool.score`, declared by the provider on
the scale of EC2's spot placement scores (1 to 10): what follows from the scores is documented and
tested, the scores are a model. Equal pools are told apart by price, then by name.

Source: EC2 API reference, SpotOptionsRequest and OnDemandOptionsRequest; EMR API reference,
SpotProvisioningSpecification.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from atoll.fleet.model import OnDemandStrategy, SpotStrategy
from atoll.fleet.planning.offers import Offer

Lot = tuple[Offer, int]
Strategy = Callable[[list[Offer], int], list[Lot]]

SCORE_BAND = 1.0
"""Pools whose scores differ by no more count as equally available (one step of AWS's scale)."""


def cost(lots: list[Lot]) -> float:
    """Sum up the price of lots, in US dollars an hour."""
    return sum(offer.price * count for offer, count in lots)


def lowest_price(offers: list[Offer], units: int) -> list[Lot]:
    """Buy at the lowest price for a unit, end with the instance that makes the sum least.

    Pools are taken in the order of their price for a unit. Of each, only as many as leave something
    to buy; one more would end it. Of all such ends, the cheapest is taken: at most twice the price
    of the best possible.

    Source: Csirik, Frenk, Labbe, Zhang (1991), Acta Cybernetica 10, on the minimum knapsack.
    """
    taken: list[Lot] = []
    left, spent = units, 0.0
    ends: list[tuple[float, int, Lot]] = []
    for offer in sorted(offers, key=_by_price):
        count = min(offer.most, -(-left // offer.weight) - 1)
        if count < offer.most:
            ends.append((spent + offer.price * (count + 1), len(taken), (offer, count + 1)))
        taken.append((offer, count))
        left -= count * offer.weight
        spent += count * offer.price
    if not ends:
        return taken
    _, before, last = min(ends, key=lambda end: end[:2])
    return [*taken[:before], last]


def prioritized(offers: list[Offer], units: int) -> list[Lot]:
    """Buy in the order of the fleet's priorities."""
    return _in_order(sorted(offers, key=_by_priority), units)


def capacity_optimized(offers: list[Offer], units: int) -> list[Lot]:
    """Buy from the most available pools."""
    return _in_order(sorted(offers, key=_by_score), units)


def capacity_optimized_prioritized(offers: list[Offer], units: int) -> list[Lot]:
    """Buy from the most available pools, among those in the order of the priorities."""
    ordered = (offer for band in _bands(offers) for offer in sorted(band, key=_by_priority))
    return _in_order(ordered, units)


def price_capacity_optimized(offers: list[Offer], units: int) -> list[Lot]:
    """Buy from the most available pools, among those the cheapest.

    It never costs more than `capacity_optimized`, whose lots it returns where weights would make
    the cheaper pools dearer in the sum.
    """
    lots: list[Lot] = []
    left = units
    for band in _bands(offers):
        lots += lowest_price(band, left)
        left = units - sum(offer.weight * count for offer, count in lots)
        if left <= 0:
            break
    safest = without_surplus(capacity_optimized(offers, units), units)
    return min(without_surplus(lots, units), safest, key=cost)


def diversified(offers: list[Offer], units: int) -> list[Lot]:
    """Spread the units evenly: the next instance goes where there are the fewest units.

    The n-th instance of a pool, from 0, is bought when no pool holds fewer than n * weight units;
    so all that are bought before some level are counted at once, and only the last round is dealt
    out singly.
    """

    def count(offer: Offer, level: int) -> int:
        return min(offer.most, -(-level // offer.weight))

    def reached(level: int) -> int:
        return sum(count(offer, level) * offer.weight for offer in offers)

    ordered = sorted(offers, key=_by_price)
    level = bisect_left(range(units + 1), units, key=reached) - 1
    left = units - reached(level)
    lots: list[Lot] = []
    for offer in ordered:
        bought = count(offer, level)
        if left > 0 and level % offer.weight == 0 and bought < offer.most:
            bought += 1
            left -= offer.weight
        lots.append((offer, bought))
    return lots


def without_surplus(lots: list[Lot], units: int) -> list[Lot]:
    """Leave out what is not needed, the least preferred first.

    Afterwards no instance can be taken away without falling below the units: the overshoot is less
    than the weight of the lightest instance. A cheap light instance is surplus when the heavy one
    after it, bought for want of others, covers its share, too.
    """
    over = sum(offer.weight * count for offer, count in lots) - units
    kept: list[Lot] = []
    for offer, count in reversed(lots):
        dropped = min(count, max(over, 0) // offer.weight)
        over -= dropped * offer.weight
        if count > dropped:
            kept.append((offer, count - dropped))
    return kept[::-1]


def _in_order(offers: Iterator[Offer] | list[Offer], units: int) -> list[Lot]:
    lots: list[Lot] = []
    left = units
    for offer in offers:
        if left <= 0:
            break
        count = min(offer.most, -(-left // offer.weight))
        lots.append((offer, count))
        left -= count * offer.weight
    return lots


def _bands(offers: list[Offer]) -> Iterator[list[Offer]]:
    """Group pools that count as equally available, the most available first."""
    rest = sorted(offers, key=_by_score)
    while rest:
        least = rest[0].pool.score - SCORE_BAND
        end = sum(offer.pool.score >= least for offer in rest)
        yield rest[:end]
        rest = rest[end:]


def _by_price(offer: Offer) -> tuple[float, str]:
    return offer.unit_price, offer.pool.instance_type


def _by_priority(offer: Offer) -> tuple[float, float, str]:
    return offer.priority, offer.unit_price, offer.pool.instance_type


def _by_score(offer: Offer) -> tuple[float, float, str]:
    return -offer.pool.score, offer.unit_price, offer.pool.instance_type


STRATEGIES: Mapping[SpotStrategy | OnDemandStrategy, Strategy] = {
    OnDemandStrategy.LOWEST_PRICE: lowest_price,
    OnDemandStrategy.PRIORITIZED: prioritized,
    SpotStrategy.LOWEST_PRICE: lowest_price,
    SpotStrategy.DIVERSIFIED: diversified,
    SpotStrategy.CAPACITY_OPTIMIZED: capacity_optimized,
    SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED: capacity_optimized_prioritized,
    SpotStrategy.PRICE_CAPACITY_OPTIMIZED: price_capacity_optimized,
}
