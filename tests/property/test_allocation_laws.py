from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.fleet.model import Market, OnDemandStrategy, SpotStrategy
from atoll.fleet.planning.allocate import allocate
from atoll.testing.allocation_laws import (
    least_price,
    order_violations,
    random_case,
    spot_violations,
    violations,
)

SEEDS = st.integers(0, 2**63)
SPOT = SEEDS.map(lambda seed: random_case(seed, Market.SPOT))
ON_DEMAND = SEEDS.map(lambda seed: random_case(seed, Market.ON_DEMAND))
SMALL = SEEDS.map(lambda seed: random_case(seed, Market.ON_DEMAND, most_types=3, most_units=12))
MANY = settings(max_examples=300)


def shuffled(order, things):
    return order.sample(things, len(things))


def bought(case, strategy):
    return allocate(case.units, case.types, case.pools, market=case.market, strategy=strategy)


@MANY
@given(SPOT, st.sampled_from(SpotStrategy))
def test_spot_allocations_keep_the_laws(case, strategy):
    assert not list(violations(case, bought(case, strategy)))


@MANY
@given(ON_DEMAND, st.sampled_from(OnDemandStrategy))
def test_on_demand_allocations_keep_the_laws(case, strategy):
    assert not list(violations(case, bought(case, strategy)))


@MANY
@given(SPOT, st.sampled_from(SpotStrategy))
def test_spot_of_the_pools_with_most_capacity_is_bought_first(case, strategy):
    assert not list(order_violations(case, strategy, bought(case, strategy)))


@MANY
@given(ON_DEMAND)
def test_a_worse_priority_is_bought_only_where_better_ones_have_no_room(case):
    strategy = OnDemandStrategy.PRIORITIZED
    assert not list(order_violations(case, strategy, bought(case, strategy)))


@MANY
@given(SPOT)
def test_strategies_keep_the_laws_between_them(case):
    found = {strategy: bought(case, strategy) for strategy in SpotStrategy}
    assert not list(spot_violations(case, found))


@MANY
@given(SEEDS, SPOT, st.sampled_from(SpotStrategy))
def test_the_order_of_types_and_pools_does_not_matter(seed, case, strategy):
    order = random.Random(seed)
    other = replace(case, types=shuffled(order, case.types), pools=shuffled(order, case.pools))
    assert bought(other, strategy).purchases == bought(case, strategy).purchases


@MANY
@given(SMALL)
def test_lowest_price_costs_at_most_twice_the_least_possible(case):
    found = bought(case, OnDemandStrategy.LOWEST_PRICE)
    if found.missing_units == 0:
        assert found.price_per_hour <= 2 * least_price(case) + 1e-9


@MANY
@given(SMALL, st.integers(1, 4))
def test_lowest_price_is_the_least_possible_where_all_weights_are_equal(case, weight):
    types = tuple(replace(one, weighted_capacity=weight) for one in case.types)
    case = replace(case, types=types, units=case.units // 2)
    found = bought(case, OnDemandStrategy.LOWEST_PRICE)
    if found.missing_units == 0:
        assert abs(found.price_per_hour - least_price(case)) < 1e-9
