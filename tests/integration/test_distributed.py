"""A search in steps, each by itself, gives what one process gives: the same file, byte for byte."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import ANY

import boto3
import numpy as np
import pytest
from botocore.stub import Stubber
from vectordata import clustered, settings, write_parquet

import atoll
from atoll.storage import open_storage
from atoll.vectors import output
from atoll.vectors.distributed import clouds, steps
from atoll.vectors.distributed.deployment import Deployment
from atoll.vectors.distributed.run import Run
from atoll.vectors.options import search_options

ROWS, DIM, BUCKET_ROWS = 630, 16, 100
VECTORS = clustered(ROWS, DIM)
# Many equal vectors, so that ties stand at the cut of every number of candidates.
VECTORS[100:160] = VECTORS[:60] = VECTORS[300:360]
QUERIES = np.concatenate([VECTORS[[0, 7, 310]], clustered(4, DIM, seed=8)])
ASKED = {
    "as it comes": {},
    "one neighbour": {"k": 1, "nprobes": 1, "refine_factor": 1},
    "some partitions": {"k": 20, "nprobes": 3},
    "more than there are": {"k": 1000},
    "every row compared": {"k": 7, "exact": True},
    "a filter": {"k": 9, "where": "length < 500", "nprobes": 2},
    "a filter, as far as it takes": {"k": 60, "where": "length < 300"},
    "a filter that few pass": {"k": 9, "where": "length < 20"},
    "a filter, every row compared": {"k": 9, "where": "length < 300", "exact": True},
    "not beyond a distance": {"k": 30, "max_distance": 0.2},
    "not itself": {"k": 5, "exclude_self": True, "nprobes": 2},
    "more columns": {"k": 3, "columns": ("length",), "with_vectors": True},
}


@pytest.fixture(scope="module", params=["rabitq", "ivf_pq", "flat"])
def collection(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    source = write_parquet(folder / "x.parquet", VECTORS, length=np.arange(ROWS))
    reach = settings(folder / "scratch")
    partitions = {} if request.param == "flat" else {"num_partitions": 6}
    found = atoll.create(
        folder / "c", source, settings=reach, bucket_rows=BUCKET_ROWS, workers=1,
        index=request.param, calibrate=False, **partitions,
    )  # fmt: skip
    found.delete(["p00003", "p00305"])
    return found


def carried_out(run, reach):
    """Do all steps, one after the other, each with nothing but the run's folder."""

    def fresh():
        return Run(run.storage)

    told = steps.plan(fresh(), reach)
    if told["is_filtered"]:
        for position in told["buckets"]:
            steps.filter_bucket(fresh(), position, reach)
        told = steps.plan(fresh(), reach)
        assert not told["is_filtered"]
    for position in reversed(told["buckets"]):
        steps.search_bucket(fresh(), position, reach)
    for group in told["groups"]:
        steps.fold(fresh(), group, reach)
    return steps.refine(fresh(), reach)


def expected(collection, given):
    return output.as_bytes(collection.search(QUERIES, **given), ".csv")


@pytest.mark.parametrize("asked", ASKED)
def test_steps_give_what_one_process_gives(collection, tmp_path, asked):
    given = {"k": 10} | ASKED[asked]
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(**given))
    told = carried_out(run, collection._settings)
    assert told["failed_buckets"] == {}
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, given)
    assert run.summary()["hits"] == told["rows"]


@pytest.mark.parametrize("asked", ["as it comes", "a filter", "more than there are"])
def test_a_tree_of_merges_gives_the_same(collection, tmp_path, monkeypatch, asked):
    monkeypatch.setattr(steps, "MAX_PARTS", 3)
    monkeypatch.setattr(steps, "GROUP", 2)
    given = {"k": 10} | ASKED[asked]
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(**given))
    carried_out(run, collection._settings)
    assert list(Run(run.storage).plan.groups) == [0, 1, 2, 3]
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, given)


@pytest.mark.parametrize("early", [False, True])
def test_blocks_of_queries_give_files_that_make_up_the_whole(collection, tmp_path, early):
    options = search_options(k=10)
    view = collection._current_view(options)
    small = replace(view, settings=replace(view.settings, memory_bytes=4 * 96 * 50 * 2))
    from atoll.vectors.distributed.asking import begin

    run = begin(small, tmp_path / "run", QUERIES, options, is_refined_early=early)
    carried_out(run, collection._settings)
    files = sorted((tmp_path / "run").glob("hits-*.csv"))
    assert len(files) == len(run.request.blocks) > 1
    head, *lines = expected(collection, {"k": 10}).splitlines()
    parts = [path.read_bytes().splitlines() for path in files]
    assert {part[0] for part in parts} == {head}
    assert [line for part in parts for line in part[1:]] == lines


def test_the_same_search_may_be_begun_twice_another_not(collection, tmp_path):
    options = search_options(k=3)
    collection.begin_run(tmp_path / "run", QUERIES, options)
    collection.begin_run(tmp_path / "run", QUERIES, options)
    with pytest.raises(atoll.Conflict, match="of another search"):
        collection.begin_run(tmp_path / "run", QUERIES[:2], options)
    with pytest.raises(atoll.Conflict, match="of another search"):
        collection.begin_run(tmp_path / "run", QUERIES, search_options(k=4))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "hits.csv").write_text("mine")
    with pytest.raises(atoll.Conflict, match="is not empty"):
        collection.begin_run(tmp_path / "other", QUERIES, options)
    assert (tmp_path / "other" / "hits.csv").read_text() == "mine"


def test_a_bucket_that_is_gone_is_named_and_the_others_answer(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    told = steps.plan(run, collection._settings)
    for position in told["buckets"][1:]:
        steps.search_bucket(Run(run.storage), position, collection._settings)
    run.put_failure(0, {"error": "Corrupt", "message": "it is damaged"})
    said = {"bucket": 0, "error": {"Error": "Corrupt"}}
    found = steps.refine(Run(run.storage), collection._settings, [said])
    name = collection.buckets[0].name
    assert found["failed_buckets"] == {name: "Corrupt: it is damaged"}
    assert Run(run.storage).summary()["failed_buckets"] == found["failed_buckets"]
    assert b"p00305" not in (tmp_path / "run" / "hits.csv").read_bytes()


def tried(run, reach):
    """Do all steps as the state machine does: of a bucket that fails only the error is told."""

    def each(step):
        for position in told["buckets"]:
            try:
                yield step(Run(run.storage), position, reach)
            except atoll.AtollError as error:
                yield {"bucket": position, "error": {"Error": type(error).__name__}}

    told = steps.plan(Run(run.storage), reach)
    if told["is_filtered"]:
        filtered = list(each(steps.filter_bucket))
        told = steps.plan(Run(run.storage), reach, filtered)
    return steps.refine(Run(run.storage), reach, list(each(steps.search_bucket)))


def test_a_predicate_that_no_bucket_understands_is_told(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(where="weight > 3"))
    with pytest.raises(atoll.InvalidInput, match="No field named weight"):
        tried(run, settings(tmp_path / "scratch"))
    assert run.summary() is None


def test_why_a_bucket_could_not_be_filtered_is_told(collection, tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(str(collection.uri).removeprefix("file://"), folder)
    reach = settings(tmp_path / "scratch")
    victim = collection.buckets[2].name
    shutil.rmtree(folder / f"{victim}.lance")
    options = search_options(k=5, where="length < 500")
    run = atoll.open(folder, settings=reach).begin_run(tmp_path / "run", QUERIES, options)
    found = tried(run, reach)
    assert list(found["failed_buckets"]) == [victim]
    assert "the object is gone" in found["failed_buckets"][victim]


def test_a_damaged_part_is_named(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    for position in steps.plan(run, collection._settings)["buckets"]:
        steps.search_bucket(Run(run.storage), position, collection._settings)
    storage = open_storage(tmp_path / "run")
    data = storage.get("_run/parts/0/1")
    for broken in (data[:-3], data[:40] + bytes([data[40] ^ 1]) + data[41:], b""):
        storage.put("_run/parts/0/1", broken)
        with pytest.raises(atoll.Corrupt, match="_run/parts/0/1 is damaged"):
            steps.refine(Run(run.storage), collection._settings)


def test_groups_cannot_be_asked_for(collection, tmp_path):
    with pytest.raises(atoll.InvalidInput, match="group_by looks further"):
        collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3, group_by="length"))
    assert not (tmp_path / "run").exists()


# -- begun again ----------------------------------------------------------------------------------

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:atoll-search"
DEPLOYED = Deployment("atoll", {"StateMachine": MACHINE})


@pytest.fixture
def machine(collection, tmp_path, monkeypatch):
    """A run, and the state machine that is to carry it out: AWS's answers, given in order."""
    client = boto3.client(
        "stepfunctions", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    monkeypatch.setattr(clouds, "aws_client", lambda *_: client)
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    with Stubber(client) as stubbed:
        yield run, stubbed


def test_a_search_that_has_ended_is_not_carried_out_again(machine, tmp_path):
    run, _ = machine
    reach = settings(tmp_path / "scratch")
    carried_out(run, reach)
    assert clouds.carried_out(run, "stepfunctions", DEPLOYED, reach) == run.summary()


def test_an_execution_that_failed_is_begun_anew_under_another_name(machine, tmp_path):
    run, stubbed = machine
    asked = {"stateMachineArn": MACHINE, "input": json.dumps({"run": run.storage.url})}
    stubbed.add_client_error(
        "start_execution", "ExecutionAlreadyExists", http_status_code=400,
        expected_params=asked | {"name": "run"},
    )  # fmt: skip
    arn = MACHINE.replace("stateMachine:", "execution:") + ":run"
    stubbed.add_response(
        "start_execution",
        {"executionArn": arn, "startDate": datetime.now(UTC)},
        expected_params=asked | {"name": ANY},
    )
    failed = {"executionArn": arn, "stateMachineArn": MACHINE, "startDate": datetime.now(UTC)}
    said = {"status": "FAILED", "error": "Forbidden", "cause": '{"errorMessage": "no keys"}'}
    stubbed.add_response("describe_execution", failed | said)
    with pytest.raises(atoll.Forbidden, match="no keys"):
        clouds.carried_out(run, "stepfunctions", DEPLOYED, settings(tmp_path / "scratch"))
    stubbed.assert_no_pending_responses()
