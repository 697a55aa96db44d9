"""What the template makes, asked for one by one: an emulator may pass over what it knows not."""

import json

import pytest
from aws_servers import batch_parameters, deploy, parsed

from atoll.deploy.render import SearchStack, render

STEPS = {"plan": 1769, "search": 4096, "reduce": 2048}


@pytest.fixture(scope="module", params=["ministack", "moto_aws"])
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def text():
    return render(
        SearchStack(
            "s3://proteins/uniref",
            image="registry.example/atoll:1",
            max_concurrency=7,
            search_memory=4096,
            reduce_memory=2048,
            step_timeout=600,
            endpoint="http://127.0.0.1:1",
            allow_http=True,
        )
    )


@pytest.fixture(scope="module")
def stack(server, text):
    return deploy(server, text, handler="fake_steps.handler", parameters={"AlarmTopic": TOPIC})


TOPIC = "arn:aws:sns:us-east-1:000000000000:oncall"


def expected(server, text, *, has_batch):
    """Logical ids of what the server can make; no key of KMS is given."""
    met = {None, "HasBatch"} if has_batch else {None}
    return {
        name
        for name, resource in parsed(text)["Resources"].items()
        if resource.get("Condition") in met
        and not resource["Type"].startswith(server.unknown or "-")
    }


def policies_of(server, role):
    return set(server.client("iam").list_role_policies(RoleName=role)["PolicyNames"])


def test_every_resource_is_made_that_the_server_knows(stack, text):
    assert set(stack.resources) == expected(stack.server, text, has_batch=False)


def test_results_bucket_is_encrypted_and_keeps_no_old_versions(stack):
    s3, bucket = stack.server.client("s3"), stack.resources["Results"]
    assert stack.outputs["Results"] == f"s3://{bucket}/runs"
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_its_function_with_its_limits_and_places(stack, step):
    found = stack.server.client("lambda").get_function_configuration(
        FunctionName=stack.outputs[f"{step.capitalize()}Function"]
    )
    assert found["FunctionName"] == f"{stack.name}-{step}"
    assert (found["MemorySize"], found["Timeout"]) == (STEPS[step], 600)
    assert found["Environment"]["Variables"] == {
        "ATOLL_DISK_CACHE": "/tmp/atoll/ranges",
        "ATOLL_DISK_CACHE_BYTES": "1G",
        "ATOLL_SCRATCH": "/tmp",
        "ATOLL_ENDPOINT": "http://127.0.0.1:1",
        "ATOLL_ALLOW_HTTP": "true",
    }


@pytest.mark.parametrize("step", STEPS)
def test_each_function_has_a_role_of_its_own(stack, step):
    name = step.capitalize()
    role = stack.resources[f"{name}Role"]
    function = stack.server.client("lambda").get_function_configuration(
        FunctionName=stack.outputs[f"{name}Function"]
    )
    assert function["Role"].endswith(f"/{role}")
    # ministack attaches them as policies beside the role and cannot list those.
    shared = set() if stack.server.name == "ministack" else {"read-collection", f"{step}-step"}
    assert policies_of(stack.server, role) == {"log"} | shared


def test_logs_are_kept_for_a_while_only(stack):
    logs = stack.server.client("logs")
    for name in (f"/aws/lambda/{stack.name}-{step}" for step in STEPS):
        (group,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        assert group["retentionInDays"] == 30
    name = f"/aws/vendedlogs/states/{stack.name}-search"
    (group,) = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    assert group["retentionInDays"] == 30


def test_state_machine_calls_the_functions_of_the_stack(stack):
    found = stack.server.client("stepfunctions").describe_state_machine(
        stateMachineArn=stack.outputs["StateMachine"]
    )
    machine = json.loads(found["definition"])
    assert "${" not in found["definition"]
    assert machine["States"]["Search"]["MaxConcurrency"] == 7
    assert machine["States"]["Refine"]["Parameters"]["FunctionName"].endswith(
        f":function:{stack.outputs['ReduceFunction']}"
    )
    assert found["roleArn"].endswith(f"/{stack.resources['StatesRole']}")


def test_alarms_watch_the_machine_and_each_function(ministack, text):
    stack = deploy(ministack, text, handler="fake_steps.handler", parameters={"AlarmTopic": TOPIC})
    alarms = [
        alarm
        for alarm in ministack.client("cloudwatch").describe_alarms()["MetricAlarms"]
        if stack.name in alarm["Dimensions"][0]["Value"]
    ]
    watched = {
        (alarm["MetricName"], alarm["Dimensions"][0]["Value"], alarm["Threshold"])
        for alarm in alarms
    }
    functions = [f"{stack.name}-{step}" for step in STEPS]
    assert watched == {
        ("ExecutionsFailed", stack.outputs["StateMachine"], 1),
        *(("Errors", function, 1) for function in functions),
        *(("Throttles", function, 1) for function in functions),
        # 80 % of the 600 seconds that a step may take.
        *(("Duration", function, 480_000) for function in functions),
    }
    assert {tuple(alarm["AlarmActions"]) for alarm in alarms} == {(TOPIC,)}


@pytest.fixture(scope="module")
def with_batch(moto_aws, text):
    parameters = batch_parameters(moto_aws)
    return deploy(moto_aws, text, handler="fake_steps.handler", parameters=parameters)


def test_batch_is_made_whole_where_it_is_wanted(with_batch, text):
    assert set(with_batch.resources) == expected(with_batch.server, text, has_batch=True)
    batch = with_batch.server.client("batch")
    (queue,) = batch.describe_job_queues(jobQueues=[with_batch.outputs["JobQueue"]])["jobQueues"]
    (compute,) = batch.describe_compute_environments(
        computeEnvironments=[queue["computeEnvironmentOrder"][0]["computeEnvironment"]]
    )["computeEnvironments"]
    assert (compute["type"], compute["state"]) == ("MANAGED", "ENABLED")
    assert compute["computeResources"]["instanceTypes"] == ["i4i.2xlarge", "i4i.4xlarge"]
    template = compute["computeResources"]["launchTemplate"]["launchTemplateId"]
    assert template == with_batch.resources["Instances"]


@pytest.mark.parametrize("step", ["plan", "filter", "search", "fold", "refine"])
def test_each_step_is_a_job_of_the_same_image(with_batch, step):
    batch = with_batch.server.client("batch")
    wanted = with_batch.outputs[f"{step.capitalize()}Job"]
    (job,) = batch.describe_job_definitions(jobDefinitions=[wanted])["jobDefinitions"]
    container = job["containerProperties"]
    download = ["--download"] if step == "search" else []
    assert container["command"] == [
        *("atoll", "step", step, "Ref::run"), *download, "--scratch", "/scratch",
    ]  # fmt: skip
    assert container["image"] == "registry.example/atoll:1"
    assert job["retryStrategy"]["attempts"] == 3
    assert container["mountPoints"] == [{"sourceVolume": "scratch", "containerPath": "/scratch"}]
    role = container["jobRoleArn"].rpartition("/")[2]
    kind = {"plan": "plan", "filter": "search", "search": "search"}.get(step, "reduce")
    assert policies_of(with_batch.server, role) == {"read-collection", f"{kind}-step"}
