from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress, Pool, Subnet
from atoll.fleet.cli.advising import advice_before
from atoll.fleet.model import (
    ClusterSpec,
    FleetSpec,
    InstanceTypeConfig,
    Market,
    Resizing,
    Role,
    SpotProvisioning,
    TimeoutAction,
)
from atoll.fleet.planning.allocate import Allocation, Purchase
from atoll.fleet.planning.fleets import FleetPlan
from atoll.fleet.planning.placement import spread
from atoll.fleet.planning.scaling import Endable, to_end
from atoll.fleet.planning.subnets import SPARE_ADDRESSES, preview, require_addresses
from atoll.fleet.planning.timeouts import Held, Outcome, at_launch, at_resize

FEW = st.integers(0, 12)
MINUTES = st.integers(5, 60)
INSTANCES = st.lists(
    st.builds(
        Endable,
        st.uuids().map(str),
        st.integers(1, 8),
        st.integers(0, 3),
        st.floats(0, 9),
    ),
    max_size=8,
)
FLEETS = st.builds(
    FleetSpec,
    st.just(Role.TASK),
    st.just("task"),
    FEW,
    FEW,
    st.just((InstanceTypeConfig("m5.xlarge"),)),
    st.builds(
        SpotProvisioning, timeout_minutes=MINUTES, timeout_action=st.sampled_from(TimeoutAction)
    ),
    resizing=st.builds(
        Resizing,
        spot_timeout_minutes=st.one_of(st.none(), MINUTES),
        on_demand_timeout_minutes=st.one_of(st.none(), MINUTES),
    ),
)


@given(INSTANCES, st.integers(0, 40))
def test_scaling_keeps_the_target_and_ends_all_that_it_can(instances, target):
    ended = to_end(instances, target)
    there = sum(one.weight for one in instances)
    kept = [one for one in instances if one.id not in ended]
    left = sum(one.weight for one in kept)
    assert left >= min(target, there)
    assert all(left - one.weight < target for one in kept)


@given(INSTANCES, st.integers(0, 40))
def test_scaling_ends_a_busier_instance_only_where_an_idler_one_is_too_heavy(instances, target):
    ended = to_end(instances, target)
    left = sum(one.weight for one in instances if one.id not in ended)
    gone = [one for one in instances if one.id in ended]
    idler = [
        (kept, one)
        for kept in instances
        for one in gone
        if kept.id not in ended and kept.tasks < one.tasks
    ]
    assert all(
        left + one.weight - kept.weight < target or kept.weight > one.weight for kept, one in idler
    )


@given(FLEETS, FEW)
def test_a_launch_ends_with_every_unit_there_or_the_cluster_ended(fleet, spot):
    held, minute, outcome = Held(), 0, Outcome.SEEK
    while outcome not in (Outcome.COMPLETE, Outcome.TERMINATE_CLUSTER):
        # Every unit has come by then: one a minute, and spot's timeout before.
        assert minute <= fleet.spot.timeout_minutes + fleet.target_on_demand + fleet.target_spot
        verdict = at_launch(fleet, held, waited_s=minute * 60)
        outcome, minute = verdict.outcome, minute + 1
        # Each minute one unit more comes on demand, and spot only up to what there is.
        more = min(verdict.on_demand, 1)
        held = Held(held.on_demand + more, min(held.spot + verdict.spot, spot), verdict.moved)
    if outcome is Outcome.COMPLETE:
        assert held.on_demand == fleet.target_on_demand + held.moved
        assert held.spot + held.moved == fleet.target_spot
        assert held.moved in (0, fleet.target_spot - spot)
    else:
        assert spot < fleet.target_spot
        assert minute == fleet.spot.timeout_minutes + 1


@given(FLEETS, FEW, FEW, st.integers(0, 4_000))
def test_a_resize_asks_for_what_is_missing_of_each_market_or_gives_it_up(
    fleet, on_demand, spot, seconds
):
    verdict = at_resize(fleet, Held(on_demand, spot), waited_s=seconds)
    missing = max(fleet.target_on_demand - on_demand, 0), max(fleet.target_spot - spot, 0)
    assert verdict.on_demand in (0, missing[0])
    assert verdict.spot in (0, missing[1])
    given_up = (verdict.on_demand, verdict.spot) != missing
    assert bool(verdict.reason) == given_up
    assert (verdict.outcome is Outcome.SUSPEND) == (
        given_up and not verdict.on_demand + verdict.spot
    )


KIND = "m5.xlarge"
UNITS = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 4))
"""Of the core fleet, those of the task fleet as spot, and what an instance of either counts."""


@dataclass(frozen=True)
class Place:
    """A subnet and what is to be had there of the one type there is."""

    free: int
    on_demand: int | None
    spot: int | None
    dollars: int
    discount: float

    def nodes(self, units):
        """Count what a cluster buys here: primaries, core, task instances."""
        core, task, weight = units
        most = math.inf if self.on_demand is None else self.on_demand
        primaries = min(3, most)
        spot = math.inf if self.spot is None else self.spot
        return (
            primaries,
            min(-(-core // weight), most - primaries),
            min(-(-task // weight), spot),
        )

    def missing(self, units):
        core, task, weight = units
        primaries, cores, tasks = self.nodes(units)
        return 3 - primaries + max(core - cores * weight, 0) + max(task - tasks * weight, 0)

    def price(self, units):
        primaries, cores, tasks = self.nodes(units)
        return self.dollars * (primaries + cores + tasks * self.discount)

    def can_launch(self, units):
        return self.nodes(units)[0] == 3 and sum(self.nodes(units)) <= self.free

    def fits(self, units):
        return self.missing(units) == 0 and sum(self.nodes(units)) + SPARE_ADDRESSES <= self.free


CAPACITY = st.one_of(st.none(), st.integers(0, 15))
PLACES = st.lists(
    st.builds(
        Place,
        st.integers(0, 25),
        CAPACITY,
        CAPACITY,
        st.integers(1, 4),
        st.sampled_from((0.25, 0.5, 1.0)),
    ),
    min_size=1,
    max_size=5,
)


def launched(units, places):
    """Specify a cluster of such units and preview it, each subnet named by its number."""
    core, task, weight = units
    types = (InstanceTypeConfig(KIND, weight),)
    fleets = (
        FleetSpec(Role.TASK, "task", 0, task, types),
        FleetSpec(Role.CORE, "core", core, 0, types),
        FleetSpec(Role.MASTER, "primaries", 3, 0, (InstanceTypeConfig(KIND),)),
    )
    subnets = [Subnet(str(at), "z", "vpc", False, one.free) for at, one in enumerate(places)]
    pools = [
        Pool(KIND, market, str(at), one.dollars * discount, capacity)
        for at, one in enumerate(places)
        for market, discount, capacity in (
            (Market.ON_DEMAND, 1.0, one.on_demand),
            (Market.SPOT, one.discount, one.spot),
        )
    ]
    spec = ClusterSpec("c", "emr-7.10.0", fleets)
    return spec, preview(spec, subnets, pools)


@given(UNITS, PLACES)
def test_a_cluster_goes_to_the_cheapest_of_the_subnets_that_fit(units, places):
    fitting = [one for one in places if one.fits(units)]
    if not fitting:
        return
    _, found = launched(units, places)
    chosen = places[int(found.subnet.id)]
    assert chosen.fits(units)
    assert chosen.price(units) == min(one.price(units) for one in fitting)
    assert tuple(one.nodes for one in found.fleets) == chosen.nodes(units)
    assert found.price_per_hour == pytest.approx(chosen.price(units))


@given(UNITS, PLACES)
def test_a_launch_is_refused_exactly_when_no_subnet_can_begin_it(units, places):
    possible = [one for one in places if one.can_launch(units)]
    if not possible:
        with pytest.raises((NoFreeAddress, InsufficientCapacity)):
            launched(units, places)
        return
    _, found = launched(units, places)
    chosen = places[int(found.subnet.id)]
    assert chosen.can_launch(units)
    assert found.missing_units == chosen.missing(units) == min(p.missing(units) for p in possible)


@given(UNITS)
def test_copies_are_advised_by_core_nodes_never_by_units(units):
    spec, planned = launched(units, [Place(100, None, None, 1, 0.5)])
    (one,) = [one for one in advice_before(spec, planned) if one.topic == "core nodes"]
    nodes = -(-units[0] // units[2])
    copies = "no second copy" if nodes < 2 else "at least 2 copies" if nodes < 4 else "three copies"
    assert one.is_followed == (nodes >= 4)
    assert copies in one.message


def bought(role, count, weight):
    own = (Purchase(KIND, Market.ON_DEMAND, "s", count, weight, 1.0),) if count else ()
    fleet = FleetSpec(role, "f", count * weight, 0, (InstanceTypeConfig(KIND, weight),))
    return FleetPlan(fleet, Allocation(own), Allocation())


@given(
    st.lists(st.builds(bought, st.sampled_from(Role), FEW, st.integers(1, 8)), max_size=4),
    st.integers(0, 40),
)
def test_addresses_are_refused_exactly_when_there_are_fewer_than_machines(plans, free):
    needed = sum(purchase.count for plan in plans for purchase in plan.on_demand.purchases)
    subnet = Subnet("subnet-x", "z", "vpc", False, free)
    if needed <= free:
        require_addresses(subnet, plans)
        return
    with pytest.raises(NoFreeAddress, match="subnet-x") as refused:
        require_addresses(subnet, plans)
    assert refused.value.details == {"subnet": "subnet-x", "free": free, "needed": needed}


RACKS = st.sampled_from([f"r{number}" for number in range(8)])


@given(FEW, st.dictionaries(RACKS, FEW), st.sets(RACKS))
def test_machines_are_spread_over_the_emptiest_racks_that_the_group_does_not_use(count, load, used):
    free = load.keys() - used
    if len(free) < count:
        with pytest.raises(InsufficientCapacity, match="SPREAD"):
            spread(count, load, used)
        return
    found = spread(count, load, used)
    assert len(found) == len(set(found)) == count
    assert free.issuperset(found)
    fullest = max((load[rack] for rack in found), default=0)
    assert all(load[rack] >= fullest for rack in free.difference(found))
