"""A search in steps, each by itself, gives what one process gives: the same file, byte for byte."""

import hashlib
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
from atoll.vectors import output, search
from atoll.vectors.distributed import clouds, grouping, opened, reducing, steps
from atoll.vectors.distributed.deployment import Deployment
from atoll.vectors.distributed.dispatch import carry_out
from atoll.vectors.distributed.model import Request
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
    "a filter that none pass": {"k": 3, "where": "length < 0", "columns": ("length",)},
    "a filter that none pass, compared": {"k": 3, "where": "length < 0", "exact": True},
    "nothing so near": {"k": 3, "max_distance": -1.0},
    "at any distance": {"k": 3, "max_distance": float("inf")},
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
        reducing.fold(fresh(), group, reach)
    if told["is_measured"]:
        for position in told["buckets"]:
            reducing.measure(fresh(), position, reach)
    return reducing.refine(fresh(), reach)


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
    monkeypatch.setattr(grouping, "MAX_PARTS", 3)
    monkeypatch.setattr(grouping, "GROUP", 2)
    given = {"k": 10} | ASKED[asked]
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(**given))
    carried_out(run, collection._settings)
    assert list(Run(run.storage).plan.groups) == [0, 1, 2, 3]
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, given)


@pytest.mark.parametrize("group", [0, 2])
@pytest.mark.parametrize("asked", ["as it comes", "some partitions", "a filter", "not itself"])
def test_candidates_measured_by_their_buckets_give_the_same(
    collection, tmp_path, monkeypatch, asked, group
):
    monkeypatch.setattr(grouping, "APART_ROWS", 1)
    monkeypatch.setattr(grouping, "APART_BUCKET_ROWS", 0)
    # So few rows that pass a filter would be compared.
    monkeypatch.setattr(search, "NARROW_ROWS", 0)
    if group:
        monkeypatch.setattr(grouping, "MAX_PARTS", 3)
        monkeypatch.setattr(grouping, "GROUP", group)
    given = {"k": 10} | ASKED[asked]
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(**given))
    carried_out(run, collection._settings)
    has_candidates = collection.spec.index.kind == "rabitq"
    assert Run(run.storage).plan.is_measured == has_candidates
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, given)
    times = {work["step"]: work["times"] for work in run.summary()["works"]}
    assert times.get("measure", 0) == (len(collection.buckets) if has_candidates else 0)


def measured(collection, place, monkeypatch):
    """A run that lacks nothing but its last step, each bucket's candidates measured."""
    monkeypatch.setattr(grouping, "APART_ROWS", 1)
    monkeypatch.setattr(grouping, "APART_BUCKET_ROWS", 0)
    if collection.spec.index.kind != "rabitq":
        pytest.skip("only candidates by code are measured later")
    run, reach = collection.begin_run(place, QUERIES, search_options(k=10)), collection._settings
    for position in steps.plan(Run(run.storage), reach)["buckets"]:
        steps.search_bucket(Run(run.storage), position, reach)
    for position in range(len(collection.buckets)):
        reducing.measure(Run(run.storage), position, reach)
    return run


def test_what_buckets_have_measured_is_not_measured_again(collection, tmp_path, monkeypatch):
    run = measured(collection, tmp_path / "run", monkeypatch)
    (part,) = run.measured(0, [2])
    nearest = np.full(len(part.exact), -1, np.float32)
    run.put_measured(replace(part, exact=replace(part.exact, distance=nearest)), 0, 2)
    reducing.refine(Run(run.storage), collection._settings)
    lines = (tmp_path / "run" / "hits.csv").read_text().splitlines()
    assert any(line.endswith(",-1") for line in lines), lines[:3]


def test_what_buckets_have_not_measured_is_measured_at_the_end(collection, tmp_path, monkeypatch):
    run = measured(collection, tmp_path / "run", monkeypatch)
    run.storage.delete(f"_run/measured/{run.plan.key}/0/2")
    (part,) = run.measured(0, [3])
    some = np.arange(0, len(part.exact), 2)
    run.put_measured(replace(part, exact=part.exact.take(some)), 0, 3)
    reducing.refine(Run(run.storage), collection._settings)
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, {"k": 10})


def test_few_candidates_are_not_measured_bucket_by_bucket(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=10))
    assert not steps.plan(run, collection._settings)["is_measured"]
    with pytest.raises(atoll.InvalidInput, match="its step `refine` reads them all"):
        reducing.measure(Run(run.storage), 0, collection._settings)


@pytest.mark.parametrize("early", [False, True])
def test_blocks_of_queries_give_files_that_make_up_the_whole(collection, tmp_path, early):
    options = search_options(k=10)
    view = collection._current_view(options)
    small = replace(view, settings=replace(view.settings, memory_bytes=4 * 96 * 50 * 2))
    batch = collection.queries(QUERIES)
    request = Request.of(small, batch, options, is_refined_early=early)
    run = Run(open_storage(tmp_path / "run"))
    run.begin(request, batch)
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
    run.put_failure(0, atoll.Corrupt("it is damaged"))
    said = {"bucket": 0, "error": {"Error": "Corrupt"}}
    found = reducing.refine(Run(run.storage), collection._settings, [said])
    name = collection.buckets[0].name
    assert found["failed_buckets"] == {name: "it is damaged"}
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
    return reducing.refine(Run(run.storage), reach, list(each(steps.search_bucket)))


def without(collection, tmp_path, victim, what="data"):
    """A copy of a collection in which part of a bucket is gone."""
    folder = tmp_path / "c"
    shutil.copytree(collection.uri, folder)
    if what == "data":
        shutil.rmtree(folder / f"{victim.name}.lance" / "data")
    elif what == "layout" and victim.layout is not None:
        (folder / victim.layout.path).unlink()
    return atoll.open(folder, settings=settings(tmp_path / "scratch"))


@pytest.mark.parametrize("nprobes", [None, 3])
def test_a_bucket_whose_layout_is_gone_is_named_whatever_is_probed(collection, tmp_path, nprobes):
    victim = collection.buckets[1]
    broken = without(collection, tmp_path, victim, "layout")
    options = search_options(k=5, nprobes=nprobes, allow_partial=True)
    run = broken.begin_run(tmp_path / "run", QUERIES, options)
    found = tried(run, broken._settings)
    expected = broken.search(QUERIES, k=5, nprobes=nprobes, allow_partial=True)
    assert list(found["failed_buckets"]) == [victim.name]
    assert "is missing; restore the object" in found["failed_buckets"][victim.name]
    assert (tmp_path / "run" / "hits.csv").read_bytes() == output.as_bytes(expected, ".csv")


@pytest.mark.parametrize("is_measured", [False, True])
@pytest.mark.parametrize("group", [0, 2])
def test_a_bucket_found_damaged_at_the_end_takes_nothing_from_the_others(
    collection, tmp_path, monkeypatch, group, is_measured
):
    if is_measured:
        monkeypatch.setattr(grouping, "APART_ROWS", 1)
        monkeypatch.setattr(grouping, "APART_BUCKET_ROWS", 0)
    if group:
        monkeypatch.setattr(grouping, "MAX_PARTS", 3)
        monkeypatch.setattr(grouping, "GROUP", group)
    broken = without(collection, tmp_path, collection.buckets[0], "nothing")
    options = search_options(k=5, nprobes=3, allow_partial=True)
    run = broken.begin_run(tmp_path / "run", QUERIES, options)
    told = steps.plan(run, broken._settings)
    for position in told["buckets"]:
        steps.search_bucket(Run(run.storage), position, broken._settings)
    for number in told["groups"]:
        reducing.fold(Run(run.storage), number, broken._settings)
    if told["is_measured"]:
        for position in told["buckets"]:
            reducing.measure(Run(run.storage), position, broken._settings)
    # Its part is there, and its rows are the nearest of some queries.
    opened._last.clear()
    shutil.rmtree(tmp_path / "c" / f"{broken.buckets[0].name}.lance" / "data")
    names = tmp_path / "c" / broken.buckets[0].names.path
    names.unlink()
    found = reducing.refine(Run(run.storage), broken._settings)
    left = atoll.open(broken.uri, settings=broken._settings)
    expected = left.search(QUERIES, k=5, nprobes=3, allow_partial=True)
    assert list(found["failed_buckets"]) == [broken.buckets[0].name]
    assert (tmp_path / "run" / "hits.csv").read_bytes() == output.as_bytes(expected, ".csv")


def test_no_bucket_at_all_gives_no_hits(collection, tmp_path):
    broken = without(collection, tmp_path, collection.buckets[0], "nothing")
    for bucket in broken.buckets:
        broken.drop_bucket(bucket.name)
    run = broken.begin_run(tmp_path / "run", QUERIES, search_options(k=5))
    assert carried_out(run, broken._settings)["rows"] == 0
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(broken, {"k": 5})


def test_parts_of_another_plan_are_not_taken(collection, tmp_path):
    """A filter that failed and then did not: partitions, and how rows are found, may differ."""
    options = search_options(k=9, where="length < 300")
    view = collection._current_view(options)
    small = replace(view, settings=replace(view.settings, memory_bytes=4 * 96 * 50 * 2))
    batch = collection.queries(QUERIES)
    run = Run(open_storage(tmp_path / "run"))
    run.begin(Request.of(small, batch, options), batch)
    reach = collection._settings
    told = steps.plan(Run(run.storage), reach)
    if told["is_filtered"]:
        lost = [{"bucket": n, "error": {"Error": "Unavailable"}} for n in told["buckets"][1:]]
        steps.filter_bucket(Run(run.storage), 0, reach)
        partly = steps.plan(Run(run.storage), reach, lost)
        assert partly["buckets"] == [0]
        steps.search_bucket(Run(run.storage), 0, reach)
    carried_out(run, reach)
    _, *lines = expected(collection, {"k": 9, "where": "length < 300"}).splitlines()
    files = sorted((tmp_path / "run").glob("hits-*.csv"))
    assert [line for path in files for line in path.read_bytes().splitlines()[1:]] == lines


def test_a_bucket_that_says_nothing_is_asked_again(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    told = steps.plan(run, collection._settings)
    for position in told["buckets"][1:]:
        steps.search_bucket(Run(run.storage), position, collection._settings)
    with pytest.raises(atoll.Unavailable, match="has neither answered nor said why"):
        reducing.refine(Run(run.storage), collection._settings)
    assert Run(run.storage).summary() is None


def test_a_search_that_ended_is_not_written_again(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    told = carried_out(run, collection._settings)
    shutil.rmtree(tmp_path / "run" / "_run" / "parts")
    assert reducing.refine(Run(run.storage), collection._settings) == told


def test_a_beginning_that_was_killed_is_begun_again(collection, tmp_path):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    (tmp_path / "run" / "_run" / "request.json").unlink()
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    carried_out(run, collection._settings)
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, {"k": 3})


def test_of_two_machines_that_begin_at_once_none_loses_queries(collection, tmp_path):
    options = search_options(k=3)
    view, batch = collection._current_view(options), collection.queries(QUERIES)
    small = replace(view, settings=replace(view.settings, memory_bytes=4 * 96 * 15 * 2))
    one, two = Request.of(view, batch, options), Request.of(small, batch, options)
    assert one.block > two.block
    run = Run(open_storage(tmp_path / "run"))
    run.begin(one, batch)
    # The other found nothing there when it looked, and is slower.
    other = Run(open_storage(tmp_path / "other"))
    other.begin(two, batch)
    for entry in other.storage.list("_run/queries"):
        run.storage.put(entry.path, other.storage.get(entry.path))
    carried_out(run, collection._settings)
    assert (tmp_path / "run" / "hits.csv").read_bytes() == expected(collection, {"k": 3})


def test_works_are_counted_once_for_all_blocks_and_filters_too(collection, tmp_path):
    options = search_options(k=10, where="length < 500", nprobes=2)
    view = collection._current_view(options)
    small = replace(view, settings=replace(view.settings, memory_bytes=4 * 96 * 50 * 2))
    batch = collection.queries(QUERIES)
    run = Run(open_storage(tmp_path / "run"))
    run.begin(Request.of(small, batch, options), batch)
    assert len(run.request.blocks) > 1
    carried_out(run, collection._settings)
    times = {work["step"]: work["times"] for work in run.summary()["works"]}
    buckets = len(collection.buckets)
    filtered = {} if collection.spec.index.kind == "flat" else {"filter": buckets}
    plans = 2 if filtered else 1
    assert times == {"plan": plans, "search": buckets, "refine": 1} | filtered


@pytest.mark.parametrize(
    "name",
    ["request.json", "target.json", "plan.json", "buckets/0.json", "probes/0", "failed/0.json"],
)
def test_what_is_damaged_in_a_run_is_named(collection, tmp_path, name):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    steps.plan(Run(run.storage), collection._settings)
    run.put_failure(0, atoll.Corrupt("x"))
    path = f"_run/{name}"
    for broken in (run.storage.get(path)[:-3], b"", b"\xff", b"[]"):
        run.storage.put(path, broken)
        with pytest.raises(atoll.Corrupt, match=f"{name} is damaged"):
            read_all(Run(run.storage))


def read_all(run):
    _ = run.request, run.target, run.plan
    run.bucket(0), run.probes(0), run.failure(0)


@pytest.mark.parametrize(
    "event",
    [
        {"step": "burn"},
        {"step": "plan"},
        {"step": "search", "run": "{run}", "bucket": "0"},
        {"step": "search", "run": "{run}", "bucket": 99},
        {"step": "search", "run": "{run}", "bucket": 0, "copy": 5},
        {"step": "refine", "run": "{run}", "searched": [{"error": {}}]},
        {"step": "refine", "run": "{run}", "searched": "all"},
        {"step": "plan", "run": "{run}", "filtered": [{"bucket": 0, "error": "boom"}]},
        {"step": "filter", "run": "{run}", "bucket": 0},
    ],
    ids=str,
)
def test_events_that_make_no_sense_are_refused(collection, tmp_path, event):
    run = collection.begin_run(tmp_path / "run", QUERIES, search_options(k=3))
    steps.plan(run, collection._settings)
    event = {name: run.storage.url if v == "{run}" else v for name, v in event.items()}
    with pytest.raises(atoll.InvalidInput):
        carry_out(event, collection._settings)


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
    path = f"_run/parts/{run.plan.key}/0/1"
    data = storage.get(path)
    for broken in (data[:-3], data[:40] + bytes([data[40] ^ 1]) + data[41:], b""):
        storage.put(path, broken)
        with pytest.raises(atoll.Corrupt, match=f"{path} is damaged"):
            reducing.refine(Run(run.storage), collection._settings)


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
    # Of the whole place: another run may end in the same word.
    name = hashlib.sha256(asked["input"].encode()).hexdigest()[:32]
    stubbed.add_client_error(
        "start_execution", "ExecutionAlreadyExists", http_status_code=400,
        expected_params=asked | {"name": name},
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
