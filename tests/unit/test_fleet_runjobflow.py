"""The input of RunJobFlow: each property read, refused by name, or taken with a notice."""

import botocore.session
import botocore.validate
import pytest
from fleetspecs import REQUEST, fleet, problems, request, request_spec

from atoll.core.errors import InvalidInput
from atoll.fleet.model import ActionOnFailure, Role, SpotStrategy, TimeoutAction
from atoll.fleet.spec.runjobflow import parse_run_job_flow

FLEETS = ("Instances", "InstanceFleets")


def refused(*path_and_value):
    with pytest.raises(InvalidInput) as caught:
        parse_run_job_flow(request(*path_and_value))
    return problems(caught.value)


def test_a_request_is_read():
    spec = request_spec()
    assert (spec.name, spec.release_label) == ("nightly", "emr-7.10.0")
    assert [(one.role, one.target_on_demand, one.target_spot) for one in spec.fleets] == [
        (Role.MASTER, 3, 0),
        (Role.CORE, 4, 0),
        (Role.TASK, 0, 2),
    ]
    assert spec.subnet_ids == ("subnet-a", "subnet-b")
    assert spec.is_highly_available


def test_a_fleet_is_read_with_all_it_has():
    types = [
        {
            "InstanceType": "r5.xlarge",
            "WeightedCapacity": 2,
            "BidPrice": "0.07",
            "Priority": 1.0,
            "EbsConfiguration": {
                "EbsBlockDeviceConfigs": [
                    {"VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": 32}},
                    {
                        "VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": 100},
                        "VolumesPerInstance": 2,
                    },
                ]
            },
        }
    ]
    more = {
        "Name": "elastic",
        "InstanceTypeConfigs": types,
        "LaunchSpecifications": {
            "SpotSpecification": {
                "TimeoutDurationMinutes": 20,
                "TimeoutAction": "TERMINATE_CLUSTER",
                "AllocationStrategy": "capacity-optimized-prioritized",
            }
        },
        "ResizeSpecifications": {"SpotResizeSpecification": {"TimeoutDurationMinutes": 30}},
    }
    read = request_spec(*FLEETS, 2, fleet("TASK", spot=2, **more)).fleets[2]
    (one,) = read.types
    assert (one.weighted_capacity, one.bid_price, one.priority, one.disk_gib) == (2, 0.07, 1, 232)
    assert (read.name, read.spot.timeout_minutes) == ("elastic", 20)
    assert read.spot.timeout_action is TimeoutAction.TERMINATE_CLUSTER
    assert read.spot.strategy is SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED
    assert read.resizing.spot_timeout_minutes == 30


def test_fleets_are_ordered_by_role_however_they_were_listed():
    found = request_spec(*FLEETS, [fleet("TASK", 1), fleet("CORE", 4), fleet("MASTER", 3)])
    assert [one.role for one in found.fleets] == [Role.MASTER, Role.CORE, Role.TASK]
    assert [one.name for one in found.fleets] == ["primary", "core", "task"]


def test_spot_is_chosen_as_the_release_does_where_nothing_is_said():
    assert request_spec().fleets[2].spot.strategy is SpotStrategy.PRICE_CAPACITY_OPTIMIZED
    old = request_spec("ReleaseLabel", "emr-6.8.1")
    assert old.fleets[2].spot.strategy is SpotStrategy.CAPACITY_OPTIMIZED


def test_steps_and_bootstrap_actions_are_read():
    step = {
        "Name": "index",
        "ActionOnFailure": "TERMINATE_JOB_FLOW",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["spark-submit", "x.py"]},
    }
    (read,) = request_spec("Steps", [step]).steps
    assert read.args == ("spark-submit", "x.py")
    assert read.action_on_failure is ActionOnFailure.TERMINATE_CLUSTER
    action = {"Name": "tools", "ScriptBootstrapAction": {"Path": "s3://b/x.sh", "Args": ["1"]}}
    (done,) = request_spec("BootstrapActions", [action]).bootstrap_actions
    assert (done.path, done.args) == ("s3://b/x.sh", ("1",))


def test_sparks_configuration_is_read_and_any_other_is_a_notice():
    both = [
        {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "2g"}},
        {"Classification": "hive-site", "Properties": {"a": "b"}},
    ]
    wanted = parse_run_job_flow(request("Configurations", both))
    assert wanted.spec.spark_properties == {"spark.executor.memory": "2g"}
    assert any(
        one.path == "Configurations[1].Classification" and "hive-site" in one.message
        for one in wanted.notices
    )


def test_applications_that_atoll_lacks_are_named():
    names = [{"Name": one} for one in ("Spark", "Hive", "Trino")]
    wanted = parse_run_job_flow(request("Applications", names))
    said = [one.message for one in wanted.notices if one.path.startswith("Applications")]
    assert [message.split(";")[0] for message in said] == [
        "Atoll does not provide Hive",
        "Atoll does not provide Trino",
    ]
    assert wanted.spec.applications == ("Spark", "Hive", "Trino")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("KerberosAttributes",), {"Realm": "X", "KdcAdminPassword": "x"}),
        (("ManagedScalingPolicy",), {"ComputeLimits": {"UnitType": "Instances"}}),
        (("AutoScalingRole",), "role"),
        (("SecurityConfiguration",), "encrypted"),
        (("LogEncryptionKmsKeyId",), "key"),
        (("RepoUpgradeOnBoot",), "SECURITY"),
        (("ScaleDownBehavior",), "TERMINATE_AT_INSTANCE_HOUR"),
        (("SessionEnabled",), True),
        (("MonitoringConfiguration",), {"CloudWatchLogConfiguration": {"Enabled": True}}),
        (("EbsRootVolumeIops",), 3000),
        (("Instances", "InstanceGroups"), [{"InstanceRole": "MASTER"}]),
        (("Instances", "InstanceCount"), 3),
        (("Instances", "Placement"), {"AvailabilityZone": "us-east-1a"}),
        ((*FLEETS, 1, "InstanceTypeConfigs", 0, "CustomAmiId"), "ami-1"),
        ((*FLEETS, 1, "LaunchSpecifications"), {"SpotSpecification": {"BlockDurationMinutes": 60}}),
    ],
)
def test_what_would_change_the_cluster_is_refused_by_name(path, value):
    found = refused(*path, value)
    assert any("not supported by Atoll" in message for _, message in found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VisibleToAllUsers", True),
        ("ServiceRole", "EMR_DefaultRole"),
        ("OSReleaseLabel", "2.0.20230808.0"),
        ("AdditionalInfo", "{}"),
        ("ExtendedSupport", True),
    ],
)
def test_what_is_harmless_is_taken_with_a_notice(name, value):
    assert name in [one.path for one in parse_run_job_flow(request(name, value)).notices]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (
            ("Nam",),
            "x",
            ("Nam", "there is no such property; did you mean Name?"),
        ),
        (
            (*FLEETS, 1, "TargetOnDemandCapcity"),
            1,
            (
                "Instances.InstanceFleets[1].TargetOnDemandCapcity",
                "there is no such property; did you mean TargetOnDemandCapacity?",
            ),
        ),
        (
            (*FLEETS, 1, "TargetOnDemandCapacity"),
            "four",
            ("Instances.InstanceFleets[1].TargetOnDemandCapacity", "'four' is no whole number"),
        ),
        (
            ("Instances", "TerminationProtected"),
            "perhaps",
            ("Instances.TerminationProtected", "'perhaps' is neither true nor false"),
        ),
        (("Name",), None, ("Name", "is null; write a value or leave it out")),
        (("Name",), "a\x1b[31m", ("Name", "'a\\x1b[31m' is no text, or has control characters")),
        (("Instances",), [], ("Instances", "[] is no mapping of names to values")),
        (("Tags",), {"a": "b"}, ("Tags", "{'a': 'b'} is no list")),
        (
            ("PlacementGroupConfigs",),
            [{"InstanceRole": "CORE"}],
            ("PlacementGroupConfigs[0].InstanceRole", "EMR places MASTER instances only"),
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_path(path, value, problem):
    assert problem in refused(*path, value)


def test_all_problems_are_said_at_once():
    with pytest.raises(InvalidInput, match=r"^4 problems: ") as caught:
        parse_run_job_flow({"Instances": {"InstanceFleets": [fleet("MASTER", 2, Nme="x")]}})
    assert [path for path, _ in problems(caught.value)] == [
        "Name",
        "Instances.InstanceFleets[0].Nme",
        "Instances",
        "Instances.InstanceFleets[0].TargetOnDemandCapacity",
    ]


def test_six_types_need_an_allocation_strategy():
    six = [{"InstanceType": f"m{size}.xlarge"} for size in range(6)]
    ((path, message),) = refused(*FLEETS, 1, "InstanceTypeConfigs", six)
    assert path == "Instances.InstanceFleets[1].InstanceTypeConfigs"
    assert "without an AllocationStrategy 5 are the most, with one 30" in message
    by_price = {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}}
    core = fleet("CORE", 4, InstanceTypeConfigs=six, LaunchSpecifications=by_price)
    assert len(request_spec(*FLEETS, 1, core).fleets[1].types) == 6


def test_a_bid_is_a_price_or_a_percentage():
    both = {"InstanceType": "m5.xlarge", "BidPrice": "1", "BidPriceAsPercentageOfOnDemandPrice": 9}
    found = refused(*FLEETS, 2, "InstanceTypeConfigs", [both])
    assert found[0][1].startswith("Specify at most one of bidPrice or bidPriceAsPercentage")


def test_three_primaries_are_protected_whatever_was_asked():
    wanted = parse_run_job_flow(request("Instances", "TerminationProtected", False))
    assert wanted.spec.termination_protected
    assert "Instances.TerminationProtected" in [one.path for one in wanted.notices]
    idle = parse_run_job_flow(request("AutoTerminationPolicy", {"IdleTimeout": 600}))
    assert idle.spec.idle_timeout_s is None
    assert "AutoTerminationPolicy.IdleTimeout" in [one.path for one in idle.notices]


def test_a_single_primary_may_end_when_idle():
    small = request("Instances", "InstanceFleets", [fleet("MASTER", 1), fleet("CORE", 2)])
    wanted = parse_run_job_flow(small | {"AutoTerminationPolicy": {"IdleTimeout": 600}})
    assert wanted.spec.idle_timeout_s == 600
    assert not wanted.spec.is_highly_available


def samples(shape, path=()):
    """Yield each member of a shape of botocore's with a value of its kind."""
    for name, member in shape.members.items():
        here = (*path, name)
        if len(set(here)) < len(here):
            continue  # configurations may hold configurations
        yield here, sample(member)
        inner = member.member if member.type_name == "list" else member
        if inner.type_name == "structure":
            steps = (*here, 0) if member.type_name == "list" else here
            yield from samples(inner, steps)


def sample(shape):
    kinds = {"structure": {}, "list": [], "map": {}, "boolean": True, "string": "x"}
    return kinds.get(shape.type_name, 7)


EMR = botocore.session.get_session().get_service_model("emr")


def built(path, value):
    step, *rest = path
    inner = built(rest, value) if rest else value
    return [inner] if step == 0 else {step: inner}


@pytest.mark.parametrize(
    ("path", "value"), list(samples(EMR.operation_model("RunJobFlow").input_shape))
)
def test_no_property_that_emr_has_is_unknown(path, value):
    refused_whole = any(
        step in ("InstanceGroups", "KerberosAttributes", "ManagedScalingPolicy") for step in path
    )
    try:
        parse_run_job_flow(built(path, value))
        found = []
    except InvalidInput as error:
        found = problems(error)
    assert refused_whole or not any("no such property" in message for _, message in found)


def test_the_request_itself_is_one_that_botocore_would_send():
    shape = EMR.operation_model("RunJobFlow").input_shape
    report = botocore.validate.ParamValidator().validate(REQUEST, shape)
    assert not report.has_errors()
