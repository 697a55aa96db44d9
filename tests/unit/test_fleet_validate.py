"""EMR's rules, one by one, on a specification."""

from dataclasses import replace

import pytest
from fleetspecs import request_spec

from atoll.core.errors import InvalidInput
from atoll.fleet.model import (
    ActionOnFailure,
    BootstrapAction,
    HealthPolicy,
    InstanceTypeConfig,
    OnDemandStrategy,
    Resizing,
    Role,
    SpotProvisioning,
    StepSpec,
)
from atoll.fleet.spec.notices import ec2_notices, local_notices
from atoll.fleet.spec.validate import check, problems_of

GOOD = request_spec()
STEP = StepSpec("one", ("true",))
TYPE = InstanceTypeConfig("m5.xlarge")


def with_fleet(place, **changes):
    fleets = list(GOOD.fleets)
    fleets[place] = replace(fleets[place], **changes)
    return {"fleets": tuple(fleets)}


def with_type(place, **changes):
    return with_fleet(place, types=(replace(TYPE, **changes),))


def spot_for(minutes):
    return {"spot": SpotProvisioning(timeout_minutes=minutes)}


def broken(**changes):
    return [".".join(map(str, one.part)) for one in problems_of(replace(GOOD, **changes))]


def test_a_good_specification_breaks_no_rule():
    assert problems_of(GOOD) == []
    check(GOOD)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (with_fleet(0, target_on_demand=2), "fleets.0.target_on_demand"),
        (with_fleet(0, target_on_demand=5), "fleets.0.target_on_demand"),
        (with_fleet(0, target_spot=1), "fleets.0.target_spot"),
        (with_type(0, weighted_capacity=2), "fleets.0.types.0.weighted_capacity"),
        (with_fleet(1, target_on_demand=0), "fleets.1.target_on_demand"),
        (with_fleet(1, target_on_demand=-1), "fleets.1.target_on_demand"),
        (with_type(1, weighted_capacity=0), "fleets.1.types.0.weighted_capacity"),
        (with_fleet(1, types=()), "fleets.1.types"),
        (with_fleet(1, types=(TYPE, TYPE)), "fleets.1.types"),
        (with_type(1, instance_type="m5 xlarge"), "fleets.1.types.0.instance_type"),
        (with_type(1, bid_price=0.0), "fleets.1.types.0.bid_price"),
        (with_type(1, bid_price=1.0, bid_price_percent=50.0), "fleets.1.types.0.bid_price"),
        (with_type(1, bid_price_percent=-1.0), "fleets.1.types.0.bid_price_percent"),
        (with_type(1, priority=1.0), "fleets.1.types.0.priority"),
        (with_type(1, disk_gib=0), "fleets.1.types.0.disk_gib"),
        (with_fleet(1, name="x" * 257), "fleets.1.name"),
        (with_fleet(2, **spot_for(4)), "fleets.2.spot.timeout_minutes"),
        (with_fleet(2, **spot_for(1441)), "fleets.2.spot.timeout_minutes"),
        (
            with_fleet(2, resizing=Resizing(spot_timeout_minutes=4)),
            "fleets.2.resizing.spot_timeout_minutes",
        ),
        (
            with_fleet(2, resizing=Resizing(on_demand_timeout_minutes=10_081)),
            "fleets.2.resizing.on_demand_timeout_minutes",
        ),
        ({"fleets": GOOD.fleets[1:]}, "fleets"),
        ({"fleets": GOOD.fleets[:1]}, "fleets"),
        ({"fleets": GOOD.fleets + GOOD.fleets[1:2]}, "fleets"),
        ({"fleets": GOOD.fleets + GOOD.fleets[2:] * 48}, "fleets"),
        ({"name": ""}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"release_label": "emr-6.11.0"}, "release_label"),
        ({"subnet_ids": ("subnet-a", "subnet-a")}, "subnet_ids"),
        ({"subnet_ids": ("",)}, "subnet_ids"),
        ({"step_concurrency": 0}, "step_concurrency"),
        ({"step_concurrency": 257}, "step_concurrency"),
        ({"idle_timeout_s": 59}, "idle_timeout_s"),
        ({"root_volume_gib": 0}, "root_volume_gib"),
        ({"primary_security_group": "sg-1"}, "worker_security_group"),
        ({"worker_security_group": "sg-1"}, "primary_security_group"),
        ({"spark_properties": {"executor.memory": "2g"}}, "spark_properties"),
        ({"steps": (STEP,) * 257}, "steps"),
        ({"steps": (replace(STEP, args=()),)}, "steps.0.args"),
        ({"steps": (replace(STEP, args=("x" * 10_281,)),)}, "steps.0.args"),
        ({"steps": (replace(STEP, name=""),)}, "steps.0.name"),
        (
            {
                "step_concurrency": 2,
                "steps": (replace(STEP, action_on_failure=ActionOnFailure.CANCEL_AND_WAIT),),
            },
            "steps.0.action_on_failure",
        ),
        ({"bootstrap_actions": (BootstrapAction("x", "s3://x"),) * 17}, "bootstrap_actions"),
        ({"bootstrap_actions": (BootstrapAction("x", ""),)}, "bootstrap_actions.0"),
        ({"log_uri": "logs/here"}, "log_uri"),
        ({"log_uri": "~/logs"}, "log_uri"),
        ({"log_uri": "hdfs://logs"}, "log_uri"),
        ({"log_uri": "s3://not a bucket/logs"}, "log_uri"),
        ({"log_uri": "s3://"}, "log_uri"),
        ({"log_uri": ""}, "log_uri"),
        ({"tags": {"aws:x": "y"}}, "tags"),
        ({"tags": {"x" * 129: "y"}}, "tags"),
        ({"tags": {"x": "y" * 257}}, "tags"),
        ({"tags": {str(number): "" for number in range(51)}}, "tags"),
        ({"health": HealthPolicy(heartbeat_timeout_s=0)}, "health.heartbeat_timeout_s"),
        ({"health": HealthPolicy(disk_percent=101)}, "health.disk_percent"),
        ({"health": HealthPolicy(worker_grace_s=-1)}, "health.worker_grace_s"),
    ],
)
def test_a_broken_rule_is_named(changes, part):
    assert broken(**changes) == [part]


@pytest.mark.parametrize(
    "changes",
    [
        with_fleet(0, target_on_demand=1),
        with_fleet(2, **spot_for(5)),
        with_fleet(2, **spot_for(1440)),
        with_fleet(2, resizing=Resizing(spot_timeout_minutes=10_080)),
        with_fleet(1, types=tuple(InstanceTypeConfig(f"m{n}.xlarge") for n in range(30))),
        {"idle_timeout_s": 604_800},
        {"fleets": GOOD.fleets + GOOD.fleets[2:] * 47},
        {"steps": (STEP,) * 256},
        *({"log_uri": one} for one in ("s3://logs", "s3n://logs/a/", "/logs", "file:///a%20b")),
    ],
)
def test_what_is_just_allowed_breaks_no_rule(changes):
    assert broken(**changes) == []


def test_thirty_types_are_the_most():
    many = tuple(InstanceTypeConfig(f"m{n}.xlarge") for n in range(31))
    assert broken(**with_fleet(1, types=many)) == ["fleets.1.types"]


def test_priorities_count_with_a_prioritized_strategy():
    ranked = (replace(TYPE, priority=0.0),)
    prioritized = OnDemandStrategy.PRIORITIZED
    assert broken(**with_fleet(1, types=ranked, on_demand_strategy=prioritized)) == []
    resizing = Resizing(on_demand_strategy=prioritized)
    assert broken(**with_fleet(1, types=ranked, resizing=resizing)) == []


def test_a_single_primary_runs_on_a_release_without_high_availability():
    assert broken(release_label="emr-6.11.0", **with_fleet(0, target_on_demand=1)) == []


def test_all_broken_rules_are_said_at_once():
    with pytest.raises(InvalidInput, match=r"^2 problems: name: .*; step_concurrency: "):
        check(replace(GOOD, name="", step_concurrency=0))


def test_a_local_provider_says_what_it_leaves_aside():
    found = local_notices(replace(GOOD, key_name="mine", custom_ami="ami-1"))
    assert {one.part for one in found} == {("job_flow_role",), ("key_name",), ("custom_ami",)}


@pytest.mark.parametrize(("log_uri", "notices"), [("s3n://logs", 0), (None, 0), ("/logs", 1)])
def test_a_folder_of_each_instance_is_told_as_what_it_is(log_uri, notices):
    assert len(ec2_notices(replace(GOOD, log_uri=log_uri))) == notices


def test_the_fleets_are_those_the_rules_were_tried_on():
    assert [one.role for one in GOOD.fleets] == [Role.MASTER, Role.CORE, Role.TASK]
