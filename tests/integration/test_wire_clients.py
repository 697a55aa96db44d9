"""The real clients, boto3 and the `aws` command, against our servers of AWS's protocols."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from wire_services import CREATED, KEY, SECRET, Shelf

from atoll.fleet.wire.server import serve

AWS = Path(sys.executable).with_name("aws")
NO_RETRIES = Config(retries={"total_max_attempts": 1})
# As in the post's template and commands.
FLEET = {
    "InstanceFleetType": "MASTER",
    "TargetOnDemandCapacity": 3,
    "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge", "WeightedCapacity": 1}],
}
ALARM = {
    "AlarmName": "one primary lost",
    "MetricName": "MultiMasterInstanceGroupNodesRunningPercentage",
    "Namespace": "AWS/ElasticMapReduce",
    "Threshold": 0.5,
    "ComparisonOperator": "LessThanThreshold",
    "EvaluationPeriods": 1,
    "Dimensions": [{"Name": "JobFlowId", "Value": "j-1"}],
}


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def server(shelf):
    with serve(shelf.services(), ("127.0.0.1", 0), keys={KEY: SECRET}) as server:
        yield server


@pytest.fixture(scope="module")
def session():
    """One for all: it keeps the models, which are slow to load."""
    return boto3.Session(region_name="us-east-1")


@pytest.fixture
def client(server, session):
    def connect(service, secret=SECRET, key=KEY, config=NO_RETRIES):
        return session.client(
            service,
            endpoint_url=server.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=config,
        )

    return connect


@pytest.fixture
def aws(server, tmp_path):
    def run(*words):
        told = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "HOME": str(tmp_path)}
        env = {**os.environ, **told, "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": ""}
        done = subprocess.run(
            [sys.executable, str(AWS), "--endpoint-url", server.url, "--output", "json", *words],
            env={name: value for name, value in env.items() if name != "AWS_PROFILE"},
            capture_output=True,
            text=True,
            check=False,
        )
        return json.loads(done.stdout) if done.returncode == 0 and done.stdout else done

    return run


def refusal(call, **parameters):
    with pytest.raises(ClientError) as found:
        call(**parameters)
    return found.value


def test_boto3_runs_and_finds_clusters(client, shelf):
    emr = client("emr")
    sent = {"Name": "née", "Instances": {"InstanceFleets": [FLEET], "Ec2SubnetIds": ["subnet-1"]}}
    cluster = emr.run_job_flow(**sent)["JobFlowId"]
    assert shelf.clusters == {cluster: sent}
    found = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (found["Name"], found["Status"]["Timeline"]["CreationDateTime"]) == ("née", CREATED)
    assert emr.list_clusters(CreatedAfter=CREATED)["Clusters"][0]["Id"] == cluster
    assert shelf.calls[-1] == ("ListClusters", {"CreatedAfter": CREATED})
    listed = emr.list_instances(ClusterId=cluster, InstanceFleetType="MASTER")["Instances"]
    assert listed == [{"Id": "ci-1", "PrivateIpAddress": "10.0.0.7", "Market": "ON_DEMAND"}]


def test_boto3_makes_and_drops_stacks(client, shelf):
    cloudformation = client("cloudformation")
    template = json.dumps({"Resources": {"a": "<&>\r\n\t ü"}})
    tags = [{"Key": "team", "Value": "a&b <c>\r\n"}]
    cloudformation.create_stack(StackName="ha", TemplateBody=template, Tags=tags)
    assert shelf.stacks["ha"] == {"StackName": "ha", "TemplateBody": template, "Tags": tags}
    (stack,) = cloudformation.describe_stacks(StackName="ha")["Stacks"]
    assert (stack["Tags"], stack["CreationTime"]) == (tags, CREATED)
    cloudformation.delete_stack(StackName="ha")
    assert cloudformation.describe_stacks()["Stacks"] == []


@pytest.mark.parametrize("protocol", ["json", "smithy-rpc-v2-cbor", "query"])
def test_boto3_reads_metrics_and_sets_alarms(client, shelf, monkeypatch, protocol):
    monkeypatch.setattr("botocore.model.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS", (protocol,))
    cloudwatch = client("cloudwatch")
    cloudwatch.put_metric_alarm(**ALARM)
    assert shelf.alarms == {"one primary lost": ALARM}
    (alarm,) = cloudwatch.describe_alarms()["MetricAlarms"]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0.5, "LessThanThreshold")
    query = {"Id": "m1", "Expression": "x"}
    found = cloudwatch.get_metric_data(MetricDataQueries=[query], StartTime=0, EndTime=CREATED)
    (result,) = found["MetricDataResults"]
    assert (result["Timestamps"], result["Values"]) == ([CREATED], [2.0])
    missing = refusal(cloudwatch.describe_alarms, AlarmNames=["none"])
    assert isinstance(missing, cloudwatch.exceptions.ResourceNotFound)


def test_clients_learn_a_services_errors_by_name(client):
    emr, cloudformation = client("emr"), client("cloudformation")
    found = refusal(emr.describe_cluster, ClusterId="j-9")
    assert isinstance(found, emr.exceptions.InvalidRequestException)
    assert found.response["Error"]["Message"] == "Cluster id 'j-9' is not valid."
    cloudformation.create_stack(StackName="ha", TemplateBody="{}")
    found = refusal(cloudformation.create_stack, StackName="ha", TemplateBody="{}")
    assert isinstance(found, cloudformation.exceptions.AlreadyExistsException)
    found = refusal(cloudformation.describe_stacks, StackName="none")
    assert found.response["Error"]["Code"] == "ValidationError"
    assert found.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert found.response["ResponseMetadata"]["RequestId"]


def test_an_operation_that_atoll_does_not_provide_is_named(client):
    for call in (client("emr").list_studios, client("cloudwatch").list_dashboards):
        found = refusal(call)
        assert found.response["Error"]["Code"] == "NotImplemented"
        assert "Atoll does not provide" in str(found)


def test_wrong_credentials_are_refused_in_every_protocol(client, shelf):
    for service, call in (
        ("emr", "list_clusters"),
        ("cloudformation", "describe_stacks"),
        ("cloudwatch", "describe_alarms"),
    ):
        found = refusal(getattr(client(service, secret="wrong"), call))
        assert found.response["Error"]["Code"] == "SignatureDoesNotMatch"
        found = refusal(getattr(client(service, key="AKIDOTHER"), call))
        assert found.response["Error"]["Code"] == "InvalidClientTokenId"
    assert shelf.calls == []


def test_a_compressed_body_is_read(client):
    config = NO_RETRIES.merge(Config(request_min_compression_size_bytes=1))
    cloudwatch = client("cloudwatch", config=config)
    data = [{"MetricName": "m", "Value": 1.0}]
    found = refusal(cloudwatch.put_metric_data, Namespace="n", MetricData=data)
    assert found.response["Error"]["Code"] == "NotImplemented"


def test_many_clients_are_answered_at_once(client, shelf):
    emr = client("emr")
    emr.run_job_flow(Name="ha", Instances={})
    with ThreadPoolExecutor(8) as pool:
        listed = list(pool.map(lambda _: emr.list_clusters()["Clusters"], range(32)))
    assert [[cluster["Name"] for cluster in found] for found in listed] == [["ha"]] * 32
    assert len(shelf.calls) == 33


def test_the_posts_commands_run(aws, shelf, tmp_path):
    template = tmp_path / "template.json"
    template.write_text('{"Resources": {}}')
    made = aws(
        "cloudformation",
        "create-stack",
        "--stack-name",
        "ha",
        "--template-body",
        f"file://{template}",
    )
    assert made == {"StackId": "arn:aws:cloudformation:::stack/ha/1"}
    assert shelf.stacks["ha"]["TemplateBody"] == '{"Resources": {}}'
    shelf.clusters["j-1"] = {"Name": "ha"}
    query = "Clusters[?Name=='ha'].Id"
    assert aws("emr", "list-clusters", "--active", "--query", query) == ["j-1"]
    found = aws("emr", "list-instances", "--cluster-id", "j-1", "--instance-fleet-type", "MASTER")
    assert found["Instances"][0]["PrivateIpAddress"] == "10.0.0.7"


def test_the_command_speaks_to_cloudwatch(aws, shelf):
    words = "cloudwatch put-metric-alarm --alarm-name a --metric-name m --namespace n --period 60"
    more = "--threshold 0.5 --comparison-operator LessThanThreshold --evaluation-periods 1"
    assert aws(*f"{words} {more}".split()).returncode == 0
    assert shelf.alarms["a"]["Threshold"] == 0.5
    assert aws("cloudwatch", "describe-alarms")["MetricAlarms"][0]["AlarmName"] == "a"


def test_the_command_prints_an_error_as_the_service_says_it(aws):
    done = aws("cloudformation", "describe-stacks", "--stack-name", "none")
    assert done.returncode != 0
    assert "(ValidationError)" in done.stderr
    assert "Stack with id none does not exist" in done.stderr
