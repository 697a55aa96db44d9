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
import threading
import time
import urllib.request
import uuid
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import boto3
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
            env=_clean_environment() | own,
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


def _clean_environment():
    """Our environment without what would lead a function to another store."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "ATOLL_", "PYTHON", "COV"))
    }


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


def run_bootstrap(folder, environment, event, timeout_s):
    """Run a function once against a Runtime API of our own: (whether it failed, its answer)."""
    call = _Call(event if isinstance(event, bytes) else event.encode(), time.time() + timeout_s)
    api = ThreadingHTTPServer(("127.0.0.1", 0), call.handler())
    threading.Thread(target=api.serve_forever, daemon=True).start()
    own = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
        "AWS_REGION": "us-east-1",
        "LAMBDA_TASK_ROOT": str(folder),
    }
    process = subprocess.Popen(
        [*_dying_with_us(), folder / "bootstrap"],
        cwd=folder,
        env=_clean_environment() | own | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # As Lambda words what a function cannot say itself.
        while not call.is_answered.wait(0.02):
            if process.poll() is not None:
                return True, _failure("Runtime.ExitError", f"exit status {process.returncode}")
            if time.time() > call.deadline:
                return True, _failure("Sandbox.Timedout", f"Task timed out after {timeout_s:.2f} s")
        return call.is_error, call.answer
    finally:
        process.kill()
        process.wait()
        api.shutdown()
        api.server_close()


def _failure(kind, message):
    return json.dumps({"errorType": kind, "errorMessage": f"Error: {message}"}).encode()


@dataclass
class _Call:
    """One event of the Runtime API, and what came back."""

    event: bytes
    deadline: float
    answer: bytes = b""
    is_error: bool = False
    is_answered: threading.Event = field(default_factory=threading.Event)

    def handler(self):
        call = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(call.deadline * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:::here")
                # Without it awslambdaric 4.2 dies of a segmentation fault.
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(call.event)))
                self.end_headers()
                self.wfile.write(call.event)

            def do_POST(self):
                call.answer = self.rfile.read(int(self.headers["Content-Length"]))
                call.is_error = self.path.endswith("/error")
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                call.is_answered.set()

            def log_message(self, *_):
                pass

        return Handler


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


def statements(template, role):
    """All statements that a role holds, those of policies that name it included."""
    resources = template["Resources"]
    for policy in resources[role]["Properties"].get("Policies", []):
        yield from map(as_granted, policy["PolicyDocument"]["Statement"])
    for resource in resources.values():
        if resource["Type"] == "AWS::IAM::Policy":
            properties = resource["Properties"]
            if {"Ref": role} in as_granted(properties["Roles"]):
                yield from map(as_granted, properties["PolicyDocument"]["Statement"])


def rights(template, role):
    """(action, resource as text) of all that a role may do."""
    for statement in statements(template, role):
        assert statement["Effect"] == "Allow"
        for action in as_list(statement["Action"]):
            for resource in as_list(as_granted(statement["Resource"])):
                yield action, as_text(resource)


def as_granted(value):
    """Take of a condition what holds where it is met: the wider right."""
    return value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value


def as_list(value):
    return value if isinstance(value, list) else [value]


def as_text(resource):
    if isinstance(resource, str):
        return resource
    (kind,) = resource
    value = resource[kind]
    return "${" + ".".join(value) + "}" if kind == "Fn::GetAtt" else value
