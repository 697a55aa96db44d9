"""Jobs as they are submitted to AWS Batch, held against an emulator; their words are then run."""

import json
import os
from types import SimpleNamespace

import boto3
import click
import pytest
import requests
from botocore.stub import Stubber
from commandline import atoll as command
from commandline import ended, must, start
from s3_servers import moto_server
from vectordata import clustered, settings, write_fasta, write_parquet

import atoll
from atoll.app.main import program
from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.progress import silent
from atoll.vectors.cli.onbatch import words_of
from atoll.vectors.distributed import jobs as batch_jobs
from atoll.vectors.distributed.deployment import Deployment
from atoll.vectors.distributed.jobs import JobQueue

DEPLOYED = Deployment("atoll", {"JobQueue": "queue", "WorkJob": "work:1"})
SECRET = "testsecret"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture(scope="module")
def aws():
    """moto's S3, CloudFormation and Batch; it takes jobs, and runs none of them."""
    with moto_server() as server:
        config = {"batch": {"use_docker": False}}
        requests.post(f"{server.endpoint}/moto-api/config", json=config, timeout=10)
        yield server


@pytest.fixture
def deployed(aws, monkeypatch):
    """A stack with a queue, and an environment that leads there."""
    requests.post(f"{aws.endpoint}/moto-api/reset", timeout=10)
    session = boto3.Session("test", SECRET, region_name="us-east-1")
    reach = {"endpoint_url": aws.endpoint}
    role = session.client("iam", **reach).create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    batch = session.client("batch", **reach)
    machines = batch.create_compute_environment(
        computeEnvironmentName="machines", type="UNMANAGED", serviceRole=role["Role"]["Arn"]
    )["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": machines}]
    queue = batch.create_job_queue(
        jobQueueName="queue", state="ENABLED", priority=1, computeEnvironmentOrder=order
    )
    needs = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]
    job = batch.register_job_definition(
        jobDefinitionName="work", type="container", retryStrategy={"attempts": 3},
        containerProperties={"image": "atoll", "resourceRequirements": needs},
    )  # fmt: skip
    outputs = {"JobQueue": queue["jobQueueArn"], "WorkJob": job["jobDefinitionArn"]}
    template = {
        "Resources": {"Results": {"Type": "AWS::S3::Bucket"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    cloud = session.client("cloudformation", **reach)
    cloud.create_stack(StackName="atoll", TemplateBody=json.dumps(template))
    environment = ENVIRONMENT | {
        "ATOLL_ENDPOINT": aws.endpoint,
        "ATOLL_AWS_ENDPOINT": aws.endpoint,
        "ATOLL_ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return SimpleNamespace(
        bucket=aws.new_bucket(), server=aws, batch=batch, environment=environment
    )


def submitted():
    """What moto was asked for, by job id, in order: children of arrays left out."""
    from moto.batch.models import batch_backends

    known = batch_backends["123456789012"]["us-east-1"]._jobs
    return {name: job for name, job in known.items() if ":" not in name}


def jobs_of(text):
    return {each["name"]: each["job"] for each in json.loads(text)["jobs"]}


def put(deployed, path):
    bucket = deployed.bucket.removeprefix("s3://")
    deployed.server.client().upload_file(str(path), bucket, path.name)
    return f"{deployed.bucket}/{path.name}"


def test_a_create_is_a_plan_then_an_array_of_buckets_then_a_commit(deployed, tmp_path):
    source = put(deployed, write_parquet(tmp_path / "x.parquet", clustered(50, 8)))
    options = ["--bucket-rows", "20", "--on-duplicate", "skip", "--no-calibrate", "--seed", "-3"]
    target = f"{deployed.bucket}/c"
    out = must("create", target, source, *options, "--via", "batch", "--json")
    ids, asked = jobs_of(out), submitted()
    assert list(asked) == [ids["plan"], ids["build"], ids["commit"]]
    for name, after, size in (("plan", None, {}), ("build", "plan", {"size": 3}),
                              ("commit", "build", {})):  # fmt: skip
        job = asked[ids[name]]
        words = ["atoll", "create", *options, target, source, "--step", name]
        assert job.container_overrides == {"command": words}
        assert job.array_properties == size
        assert job.depends_on == ([{"jobId": ids[after]}] if after else [])
        assert job.job_definition.name == "work"
        assert job.job_name == f"atoll-create-{name}"
    assert SECRET not in str([job.container_overrides for job in asked.values()])
    assert not atoll_is_there(target)


def atoll_is_there(uri):
    return command("info", uri).code == 0


def test_one_bucket_is_a_plain_job_that_is_told_its_index(deployed, tmp_path):
    source = put(deployed, write_parquet(tmp_path / "x.parquet", clustered(50, 8)))
    out = must("create", f"{deployed.bucket}/c", source, "--via", "batch", "--json")
    job = submitted()[jobs_of(out)["build"]]
    assert job.array_properties == {}
    assert job.container_overrides["environment"] == [{"name": "ATOLL_STEP_INDEX", "value": "0"}]


def test_an_add_counts_its_own_buckets(deployed, tmp_path):
    source = put(deployed, write_parquet(tmp_path / "x.parquet", clustered(50, 8)))
    target = f"{deployed.bucket}/c"
    must("create", target, source)
    out = must("add", target, source, "--bucket-rows", 25, "--via", "batch", "--json")
    assert submitted()[jobs_of(out)["build"]].array_properties == {"size": 2}


def test_job_ids_are_printed_for_people(deployed, tmp_path):
    source = put(deployed, write_parquet(tmp_path / "x.parquet", clustered(50, 8)))
    words = ("create", f"{deployed.bucket}/c", source, "--bucket-rows", 20, "--via", "batch")
    lines = must(*words).splitlines()
    assert [line.split()[0] for line in lines] == ["plan", "build", "commit"]
    assert lines[1].endswith("3 indexes from 0")


def test_waiting_ends_with_the_jobs(deployed, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_jobs, "POLL_SECONDS", 0.01)
    fasta = put(deployed, write_fasta(tmp_path / "in.fasta", 5))
    out = must("embed", fasta, "-o", f"{deployed.bucket}/e", "--via", "batch", "--wait", "--json")
    (job,) = jobs_of(out).values()
    (found,) = deployed.batch.describe_jobs(jobs=[job])["jobs"]
    assert found["status"] == "SUCCEEDED"


def test_from_fasta_to_a_collection_by_the_words_of_the_jobs(deployed, tmp_path):
    fasta = put(deployed, write_fasta(tmp_path / "in.fasta", 90))
    parts, target = f"{deployed.bucket}/parts", f"{deployed.bucket}/c"
    embedding = jobs_of(
        must("embed", fasta, "-o", parts, "--parts", 2, "--via", "batch", "--json", "-q")
    )["embed"]
    # Nothing is there to be counted yet.
    must("create", target, parts, "--bucket-rows", 50, "--via", "batch", "--after", embedding,
         "--buckets", 3, "--json", "-q")  # fmt: skip
    asked = submitted()
    assert [job.array_properties.get("size") for job in asked.values()] == [2, None, 3, None]
    assert list(asked.values())[1].depends_on == [{"jobId": embedding}]
    for job in asked.values():
        run(job, deployed)
    reach = settings(tmp_path, storage=deployed.server.options())
    collection = atoll.open(target, settings=reach)
    assert (len(collection), len(collection.buckets)) == (90, 2)
    assert collection.verify().is_clean


def run(job, deployed):
    """Do what Batch would: each child of an array is a process that is told its index."""
    name, *words = job.container_overrides["command"]
    assert name == "atoll"
    size = job.array_properties.get("size")
    told = {each["name"]: each["value"] for each in job.container_overrides.get("environment", [])}
    indexes = [{"AWS_BATCH_JOB_ARRAY_INDEX": str(i)} for i in range(size)] if size else [told]
    running = [start(*words, **deployed.environment, **index) for index in indexes]
    for process in running:
        done = ended(process)
        assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("target", "source", "options", "named"),
    [
        ("c", "s3://b/x.h5", [], "c is a path"),
        ("s3://b/c", "x.h5", [], "x.h5 is a path"),
        ("s3://b/c", "s3://b/x.npy", ["--ids", "ids.txt"], "ids.txt is a path"),
        ("memory://c", "s3://b/x.h5", [], "memory://c is no s3:// URL"),
    ],
)
def test_what_jobs_cannot_reach_is_refused_by_name(deployed, target, source, options, named):
    done = command("create", target, source, *options, "--via", "batch")
    assert done.code == 1
    assert named in done.err
    assert submitted() == {}


@pytest.mark.parametrize("words", [("-", "-o", "s3://b/e"), ("s3://b/in.fa", "-o", "out.h5")])
def test_an_embed_that_jobs_cannot_do_is_refused_by_name(deployed, words):
    done = command("embed", *words, "--via", "batch")
    assert done.code == 1
    assert "which the jobs of --via batch cannot reach" in done.err
    assert submitted() == {}


def test_no_password_comes_into_the_words_of_a_job(deployed):
    done = command("create", "s3://b/c", "s3://b/x.h5", "--via", "batch", "--buckets", 2,
                   "--endpoint", "https://me:hunter2@store")  # fmt: skip
    assert done.code == 1
    assert "would stand in the job's command" in done.err
    assert "hunter2" not in done.err
    assert submitted() == {}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], []),
        (["--endpoint=http://x", "-q", "--allow-http"],
         ["--endpoint", "http://x", "--quiet", "--allow-http"]),
        (["--no-allow-http", "--no-calibrate"], ["--no-allow-http", "--no-calibrate"]),
        (["--calibrate", "--force"], ["--calibrate", "--force"]),
        (["--profile", "mine", "--stack", "s", "--after", "j", "--buckets", "4", "--wait"], []),
        (["--num-partitions", "auto", "--memory", "8G"],
         ["--num-partitions", "auto", "--memory", "8G"]),
    ],
)  # fmt: skip
def test_words_are_those_that_were_given(given, kept):
    create = program().commands["create"]
    words = ["s3://b/c", "s3://b/x y.h5", *given, "--via", "batch", "--json", "s3://b/z*.h5"]
    monkey = click.Context(create, info_name="create", obj=settings(None))
    create.parse_args(monkey, list(words))
    assert words_of(monkey) == [
        "atoll", "create", *kept, "s3://b/c", "s3://b/x y.h5", "s3://b/z*.h5",
    ]  # fmt: skip


def test_a_stack_that_is_not_there_or_has_no_batch_is_named(deployed):
    words = ("create", "s3://b/c", "s3://b/x.h5", "--via", "batch", "--buckets", 2)
    done = command(*words, "--stack", "other")
    assert done.code == 1
    assert "there is no stack 'other'" in done.err


class Stubbed:
    """A queue whose client answers only what a test expects it to be asked."""

    def __init__(self):
        client = boto3.client(
            "batch", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        self.answers, self.queue = Stubber(client), JobQueue(client, DEPLOYED)
        self.answers.activate()

    def described(self, *jobs):
        answer = [{"jobName": "j", "jobQueue": "q", "startedAt": 0, "jobDefinition": "d", **job}
                  for job in jobs]  # fmt: skip
        self.answers.add_response("describe_jobs", {"jobs": answer})


@pytest.fixture
def stubbed(monkeypatch):
    monkeypatch.setattr(batch_jobs, "POLL_SECONDS", 0.0)
    return Stubbed()


def test_a_request_is_what_batch_understands(stubbed):
    expected = {
        "jobName": "n" * 128, "jobQueue": "queue", "jobDefinition": "work:1", "parameters": {},
        "dependsOn": [{"jobId": "before"}], "containerOverrides": {"command": ["atoll", "x"]},
        "arrayProperties": {"size": 10_000},
    }  # fmt: skip
    answer = {"jobName": "n", "jobId": "it"}
    stubbed.answers.add_response("submit_job", answer, expected)
    found = stubbed.queue.submit(
        "WorkJob", "n" * 200, size=10_000, after="before", command=["atoll", "x"]
    )
    assert found == "it"
    stubbed.answers.assert_no_pending_responses()


def test_an_array_that_batch_would_not_take_is_refused(stubbed):
    with pytest.raises(InvalidInput, match="at most 10,000 jobs of an array, not 10,001"):
        stubbed.queue.submit("WorkJob", "n", size=10_001)


def test_a_job_that_is_not_known_yet_is_waited_for(stubbed):
    stubbed.described()
    stubbed.described({"jobId": "a", "status": "RUNNING"})
    stubbed.described({"jobId": "a", "status": "SUCCEEDED"})
    stubbed.queue.wait(["a"], "create", silent)
    stubbed.answers.assert_no_pending_responses()


def test_the_indexes_of_an_array_that_failed_are_named(stubbed):
    stubbed.described(
        {"jobId": "a", "status": "FAILED", "statusReason": "Array Child Job failed",
         "arrayProperties": {"size": 8}}
    )  # fmt: skip
    children = [
        {"jobId": f"a:{i}", "jobName": "j", "arrayProperties": {"index": i}} for i in (5, 2)
    ]
    asked = {"arrayJobId": "a", "jobStatus": "FAILED"}
    stubbed.answers.add_response("list_jobs", {"jobSummaryList": children}, asked)
    with pytest.raises(Unavailable, match="array index 2, 5: Array Child Job failed"):
        stubbed.queue.wait(["a", "b"], "create", silent)


def test_a_refused_job_does_not_hide_those_before_it(deployed, monkeypatch, tmp_path):
    monkeypatch.setattr(batch_jobs, "MAX_ARRAY", 2)
    done = command("create", f"{deployed.bucket}/c", "s3://b/x.h5", "--via", "batch",
                   "--buckets", 3)  # fmt: skip
    assert done.code == 1
    assert "make fewer and larger buckets" in done.err
    assert done.out.split()[0] == "plan"
    assert list(submitted()) == [done.out.split()[1]]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in done.out + done.err
