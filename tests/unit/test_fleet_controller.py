"""What a controller makes of a provider's answers: nothing of them may cost a cluster its lead."""

from contextlib import suppress
from dataclasses import replace

import pytest
from fleet_world import ROUND_SECONDS, World, desired

from atoll.core.errors import Conflict, Corrupt, InvalidInput, NotFound, Unavailable
from atoll.fleet.capacity import Pool
from atoll.fleet.life import controller
from atoll.fleet.life.controller import Controller
from atoll.fleet.life.records import Daemon
from atoll.fleet.model import InstanceTypeConfig, Market, Role
from atoll.fleet.states import ClusterReason, ClusterState


class Done(Exception):
    """Enough rounds were done."""


class Place:
    """A cluster's records and its provider, on top of a world in virtual time."""

    def __init__(self, world):
        self.world, self.told, self.launched = world, [], []
        self.refusals, self.launch_error, self.left = {}, None, 0

    # The records.

    def prepare(self):
        pass

    def next_epoch(self):
        return 7

    def desired(self):
        if not self.left:
            raise Done
        self.left -= 1
        return self.world.desired, 1

    def known(self):
        return self.world.known

    def save(self, known, before, *, epoch):
        self.world.known = known

    def tell(self, events):
        self.told += events

    def hearts(self):
        self.world.now += ROUND_SECONDS
        server = Daemon("follower", is_up=True)
        return {
            id_: replace(heart.beat, daemons={**heart.beat.daemons, "zookeeper": server})
            for id_, heart in self.world.observe().hearts.items()
        }

    def steps(self):
        return []

    def order_drain(self, machine_id, reason):
        self.world.bodies[machine_id].draining = True

    def release_leadership(self, sessions):
        pass

    # The provider.

    def machines(self, cluster_id):
        return [one.machine for one in self.world.bodies.values() if not one.is_hidden]

    def pools(self, types, subnet_ids):
        return [Pool(types[0], Market.ON_DEMAND, subnet_ids[0], 1.0, None)]

    def launch_primary(self, config, address, fleet_id, placement, *, token):
        self.launched.append((config, address))
        return self.world.bodies["i-1"].machine

    def launch_fleet(self, request, placement, *, token):
        self.launched.append((request.on_demand, token))
        if self.launch_error is not None:
            raise self.launch_error
        return []

    def terminate(self, machine_ids, *, epoch, reason):
        for id_ in machine_ids:
            if id_ in self.refusals:
                raise self.refusals[id_]
        for id_ in machine_ids:
            self.world.end(id_)


@pytest.fixture
def place(monkeypatch):
    monkeypatch.setattr(controller, "ROUND_SECONDS", 0.0)
    world = World(desired(core=2, task=1))
    world.run(20)
    return Place(world)


def rounds(place, count):
    """Have a new controller look after the cluster for so many rounds."""
    place.left = count
    with suppress(Done):
        Controller(place, place, "i-1").run(None, lambda: True)


def resize(world, units):
    core = world.desired.fleet("if-c")
    resized = replace(core, spec=replace(core.spec, target_on_demand=units))
    others = [resized if one.id == "if-c" else one for one in world.desired.fleets]
    world.desired = replace(world.desired, fleets=tuple(others))


REFUSALS = [
    Conflict("OperationNotPermitted: its termination is disabled"),
    InvalidInput("no such machine id"),
    NotFound("there is no such machine"),
    Corrupt("no answer that can be read"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: one.code)
def test_machine_that_may_not_be_ended_stops_neither_the_others_nor_the_controller(place, refusal):
    place.refusals = {"i-4": refusal}
    place.world.desired = replace(place.world.desired, is_ending=True)
    rounds(place, 4)
    assert place.world.alive(Role.CORE) == ["i-4"]
    assert place.world.alive(Role.TASK) == []
    told = [one for one in place.told if one.kind == "BLOCKED"]
    assert [one.subject for one in told] == ["i-4"]
    assert refusal.message in told[0].message


def test_whoever_is_over_acts_no_more(place):
    place.refusals = {"i-4": Conflict("epoch 7 is over", epoch=7, highest=8)}
    place.world.desired = replace(place.world.desired, is_ending=True)
    with pytest.raises(Conflict, match="over"):
        rounds(place, 4)


def test_launch_that_is_refused_for_an_odd_reason_is_tried_again_with_its_token(place):
    place.launch_error = Conflict("OperationNotPermitted: not in this account")
    resize(place.world, 5)
    rounds(place, 3)
    assert len(place.launched) == 1
    status = place.world.known.status.fleets["if-c"]
    assert "not in this account" in status.message
    assert status.order.token == place.launched[0][1]


def test_end_of_a_cluster_is_gone_on_with_by_the_next_controller(place):
    status = replace(
        place.world.known.status,
        state=ClusterState.TERMINATING,
        reason=ClusterReason.ALL_STEPS_COMPLETED,
    )
    place.world.known = replace(place.world.known, status=status)
    place.refusals = dict.fromkeys(place.world.alive(Role.CORE), Unavailable("busy"))
    rounds(place, 2)
    assert place.world.alive(Role.CORE)
    place.refusals = {}
    rounds(place, 2)
    assert not place.world.alive(Role.CORE) + place.world.alive(Role.TASK)
    assert len(place.world.alive(Role.MASTER)) == 3
    assert place.world.known.status.state is ClusterState.TERMINATING
    assert place.world.known.status.reason is ClusterReason.ALL_STEPS_COMPLETED


def with_disk(wanted, gib):
    primaries = wanted.primary_fleet
    types = (InstanceTypeConfig("m5.xlarge", disk_gib=gib),)
    spec = replace(primaries.spec, types=types)
    return replace(wanted, fleets=(replace(primaries, spec=spec), *wanted.fleets[1:]))


def test_primary_gets_its_disk_though_the_provider_forgot_the_old_one(place):
    place.world.desired = with_disk(place.world.desired, 200)
    place.world.end("i-2")
    place.refusals = {"i-2": NotFound("there is no machine i-2")}
    rounds(place, 3)
    config, address = place.launched[0]
    assert (config.disk_gib, address.private_ip) == (200, "10.0.0.2")
    assert "PRIMARY_REPLACED" in [one.kind for one in place.told]
