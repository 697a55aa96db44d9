"""A search by array jobs: an emulator of AWS Batch takes them, their words are then run here."""

import os

import numpy as np
import pytest
import requests
from aws_servers import batch_parameters, deploy
from commandline import ended, must, start
from vectordata import clustered, settings, write_parquet

import atoll
from atoll.core.config import AwsOptions, StorageOptions
from atoll.deploy.render import SearchStack, render
from atoll.vectors import output
from atoll.vectors.distributed import clouds, deployment, grouping
from atoll.vectors.distributed import jobs as batch_jobs
from atoll.vectors.options import search_options

ROWS, DIM, BUCKETS = 600, 16, 3
QUERIES = clustered(30, DIM, seed=8)


@pytest.fixture(scope="module")
def world(moto_aws, tmp_path_factory):
    """A collection on moto's S3, its stack with AWS Batch, and settings that reach both."""
    bucket, folder = moto_aws.new_bucket(), tmp_path_factory.mktemp("world")
    uri = f"s3://{bucket}/c"
    stack = deploy(
        moto_aws,
        # moto stumbles over variables that are left out, as that of the endpoint would be.
        render(
            SearchStack(
                uri, image="registry.example/atoll:1", endpoint=moto_aws.endpoint, allow_http=True
            )
        ),
        handler="atoll.app.awslambda.handler",
        parameters=batch_parameters(moto_aws),
    )
    storage = StorageOptions(
        endpoint=moto_aws.endpoint, access_key_id="testing", secret_access_key="testing",
        allow_http=True, retries=1,
    )  # fmt: skip
    aws = AwsOptions(stack.name, moto_aws.endpoint)
    reach = settings(folder / "scratch", storage=storage, aws=aws)
    source = write_parquet(folder / "x.parquet", clustered(ROWS, DIM), length=np.arange(ROWS))
    collection = atoll.create(
        uri, source, settings=reach, bucket_rows=ROWS // BUCKETS, workers=1, num_partitions=4,
        calibrate=False,
    )  # fmt: skip
    told = f"{moto_aws.endpoint}/moto-api/config"
    # Without docker moto takes jobs, and runs none.
    requests.post(told, json={"batch": {"use_docker": False}}, timeout=10)
    yield collection, reach
    requests.post(told, json={"batch": {"use_docker": True}}, timeout=10)


class Batch:
    """Does what AWS Batch would, when somebody waits: each job in its order, by processes."""

    def __init__(self, reach, scratch):
        self.scratch, self.done = scratch, []
        self.environment = {
            "ATOLL_ENDPOINT": reach.storage.endpoint,
            "ATOLL_ALLOW_HTTP": "1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "HOME": str(scratch),
            "ATOLL_DISK_CACHE": "off",
        }

    def wait(self, jobs, what, on_progress, *, is_all=True):
        from moto.batch.models import batch_backends

        known = batch_backends["123456789012"]["us-east-1"]._jobs
        for job in (known[each] for each in jobs):
            assert {each["jobId"] for each in job.depends_on or []} <= {id for id, *_ in self.done}
            self._run(job, is_all)

    def _run(self, job, is_all):
        name, *words = job.job_definition.container_properties["command"]
        assert name == "atoll"
        words = [job.parameters["run"] if word == "Ref::run" else word for word in words]
        words[words.index("/scratch")] = str(self.scratch)
        size = job.array_properties.get("size")
        told = {
            each["name"]: each["value"] for each in job.container_overrides.get("environment", [])
        }
        indexes = [{"AWS_BATCH_JOB_ARRAY_INDEX": str(i)} for i in range(size)] if size else [told]
        for process in [start(*words, **self.environment, **index) for index in indexes]:
            done = ended(process)
            assert done.code == 0 or not is_all, done.err
        self.done.append((job.job_id, words[1], size))


@pytest.fixture
def batch(world, tmp_path, monkeypatch):
    found = Batch(world[1], tmp_path)
    monkeypatch.setattr(
        batch_jobs.JobQueue, "wait", lambda _, *asked, **how: found.wait(*asked, **how)
    )
    return found


ASKED = {
    "many queries": ({"k": 5, "nprobes": 2}, [("search", BUCKETS), ("refine", None)]),
    "a filter": (
        {"k": 5, "where": "length < 300"},
        [("filter", BUCKETS), ("search", BUCKETS), ("refine", None)],
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_jobs_write_the_file_that_one_process_writes(world, batch, asked):
    (collection, reach), (given, kinds) = world, ASKED[asked]
    deployed = deployment.find_deployment(reach)
    run = collection.begin_run(
        deployed.new_run(), QUERIES, search_options(**given), is_refined_early=True
    )
    clouds.carried_out(run, "batch", deployed, reach)
    assert [(step, size) for _, step, size in batch.done] == kinds
    hits = output.as_bytes(collection.search(QUERIES, **given), ".csv")
    assert run.storage.get("hits.csv") == hits
    # Copies of buckets went when they were answered.
    assert not [name for _, _, names in os.walk(batch.scratch) for name in names if "lance" in name]


def test_jobs_fold_where_there_are_many_parts(world, batch, monkeypatch):
    collection, reach = world
    monkeypatch.setattr(grouping, "MAX_PARTS", 1)
    monkeypatch.setattr(grouping, "GROUP", 2)
    deployed = deployment.find_deployment(reach)
    run = collection.begin_run(
        deployed.new_run(), QUERIES, search_options(k=3), is_refined_early=True
    )
    clouds.carried_out(run, "batch", deployed, reach)
    kinds = [(step, size) for _, step, size in batch.done]
    assert kinds == [("search", BUCKETS), ("fold", 2), ("refine", None)]
    assert run.storage.get("hits.csv") == output.as_bytes(collection.search(QUERIES, k=3), ".csv")


def test_the_command_gives_the_file_that_a_local_search_gives(world, batch, tmp_path, monkeypatch):
    collection, reach = world
    for name, value in batch.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ATOLL_AWS_ENDPOINT", reach.aws.endpoint)
    np.save(tmp_path / "q.npy", QUERIES)
    words = ("search", collection.uri, tmp_path / "q.npy", "-k", 4, "-q")
    must(*words, "-o", tmp_path / "here.csv")
    must(*words, "--via", "batch", "--stack", reach.aws.stack, "-o", tmp_path / "there.csv")
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert batch.done
