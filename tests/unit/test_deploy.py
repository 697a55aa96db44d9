"""What `atoll deploy aws` writes: linted, and each right that it grants read and judged."""

import json
import os
import re
import subprocess
from email import message_from_string

import pytest
from aws_servers import parsed
from cfnlint.api import ManualArgs, lint
from commandline import atoll, must
from iam_rights import as_granted, as_text, listed_prefix, rights, statements
from statelint.linter import Linter

from atoll.core.errors import InvalidInput
from atoll.deploy import render as module
from atoll.deploy.render import (
    MAP_MODES,
    TEMPLATE_BYTES,
    SearchStack,
    definition,
    read,
    render,
    split_collection,
)

COLLECTION = "s3://proteins/uniref/50"
IMAGE = "123456789012.registry.example/atoll:1"


def cfn_problems(text):
    return [str(match.rule.id) for match in lint(text, config=ManualArgs(regions=["us-east-1"]))]


def asl_problems(machine):
    return Linter.validate(machine)


def embedded(text):
    """The state machine within a template, its parameters taken at their defaults."""
    template = parsed(text)
    definition = template["Resources"]["SearchMachine"]["Properties"]["DefinitionString"]
    machine = definition["Fn::Sub"]
    for name in ("MaxConcurrency", "StepRetry"):
        value = template["Parameters"][name]["Default"]
        machine = machine.replace(f"${{{name}}}", str(value))
    return json.loads(machine)


@pytest.fixture(scope="module", params=MAP_MODES)
def stack(request):
    return SearchStack(COLLECTION, image=IMAGE, map_mode=request.param)


@pytest.fixture(scope="module")
def template():
    return parsed(render(SearchStack(COLLECTION, image=IMAGE)))


def test_template_and_state_machine_pass_the_linters(stack):
    text = render(stack)
    assert cfn_problems(text) == []
    assert asl_problems(embedded(text)) == []
    assert len(text.encode()) <= TEMPLATE_BYTES


def test_shipped_state_machine_passes_the_linter_by_itself():
    assert asl_problems(json.loads(read("search.asl.json"))) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Timeout: !Ref StepTimeout", "TimeOut: !Ref StepTimeout"),
        ("!GetAtt PlanRole.Arn", "!GetAtt PlanRoll.Arn"),
        ("SSEAlgorithm: AES256", "SSEAlgorithm: AES128"),
        ("Type: AWS::Batch::JobQueue", "Type: AWS::Batch::JobKew"),
    ],
)
def test_linter_finds_a_planted_fault_in_the_template(right, wrong):
    assert cfn_problems(render(SearchStack(COLLECTION, image=IMAGE)).replace(right, wrong))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"Next": "IsTree"', '"Next": "IsTreee"'),
        ('"MaxConcurrency": 500', '"MaxConcurrency": "500"'),
        ('"OutputPath": "$.Payload", "End": true', '"OutputPath": "$.Payload"'),
        ('"ItemsPath": "$.buckets"', '"ItemsPath": "buckets"'),
    ],
)
def test_linter_finds_a_planted_fault_in_the_state_machine(right, wrong):
    text = json.dumps(json.loads(read("search.asl.json")))
    assert right in text
    assert asl_problems(json.loads(text.replace(right, wrong)))


def test_what_is_embedded_is_the_file_that_is_shipped(stack):
    machine = embedded(render(stack))
    named = json.loads(json.dumps(machine).replace("Function.Arn}", "FunctionArn}"))
    assert named == definition(stack)
    if stack.map_mode == "distributed":
        assert named == json.loads(read("search.asl.json"))


def test_only_buckets_are_mapped_in_the_mode_that_was_asked_for(stack):
    modes = {
        name: state["ItemProcessor"]["ProcessorConfig"]["Mode"].lower()
        for name, state in definition(stack)["States"].items()
        if state["Type"] == "Map"
    }
    of_buckets = dict.fromkeys(("Filter", "Search", "Measure"), stack.map_mode)
    assert modes == of_buckets | {"Fold": "inline"}


def test_every_task_tries_transient_failures_again_and_no_others():
    machine = json.loads(read("search.asl.json"))
    tasks = [*tasks_of(machine)]
    assert len(tasks) == 7
    for task in tasks:
        throttled, again, once = task["Retry"]
        assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        assert throttled["MaxAttempts"] > again["MaxAttempts"] > once["MaxAttempts"] == 1
        assert again["ErrorEquals"][0] == "Unavailable"
        assert all(name.startswith("Lambda.") for name in again["ErrorEquals"][1:])
        assert once["ErrorEquals"][0] == "States.Timeout"
        assert task["TimeoutSeconds"] > 900


def tasks_of(machine):
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state
        if state["Type"] == "Map":
            yield from tasks_of(state["ItemProcessor"])


# -- What is granted.


IN_COLLECTION = "arn:${AWS::Partition}:s3:::${CollectionBucket}/${CollectionPrefix}*"
WRITES = {
    "Plan": {
        f"_run/{name}" for name in ("target.json", "buckets/*", "probes/*", "plan.json", "failed/*")
    },
    "Search": {f"_run/{name}" for name in ("passing/*", "parts/*", "measured/*", "failed/*")},
    "Reduce": {"_run/folds/*", "_run/failed/*", "hits*", "summary.json"},
}


@pytest.mark.parametrize("step", WRITES)
@pytest.mark.parametrize("kind", ["Role", "JobRole"])
def test_step_writes_its_own_results_and_nothing_else(template, step, kind):
    granted = set(rights(template, f"{step}{kind}"))
    written = {
        resource
        for action, resource in granted
        if action.startswith("s3:") and not re.match("s3:(GetObject|ListBucket)$", action)
    }
    assert written == {f"${{Results.Arn}}/runs/*/{name}" for name in WRITES[step]}


@pytest.mark.parametrize("step", WRITES)
@pytest.mark.parametrize("kind", ["Role", "JobRole"])
def test_step_reads_the_collection_and_runs_only(template, step, kind):
    granted = set(rights(template, f"{step}{kind}"))
    read_from = {resource for action, resource in granted if action == "s3:GetObject"}
    assert IN_COLLECTION in read_from
    # Whoever reduces looks whether the search has ended.
    others = read_from - {IN_COLLECTION, "${Results.Arn}/runs/*/summary.json"}
    assert all(name.startswith("${Results.Arn}/runs/*/_run/") for name in others)
    listed = {
        as_text(statement["Resource"]): listed_prefix(statement)
        for statement in statements(template, f"{step}{kind}")
        if statement["Action"] == "s3:ListBucket"
    }
    # A read of what is not there carries no prefix, and must not be refused for that.
    assert listed == {
        "${Results.Arn}": "*",
        "arn:${AWS::Partition}:s3:::${CollectionBucket}": "${CollectionPrefix}*",
    }


@pytest.mark.parametrize("step", WRITES)
def test_function_writes_only_its_own_log(template, step):
    # Also where the collection is encrypted with a key of its own.
    decrypts = {("kms:Decrypt", "CollectionKey")}
    others = {right for right in rights(template, f"{step}Role") if not right[0].startswith("s3:")}
    assert others - decrypts == {
        (action, f"${{{step}Log.Arn}}") for action in ("logs:CreateLogStream", "logs:PutLogEvents")
    }
    job = {right for right in rights(template, f"{step}JobRole") if not right[0].startswith("s3:")}
    assert job == decrypts


def test_state_machine_calls_its_functions_and_itself_only(template):
    granted = {right for right in rights(template, "StatesRole") if right[1] != "*"}
    machine = "${AWS::Region}:${AWS::AccountId}"
    assert granted == {
        *(("lambda:InvokeFunction", f"${{{step}Function.Arn}}") for step in WRITES),
        (
            "states:StartExecution",
            f"arn:${{AWS::Partition}}:states:{machine}:stateMachine:${{AWS::StackName}}-search",
        ),
        *(
            (
                f"states:{verb}Execution",
                f"arn:${{AWS::Partition}}:states:{machine}:execution:${{AWS::StackName}}-search/*",
            )
            for verb in ("Describe", "Stop")
        ),
    }


def test_inline_map_needs_no_right_to_start_executions():
    inline = parsed(render(SearchStack(COLLECTION, image=IMAGE, map_mode="inline")))
    actions = {action for action, _ in rights(inline, "StatesRole")}
    assert not any(action.startswith("states:") for action in actions)


def test_any_resource_is_named_only_where_aws_knows_no_narrower(template):
    roles = [
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    ]
    unlimited = {
        action for role in roles for action, resource in rights(template, role) if resource == "*"
    }
    # Service Authorization Reference: these have no resource types.
    assert {action for action in unlimited if not action.startswith("logs:")} == {
        "ecr:GetAuthorizationToken"
    }
    assert {action for action in unlimited if action.startswith("logs:")} == {
        f"logs:{verb}"
        for verb in (
            *(f"{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
            "ListLogDeliveries",
            "PutResourcePolicy",
            "DescribeResourcePolicies",
            "DescribeLogGroups",
        )
    }
    assert not any("*" in action for role in roles for action, _ in rights(template, role))


def test_roles_are_taken_by_the_service_that_runs_them_only(template):
    services = {
        name: resource["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
    }
    assert services == {
        **{f"{step}Role": {"Service": "lambda.amazonaws.com"} for step in WRITES},
        **{f"{step}JobRole": {"Service": "ecs-tasks.amazonaws.com"} for step in WRITES},
        "StatesRole": {"Service": "states.amazonaws.com"},
        "InstanceRole": {"Service": "ec2.amazonaws.com"},
        "ExecutionRole": {"Service": "ecs-tasks.amazonaws.com"},
        "WorkJobRole": {"Service": "ecs-tasks.amazonaws.com"},
    }


def test_a_job_may_pull_its_own_image_only(template):
    pulled = {
        resource
        for action, resource in rights(template, "ExecutionRole")
        if action.startswith("ecr:") and resource != "*"
    }
    own = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/${Name}"
    assert pulled == {own, f"{own}/*"}


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("1.registry.example/atoll:1", "atoll"),
        ("1.registry.example/atoll", "atoll"),
        ("localhost:5000/atoll:1", "atoll"),
        ("1.registry.example/team/atoll:1", "team"),
        ("1.registry.example/atoll@sha256:0123", "atoll"),
    ],
)
def test_the_images_repository_is_read_out_of_its_uri(template, uri, name):
    policy = template["Resources"]["ExecutionRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    (pull,) = (each for each in policy["Statement"] if each["Sid"] == "PullImage")
    for resource in pull["Resource"]:
        assert evaluated(resource["Fn::Sub"][1]["Name"], {"ImageUri": uri}) == name


def evaluated(value, parameters):
    """Carry out what CloudFormation's functions say."""
    if not isinstance(value, dict):
        return value
    ((function, given),) = value.items()
    if function == "Ref":
        return parameters[given]
    first, second = (evaluated(each, parameters) for each in given)
    return second.split(first) if function == "Fn::Split" else second[first]


def test_building_writes_the_collection_and_no_more(template):
    granted = set(rights(template, "WorkJobRole"))
    written = {
        (action, resource)
        for action, resource in granted
        if not re.match("s3:(GetObject|ListBucket)$|kms:", action)
    }
    assert written == {
        (f"s3:{verb}", IN_COLLECTION)
        for verb in ("PutObject", "DeleteObject", "AbortMultipartUpload")
    }
    sources = "arn:${AWS::Partition}:s3:::${SourcesBucket}"
    read_from = {resource for action, resource in granted if action == "s3:GetObject"}
    assert read_from == {IN_COLLECTION, f"{sources}/*"}
    listed = {
        as_text(as_granted(statement["Resource"])): listed_prefix(statement)
        for statement in statements(template, "WorkJobRole")
        if statement["Action"] == "s3:ListBucket"
    }
    assert listed == {
        "arn:${AWS::Partition}:s3:::${CollectionBucket}": "${CollectionPrefix}*",
        sources: "*",
    }
    keys = {right for right in granted if right[0].startswith("kms:")}
    assert keys == {
        ("kms:Decrypt", "CollectionKey"), ("kms:GenerateDataKey", "CollectionKey")
    }  # fmt: skip


def test_results_bucket_is_private_and_forgets(template):
    properties = template["Resources"]["Results"]["Properties"]
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert "VersioningConfiguration" not in properties
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", {"Ref": "ResultsDays"})
    (refused,) = template["Resources"]["ResultsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (refused["Effect"], refused["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )


def test_no_more_alarms_than_are_free(template):
    kinds = [resource["Type"] for resource in template["Resources"].values()]
    assert kinds.count("AWS::CloudWatch::Alarm") == 10


def test_every_image_is_the_one_that_is_given(template):
    images = set()
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            images.add(json.dumps(resource["Properties"]["Code"]["ImageUri"]))
        if resource["Type"] == "AWS::Batch::JobDefinition":
            images.add(json.dumps(resource["Properties"]["ContainerProperties"]["Image"]))
    assert images == {'{"Ref": "ImageUri"}'}


DISKS = {
    0: ["mkdir -p /scratch", "chmod 1777 /scratch"],
    1: [
        "mkdir -p /scratch",
        "mkfs.xfs -f -K /dev/nvme1n1",
        "mount -o noatime,discard /dev/nvme1n1 /scratch",
        "chmod 1777 /scratch",
    ],
    2: [
        "mkdir -p /scratch",
        "mdadm --create /dev/md0 --level=0 --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1",
        "mkfs.xfs -f -K /dev/md0",
        "mount -o noatime,discard /dev/md0 /scratch",
        "chmod 1777 /scratch",
    ],
}


@pytest.mark.parametrize("count", DISKS)
def test_instance_mounts_all_its_own_disks_as_one(template, tmp_path, count):
    data = template["Resources"]["Instances"]["Properties"]["LaunchTemplateData"]["UserData"]
    (part,) = message_from_string(data["Fn::Base64"]).get_payload()
    own = "".join(f"/dev/nvme{n}n1 Amazon EC2 NVMe Instance Storage\n" for n in range(1, count + 1))
    (tmp_path / "disks").write_text(f"/dev/nvme0n1 Amazon Elastic Block Store\n{own}")
    for name in ("mkdir", "mdadm", "mkfs.xfs", "mount", "chmod"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/done\n')
    (tmp_path / "lsblk").write_text(f"#!/bin/sh\ncat {tmp_path}/disks\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-c", part.get_payload()], env={"PATH": path}, check=True)
    assert (tmp_path / "done").read_text().splitlines() == DISKS[count]


# -- What is filled in.


def test_choices_become_defaults_of_parameters():
    stack = SearchStack(
        COLLECTION,
        image=IMAGE,
        max_concurrency=12,
        search_memory=5000,
        reduce_memory=6000,
        step_timeout=100,
        endpoint="https://store.example:9000",
    )
    found = {
        name: parameter.get("Default")
        for name, parameter in parsed(render(stack))["Parameters"].items()
    }
    retry = json.loads(read("search.asl.json"))["States"]["Plan"]["Retry"]
    assert json.loads(found.pop("StepRetry")) == retry
    wanted = {
        "CollectionBucket": "proteins",
        "CollectionPrefix": "uniref/50/",
        "ImageUri": IMAGE,
        "MaxConcurrency": 12,
        "SearchMemory": 5000,
        "ReduceMemory": 6000,
        "StepTimeout": 100,
        "NearTimeoutMs": 80_000,
        "S3Endpoint": "https://store.example:9000",
        "S3AllowHttp": "false",
    }
    shipped = parsed(read("template.yaml"))["Parameters"]
    others = {
        name: parameter.get("Default")
        for name, parameter in shipped.items()
        if name not in {*wanted, "StepRetry"}
    }
    assert found == wanted | others


def test_image_left_out_must_be_given_when_deploying():
    parameters = parsed(render(SearchStack(COLLECTION)))["Parameters"]
    assert "Default" not in parameters["ImageUri"]


def test_longest_prefix_still_fits_what_can_be_deployed_without_a_bucket():
    text = render(SearchStack(f"s3://{'b' * 63}/{'p' * 900}", image=IMAGE))
    assert len(text.encode()) <= TEMPLATE_BYTES


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://proteins", "proteins", ""),
        ("s3://proteins/", "proteins", ""),
        ("s3://proteins/a/b/", "proteins", "a/b/"),
        ("s3://pro.te-ins/ü b", "pro.te-ins", "ü b/"),
    ],
)
def test_collection_is_taken_apart(uri, bucket, prefix):
    assert split_collection(uri) == (bucket, prefix)


@pytest.mark.parametrize(
    "uri",
    ["proteins", "/data/proteins", "file:///data", "s3://", "s3://x", "s3://UPPER/x", "s3:/a/b"],
)
def test_collection_that_is_not_on_s3_is_refused(uri):
    with pytest.raises(InvalidInput, match="write s3://bucket/prefix"):
        SearchStack(uri)


@pytest.mark.parametrize("sign", ["*", "?", "${x}"])
def test_prefix_that_a_policy_would_take_for_others_is_refused(sign):
    with pytest.raises(InvalidInput, match="stand for other names"):
        SearchStack(f"s3://proteins/uni{sign}ref")


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"search_memory": 127}, "128 to 10,240 MB"),
        ({"search_memory": 10_241}, "128 to 10,240 MB"),
        ({"reduce_memory": 0}, "128 to 10,240 MB"),
        ({"step_timeout": 901}, "1 to 900 seconds"),
        ({"step_timeout": 0}, "1 to 900 seconds"),
        ({"max_concurrency": 0}, "1 to 10,000"),
        ({"max_concurrency": 10_001}, "1 to 10,000"),
        ({"max_concurrency": 41, "map_mode": "inline"}, "1 to 40"),
        ({"map_mode": "parallel"}, "distributed, inline"),
        ({"image": "atoll latest"}, "registry/repository:tag"),
        ({"image": "https://registry/atoll"}, "registry/repository:tag"),
    ],
)
def test_what_aws_would_refuse_is_refused_here(choice, said):
    with pytest.raises(InvalidInput, match=re.escape(said)):
        SearchStack(COLLECTION, **choice)


# -- The command.


def test_command_prints_the_template(tmp_path):
    shown = must("deploy", "aws", "--collection", COLLECTION)
    assert shown == render(SearchStack(COLLECTION))
    out = tmp_path / "template.yaml"
    words = ("--image", IMAGE, "--map-mode", "inline", "--max-concurrency", 9)
    assert must("deploy", "aws", "--collection", COLLECTION, "--out", out, *words) == ""
    wanted = SearchStack(COLLECTION, image=IMAGE, map_mode="inline", max_concurrency=9)
    assert out.read_text() == render(wanted)


def test_command_takes_the_endpoint_that_every_command_takes():
    words = ("--endpoint", "http://store:9000", "--allow-http")
    parameters = parsed(must("deploy", "aws", "--collection", COLLECTION, *words))["Parameters"]
    assert parameters["S3Endpoint"]["Default"] == "http://store:9000"
    assert parameters["S3AllowHttp"]["Default"] == "true"


def test_command_replaces_a_file_only_if_told(tmp_path):
    out = tmp_path / "template.yaml"
    out.write_text("mine")
    words = ("deploy", "aws", "--collection", COLLECTION, "--out", out)
    refused = atoll(*words)
    assert (refused.code, out.read_text()) == (1, "mine")
    assert "--force" in refused.err
    must(*words, "--force")
    assert out.read_text() == render(SearchStack(COLLECTION))


def test_command_says_what_is_wrong_and_writes_nothing(tmp_path):
    out = tmp_path / "template.yaml"
    done = atoll("deploy", "aws", "--collection", tmp_path, "--out", out)
    assert (done.code, out.exists()) == (1, False)
    assert "write s3://bucket/prefix" in done.err
    done = atoll("deploy", "aws", "--collection", COLLECTION, "--out", tmp_path / "no" / "t.yaml")
    assert (done.code, "make the folder first" in done.err) == (1, True)


def test_shipped_files_are_part_of_the_package():
    names = {path.name for path in module.files(module.__package__).joinpath("aws").iterdir()}
    assert names == {"template.yaml", "search.asl.json", "Dockerfile", "entrypoint.sh"}
