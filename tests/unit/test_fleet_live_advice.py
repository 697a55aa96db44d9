"""Best practices checked on a cluster that lives."""

from dataclasses import replace

import pytest
from fleet_world import World, desired

from atoll.fleet.capacity import Subnet
from atoll.fleet.control.advising import advice_on
from atoll.fleet.model import Role
from atoll.fleet.monitoring.ownalarms import own_alarms
from atoll.fleet.registry import ClusterRecord, Phase

NODES = 5  # three primaries and two core nodes


def advised(foreign, free, *, alarms=lambda record: own_alarms(record, ()), **changes):
    world = World(desired())
    world.run(60)
    record = ClusterRecord(replace(world.desired, **changes), Phase.LIVING, world.known)
    subnet = Subnet("subnet-1", "zone-a", "vpc", False, free, foreign)
    return {one.topic: one for one in advice_on(record, [subnet], alarms(record))}


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


def alarmed(change, notified=("https://x/y",)):
    """Look at the advice on alarms where the cluster's own three were changed."""

    def changed(record):
        return change(own_alarms(record, notified))

    return advised(NODES, 9, alarms=changed)["alarms"]


def test_its_own_alarms_are_enough_once_they_notify_somebody():
    assert alarmed(lambda own: own).is_followed
    nobody = alarmed(lambda own: own, notified=())
    assert nobody.is_followed is False
    assert "nobody is notified of a lost primary, a lost quorum" in nobody.message
    topic = alarmed(lambda own: own, notified=("arn:aws:sns:us-east-1:1:t",))
    assert topic.is_followed is False


@pytest.mark.parametrize("number", range(3))
def test_an_alarm_that_was_deleted_or_disabled_is_missed(number):
    deleted = alarmed(lambda own: own[:number] + own[number + 1 :])
    assert "no alarm tells of" in deleted.message
    mute = alarmed(lambda own: [replace(one, is_enabled=one is not own[number]) for one in own])
    assert "nobody is notified of" in mute.message


def test_alarms_of_others_count_by_what_they_tell_and_not_by_their_names():
    def own_ones(own):
        three, two = ((n, "LessThanThreshold") for n in (3.0, 2.0))
        wanted = zip(own, (three, two, (2.0, "LessThanOrEqualToThreshold")), strict=True)
        metric = "MultiMasterInstanceGroupNodesRunning"
        return [
            replace(one, name=str(n), metric=metric, threshold=n, comparison=how, is_own=False)
            for one, (n, how) in wanted
        ]

    assert alarmed(own_ones).is_followed
    elsewhere = alarmed(lambda own: [replace(one, cluster_id="j-OTHER") for one in own_ones(own)])
    assert elsewhere.is_followed is False


@pytest.mark.parametrize("change", [{"threshold": 0.2}, {"metric": "IsIdle"}, {"statistic": "Sum"}])
def test_an_alarm_that_never_rings_in_time_is_none(change):
    told = alarmed(lambda own: [replace(own[0], **change), *own[1:]])
    assert told.message == "no alarm tells of a lost primary"
