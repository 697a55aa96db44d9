"""Best practices checked on a cluster that lives."""

from dataclasses import replace

from fleet_world import World, desired

from atoll.fleet.capacity import Subnet
from atoll.fleet.control.advising import advice_on
from atoll.fleet.control.registry import ClusterRecord, Phase
from atoll.fleet.model import Role

NODES = 5  # three primaries and two core nodes


def advised(foreign, free, **changes):
    world = World(desired())
    world.run(60)
    record = ClusterRecord(replace(world.desired, **changes), Phase.LIVING, world.known)
    subnet = Subnet("subnet-1", "zone-a", "vpc", False, free, foreign)
    return {one.topic: one for one in advice_on(record, [subnet])}


def test_its_own_machines_are_not_taken_for_others():
    assert advised(NODES, 9)["dedicated subnet"].is_followed
    assert advised(NODES + 1, 9)["dedicated subnet"].is_followed is False


def test_one_free_address_is_enough_for_a_replacement():
    assert advised(NODES, 1)["subnet size"].is_followed
    assert advised(NODES, 0)["subnet size"].is_followed is False


def test_core_nodes_are_counted_as_they_run():
    assert advised(NODES, 9)["core nodes"].message.startswith("2 core nodes")


def test_targets_and_protection_are_those_of_now():
    fleets = tuple(
        replace(one, spec=replace(one.spec, target_spot=2)) if one.spec.role is Role.TASK else one
        for one in desired().fleets
    )
    found = advised(NODES, 9, fleets=fleets, termination_protected=True)
    assert found["termination protection"].is_followed
    assert "allocation strategy" in found
