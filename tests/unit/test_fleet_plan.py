from dataclasses import replace

import pytest
from fleet_world import World, desired

from atoll.fleet.life import instances as instances_module
from atoll.fleet.life.observed import ReplacePrimary, StepsSeen
from atoll.fleet.life.records import Fleet
from atoll.fleet.model import Market, Resizing, Role, SpotProvisioning, TimeoutAction
from atoll.fleet.providers.port import ENDED_ITSELF, MachineState
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


def test_stopped_primary_that_is_started_again_with_its_disk_is_kept(world):
    world.capacity = 0
    (old,) = primary_at(world, "10.0.0.2")
    world.end(old, MachineState.STOPPED)
    world.run(5)
    assert world.known.instances[old].state is InstanceState.TERMINATED
    world.end(old, MachineState.RUNNING)
    world.run(10)
    assert world.known.instances[old].state is InstanceState.RUNNING
    world.capacity = 10
    world.run(30)
    assert primary_at(world, "10.0.0.2") == [old]


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


def suspected(world, id_):
    record = world.known.instances[id_]
    return record.complaint if record.state is InstanceState.SUSPECT else ""


def test_primary_whose_processors_are_busy_for_too_long_is_replaced(world):
    (old,) = primary_at(world, "10.0.0.2")
    for id_ in (old, *world.alive(Role.CORE)):
        world.bodies[id_].cpu_percent = 99
    cores = world.alive(Role.CORE)
    world.run(295)
    assert not suspected(world, old)
    world.run(10)
    assert suspected(world, old).startswith("its processors were over 95 % busy for 30")
    world.run(20)
    assert world.known.instances[old].state is InstanceState.TERMINATED
    (new,) = primary_at(world, "10.0.0.2")
    assert world.known.instances[new].state is InstanceState.RUNNING
    assert world.alive(Role.CORE) == cores  # workers are there to be busy


def test_primary_whose_processors_rest_now_and_then_stays(world):
    (id_,) = primary_at(world, "10.0.0.2")
    for _ in range(3):
        world.bodies[id_].cpu_percent = 99
        world.run(290)
        world.bodies[id_].cpu_percent = 50
        world.run(1)
    assert primary_at(world, "10.0.0.2") == [id_]
    assert not any(one.kind == "INSTANCE_SUSPECT" for one in world.events)


@pytest.mark.parametrize("role", [Role.MASTER, Role.CORE])
def test_instance_whose_daemon_failed_three_times_within_a_minute_is_replaced(world, role):
    (old, *others) = world.alive(role)
    world.bodies[old].failures = 2
    world.run(70)
    assert world.alive(role) == [old, *others]
    world.bodies[old].failures = 3
    world.run(1)
    assert suspected(world, old) == "its worker failed 3 times within a minute"
    world.run(80)
    assert old not in world.alive(role)
    assert len(world.alive(role)) == len(others) + 1


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


def with_added_fleet(wanted, **changes):
    added = replace(wanted.fleet("if-t").spec, name="added", target_spot=3, **changes)
    return replace(wanted, fleets=(*wanted.fleets, Fleet("if-added", added)))


@pytest.mark.parametrize("action", list(TimeoutAction))
def test_fleet_added_to_a_living_cluster_neither_ends_it_nor_moves_to_on_demand(world, action):
    world.capacity = 0
    spot = SpotProvisioning(timeout_minutes=5, timeout_action=action)
    resizing = Resizing(spot_timeout_minutes=10)
    world.desired = with_added_fleet(world.desired, spot=spot, resizing=resizing)
    world.run(599)
    assert world.known.status.fleets["if-added"].moved_to_on_demand == 0
    world.run(10)
    assert world.known.status.fleets["if-added"].state is FleetState.SUSPENDED
    assert world.ended is None
    world.capacity = 10
    world.desired = with_fleet(world.desired, "if-added", target_spot=2)
    world.run(20)
    assert world.known.status.fleets["if-added"].state is FleetState.RUNNING


def test_task_fleet_of_the_start_does_not_end_a_cluster_that_is_ready():
    spot = SpotProvisioning(timeout_minutes=5, timeout_action=TimeoutAction.TERMINATE_CLUSTER)
    world = World(with_fleet(desired(core=2), "if-t", target_spot=3, spot=spot), capacity=3)
    world.run(400)
    assert world.known.status.state is ClusterState.WAITING
    assert world.ended is None
    world.capacity = 10
    world.run(70)
    assert held(world, "if-t", Market.SPOT) == 3


def held(world, fleet_id, market):
    own = [one.machine for one in world.known.instances.values() if one.is_serving]
    return sum(one.fleet_id == fleet_id and one.market is market for one in own)


def test_spot_is_spot_again_when_the_targets_are_changed_after_a_switch():
    world = spot_that_never_comes(TimeoutAction.SWITCH_TO_ON_DEMAND)
    world.run(300)
    world.capacity = 100
    world.run(100)
    assert held(world, "if-c", Market.ON_DEMAND) == 3
    world.desired = with_fleet(world.desired, "if-c", target_spot=0)
    world.run(20)
    world.desired = with_fleet(world.desired, "if-c", target_spot=4)
    world.run(20)
    assert (held(world, "if-c", Market.ON_DEMAND), held(world, "if-c", Market.SPOT)) == (1, 4)


def test_target_that_is_raised_gets_all_of_its_time(world):
    resizing = Resizing(on_demand_timeout_minutes=5)
    world.capacity = 0
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=3, resizing=resizing)
    world.run(290)
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=4)
    world.run(290)
    assert world.known.status.fleets["if-c"].state is FleetState.RESIZING
    world.run(20)
    assert world.known.status.fleets["if-c"].state is FleetState.SUSPENDED


def test_fleet_that_gets_its_units_one_by_one_is_not_suspended(world):
    resizing = Resizing(on_demand_timeout_minutes=5)
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=5, resizing=resizing)
    for _ in range(3):
        world.capacity = 1
        world.run(200)
    assert world.known.status.fleets["if-c"].state is FleetState.RUNNING
    assert len(world.alive(Role.CORE)) == 5


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


def living(world):
    return {id_ for id_, one in world.bodies.items() if one.machine.is_alive}


def test_instance_that_never_became_ready_is_ended_and_the_next_waits_longer(world):
    world.bootstraps_fail = True
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=3)
    world.run(300)
    bought = len(world.bodies) - 6
    assert 3 < bought < 15
    serving = {id_ for id_, one in world.known.instances.items() if one.is_alive}
    assert living(world) <= serving
    assert world.ended is None
    world.bootstraps_fail = False
    world.run(120)
    assert len(world.alive(Role.CORE)) == 3
    assert world.known.status.fleets["if-c"].backoff_s == 1.0


def test_primary_that_cannot_start_is_tried_again_after_growing_pauses(world):
    world.bootstraps_fail = True
    world.end(*primary_at(world, "10.0.0.2"))
    world.run(300)
    assert 3 < len(world.bodies) - 6 < 15
    assert len(world.alive(Role.MASTER)) <= 3


def test_machine_that_a_list_left_out_once_is_ended_when_it_is_listed_again(world):
    [id_, _] = world.alive(Role.CORE)
    world.bodies[id_].is_hidden = True
    world.step()
    world.bodies[id_].is_hidden = False
    world.run(20)
    assert id_ not in living(world)
    assert len(world.alive(Role.CORE)) == 2


def test_machine_that_shuts_itself_down_at_launch_ends_the_cluster_and_later_is_bought_anew(world):
    new = World(desired())
    new.run(3)
    why = f"{ENDED_ITSELF}: the package could not be installed"
    new.end(new.alive(Role.CORE)[0], reason=why)
    new.run(1)
    assert new.ended.reason is ClusterReason.BOOTSTRAP_FAILURE
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=3)
    world.run(2)
    world.end(world.alive(Role.CORE)[-1], reason=why)
    world.run(0.5)
    assert "the package could not be installed" in world.known.status.blocked["if-c"]
    world.run(20)
    assert world.ended is None
    assert len(world.alive(Role.CORE)) == 3


def test_failed_step_ends_a_cluster_unless_it_is_protected(world):
    world.desired = replace(world.desired, termination_protected=True)
    world.steps = StepsSeen(0, {"s-1": "step s-1 failed"})
    world.run(5)
    world.desired = replace(world.desired, termination_protected=False)
    world.run(5)
    assert world.ended is None  # protection overruled that, and lifting it changes nothing
    world.steps = StepsSeen(0, {"s-1": "step s-1 failed", "s-2": "step s-2 failed"})
    world.run(1)
    assert world.ended.reason is ClusterReason.STEP_FAILURE
    assert world.ended.message == "step s-2 failed"


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


def test_cluster_is_not_idle_before_it_is_ready():
    world = World(desired(core=2, idle_timeout_s=90), capacity=0)
    world.run(120)
    world.capacity = 10
    world.run(90)
    assert world.known.status.state is ClusterState.WAITING
    assert world.ended is None


def test_drain_that_was_decided_is_ordered_until_it_is_begun(world):
    world.loses_orders = True
    world.desired = with_fleet(world.desired, "if-c", target_on_demand=1)
    for id_ in world.alive(Role.CORE):
        world.bodies[id_].busy = 1
    world.run(10)
    assert not any(one.draining for one in world.bodies.values())
    world.loses_orders = False
    world.run(1)
    assert sum(one.draining for one in world.bodies.values()) == 1


def test_primary_that_cannot_be_had_is_told_once_and_the_next_failure_is_a_first_one(world):
    world.capacity = 0
    world.end(*primary_at(world, "10.0.0.2"))
    world.run(200)
    assert kinds(world).count("BLOCKED") == 1
    assert "UNBLOCKED" not in kinds(world)
    world.capacity = 5
    world.run(100)
    first = world.known.status.fleets["if-p"]
    assert kinds(world).count("UNBLOCKED") == 1
    assert (first.backoff_s, first.message) == (1.0, "")


def test_ill_primary_is_not_tried_without_pause_while_nothing_can_take_its_place(world):
    world.capacity = 0
    world.bodies[primary_at(world, "10.0.0.1")[0]].disk_percent = 95
    tries = 0
    for _ in range(400):
        tries += any(isinstance(one, ReplacePrimary) for one in world.step().actions)
    assert 4 < tries < 12


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


def test_machine_that_was_forgotten_for_lack_of_room_is_no_news(world, monkeypatch):
    (old,) = primary_at(world, "10.0.0.2")
    world.end(old)
    world.run(10)
    instances = {id_: one for id_, one in world.known.instances.items() if id_ != old}
    world.known, told = replace(world.known, instances=instances), len(world.events)
    monkeypatch.setattr(instances_module, "KEPT_INSTANCES", len(instances))
    world.run(10)
    assert old not in world.known.instances
    assert len(world.events) == told
