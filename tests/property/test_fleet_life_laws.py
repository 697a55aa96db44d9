"""Whatever befalls a cluster: no state leaves EMR's diagrams, no state is risked, all heals."""

from dataclasses import replace

from fleet_world import World, desired
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from atoll.fleet.life.observed import LaunchFleet, ReplacePrimary
from atoll.fleet.life.records import Fleet
from atoll.fleet.model import HealthPolicy, Market, Role
from atoll.fleet.providers.port import MachineState
from atoll.fleet.states import (
    CLUSTER_EDGES,
    FLEET_EDGES,
    INSTANCE_EDGES,
    InstanceState,
    can_become,
)

FAULTS = st.one_of(
    st.tuples(st.just("end"), st.integers(0, 30)),
    st.tuples(st.just("stop"), st.integers(0, 30)),
    st.tuples(st.just("start"), st.just(0)),
    st.tuples(st.just("silence"), st.integers(0, 30)),
    st.tuples(st.just("fill"), st.integers(0, 30)),
    st.tuples(st.just("busy"), st.integers(0, 30)),
    st.tuples(st.just("failures"), st.integers(0, 30)),
    st.tuples(st.just("reclaim"), st.integers(0, 30)),
    st.tuples(st.just("hide"), st.integers(0, 30)),
    st.tuples(st.just("show"), st.just(0)),
    st.tuples(st.just("bootstraps"), st.integers(0, 1)),
    st.tuples(st.just("capacity"), st.integers(0, 6)),
    st.tuples(st.just("provider"), st.integers(0, 1)),
    st.tuples(st.just("core"), st.integers(1, 8)),
    st.tuples(st.just("task"), st.integers(0, 6)),
    st.tuples(st.just("wait"), st.integers(1, 60)),
)


def befall(world, kind, number):
    alive = [id_ for id_, one in world.bodies.items() if one.machine.is_alive]
    id_ = alive[number % len(alive)]
    body = world.bodies[id_]
    is_primary = body.machine.role is Role.MASTER
    is_harm = kind in ("end", "stop", "silence", "fill", "busy", "failures", "reclaim")
    # Without a quorum there is no controller to plan: see `atoll fleet repair`.
    if is_primary and is_harm and (len(world.in_sync()) < 3 or kind == "reclaim"):
        return
    match kind:
        case "end":
            world.end(id_)
        case "stop":
            world.end(id_, MachineState.STOPPED)
        case "start":
            start_primaries(world)
        case "silence":
            body.heard = False
        case "fill":
            body.disk_percent = 99
        case "busy":
            body.cpu_percent = 99
        case "failures":
            body.failures = 3
        case "reclaim":
            body.machine = replace(body.machine, reclaim_at=world.now + 120)
        case "hide":
            body.is_hidden = not is_primary
        case "show":
            show(world)
        case "bootstraps":
            world.bootstraps_fail = bool(number)
        case "capacity":
            world.capacity = number
        case "provider":
            world.is_silent = bool(number)
        case "core" | "task":
            change = {"core": {"target_on_demand": number}, "task": {"target_spot": number}}[kind]
            world.desired = replace(
                world.desired,
                fleets=tuple(
                    Fleet(one.id, replace(one.spec, **change)) if one.id == f"if-{kind[0]}" else one
                    for one in world.desired.fleets
                ),
            )


def start_primaries(world):
    """Start, with their disks, those that stopped and were not replaced."""
    for id_, body in world.bodies.items():
        if body.machine.role is Role.MASTER and body.machine.state is MachineState.STOPPED:
            world.end(id_, MachineState.RUNNING)


def show(world):
    for body in world.bodies.values():
        body.is_hidden = False


def uncounted(world):
    """Return who lives at the provider, listed, and counts no more."""
    return {
        id_
        for id_, one in world.known.instances.items()
        if not one.is_alive
        and one.machine.role is not Role.MASTER
        and world.bodies[id_].machine.state is not MachineState.TERMINATED
        and not world.bodies[id_].is_hidden
    }


def check_round(world, before, decided):
    old, new = before.status, decided.known.status
    assert can_become(CLUSTER_EDGES, old.state, new.state)
    for id_, fleet in new.fleets.items():
        if id_ in old.fleets:
            assert can_become(FLEET_EDGES, old.fleets[id_].state, fleet.state)
    for id_, record in decided.known.instances.items():
        if id_ in before.instances:
            assert can_become(INSTANCE_EDGES, before.instances[id_].state, record.state)
    replaced = [one for one in decided.actions if isinstance(one, ReplacePrimary)]
    assert len(replaced) <= 1
    for one in replaced:
        assert len(world.seen_in_sync - {one.slot.server_id}) >= 2
    for one in decided.actions:
        if isinstance(one, LaunchFleet):
            spec = world.desired.fleet(one.fleet_id).spec
            total = spec.target_on_demand + spec.target_spot
            assert 0 < one.order.on_demand + one.order.spot <= max(total, 1)


def held(world, fleet_id, market):
    return sum(
        one.is_serving
        for one in world.known.instances.values()
        if one.machine.fleet_id == fleet_id and one.market is market
    )


@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(FAULTS, max_size=25))
@example([("capacity", 0), ("stop", 0), ("wait", 5), ("start", 0), ("wait", 20), ("stop", 0)])
@example([("provider", 1), ("stop", 1), ("wait", 5), ("start", 0), ("provider", 0), ("end", 2)])
def test_any_faults_keep_the_laws_and_heal(faults):
    world = World(
        desired(core=2, task=1, health=HealthPolicy(bootstrap_timeout_s=60, cpu_for_s=30))
    )
    world.run(20)
    for kind, number in faults:
        befall(world, kind, number)
        for _ in range(number if kind == "wait" else 2):
            before, left = world.known, uncounted(world)
            check_round(world, before, world.step())
            # Whoever was seen so is ended in that very round, where the provider answers.
            assert world.is_silent or not left & uncounted(world)
    world.capacity, world.is_silent, world.bootstraps_fail = 100, False, False
    show(world)
    world.run(300)
    ips = sorted(world.bodies[id_].machine.private_ip for id_ in world.alive(Role.MASTER))
    assert ips == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    core, task = world.desired.fleet("if-c").spec, world.desired.fleet("if-t").spec
    assert held(world, "if-c", Market.ON_DEMAND) == core.target_on_demand
    assert held(world, "if-t", Market.SPOT) == task.target_spot
    assert not uncounted(world)
    states = {one.state for one in world.known.instances.values() if one.is_serving}
    assert states == {InstanceState.RUNNING}
