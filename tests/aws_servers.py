"""Two interpreters of Step Functions on free loopback ports, with Lambda functions that really run.

`ministack` is a process of its own; `moto` serves from threads of this one. Neither pulls images,
so `deploy` makes of each image function of a template a zip with a `bootstrap` that starts the same
runtime client, awslambdaric, on the same handler: names, roles, environment, memory and time-out
stay the template's. What neither shows: IAM, payload limits, cold starts of an image.
"""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import boto3
from runtime_api import clean_environment, run_bootstrap
from s3_servers import _dying_with_us, _free_ports

ROOT = Path(__file__).parents[1]
# What a function needs to find Atoll, and handlers among the tests.
PYTHONPATH = os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests")))
ONE_EVENT = Path(__file__).with_name("one_event.py")
START_SECONDS = 60
RUN_SECONDS = 300


@dataclass(frozen=True)
class AwsServer:
    """A running server of AWS's APIs.

    Attributes:
        name: "ministack" or "moto".
        unknown: kinds of resources that a template may hold and the server cannot make.
    """

    name: str
    endpoint: str
    unknown: tuple[str, ...] = ()
    access_key_id: str = "testing"
    secret_access_key: str = "testing"

    def client(self, service):
        session = boto3.Session(self.access_key_id, self.secret_access_key)
        return session.client(service, endpoint_url=self.endpoint, region_name="us-east-1")

    def new_bucket(self):
        """Create a bucket of a fresh name and return the name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name


@contextmanager
def ministack_server():
    """Start ministack; its functions are processes of this machine, under this user."""
    folder = Path(tempfile.mkdtemp(prefix="atoll-ministack-"))
    (port,) = _free_ports(1)
    own = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder),
        "PYTHONWARNINGS": "ignore",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*_dying_with_us(), sys.executable, "-m", "ministack"],
            env=clean_environment() | own,
            stdout=log,
            stderr=log,
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _await_answer(f"{endpoint}/_ministack/health", process, folder / "log")
        yield AwsServer("ministack", endpoint, unknown=("AWS::Batch::",))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await_answer(url, process, log):
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"ministack does not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


@contextmanager
def moto_aws_server():
    """Serve moto's APIs, its state machines executed, its functions run by us."""
    from moto.awslambda_simple.models import LambdaSimpleBackend
    from moto.core.config import default_user_config
    from moto.server import ThreadedMotoServer

    (port,) = _free_ports(1)
    really = {"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}}
    server = ThreadedMotoServer("127.0.0.1", port)
    with (
        # Tasks of a state machine call functions there.
        patch.dict(os.environ, {"MOTO_PORT": str(port)}),
        patch.dict(default_user_config, really),
        patch.object(LambdaSimpleBackend, "invoke", _invoke),
        # It warns of what it passes over, which our tests would turn into an answer of 500.
        patch("moto.cloudformation.parsing.warnings"),
    ):
        server.start()
        try:
            passed_over = ("AWS::S3::BucketPolicy", "AWS::CloudWatch::Alarm")
            yield AwsServer("moto", f"http://127.0.0.1:{port}", unknown=passed_over)
        finally:
            server.stop()


def _invoke(self, function_name, qualifier, body, headers, response_headers):
    """Do what moto does in a container: run the function, tell its error by a header."""
    function = self.get_function(function_name, qualifier)
    with tempfile.TemporaryDirectory(prefix="atoll-lambda-") as folder:
        zipfile.ZipFile(io.BytesIO(function.code_bytes)).extractall(folder)
        Path(folder, "bootstrap").chmod(0o755)
        is_error, answer = run_bootstrap(
            Path(folder),
            {
                "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            }
            | function.environment_vars,
            body or b"{}",
            float(function.timeout),
        )
    if is_error:
        response_headers["x-amz-function-error"] = "Unhandled"
    return answer


@dataclass(frozen=True)
class Stack:
    """What `deploy` has made.

    Attributes:
        resources: physical id by logical id.
    """

    server: AwsServer
    name: str
    resources: dict[str, str]
    outputs: dict[str, str]

    def run(self, run):
        """Execute the state machine for a run and return how the execution ended."""
        states = self.server.client("stepfunctions")
        started = states.start_execution(
            stateMachineArn=self.outputs["StateMachine"],
            name=uuid.uuid4().hex,
            input=json.dumps({"run": run}),
        )
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            found = states.describe_execution(executionArn=started["executionArn"])
            if found["status"] != "RUNNING":
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def result(self, run):
        """Execute the state machine, which has to succeed, and return what came out."""
        found = self.run(run)
        assert found["status"] == "SUCCEEDED", found
        return json.loads(found["output"])


def deploy(server, text, *, handler, environment=None, parameters=None):
    """Create the stack of a template, its functions running `handler`.

    Args:
        server: where.
        text: the template, as `atoll deploy aws` writes it.
        handler: "module.function", importable from src or tests.
        environment: what functions see besides the template's variables; keys of a store, too.
        parameters: values other than the template's defaults.
    """
    template = runnable(server, text, handler=handler, environment=environment or {})
    name = f"atoll-{uuid.uuid4().hex[:8]}"
    formation = server.client("cloudformation")
    formation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(template),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": str(value)}
            for key, value in (parameters or {}).items()
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    found = _settled(formation, name)
    assert found["StackStatus"] == "CREATE_COMPLETE", _failures(formation, name)
    made = formation.describe_stack_resources(StackName=name)["StackResources"]
    stack = Stack(
        server,
        name,
        # moto lists what it passed over, too, without a name.
        {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in made
            if "LogicalResourceId" in each
        },
        {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]},
    )
    if server.name == "moto":
        _hand_to_interpreter(server, stack.outputs["StateMachine"])
    return stack


def batch_parameters(server):
    """Make a network for AWS Batch, and name it as the template's parameters do."""
    ec2 = server.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="batch", Description="batch", VpcId=vpc)["GroupId"]
    return {
        "Batch": "true",
        "BatchSubnets": subnet,
        "BatchSecurityGroups": group,
        # moto knows no families of types.
        "BatchInstanceTypes": "i4i.2xlarge,i4i.4xlarge",
    }


def _hand_to_interpreter(server, arn):
    """Make a state machine known to moto's interpreter; its CloudFormation knows only a stub."""
    from moto.stepfunctions.models import stepfunctions_backends

    made = stepfunctions_backends["123456789012"]["us-east-1"].describe_state_machine(arn)
    again = server.client("stepfunctions").create_state_machine(
        name=made.name, definition=made.definition, roleArn=made.roleArn
    )
    assert again["stateMachineArn"] == arn


def _settled(formation, name):
    deadline = time.monotonic() + START_SECONDS
    while True:
        found = formation.describe_stacks(StackName=name)["Stacks"][0]
        if not found["StackStatus"].endswith("IN_PROGRESS"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def _failures(formation, name):
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    return [
        (event["LogicalResourceId"], event.get("ResourceStatusReason"))
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
    ]


def runnable(server, text, *, handler, environment):
    """Make of a template one that an emulator can run; no logical resource comes or goes."""
    template = parsed(text)
    code = _uploaded(server, handler, {"PYTHONPATH": PYTHONPATH} | environment)
    for resource in template["Resources"].values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::Lambda::Function":
            assert properties.pop("PackageType") == "Image"
            properties |= {"Code": code, "Runtime": "provided.al2023", "Handler": handler}
        if resource["Type"] == "AWS::Batch::ComputeEnvironment" and server.name == "moto":
            # It does not know AWS's service-linked role.
            role = server.client("iam").create_role(
                RoleName=f"batch-{uuid.uuid4().hex[:8]}", AssumeRolePolicyDocument="{}"
            )
            properties["ServiceRole"] = role["Role"]["Arn"]
    return template


def parsed(text):
    """Read a template; short tags become the long functions they stand for."""
    from cfnlint.decode import decode_str  # a second that other tests need not wait for

    template, problems = decode_str(text)
    assert not problems, problems
    return json.loads(json.dumps(template))


def _uploaded(server, handler, environment):
    """Put a zip there that starts AWS's runtime client as the image's entry point does."""
    # Said here, not in the function's configuration: that keeps no AWS_ACCESS_KEY_ID.
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    start = f"exec {sys.executable} {ONE_EVENT} {handler}"
    bootstrap = zipfile.ZipInfo("bootstrap")
    bootstrap.external_attr = 0o100755 << 16
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(bootstrap, "\n".join(["#!/bin/sh", *exports, start, ""]))
    bucket = server.new_bucket()
    server.client("s3").put_object(Bucket=bucket, Key="code.zip", Body=packed.getvalue())
    return {"S3Bucket": bucket, "S3Key": "code.zip"}
