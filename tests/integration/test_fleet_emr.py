"""EMR's API over a fleet, asked by boto3 and by the `aws` command."""

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from fleet_clients import KEY, SECRET, aws_of, boto3_of
from fleet_lab import SUBNETS, Lab, awaited

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.emr import emr_service
from atoll.fleet.wire.server import serve

TYPES = [{"InstanceType": "m5.xlarge", "WeightedCapacity": 1}]
PRIMARIES = {
    "Name": "HAPrimaryFleet",
    "InstanceFleetType": "MASTER",
    "TargetOnDemandCapacity": 3,
    "InstanceTypeConfigs": TYPES,
}
CORE = {
    "Name": "core",
    "InstanceFleetType": "CORE",
    "TargetOnDemandCapacity": 2,
    "InstanceTypeConfigs": TYPES,
}
SCRIPT = {"Path": "/bin/echo", "Args": ["on", "each"]}
REQUEST = {
    "Name": "née",
    "ReleaseLabel": "emr-7.1.0",
    "Applications": [{"Name": "Spark"}, {"Name": "Trino"}],
    "BootstrapActions": [{"Name": "b", "ScriptBootstrapAction": SCRIPT}],
    "Tags": [{"Key": "team", "Value": "search"}],
    "Instances": {"InstanceFleets": [PRIMARIES, CORE], "Ec2SubnetIds": [SUBNETS[0]]},
}
STEP = {"Name": "one", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def url(lab):
    services = [emr_service(lab.fleet, Account())]
    with serve(services, ("127.0.0.1", 0), keys={KEY: SECRET}) as server:
        yield server.url


@pytest.fixture(scope="module")
def emr(url):
    return boto3_of(url)("emr")


@pytest.fixture(scope="module")
def cluster(lab, emr):
    return lab.live(emr.run_job_flow(**REQUEST)["JobFlowId"])


@pytest.fixture
def aws(url, tmp_path):
    return aws_of(url, tmp_path)


def refusal(call, **parameters):
    with pytest.raises(ClientError) as found:
        call(**parameters)
    return found.value.response["Error"]


def states(emr, cluster, role):
    found = emr.list_instances(ClusterId=cluster, InstanceFleetType=role)["Instances"]
    return [(one["Status"]["State"], one["PrivateIpAddress"]) for one in found]


def fleet_of(emr, cluster, role):
    found = emr.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]
    return next(one for one in found if one["InstanceFleetType"] == role)


def test_described_cluster_is_what_was_asked_for(emr, aws, cluster):
    found = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (found["Name"], found["ReleaseLabel"]) == ("née", "emr-7.1.0")
    assert found["Status"]["State"] == "WAITING"
    assert found["Status"]["Timeline"]["ReadyDateTime"]
    assert found["TerminationProtected"]
    assert not found["AutoTerminate"]
    assert found["MasterPublicDnsName"].startswith("ip-127-")
    assert found["Tags"] == REQUEST["Tags"]
    assert found["Ec2InstanceAttributes"]["Ec2SubnetId"] == SUBNETS[0]
    # Three primaries and two core nodes, of eight m1.small each, in their first hour.
    assert found["NormalizedInstanceHours"] == 40
    printed = aws("emr", "describe-cluster", "--cluster-id", cluster)["Cluster"]
    assert printed["BootstrapActions"] == [
        {"Name": "b", "ScriptPath": SCRIPT["Path"], "Args": SCRIPT["Args"]}
    ]


def test_what_is_done_otherwise_is_an_event(lab, cluster):
    told = [one.message for one in lab.fleet.events(cluster) if one.kind == "REQUEST_NOTICE"]
    assert any("Atoll does not provide Trino" in one for one in told)


def test_clusters_are_found_by_state_and_date(emr, cluster):
    created = emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["Timeline"]
    # The client sends whole seconds.
    before = created["CreationDateTime"] - timedelta(seconds=1)

    def ids(**asked):
        return [one["Id"] for one in emr.list_clusters(**asked)["Clusters"]]

    assert cluster in ids(ClusterStates=["WAITING"])
    assert cluster not in ids(ClusterStates=["TERMINATED"])
    assert cluster in ids(CreatedAfter=before)
    assert cluster not in ids(CreatedBefore=before)


def test_lost_primary_is_shown_with_its_successor_at_the_same_address(lab, emr, cluster):
    lost = lab.primaries(cluster)[-1]
    lab.provider.terminate([lost.id], reason="pulled out")

    def both():
        found = states(emr, cluster, "MASTER")
        return [one for one, ip in found if ip == lost.private_ip] == ["RUNNING", "TERMINATED"]

    awaited(both)
    fleet = fleet_of(emr, cluster, "MASTER")
    assert (fleet["ProvisionedOnDemandCapacity"], fleet["TargetOnDemandCapacity"]) == (3, 3)
    (ended,) = emr.list_instances(ClusterId=cluster, InstanceStates=["TERMINATED"])["Instances"]
    assert ended["Ec2InstanceId"] == lost.id
    assert "pulled out" in ended["Status"]["StateChangeReason"]["Message"]
    assert len(emr.list_instances(ClusterId=cluster, InstanceFleetId=fleet["Id"])["Instances"]) == 4


def test_core_fleet_is_resized_and_refused_without_both_targets(emr, cluster):
    fleet = fleet_of(emr, cluster, "CORE")["Id"]
    half = {"InstanceFleetId": fleet, "TargetOnDemandCapacity": 3}
    assert (
        "should have both"
        in refusal(emr.modify_instance_fleet, ClusterId=cluster, InstanceFleet=half)["Message"]
    )
    both = {
        **half,
        "TargetSpotCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m5.2xlarge"}],
    }
    emr.modify_instance_fleet(ClusterId=cluster, InstanceFleet=both)
    awaited(lambda: fleet_of(emr, cluster, "CORE")["ProvisionedSpotCapacity"] == 1)
    added = [
        one["InstanceType"]
        for one in emr.list_instances(ClusterId=cluster, InstanceFleetType="CORE")["Instances"]
    ]
    assert sorted(added) == ["m5.2xlarge"] * 2 + ["m5.xlarge"] * 2


def test_resize_that_the_subnet_has_no_room_for_is_refused_by_name(lab, emr, cluster):
    fleet = fleet_of(emr, cluster, "CORE")["Id"]
    wanted = {"InstanceFleetId": fleet, "TargetOnDemandCapacity": 900, "TargetSpotCapacity": 0}
    error = refusal(emr.modify_instance_fleet, ClusterId=cluster, InstanceFleet=wanted)
    assert error["Code"] == "InvalidRequestException"
    assert SUBNETS[0] in error["Message"]


def test_task_fleet_is_added_once_it_is_one(emr, cluster):
    task = {**CORE, "InstanceFleetType": "TASK", "Name": "more", "TargetOnDemandCapacity": 1}
    added = emr.add_instance_fleet(ClusterId=cluster, InstanceFleet=task)
    awaited(lambda: fleet_of(emr, cluster, "TASK")["Status"]["State"] == "RUNNING")
    assert fleet_of(emr, cluster, "TASK")["Id"] == added["InstanceFleetId"]
    assert (
        "TASK fleets only"
        in refusal(emr.add_instance_fleet, ClusterId=cluster, InstanceFleet=CORE)["Message"]
    )


def test_steps_are_added_listed_newest_first_and_cancelled(emr, cluster):
    waiting = {**STEP, "Name": "waits"}
    one, two = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[STEP, waiting])["StepIds"]
    assert [step["Id"] for step in emr.list_steps(ClusterId=cluster)["Steps"]] == [two, one]
    described = lambda: emr.describe_step(ClusterId=cluster, StepId=one)["Step"]  # noqa: E731
    awaited(lambda: described()["Status"]["State"] == "COMPLETED")
    assert described()["Config"]["Args"] == ["true"]
    outcomes = emr.cancel_steps(ClusterId=cluster, StepIds=[one, two])["CancelStepsInfoList"]
    assert [step["Status"] for step in outcomes] == ["FAILED", "SUBMITTED"]
    cancelled = emr.list_steps(ClusterId=cluster, StepStates=["CANCELLED"])["Steps"]
    assert [step["Id"] for step in cancelled] == [two]


def test_settings_of_a_living_cluster_are_changed(lab, emr, cluster):
    emr.modify_cluster(ClusterId=cluster, StepConcurrencyLevel=3)
    emr.set_unhealthy_node_replacement(JobFlowIds=[cluster], UnhealthyNodeReplacement=False)
    arn = emr.describe_cluster(ClusterId=cluster)["Cluster"]["ClusterArn"]
    emr.add_tags(ResourceId=arn, Tags=[{"Key": "cost", "Value": "7"}])
    emr.remove_tags(ResourceId=cluster, TagKeys=["team"])
    found = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (found["StepConcurrencyLevel"], found["UnhealthyNodeReplacement"]) == (3, False)
    assert found["Tags"] == [{"Key": "cost", "Value": "7"}]
    assert refusal(emr.modify_cluster, ClusterId=cluster, StepConcurrencyLevel=900)
    never = {"JobFlowIds": [cluster], "KeepJobFlowAliveWhenNoSteps": False}
    assert refusal(emr.set_keep_job_flow_alive_when_no_steps, **never)


@pytest.mark.parametrize(
    ("call", "parameters", "words"),
    [
        ("describe_cluster", {"ClusterId": "j-NONE"}, "Cluster id 'j-NONE' is not valid."),
        ("list_clusters", {"Marker": "?"}, "marker '?' is not valid"),
        ("terminate_job_flows", {"JobFlowIds": ["j-NONE", "j-NIL"]}, "j-NIL"),
        ("run_job_flow", {"Name": "x", "Instances": {}}, "has 0 MASTER fleets"),
    ],
)
def test_wrong_requests_are_refused_in_words(emr, call, parameters, words):
    error = refusal(getattr(emr, call), **parameters)
    assert error["Code"] == "InvalidRequestException"
    assert words in error["Message"]


def test_launch_without_room_is_refused_before_any_machine_starts(lab, emr):
    before = len(emr.list_clusters()["Clusters"])
    lab.provider.free = 2
    try:
        error = refusal(emr.run_job_flow, **REQUEST)
    finally:
        lab.provider.free = 200
    assert error["Code"] == "InvalidRequestException"
    assert "free addresses" in error["Message"]
    assert len(emr.list_clusters()["Clusters"]) == before


def test_command_line_works_with_a_cluster_from_birth_to_end(lab, aws):
    made = aws(
        "emr", "create-cluster", "--name", "cli", "--release-label", "emr-7.1.0",
        "--instance-fleets",
        "InstanceFleetType=MASTER,TargetOnDemandCapacity=1,InstanceTypeConfigs=[{InstanceType=m5.xlarge}]",
        "InstanceFleetType=CORE,TargetSpotCapacity=2,InstanceTypeConfigs=[{InstanceType=m5.xlarge}]",
        "--ec2-attributes", f"SubnetId={SUBNETS[0]}", "--use-default-roles",
    )  # fmt: skip
    cluster = lab.live(made["ClusterId"])
    aws("emr", "wait", "cluster-running", "--cluster-id", cluster)
    described = aws("emr", "describe-cluster", "--cluster-id", cluster)["Cluster"]
    assert described["InstanceFleets"][0]["ProvisionedOnDemandCapacity"] == 1
    words = ["--cluster-id", cluster, "--instance-fleet-type", "MASTER"]
    (primary,) = aws("emr", "list-instances", *words)["Instances"]
    assert primary["Status"]["State"] == "RUNNING"
    step = "Type=CUSTOM_JAR,Name=one,Jar=command-runner.jar,Args=[true]"
    aws("emr", "add-steps", "--cluster-id", cluster, "--steps", step)
    listed = aws("emr", "list-clusters", "--query", "Clusters[?Name=='cli'].Id")
    assert listed == [cluster]
    aws("emr", "terminate-clusters", "--cluster-ids", cluster)
    lab.await_state(cluster, "TERMINATED")
    (primary,) = aws("emr", "list-instances", *words)["Instances"]
    assert primary["Status"]["StateChangeReason"]["Code"] == "CLUSTER_TERMINATED"


def test_protected_cluster_ends_only_when_protection_is_lifted(lab, emr, cluster):
    error = refusal(emr.terminate_job_flows, JobFlowIds=[cluster])
    assert "termination protected" in error["Message"]
    emr.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    lab.await_state(cluster, "TERMINATED")
    assert {state for state, _ in states(emr, cluster, "MASTER")} == {"TERMINATED"}
    assert refusal(emr.add_job_flow_steps, JobFlowId=cluster, Steps=[STEP])
