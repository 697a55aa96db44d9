"""The post's best practices: which a cluster follows, and how to follow the others."""

from dataclasses import replace

import pytest
from fleetspecs import post_spec, short_spec

from atoll.fleet.capacity import Subnet
from atoll.fleet.model import SpotProvisioning, SpotStrategy
from atoll.fleet.planning.advice import ALARMS, Observed, advise
from atoll.fleet.spec.releases import LATEST

POST = post_spec()


def followed(spec, observed=None):
    return {one.topic: one.is_followed for one in advise(spec, observed)}


def said(spec, topic, observed=None):
    return [one for one in advise(spec, observed) if one.topic == topic]


def subnet(free, foreign=0):
    return Subnet("subnet-a", "zone-a", "vpc", False, free, foreign)


def test_the_posts_cluster_follows_the_post_but_for_its_age():
    found = followed(POST)
    assert [topic for topic, is_followed in found.items() if is_followed is False] == ["release"]


def test_what_is_not_known_is_neither_followed_nor_not():
    found = followed(POST)
    topics = ("dedicated subnet", "core nodes", "alarms", "single zone")
    assert all(found[topic] is None for topic in topics)


def test_the_latest_release_is_advised():
    assert followed(replace(POST, release_label=LATEST.label))["release"]
    (old,) = said(POST, "release")
    assert LATEST.label in old.how


@pytest.mark.parametrize(
    ("nodes", "is_followed", "message"),
    [
        (1, False, "1 core node: what they hold can have no second copy"),
        (3, False, "3 core nodes: what they hold can have at least 2 copies"),
        (4, True, "4 core nodes: enough for three copies of what they hold"),
    ],
)
def test_copies_are_advised_by_nodes_and_not_by_units(nodes, is_followed, message):
    assert POST.fleets[1].target_on_demand == 4
    (one,) = said(POST, "core nodes", Observed(core_nodes=nodes))
    assert one.is_followed is is_followed
    assert message in one.message


def test_a_shared_subnet_is_advised_against():
    assert followed(POST, Observed(subnets=(subnet(50),)))["dedicated subnet"]
    (one,) = said(POST, "dedicated subnet", Observed(subnets=(subnet(50, foreign=2),)))
    assert one.is_followed is False
    assert "subnet-a" in one.message


@pytest.mark.parametrize(("free", "is_followed"), [(7, False), (8, True)])
def test_a_subnet_has_room_for_one_instance_more_than_all(free, is_followed):
    seen = Observed(nodes=7, subnets=(subnet(free),))
    assert followed(POST, seen)["subnet size"] is is_followed


@pytest.mark.parametrize(("free", "is_followed"), [(0, False), (1, True)])
def test_a_live_cluster_needs_one_free_address(free, is_followed):
    seen = Observed(nodes=7, subnets=(subnet(free),), is_running=True)
    assert followed(POST, seen)["subnet size"] is is_followed


def test_each_of_the_three_alarms_is_missed_where_it_is_not_and_where_it_tells_nobody():
    heard = dict.fromkeys(ALARMS, True)
    assert followed(POST, Observed(alarms=heard))["alarms"]
    for one in ALARMS:
        (gone,) = said(POST, "alarms", Observed(alarms={k: heard[k] for k in ALARMS if k != one}))
        assert (gone.is_followed, gone.message) == (False, f"no alarm tells of {one}")
        (mute,) = said(POST, "alarms", Observed(alarms=heard | {one: False}))
        assert (mute.is_followed, mute.message) == (False, f"nobody is notified of {one}")


def test_before_the_start_it_is_said_that_create_sets_the_alarms():
    (one,) = said(POST, "alarms")
    assert "`atoll fleet create` sets the three alarms" in one.message


@pytest.mark.parametrize(
    ("changes", "topic"),
    [
        ({"spread_primaries": False}, "placement"),
        ({"termination_protected": False}, "termination protection"),
        ({"subnet_ids": ("subnet-a",)}, "several subnets"),
        ({"fleets": (replace(POST.fleets[0], target_on_demand=1), *POST.fleets[1:])}, "primaries"),
    ],
)
def test_what_is_not_followed_comes_with_how(changes, topic):
    (one,) = said(replace(POST, **changes), topic)
    assert one.is_followed is False
    assert one.how


def test_spot_that_does_not_look_at_capacity_is_advised_against():
    cheap = SpotProvisioning(strategy=SpotStrategy.LOWEST_PRICE)
    fleets = (*POST.fleets[:2], replace(POST.fleets[2], spot=cheap))
    (one,) = said(replace(POST, fleets=fleets), "allocation strategy")
    assert (one.is_followed, one.message) == (False, "spare: spot by lowest-price")


def test_fleets_of_few_types_are_named():
    few = [one.message for one in said(short_spec(), "instance types") if not one.is_followed]
    assert few == [
        "primary: 2 instance types",
        "core: 2 instance types",
        "task: 2 instance types",
    ]
