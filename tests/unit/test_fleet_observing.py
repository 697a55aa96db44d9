"""What a round of the controller sees when clocks jump or it slept itself."""

from dataclasses import replace

import pytest
from fleet_world import World, desired

from atoll.core.errors import Conflict, Corrupt, Forbidden, Unavailable
from atoll.fleet.life.instances import advance
from atoll.fleet.life.observed import Heart
from atoll.fleet.life.observing import MOST_ELAPSED_SECONDS, Observer
from atoll.fleet.life.records import Heartbeat
from atoll.fleet.model import Role
from atoll.fleet.providers.port import MachineState
from atoll.fleet.states import InstanceState

YEAR = 365 * 86400.0


class Place:
    """A cluster's records and its provider: one heart that beats or does not."""

    def __init__(self):
        self.beat, self.steady, self.wall = 1, 1000.0, 1e9
        self.error = None

    def hearts(self):
        return {"i-1": Heartbeat("i-1", self.beat, "ready")}

    def steps(self):
        return []

    def machines(self, cluster_id):
        if self.error is not None:
            raise self.error
        return []


@pytest.fixture
def place():
    return Place()


@pytest.fixture
def look(place):
    observer = Observer(place, place, clock=lambda: place.steady, wall=lambda: place.wall)
    return lambda: observer.look(desired())


@pytest.mark.parametrize("jump_s", [YEAR, -YEAR])
def test_a_clock_that_jumps_makes_nobody_silent(place, look, jump_s):
    look()
    place.wall += jump_s
    place.steady += 0.5
    place.beat += 1
    seen = look()
    assert (seen.now, seen.elapsed_s) == (place.wall, 0.5)
    assert seen.hearts["i-1"].silent_s == 0


@pytest.mark.parametrize("kind", [Unavailable, Forbidden, Corrupt, Conflict])
def test_a_provider_that_lists_nothing_is_told_of_and_the_rest_is_seen(place, look, kind):
    place.error = kind("the list cannot be had")
    seen = look()
    assert (seen.machines, seen.provider_error) == (None, "the list cannot be had")
    assert "i-1" in seen.hearts


def test_a_heart_that_does_not_beat_is_silent_for_as_long(place, look):
    look()
    place.steady += 4
    assert look().hearts["i-1"].silent_s == 4


def test_whoever_slept_does_not_count_it_against_others(place, look):
    look()
    place.steady += 3600
    place.beat += 3600
    seen = look()
    assert seen.elapsed_s == MOST_ELAPSED_SECONDS
    assert seen.hearts["i-1"].silent_s == 0


def test_an_ill_instance_stays_ill_while_nobody_can_ask():
    world = World(desired())
    world.run(20)
    world.bodies["i-4"].disk_percent = 95
    world.run(2)
    seen = world.observe()
    unasked = {id_: Heart(None, 0.0, is_asked=False) for id_ in world.bodies}
    records, told = advance(
        world.known.instances, replace(seen, hearts=unasked), world.desired.health
    )
    assert records["i-4"].state is InstanceState.SUSPECT
    assert records["i-5"].state is InstanceState.RUNNING
    assert not told


@pytest.mark.parametrize("state", [MachineState.STOPPED, MachineState.TERMINATED])
def test_a_place_is_filled_again_and_again_though_the_clock_was_set_back(state):
    world = World(desired())
    world.run(60)
    for _ in range(3):
        world.now -= YEAR
        [old, *_] = world.alive(Role.MASTER)
        place = world.bodies[old].machine.address_id
        world.end(old, state)
        world.run(60)
        [new] = [
            one for one in world.alive(Role.MASTER) if world.bodies[one].machine.address_id == place
        ]
        assert new != old
        assert world.bodies[old].machine.state is MachineState.TERMINATED
        world.bodies = {new: world.bodies.pop(new), **world.bodies}
