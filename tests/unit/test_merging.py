"""Merging the parts of more buckets than one process takes, and what passes between states."""

import json
import uuid
from dataclasses import replace

import numpy as np
import pytest

from atoll.core.config import Settings
from atoll.core.errors import NotFound
from atoll.deploy.render import read
from atoll.storage import open_storage
from atoll.vectors.distributed import grouping, reducing, steps
from atoll.vectors.distributed.model import Plan, Request, Target
from atoll.vectors.distributed.rows import Part, Rows
from atoll.vectors.distributed.run import Run
from atoll.vectors.manifests import commit_manifest
from atoll.vectors.model import Blob, Bucket, CollectionSpec, IndexSpec, Manifest
from atoll.vectors.options import SearchOptions
from atoll.vectors.paths import bucket_name
from atoll.vectors.queries import QueryBatch
from atoll.vectors.work import Work, together

SPEC = CollectionSpec(
    dim=2, dtype="float32", distance_type="l2", vector_column="embedding", id_column="id",
    columns={}, arrow_schema="", embedder=None, index=IndexSpec("rabitq", 3),
)  # fmt: skip
# What Step Functions lets pass from state to state, bytes.
MOST_STATE = 256 << 10
BUCKETS, QUERIES, KEEP, EACH = 1100, 2, 50, 60
WORK = Work("search", 1, 0.1, 0.1, 0.1, 0, {"gets": 1, "puts": 0, "bytes_written": 0})


def begun(buckets, group):
    run = Run(open_storage(f"memory://{uuid.uuid4().hex}"))
    request = Request("s3://x/c", 1, SearchOptions(k=10), None, QUERIES, QUERIES, "hash")
    run.begin(request, QueryBatch(["a", "b"], np.zeros((QUERIES, 2), np.float32)))
    target = Target(SPEC, {}, 1, ("rabitq",), buckets, buckets * EACH)
    run.put_plan(Plan("key", request, target, False, KEEP, group, False, (), (WORK,)))
    return run


def synthetic(bucket, random):
    query = np.repeat(np.arange(QUERIES), EACH // QUERIES)
    row = np.concatenate([np.sort(random.choice(10_000, EACH // QUERIES, replace=False))] * 2)
    estimate = random.integers(0, 5000, EACH).astype(np.uint32)
    return Rows(query, np.full(EACH, bucket), row, estimate)


def test_a_thousand_parts_are_merged_in_a_tree_as_if_at_once():
    random = np.random.default_rng(5)
    group = grouping.group_of(BUCKETS, BUCKETS * EACH)
    assert group == grouping.GROUP
    run = begun(BUCKETS, group)
    parts = [synthetic(bucket, random) for bucket in range(BUCKETS)]
    lost = {7, 1050}
    for bucket, rows in enumerate(parts):
        if bucket not in lost:
            run.put_part(Part(rows, Rows.none(), ("per query",), (WORK,)), 0, bucket)
    planned = run.plan
    with pytest.raises(NotFound, match=r"group 0 of .* is not merged"):
        reducing._all_merged(run, planned, 0, {})
    assert len(planned.groups) == 11
    for number in planned.groups:
        reducing.fold(Run(run.storage), number, Settings())
    whole = reducing._all_merged(Run(run.storage), planned, 0, {})
    assert whole.missing == lost
    # As few as can be, but all that may be among the best: by sorting everything.
    for query in range(QUERIES):
        keys = sorted(
            (int(e), bucket, int(r))
            for bucket, rows in enumerate(parts)
            if bucket not in lost
            for q, r, e in zip(rows.query, rows.row, rows.estimate, strict=True)
            if q == query
        )
        cut = keys[KEEP - 1][0]
        expected = {(bucket, row) for estimate, bucket, row in keys if estimate <= cut}
        mine = whole.estimated.query == query
        found = zip(whole.estimated.bucket[mine], whole.estimated.row[mine], strict=True)
        assert {(int(b), int(r)) for b, r in found} == expected
    searched = next(work for work in together(whole.works) if work.step == "search")
    assert searched.times == BUCKETS - len(lost)
    assert searched.usage["puts"] == BUCKETS - len(lost)


@pytest.mark.parametrize(
    ("rows", "buckets", "group"),
    [
        (50, [1000] * 18, 0),
        (250_000, [200_000_000] * 18, 0),
        (50, [1000] * 1000, 0),
        (50, [1000] * 1001, grouping.GROUP),
        (250_000, [200_000_000] * 1000, 80),
        (50_000_000, [200_000_000] * 18, 2),
    ],
    ids=str,
)
def test_there_is_a_tree_where_parts_are_many_or_large(rows, buckets, group):
    in_all = sum(min(rows, stored) for stored in buckets)
    assert grouping.group_of(len(buckets), in_all) == group


def test_what_passes_between_states_is_small_for_ten_thousand_buckets():
    run = planned_run(10_000)
    told = steps.plan(run, Settings())
    assert (len(told["buckets"]), len(told["groups"])) == (10_000, 100)
    searched = [{"bucket": number} for number in told["buckets"]]
    # A hundred of them failed, with all that Lambda says of an error.
    error = {"Error": "Lambda.TooManyRequestsException", "Cause": "why " * 1000}
    searched[:100] = [named_by_the_machine(each | {"error": error}) for each in searched[:100]]
    # The place of a real run is longer.
    longest = f"s3://{'r' * 63}/runs/20261126T010203Z-0123abcd"
    state = told | {"searched": searched, "run": longest}
    assert len(json.dumps(state, separators=(",", ":"))) < MOST_STATE


def planned_run(buckets):
    """A run over a collection of so many buckets, of which there is the manifest only."""
    collection = open_storage(f"memory://{uuid.uuid4().hex}")
    blob = Blob("_atoll/blobs/x", 1, "0" * 64)
    spec = replace(SPEC, index=IndexSpec("flat"))
    made = tuple(
        Bucket(bucket_name(number, "0123abcd"), 1, EACH, 0, {}, "p", None, blob, blob, blob, ())
        for number in range(buckets)
    )
    commit_manifest(collection, Manifest(1, "2026-01-01", spec, {}, None, made))
    run = Run(open_storage(f"memory://{uuid.uuid4().hex}"))
    request = Request(collection.url, 1, SearchOptions(k=10), None, QUERIES, QUERIES, "hash")
    run.begin(request, QueryBatch(["a", "b"], np.zeros((QUERIES, 2), np.float32)))
    return run


def named_by_the_machine(item):
    """What the state machine makes of a bucket that failed: its Pass state, carried out."""
    machine = json.loads(read("search.asl.json"))
    named = machine["States"]["Search"]["ItemProcessor"]["States"]["NameUnsearchedBucket"]
    return filled(named["Parameters"], item)


def filled(wanted, item):
    if isinstance(wanted, dict):
        return {name.removesuffix(".$"): filled(each, item) for name, each in wanted.items()}
    for name in wanted.removeprefix("$.").split("."):
        item = item[name]
    return item
