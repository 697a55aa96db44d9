"""The post's search, really executed: a state machine, functions under awslambdaric, Ceph.

Both interpreters, both kinds of map; the same collections, and the file that one process writes.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from aws_servers import deploy
from commandline import ended, start
from vectordata import clustered, settings, write_parquet

import atoll
from atoll.core.config import AwsOptions
from atoll.deploy.render import SearchStack, render
from atoll.vectors import output
from atoll.vectors.distributed import clouds, deployment, grouping, steps
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import search_options

pytestmark = pytest.mark.ceph
ROWS, DIM, BUCKET_ROWS, PARTITIONS = 2400, 32, 800, 8
VECTORS = clustered(ROWS, DIM)
QUERIES = clustered(100, DIM, seed=8)


@pytest.fixture(scope="module")
def world(store, tmp_path_factory):
    """A collection of each kind on Ceph, and settings that reach them."""
    folder = tmp_path_factory.mktemp("world")
    source = write_parquet(folder / "x.parquet", VECTORS, length=np.arange(ROWS))
    reach = settings(folder / "scratch", storage=store[0].options(retries=8))
    bucket = store[0].new_bucket()
    collections = {
        index: atoll.create(
            f"{bucket}/{index}", source, settings=reach, bucket_rows=BUCKET_ROWS, workers=1,
            num_partitions=PARTITIONS, index=index, calibrate=False,
        )
        for index in ("rabitq", "ivf_pq")
    }  # fmt: skip
    many = write_parquet(folder / "many.parquet", clustered(60_000, 8, seed=4))
    collections["many"] = atoll.create(
        f"{bucket}/many", many, settings=reach, bucket_rows=20_000, workers=1, calibrate=False
    )
    return bucket, collections, reach


# Each execution starts a process for each bucket: only what differs between interpreters, or kinds
# of map, is asked of more than one of them.
USUAL = ("ministack", "distributed")
STACKS = (USUAL, ("ministack", "inline"), ("moto_aws", "distributed"), ("moto_aws", "inline"))


def everywhere(name, values, daily):
    """Parametrize by stack and one thing more; pairs that are not `daily` wait for the night."""
    return pytest.mark.parametrize(
        ("stack", name),
        [
            pytest.param(
                stack, value, id="-".join((value, *stack)),
                marks=[] if (stack, value) in daily else pytest.mark.nightly,
            )
            for stack in STACKS
            for value in values
        ],
        indirect=["stack"],
    )  # fmt: skip


def deployed(server, store, bucket, home, mode, secret):
    return deploy(
        server,
        render(SearchStack(bucket, image="registry.example/atoll:1", map_mode=mode)),
        handler="atoll.app.awslambda.handler",
        environment={
            "AWS_ACCESS_KEY_ID": store.access_key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "ATOLL_RETRIES": "0",
            # What one test has read, the next one must ask for again.
            "ATOLL_DISK_CACHE": "off",
            "HOME": str(home),
        },
        parameters={"S3Endpoint": store.endpoint, "S3AllowHttp": "true", "MaxConcurrency": 3},
    )


@pytest.fixture(scope="module")
def stack(request, store, world, tmp_path_factory):
    name, mode = getattr(request, "param", USUAL)
    server, home = request.getfixturevalue(name), tmp_path_factory.mktemp("home")
    return deployed(server, store[0], world[0], home, mode, store[0].secret_access_key)


@pytest.fixture
def reach(stack, world):
    """Settings of whoever asks: keys of the store, the emulator as AWS."""
    return replace(world[2], aws=AwsOptions(stack.name, stack.server.endpoint))


def asked(world, reach, index, queries, place, cloud="stepfunctions", **given):
    """Have a search carried out; return what it says and its file."""
    bucket, collections, _ = world
    run = collections[index].begin_run(f"{bucket}/runs/{place}", queries, search_options(**given))
    summary = clouds.carried_out(run, cloud, deployment.find_deployment(reach), reach)
    return run, summary, run.storage.get(run.hits_path(0))


def expected(world, index, queries, **given):
    return output.as_bytes(world[1][index].search(queries, **given), ".csv")


# Each stack and each index: what a function reads does not depend on who started it.
@everywhere(
    "index",
    ("rabitq", "ivf_pq"),
    daily=[*zip(STACKS[:3], ("rabitq", "ivf_pq", "rabitq"), strict=True)],
)
def test_a_hundred_queries_of_few_neighbours(world, reach, index, tmp_path):
    given = {"k": 4, "nprobes": 3}
    _, summary, hits = asked(world, reach, index, QUERIES, f"few-{tmp_path.name}", **given)
    assert hits == expected(world, index, QUERIES, **given)
    assert summary["failed_buckets"] == {}
    assert summary["hits"] == 400


def test_one_query_of_fifty_thousand_neighbours(world, reach, tmp_path):
    given = {"k": 50_000}
    _, summary, hits = asked(
        world, reach, "many", QUERIES[:1, :8], f"wide-{tmp_path.name}", **given
    )
    assert summary["hits"] == 50_000
    assert hits == expected(world, "many", QUERIES[:1, :8], **given)


def test_rows_that_pass_a_filter(world, reach, tmp_path):
    given = {"k": 9, "where": "length < 700"}
    _, summary, hits = asked(world, reach, "rabitq", QUERIES[:3], f"where-{tmp_path.name}", **given)
    assert hits == expected(world, "rabitq", QUERIES[:3], **given)
    times = {work["step"]: work["times"] for work in summary["works"]}
    assert times == {"plan": 2, "filter": 3, "search": 3, "refine": 1}


def test_a_tree_of_merges(world, reach, tmp_path, stack, monkeypatch):
    # The plan decides; with it made here, functions do the rest.
    monkeypatch.setattr(grouping, "MAX_PARTS", 2)
    monkeypatch.setattr(grouping, "GROUP", 2)
    bucket, collections, _ = world
    options = search_options(k=9)
    run = collections["rabitq"].begin_run(
        f"{bucket}/runs/tree-{tmp_path.name}", QUERIES[:2], options
    )
    told = steps.plan(run, reach)
    functions = stack.server.client("lambda")

    def call(name, **event):
        answer = functions.invoke(
            FunctionName=stack.outputs[name], Payload=json.dumps(event | {"run": run.storage.url})
        )
        assert "FunctionError" not in answer, answer["Payload"].read()
        return json.loads(answer["Payload"].read())

    for position in told["buckets"]:
        call("SearchFunction", step="search", bucket=position)
    assert told["groups"] == [0, 1]
    for group in told["groups"]:
        call("ReduceFunction", step="fold", group=group)
    found = call("ReduceFunction", step="refine")
    assert found["failed_buckets"] == {}
    assert run.storage.get("hits.csv") == expected(world, "rabitq", QUERIES[:2], k=9)


def test_a_store_that_fails_for_a_while_is_asked_again(world, reach, behaviour, tmp_path):
    name = world[1]["rabitq"].buckets[1].name
    refused = []

    def refuse(kind, path):
        # More than one try of the step makes by itself.
        is_one = f"{name}.lance/data" in path and len(refused) < 12
        refused.extend([path] if is_one else [])
        return is_one

    behaviour.refuses = refuse
    given = {"k": 4, "nprobes": 3}
    _, summary, hits = asked(world, reach, "rabitq", QUERIES, f"again-{tmp_path.name}", **given)
    assert len(refused) == 12
    assert summary["failed_buckets"] == {}
    assert hits == expected(world, "rabitq", QUERIES, **given)


# Functions called from here know no kinds of maps.
@everywhere(
    "cloud",
    ("stepfunctions", "lambda"),
    daily=[(USUAL, "lambda"), *((stack, "stepfunctions") for stack in STACKS[:3])],
)
def test_a_poisoned_bucket_is_named_and_the_others_answer(world, reach, behaviour, tmp_path, cloud):
    victim = world[1]["rabitq"].buckets[1]
    place = f"poison-{cloud}-{tmp_path.name}"
    behaviour.breaks = lambda kind, path: path.endswith(victim.layout.path)
    run, summary, hits = asked(world, reach, "rabitq", QUERIES[:2], place, cloud, k=500)
    assert list(summary["failed_buckets"]) == [victim.name]
    assert "has changed since it was written" in summary["failed_buckets"][victim.name]
    assert summary["hits"] == 2 * 500
    with pytest.raises(atoll.Incomplete, match=f"1 of 3 buckets did not answer.*{victim.name}"):
        clouds.require_whole(run, summary)
    behaviour.breaks = None
    gone = set(names_in(world, victim))
    assert not gone & {line.split(",")[2] for line in hits.decode().splitlines()}


def names_in(world, bucket):
    table = world[1]["rabitq"]._reader.table(bucket)
    return [name for _, batch in table.batches(["id"]) for name in batch["id"].to_pylist()]


def test_functions_called_from_here_give_the_same(world, reach, tmp_path):
    given = {"k": 4, "nprobes": 3, "where": "length < 2000"}
    _, summary, hits = asked(
        world, reach, "rabitq", QUERIES[:9], f"direct-{tmp_path.name}", "lambda", **given
    )
    assert hits == expected(world, "rabitq", QUERIES[:9], **given)
    search = next(work for work in summary["works"] if work["step"] == "search")
    assert search["times"] == 3
    assert search["memory_mb"] == 3008


def test_two_reduces_at_once_leave_one_result(world, reach, stack, tmp_path):
    bucket, collections, _ = world
    run = collections["rabitq"].begin_run(
        f"{bucket}/runs/twice-{tmp_path.name}", QUERIES[:2], search_options(k=5)
    )
    for position in steps.plan(run, reach)["buckets"]:
        steps.search_bucket(Run(run.storage), position, reach)
    functions = stack.server.client("lambda")
    event = json.dumps({"step": "refine", "run": run.storage.url})

    def refine(_):
        answer = functions.invoke(FunctionName=stack.outputs["ReduceFunction"], Payload=event)
        assert "FunctionError" not in answer
        return json.loads(answer["Payload"].read())

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(refine, range(2))
    assert one == two
    assert run.storage.get("hits.csv") == expected(world, "rabitq", QUERIES[:2], k=5)


def test_the_command_gives_the_file_that_a_local_search_gives(world, reach, tmp_path):
    bucket, collections, _ = world
    np.save(tmp_path / "q.npy", QUERIES[:5])
    keys = reach.storage
    environment = {
        "HOME": str(tmp_path),
        "ATOLL_ENDPOINT": keys.endpoint,
        "ATOLL_ALLOW_HTTP": "1",
        "ATOLL_AWS_ENDPOINT": reach.aws.endpoint,
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
    }
    words = ("search", collections["rabitq"].uri, tmp_path / "q.npy", "-k", 6, "--nprobes", 3)
    here = ended(start(*words, "-o", tmp_path / "here.csv", **environment))
    assert here.code == 0, here.err
    via = ("--via", "stepfunctions", "--stack", reach.aws.stack)
    results = ("--results", f"{bucket}/runs/cli-{tmp_path.name}")
    there = ended(
        start(*words, *via, *results, "--bill", "-o", tmp_path / "there.csv", **environment)
    )
    assert there.code == 0, there.err
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert "in all" in there.err
    again = ended(start(*words, "-k", 7, *via, *results, **environment))
    assert again.code == 1
    assert "of another search" in again.err


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"stack": "nobody-made-this"}, atoll.NotFound, "no stack 'nobody-made-this'"),
        ({"endpoint": "http://127.0.0.1:9"}, atoll.Unavailable, "AWS did not answer"),
    ],
    ids=str,
)
def test_what_cannot_carry_a_search_out_says_so(world, reach, wrong, error, said):
    aws = replace(reach.aws, **wrong)
    few = replace(reach.storage, retries=0)
    with pytest.raises(error, match=said):
        deployment.find_deployment(replace(reach, aws=aws, storage=few))


def test_functions_without_rights_on_the_store_are_forbidden_by_name(
    world, reach, ministack, store, tmp_path_factory
):
    home = tmp_path_factory.mktemp("home")
    made = deployed(ministack, store[0], world[0], home, "inline", "wrong")
    there = replace(reach, aws=AwsOptions(made.name, ministack.endpoint))
    with pytest.raises(atoll.Forbidden, match="refused the credentials"):
        asked(world, there, "rabitq", QUERIES[:1], f"wrong-{made.name}", k=3)
