from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress, Pool, Subnet
from atoll.fleet.codec import decode, encode
from atoll.fleet.model import (
    ClusterSpec,
    FleetSpec,
    InstanceTypeConfig,
    Market,
    OnDemandStrategy,
    Resizing,
    Role,
    SpotStrategy,
)
from atoll.fleet.planning.fleets import plan_fleet, plan_fleets
from atoll.fleet.planning.subnets import LaunchPreview, preview, require_addresses

PRICES = {"m5.xlarge": 0.192, "m5.2xlarge": 0.384}
EVERY = tuple(InstanceTypeConfig(name) for name in PRICES)


def fleet(role, on_demand, spot=0, types=EVERY[:1], **other):
    return FleetSpec(role, role.lower(), on_demand, spot, types, **other)


SPEC = ClusterSpec(
    "test", "emr-7.10.0", (fleet(Role.TASK, 0, 2), fleet(Role.CORE, 2), fleet(Role.MASTER, 3))
)


def subnet(name="subnet-x", free=20, **other):
    facts = {"zone": f"zone-of-{name}", "network": "vpc-1", "is_public": False}
    return Subnet(**{"id": name, "free_addresses": free, **facts, **other})


def pools(name="subnet-x", capacity=None, discount=0.3, scarce=None):
    left = {Market.ON_DEMAND: capacity, Market.SPOT: capacity, **(scarce or {})}
    return [
        Pool(kind, market, name, price * (discount if market is Market.SPOT else 1), left[market])
        for kind, price in PRICES.items()
        for market in Market
    ]


def test_a_preview_says_what_each_fleet_buys_and_what_it_costs():
    found = preview(SPEC, [subnet()], pools())
    assert [one.nodes for one in found.fleets] == [3, 2, 2]
    assert found.nodes == 7
    assert found.price_per_hour == pytest.approx(5 * 0.192 + 2 * 0.192 * 0.3)


def test_the_cheapest_of_the_subnets_that_can_fulfil_all_is_taken():
    there = [subnet("a"), subnet("b"), subnet("c")]
    supply = pools("a") + pools("b", discount=0.2) + pools("c", 1, discount=0.1)
    assert preview(SPEC, there, supply).subnet.id == "b"


def test_a_subnet_with_an_address_to_spare_is_taken_before_a_cheaper_one_without():
    supply = pools("a", discount=0.1) + pools("b")
    assert preview(SPEC, [subnet("a", 7), subnet("b", 8)], supply).subnet.id == "b"
    found = preview(SPEC, [subnet("a", 7)], supply)
    assert "a has 7 free addresses for 7 machines and none to spare" in found.warnings[0]


def test_a_subnet_too_small_is_refused_by_name_and_by_fleet():
    expected = "subnet-x has 3 free addresses, 7 are needed: 3 primaries, 2 core, 2 task"
    with pytest.raises(NoFreeAddress, match=expected):
        preview(SPEC, [subnet(free=3)], pools())


def test_addresses_are_needed_for_machines_not_for_units():
    heavy = replace(EVERY[0], weighted_capacity=4)
    spec = replace(SPEC, fleets=(fleet(Role.MASTER, 3), fleet(Role.CORE, 8, types=(heavy,))))
    assert preview(spec, [subnet(free=6)], pools()).nodes == 5


def test_where_none_has_all_the_subnet_that_misses_least_is_taken_and_says_so():
    supply = pools("a", scarce={Market.SPOT: 0}) + pools("b", scarce={Market.SPOT: 1})
    found = preview(SPEC, [subnet("a"), subnet("b")], supply)
    assert (found.subnet.id, found.missing_units) == ("b", 1)
    assert found.warnings[0] == (
        "fleet 'task': 1 of 2 spot units are not to be had in b (zone-of-b):"
        " m5.xlarge spot: 1 to be had"
    )


def test_a_subnet_that_cannot_launch_is_never_the_best_fit():
    supply = pools("a", scarce={Market.ON_DEMAND: 2}) + pools("b", scarce={Market.SPOT: 0})
    there = [subnet("a"), subnet("b"), subnet("c", 1)]
    assert preview(SPEC, there, supply + pools("c")).subnet.id == "b"


def test_too_few_primaries_are_refused():
    with pytest.raises(InsufficientCapacity, match="'master': 1 of 3 on-demand units"):
        preview(SPEC, [subnet()], pools(capacity=2))


def test_primaries_are_of_one_type_though_two_of_another_are_cheaper():
    spec = replace(SPEC, fleets=(fleet(Role.MASTER, 3, types=EVERY),))
    supply = [replace(one, capacity=2) if "xlarge" in one.instance_type else one for one in pools()]
    supply[2] = replace(supply[2], capacity=3)
    (plan,) = preview(spec, [subnet()], supply).fleets
    assert [(one.instance_type, one.count) for one in plan.on_demand.purchases] == [
        ("m5.2xlarge", 3)
    ]


def test_primaries_follow_their_priorities():
    types = tuple(replace(one, priority=p) for one, p in zip(EVERY, (1.0, 0.0), strict=True))
    primaries = fleet(Role.MASTER, 3, types=types, on_demand_strategy=OnDemandStrategy.PRIORITIZED)
    (plan,) = plan_fleets([primaries], pools())
    assert plan.on_demand.purchases[0].instance_type == "m5.2xlarge"


def test_fleets_share_what_there_is_and_primaries_come_first():
    plans = plan_fleets(SPEC.fleets, pools(scarce={Market.ON_DEMAND: 4}))
    assert [one.missing_units for one in plans] == [0, 1, 0]


def test_a_resize_has_strategies_of_its_own():
    later = Resizing(spot_strategy=SpotStrategy.LOWEST_PRICE)
    task = fleet(Role.TASK, 0, types=EVERY, resizing=later)
    supply = [
        replace(one, score=9.0 if one.instance_type == "m5.2xlarge" else 1.0) for one in pools()
    ]
    plans = [
        plan_fleet(task, supply, on_demand=0, spot=1, is_resize=resizes)
        for resizes in (False, True)
    ]
    names = [one.spot.purchases[0].instance_type for one in plans]
    assert names == ["m5.2xlarge", "m5.xlarge"]


def test_a_resize_into_a_subnet_too_small_is_refused():
    plan = plan_fleet(SPEC.fleets[0], pools(), on_demand=0, spot=4, is_resize=True)
    with pytest.raises(NoFreeAddress, match="1 free address, 4 are needed: 4 task"):
        require_addresses(subnet(free=1), [plan])


def test_public_and_private_subnets_are_not_mixed():
    with pytest.raises(InvalidInput, match=r"differ in kind \(a: private, b: public\)"):
        preview(SPEC, [subnet("a"), subnet("b", is_public=True)], [])


def test_where_none_is_named_subnets_of_two_networks_ask_for_a_name():
    there = [subnet(f"s{number}", network=f"vpc-{number % 2}") for number in range(9)]
    with pytest.raises(InvalidInput, match=r"and 4 more.*; name those .* \(Ec2SubnetIds\)$"):
        preview(SPEC, there, [])


def test_subnets_of_two_networks_are_refused():
    with pytest.raises(InvalidInput, match=r"differ in network \(a: vpc-1, b: vpc-2\)"):
        preview(SPEC, [subnet("a"), subnet("b", network="vpc-2")], [])


def test_no_subnet_at_all_is_refused():
    with pytest.raises(InvalidInput, match="needs a subnet"):
        preview(SPEC, [], [])


def test_a_shared_subnet_warns_and_the_one_zone_limit_is_stated():
    found = preview(SPEC, [subnet(foreign_machines=2)], pools())
    assert "shared with 2 machines of others" in found.warnings[0]
    assert found.warnings[-1].startswith("all machines stand in zone-of-subnet-x")


UNKNOWN = tuple(InstanceTypeConfig(name) for name in ("m7i.xlarge", "c7g.xlarge", "m7i.16xlarge"))


def unpriced(market=Market.ON_DEMAND, price=None):
    return [Pool(one.instance_type, market, "subnet-x", price, None) for one in reversed(UNKNOWN)]


@pytest.mark.parametrize("strategy", OnDemandStrategy)
def test_primaries_without_a_known_price_are_of_the_first_type_of_the_list(strategy):
    primaries = fleet(Role.MASTER, 3, types=UNKNOWN, on_demand_strategy=strategy)
    (bought,) = plan_fleets([primaries], unpriced())[0].on_demand.purchases
    assert (bought.instance_type, bought.count, bought.price) == ("m7i.xlarge", 3, None)


@pytest.mark.parametrize("role", [Role.MASTER, Role.CORE])
def test_a_type_with_a_known_price_is_bought_before_those_without(role):
    wanted = fleet(role, 3, types=(*UNKNOWN, *EVERY[1:]))
    (bought,) = plan_fleets([wanted], unpriced() + pools())[0].on_demand.purchases
    assert bought.instance_type == "m5.2xlarge"


def test_a_preview_without_prices_goes_over_the_wire_and_counts_what_has_none():
    spec = replace(SPEC, fleets=(fleet(Role.MASTER, 3), fleet(Role.CORE, 2, types=UNKNOWN)))
    found = preview(spec, [subnet()], pools() + unpriced())
    assert decode(encode(found), LaunchPreview, what="it") == found
    assert (found.unpriced_nodes, found.price_per_hour) == (2, pytest.approx(3 * 0.192))


def test_spot_of_a_type_without_a_known_price_is_bought_unless_a_part_of_it_is_bid():
    supply = pools() + unpriced() + unpriced(Market.SPOT, 0.1)
    spec = replace(SPEC, fleets=(fleet(Role.MASTER, 3), fleet(Role.CORE, 0, 2, types=UNKNOWN[:1])))
    assert preview(spec, [subnet()], supply).missing_units == 0
    part = replace(UNKNOWN[0], bid_price_percent=50.0)
    spec = replace(SPEC, fleets=(fleet(Role.MASTER, 3), fleet(Role.CORE, 0, 2, types=(part,))))
    with pytest.raises(InvalidInput, match=r"m7i\.xlarge may cost 50 % .* give a BidPrice"):
        preview(spec, [subnet()], supply)
