from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atoll.fleet.model import (
    FleetSpec,
    InstanceTypeConfig,
    Resizing,
    Role,
    SpotProvisioning,
    TimeoutAction,
)
from atoll.fleet.planning.scaling import Endable, to_end
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
