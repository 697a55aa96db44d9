from __future__ import annotations

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.capacity import Pool
from atoll.fleet.model import InstanceTypeConfig, Market, OnDemandStrategy, SpotStrategy
from atoll.fleet.planning.allocate import allocate


def pool(name, price, capacity=None, *, score=5.0, market=Market.SPOT, subnet="subnet-1"):
    return Pool(name, market, subnet, price, capacity, score)


def kinds(**weights):
    return tuple(
        InstanceTypeConfig(name, weight, bid_price=9.0) for name, weight in weights.items()
    )


def spot(units, types, pools, strategy=SpotStrategy.PRICE_CAPACITY_OPTIMIZED):
    return allocate(units, types, pools, market=Market.SPOT, strategy=strategy)


def on_demand(units, types, pools, strategy=OnDemandStrategy.LOWEST_PRICE):
    return allocate(units, types, pools, market=Market.ON_DEMAND, strategy=strategy)


def counts(allocation):
    return {one.instance_type: one.count for one in allocation.purchases}


def test_two_units_left_and_only_a_weight_of_five_makes_one_more_instance():
    found = spot(12, kinds(big=5), [pool("big", 1.0)])
    assert (counts(found), found.units, found.missing_units) == ({"big": 3}, 15, 0)


def test_a_light_instance_ends_what_a_heavy_one_would_overshoot():
    found = spot(9, kinds(big=8, small=1), [pool("big", 0.8), pool("small", 0.2)])
    assert counts(found) == {"big": 1, "small": 1}


def test_a_light_instance_is_not_kept_when_the_heavy_one_covers_it():
    found = spot(3, kinds(small=1, big=5), [pool("small", 0.1, 1), pool("big", 1.0)])
    assert counts(found) == {"big": 1}


def test_what_cannot_be_had_is_told_with_the_reasons():
    types = (*kinds(some=2, none=1), InstanceTypeConfig("dear", bid_price=0.1), *kinds(absent=1))
    pools = [pool("some", 0.1, 2), pool("none", 0.1, 0), pool("dear", 0.2)]
    found = spot(7, types, pools)
    assert (counts(found), found.missing_units) == ({"some": 2}, 3)
    assert found.reasons == (
        "some spot: 2 to be had",
        "none spot: none to be had",
        "dear spot costs $0.2000 an hour, its limit is $0.1000",
        "absent spot is not offered there",
    )


def test_a_limit_in_percent_is_of_the_on_demand_price():
    types = (InstanceTypeConfig("a", bid_price_percent=50.0),)
    usual = pool("a", 1.0, market=Market.ON_DEMAND)
    assert counts(spot(1, types, [usual, pool("a", 0.5)])) == {"a": 1}
    assert spot(1, types, [usual, pool("a", 0.51)]).missing_units == 1


def test_a_limit_in_percent_of_an_unknown_price_is_refused():
    with pytest.raises(InvalidInput, match="give a BidPrice in US dollars"):
        spot(1, (InstanceTypeConfig("a", bid_price_percent=99.0),), [pool("a", 0.5)])


def test_price_capacity_optimized_takes_the_cheapest_of_the_most_available():
    types = kinds(rare=1, safe=1, safest=1)
    pools = [pool("rare", 0.1, score=3), pool("safe", 0.2, score=9), pool("safest", 0.3, score=10)]
    assert counts(spot(4, types, pools)) == {"safe": 4}
    assert counts(spot(4, types, pools, SpotStrategy.CAPACITY_OPTIMIZED)) == {"safest": 4}
    assert counts(spot(4, types, pools, SpotStrategy.LOWEST_PRICE)) == {"rare": 4}


def test_priorities_count_only_among_equally_available_pools():
    types = tuple(
        InstanceTypeConfig(name, priority=priority, bid_price=9.0)
        for name, priority in (("rare", 0.0), ("second", 1.0), ("third", None))
    )
    pools = [
        pool("rare", 0.1, score=2),
        pool("second", 0.3, 2, score=8),
        pool("third", 0.2, score=9),
    ]
    found = spot(3, types, pools, SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED)
    assert counts(found) == {"second": 2, "third": 1}


def test_diversified_spreads_units_evenly_over_all_pools():
    types, prices = kinds(a=1, b=2, c=4), {"a": 0.1, "b": 0.2, "c": 0.4}
    pools = [pool(name, price) for name, price in prices.items()]
    assert counts(spot(12, types, pools, SpotStrategy.DIVERSIFIED)) == {"a": 4, "b": 2, "c": 1}


def test_on_demand_prioritized_takes_priority_zero_first_and_none_last():
    types = tuple(
        InstanceTypeConfig(n, priority=p) for n, p in (("x", None), ("y", 1.0), ("z", 0.0))
    )
    pools = [
        pool(n, p, 2, market=Market.ON_DEMAND) for n, p in (("x", 0.1), ("y", 0.2), ("z", 0.3))
    ]
    found = on_demand(5, types, pools, OnDemandStrategy.PRIORITIZED)
    assert [one.instance_type for one in found.purchases] == ["z", "y", "x"]


def test_nothing_is_bought_for_no_units():
    assert spot(0, kinds(a=1), [pool("a", 1.0)]).purchases == ()


def test_the_post_needs_four_units_that_may_be_one_machine():
    # The largest is a little cheaper by the unit: the real prices are equal.
    prices = {"m5.xlarge": 0.192, "m5.2xlarge": 0.384, "m5.4xlarge": 0.76}
    pools = [pool(name, price, market=Market.ON_DEMAND) for name, price in prices.items()]
    types = tuple(
        InstanceTypeConfig(name, 4 // n) for n, name in zip((4, 2, 1), prices, strict=True)
    )
    assert on_demand(4, types, pools).nodes == 1


def test_pools_of_two_subnets_are_refused():
    with pytest.raises(InvalidInput, match=r"subnet-1, subnet-2.*stands in one"):
        spot(1, kinds(a=1), [pool("a", 1.0), pool("a", 1.0, subnet="subnet-2")])


def test_a_strategy_of_the_other_market_is_refused():
    with pytest.raises(InvalidInput, match="use one of lowest-price, prioritized"):
        on_demand(1, kinds(a=1), [], SpotStrategy.LOWEST_PRICE)
