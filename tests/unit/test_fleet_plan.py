from dataclasses import replace

import pytest
from fleet_world import World, desired

from atoll.fleet.life.observed import StepsSeen
from atoll.fleet.life.records import Fleet
from atoll.fleet.model import Resizing, Role, SpotProvisioning, TimeoutAction
from atoll.fleet.providers.port import MachineState
from atoll.fleet.states import ClusterReason, ClusterState, FleetState, InstanceState


@pytest.fixture
def world():
    made = World(desired(core=2, task=1))
    made.run(20)
    assert made.known.status.state is ClusterState.WAITING
    return made


def with_fleet(wanted, fleet_id, **changes):
    fleets = tuple(
        Fleet(one.id, replace(one.spec, **changes)) if one.id == fleet_id else one
        for one in wanted.fleets
    )
    return replace(wanted, fleets=fleets)


def primary_at(world, ip):
    return [id_ for id_ in world.alive(Role.MASTER) if world.bodies[id_].machine.private_ip == ip]


def kinds(world):
    return [one.kind for one in world.events]


def test_lost_primary_comes_back_at_its_address(world):
    (old,) = primary_at(world, "10.0.0.2")
    world.end(old)
    world.run(10)
    (new,) = primary_at(world, "10.0.0.2")
    assert new != old
    assert world.bodies[new].machine.private_dns == world.bodies[old].machine.private_dns
    assert world.known.instances[new].state is InstanceState.RUNNING
    assert world.known.instances[old].state is InstanceState.TERMINATED


def test_second_primary_waits_for_the_first(world):
    # Four, so that the others are a majority while two are gone, does not exist: both stay lost.
    for ip in ("10.0.0.1", "10.0.0.2"):
        world.end(*primary_at(world, ip))
    world.run(30)
    assert len(world.alive(Role.MASTER)) == 1
    (told,) = {one.message for one in world.events if one.subject == "10.0.0.1"}
    assert "2 must keep the state, and 1 are in sync" in told
    assert "atoll fleet repair" in told


def test_two_ill_primaries_are_replaced_one_after_the_other(world):
    for ip in ("10.0.0.1", "10.0.0.2"):
        world.bodies[primary_at(world, ip)[0]].disk_percent = 95
    most = 0
    for _ in range(120):
        world.step()
        states = [world.known.instances[id_].state for id_ in world.alive(Role.MASTER)
                  if id_ in world.known.instances]  # fmt: skip
        most = max(most, states.count(InstanceState.BOOTSTRAPPING))
    assert most == 1
    assert all(world.bodies[id_].disk_percent < 90 for id_ in world.alive(Role.MASTER))


def test_primary_that_recovers_in_time_stays(world):
    (id_,) = primary_at(world, "10.0.0.3")
    world.bodies[id_].disk_percent = 95
    world.run(5)
    assert world.known.instances[id_].state is InstanceState.SUSPECT
    world.bodies[id_].disk_percent = 40
    world.run(20)
    assert primary_at(world, "10.0.0.3") == [id_]
    assert world.known.instances[id_].state is InstanceState.RUNNING


def test_only_primaries_are_replaced_where_the_policy_says_so():
    wanted = desired()
    health = replace(wanted.spec.health, replaces_unhealthy=False)
    world = World(replace(wanted, spec=replace(wanted.spec, health=health)))
    world.run(20)
    before = set(world.alive(Role.CORE))
    for body in list(world.bodies.values()):
        body.disk_percent = 99
    world.run(120)
    assert set(world.alive(Role.CORE)) == before
    assert all(world.bodies[id_].disk_percent < 90 for id_ in world.alive(Role.MASTER))


def test_ill_primary_stays_while_nothing_can_take_its_place(world):
    (old,) = primary_at(world, "10.0.0.1")
    world.capacity = 0
    world.bodies[old].disk_percent = 95
    world.run(60)
    assert primary_at(world, "10.0.0.1") == [old]
    assert any("no capacity" in one.message for one in world.events if one.kind == "BLOCKED")
    world.capacity = 5
    world.run(60)
    assert primary_at(world, "10.0.0.1") != [old]


def test_reclaimed_spot_drains_and_is_replaced_at_once(world):
    (id_,) = world.alive(Role.TASK)
    body = world.bodies[id_]
    body.machine = replace(body.machine, reclaim_at=world.now + 120)
    world.run(2)
    assert world.known.instances[id_].state is InstanceState.DRAINING
    assert len(world.alive(Role.TASK)) == 2
    world.end(id_)
    world.run(10)
    assert world.known.status.fleets["if-t"].state is FleetState.RUNNING


def test_lowered_target_drains_before_it_ends(world):
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=1)
    for id_ in world.alive(Role.CORE):
        world.bodies[id_].busy = 1
    world.run(5)
    draining = [id_ for id_ in world.alive(Role.CORE) if world.bodies[id_].draining]
    assert len(draining) == 1
    assert len(world.alive(Role.CORE)) == 2
    world.bodies[draining[0]].busy = 0
    world.run(2)
    assert draining[0] not in world.alive(Role.CORE)
    assert len(world.alive(Role.CORE)) == 1


def test_raised_target_is_filled(world):
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=5)
    world.run(1)
    assert world.known.status.fleets["if-c"].state is FleetState.RESIZING
    world.run(10)
    assert len(world.alive(Role.CORE)) == 5
    assert world.known.status.fleets["if-c"].state is FleetState.RUNNING


def test_resize_that_finds_no_capacity_is_suspended_and_taken_up_when_changed(world):
    world.capacity = 1
    resizing = Resizing(on_demand_timeout_minutes=5)
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=5, resizing=resizing)
    world.run(320)
    assert world.known.status.fleets["if-c"].state is FleetState.SUSPENDED
    world.capacity = 10
    world.run(60)
    assert len(world.alive(Role.CORE)) == 3
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=4)
    world.run(10)
    assert len(world.alive(Role.CORE)) == 4


def spot_that_never_comes(action):
    spot = SpotProvisioning(timeout_minutes=5, timeout_action=action)
    wanted = with_fleet(desired(core=1), "if-c", target_on_demand=1, target_spot=3, spot=spot)
    world = World(wanted, capacity=2)
    world.run(60)
    return world


def test_spot_that_never_comes_is_switched_to_exactly_the_rest():
    world = spot_that_never_comes(TimeoutAction.SWITCH_TO_ON_DEMAND)
    assert world.known.status.state is ClusterState.BOOTSTRAPPING
    world.run(230)
    world.capacity = 100
    world.run(60)
    markets = [world.bodies[id_].machine.market.value for id_ in world.alive(Role.CORE)]
    assert sorted(markets) == ["ON_DEMAND"] * 3 + ["SPOT"]
    assert world.known.status.state is ClusterState.WAITING


def test_spot_that_never_comes_ends_the_cluster_where_that_is_asked_for():
    world = spot_that_never_comes(TimeoutAction.TERMINATE_CLUSTER)
    assert world.ended is None
    world.run(260)
    assert world.ended is not None
    assert world.ended.reason is ClusterReason.INSTANCE_FLEET_TIMEOUT


def test_silent_provider_stops_changes_and_is_told(world):
    world.end(*primary_at(world, "10.0.0.1"))
    world.is_silent = True
    world.bodies[primary_at(world, "10.0.0.2")[0]].heard = False
    world.run(30)
    assert len(world.bodies) == 6
    assert any("does not answer" in one.message for one in world.events if one.kind == "BLOCKED")


def test_many_ill_workers_are_not_replaced_all_at_once():
    world = World(desired(core=9))
    world.run(20)
    for id_ in world.alive(Role.CORE):
        world.bodies[id_].disk_percent = 99
    seen = set(world.bodies)
    world.run(61)
    assert len(set(world.bodies) - seen) == 3


def test_bootstrap_failure_at_launch_ends_the_cluster():
    world = World(desired())
    world.run(3)
    (id_, *_) = world.alive(Role.CORE)
    world.end(id_, MachineState.STOPPED)
    world.run(1)
    assert world.ended is None  # a machine that ends is replaced
    body = world.bodies[world.alive(Role.CORE)[0]]
    body.age_s = -10_000
    world.run(700)
    assert world.ended is not None
    assert world.ended.reason is ClusterReason.BOOTSTRAP_FAILURE


def test_failed_step_ends_a_cluster_unless_it_is_protected(world):
    world.desired = replace(world.desired, termination_protected=True)
    world.steps = StepsSeen(0, "step s-1 failed")
    world.run(5)
    assert world.ended is None
    world.desired = replace(world.desired, termination_protected=False)
    world.run(1)
    assert world.ended.reason is ClusterReason.STEP_FAILURE


def test_cluster_runs_while_there_are_steps_and_ends_when_idle_for_long():
    world = World(desired(idle_timeout_s=60))
    world.run(20)
    world.steps = StepsSeen(1)
    world.run(90)
    assert world.known.status.state is ClusterState.RUNNING
    assert world.ended is None
    world.steps = StepsSeen(0)
    world.run(70)
    assert world.ended.reason is ClusterReason.ALL_STEPS_COMPLETED


def test_cluster_that_ends_with_its_steps_waits_until_they_are_handed_in():
    world = World(replace(desired(keeps_alive=False), awaits_host=True))
    world.run(30)
    assert (world.known.status.state, world.ended) == (ClusterState.WAITING, None)
    world.desired = replace(world.desired, awaits_host=False)
    world.run(1)
    assert world.ended.reason is ClusterReason.ALL_STEPS_COMPLETED


def test_what_is_blocked_is_told_once(world):
    for ip in ("10.0.0.1", "10.0.0.2"):
        world.end(*primary_at(world, ip))
    world.run(60)
    assert kinds(world).count("BLOCKED") == 2
