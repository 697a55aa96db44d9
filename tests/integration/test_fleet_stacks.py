"""CloudFormation's API over a fleet, asked by boto3 and by the `aws` command, as in the post."""

import json

import pytest
from botocore.exceptions import ClientError
from fleet_clients import KEY, SECRET, aws_of, boto3_of
from fleet_lab import SUBNETS, Lab, awaited
from fleetspecs import POSTS_OWN, TEMPLATE, needs_posts_own

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.cloudformation import CloudFormation
from atoll.fleet.aws.emr import emr_service
from atoll.fleet.aws.stackstore import StackStore
from atoll.fleet.registry import FILE
from atoll.fleet.wire.server import serve


def fleet(count):
    return {"TargetOnDemandCapacity": count, "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}]}


SMALL = {
    "Description": "one primary",
    "Parameters": {"Label": {"Type": "String", "Default": "small"}},
    "Resources": {
        "cluster": {
            "Type": "AWS::EMR::Cluster",
            "Properties": {
                "Name": {"Ref": "Label"},
                "ReleaseLabel": "emr-7.1.0",
                "ServiceRole": "r",
                "JobFlowRole": "p",
                "Instances": {
                    "Ec2SubnetIds": [SUBNETS[0]],
                    "MasterInstanceFleet": fleet(1),
                    "CoreInstanceFleet": fleet(1),
                },
            },
        }
    },
    "Outputs": {"Id": {"Value": {"Ref": "cluster"}}},
}
BODY = json.dumps(SMALL)
LABEL = [{"ParameterKey": "Label", "ParameterValue": "other"}]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def stacks(lab):
    stacks = StackStore(lab.folder / FILE)
    yield stacks
    stacks.close()


@pytest.fixture(scope="module")
def url(lab, stacks):
    account = Account()
    services = [
        CloudFormation(lab.fleet, stacks, account).service(),
        emr_service(lab.fleet, account),
    ]
    with serve(services, ("127.0.0.1", 0), keys={KEY: SECRET}) as server:
        yield server.url


@pytest.fixture(scope="module")
def cloudformation(url):
    return boto3_of(url)("cloudformation")


@pytest.fixture(scope="module")
def small(lab, cloudformation):
    """A stack that is complete, and its cluster."""
    cloudformation.create_stack(StackName="small", TemplateBody=BODY, Parameters=LABEL)
    return lab.live(cluster_of(cloudformation, "small"))


@pytest.fixture
def aws(url, tmp_path):
    return aws_of(url, tmp_path)


def cluster_of(cloudformation, stack):
    (found,) = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    return found["PhysicalResourceId"]


def status(cloudformation, stack):
    return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]


def refusal(call, **parameters):
    with pytest.raises(ClientError) as found:
        call(**parameters)
    return found.value.response["Error"]


@pytest.mark.parametrize(
    ("stack", "template"),
    [pytest.param("post", POSTS_OWN, marks=needs_posts_own), ("ours", TEMPLATE)],
    ids=["the post's", "ours"],
)
def test_post_s_commands_run_unchanged(lab, aws, stack, template):
    name = json.loads(template.read_text())["Resources"]["cluster"]["Properties"]["Name"]
    words = ["--stack-name", stack, "--template-body", f"file://{template}"]
    made = aws("cloudformation", "create-stack", *words, "--region", "us-east-1")
    described = aws("cloudformation", "describe-stacks", "--stack-name", stack)["Stacks"][0]
    assert (described["StackId"], described["StackStatus"]) == (
        made["StackId"],
        "CREATE_IN_PROGRESS",
    )
    query = f"Clusters[?Name=='{name}'].Id"
    [cluster, *_] = aws("emr", "list-clusters", "--query", query)  # the newest first
    lab.live(cluster)
    aws("cloudformation", "wait", "stack-create-complete", "--stack-name", stack)
    words = ["--cluster-id", cluster, "--instance-fleet-type", "MASTER"]
    primaries = aws("emr", "list-instances", *words)["Instances"]
    assert [one["Status"]["State"] for one in primaries] == ["RUNNING"] * 3
    found = aws("emr", "describe-cluster", "--cluster-id", cluster)["Cluster"]
    fleets = {one["InstanceFleetType"]: one for one in found["InstanceFleets"]}
    assert fleets["MASTER"]["ProvisionedOnDemandCapacity"] == 3
    assert fleets["TASK"]["ProvisionedSpotCapacity"] == 4


def test_protected_cluster_keeps_its_stack_until_protection_is_lifted(lab, aws, cloudformation):
    cloudformation.create_stack(StackName="kept", TemplateBody=TEMPLATE.read_text())
    cluster = lab.live(cluster_of(cloudformation, "kept"))
    aws("cloudformation", "delete-stack", "--stack-name", "kept")
    (stack,) = cloudformation.describe_stacks(StackName="kept")["Stacks"]
    assert stack["StackStatus"] == "DELETE_FAILED"
    assert "termination protected" in stack["StackStatusReason"]
    aws("emr", "modify-cluster-attributes", "--cluster-id", cluster, "--no-termination-protected")
    aws("cloudformation", "delete-stack", "--stack-name", "kept")
    lab.await_state(cluster, "TERMINATED")
    aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "kept")
    summaries = aws("cloudformation", "list-stacks")["StackSummaries"]
    assert ("kept", "DELETE_COMPLETE") in [(s["StackName"], s["StackStatus"]) for s in summaries]


def test_stack_that_completes_shows_outputs_and_events(lab, cloudformation, small):
    (stack,) = cloudformation.describe_stacks(StackName="small")["Stacks"]
    assert (stack["StackStatus"], stack["Parameters"]) == ("CREATE_COMPLETE", LABEL)
    assert stack["Outputs"] == [{"OutputKey": "Id", "OutputValue": small}]
    assert lab.fleet.cluster(small).desired.spec.name == "other"
    events = cloudformation.describe_stack_events(StackName="small")["StackEvents"]
    assert [(one["LogicalResourceId"], one["ResourceStatus"]) for one in events] == [
        ("small", "CREATE_COMPLETE"),
        ("cluster", "CREATE_COMPLETE"),
        ("cluster", "CREATE_IN_PROGRESS"),
        ("small", "CREATE_IN_PROGRESS"),
    ]


def test_same_request_again_makes_no_other_stack(cloudformation):
    asked = {"StackName": "again", "TemplateBody": BODY, "ClientRequestToken": "t1"}
    made = cloudformation.create_stack(**asked)["StackId"]
    assert cloudformation.create_stack(**asked)["StackId"] == made
    other = {**asked, "TemplateBody": BODY.replace("m5.xlarge", "m5.2xlarge")}
    assert refusal(cloudformation.create_stack, **other)["Code"] == "TokenAlreadyExistsException"
    error = refusal(cloudformation.create_stack, **{**asked, "ClientRequestToken": "t2"})
    assert error["Code"] == "AlreadyExistsException"


def test_stack_is_protected_from_deletion_by_itself_too(lab, cloudformation):
    made = cloudformation.create_stack(StackName="guarded", TemplateBody=BODY)
    cloudformation.update_termination_protection(
        StackName="guarded", EnableTerminationProtection=True
    )
    error = refusal(cloudformation.delete_stack, StackName="guarded")
    assert "TerminationProtection is enabled" in error["Message"]
    cloudformation.update_termination_protection(
        StackName="guarded", EnableTerminationProtection=False
    )
    cloudformation.delete_stack(StackName="guarded")
    awaited(lambda: status(cloudformation, made["StackId"]) == "DELETE_COMPLETE")
    assert (
        "does not exist" in refusal(cloudformation.describe_stacks, StackName="guarded")["Message"]
    )
    cloudformation.delete_stack(StackName="guarded")


@pytest.mark.parametrize(
    ("on_failure", "becomes"), [("ROLLBACK", "ROLLBACK_COMPLETE"), ("DO_NOTHING", "CREATE_FAILED")]
)
def test_cluster_that_fails_fails_its_stack_with_the_reason(
    lab, cloudformation, on_failure, becomes
):
    name = f"fails-{on_failure.replace('_', '-')}"
    cloudformation.create_stack(StackName=name, TemplateBody=BODY, OnFailure=on_failure)
    cluster = cluster_of(cloudformation, name)
    (machine,) = awaited(lambda: lab.primaries(cluster))
    lab.provider.terminate([machine.id], reason="hardware failed")
    awaited(lambda: status(cloudformation, name) == becomes)
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    assert "hardware failed" in stack["StackStatusReason"]


def test_stack_without_room_is_refused_and_leaves_nothing(lab, cloudformation):
    lab.provider.free = 0
    try:
        error = refusal(cloudformation.create_stack, StackName="full", TemplateBody=BODY)
    finally:
        lab.provider.free = 200
    assert error["Code"] == "ValidationError"
    assert "free addresses" in error["Message"]
    assert "does not exist" in refusal(cloudformation.describe_stacks, StackName="full")["Message"]


@pytest.mark.parametrize(
    ("call", "parameters", "words"),
    [
        ("create_stack", {"StackName": "1st", "TemplateBody": BODY}, "stackName"),
        ("create_stack", {"StackName": "a"}, "must be specified"),
        ("create_stack", {"StackName": "a", "TemplateURL": "https://x/y"}, "TemplateURL is not"),
        ("create_stack", {"StackName": "a", "TemplateBody": "{"}, "template"),
        ("update_stack", {"StackName": "small", "TemplateBody": BODY}, "not supported by Atoll"),
        ("describe_stack_events", {"StackName": "nil"}, "Stack with id nil does not exist"),
    ],
)
@pytest.mark.usefixtures("small")
def test_wrong_requests_are_refused_in_words(cloudformation, call, parameters, words):
    error = refusal(getattr(cloudformation, call), **parameters)
    assert error["Code"] == "ValidationError"
    assert words in error["Message"]


@pytest.mark.usefixtures("small")
def test_template_is_validated_and_given_back(cloudformation):
    found = cloudformation.validate_template(TemplateBody=BODY)
    assert (found["Description"], found["Parameters"][0]["DefaultValue"]) == (
        "one primary",
        "small",
    )
    assert cloudformation.get_template(StackName="small")["TemplateBody"] == SMALL
    wrong = BODY.replace("ServiceRole", "ServicesRole")
    assert refusal(cloudformation.validate_template, TemplateBody=wrong)


def test_stacks_outlive_the_host(lab, stacks, cloudformation):
    again = StackStore(lab.folder / FILE)
    assert again.all() == stacks.all()
    again.close()
