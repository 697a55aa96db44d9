"""What each step of a search asks of S3, held against what the template grants its role.

The emulators enforce no policies; here the requests are seen on their way, and judged by us.
"""

import re
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from aws_servers import parsed
from iam_rights import listed_prefix, rights, statements
from s3_proxy import proxied
from vectordata import clustered, settings, write_parquet

import atoll
from atoll.deploy.render import SearchStack, render
from atoll.vectors.distributed import grouping, reducing, steps
from atoll.vectors.distributed.dispatch import carry_out
from atoll.vectors.mapreduce import BucketsFailed
from atoll.vectors.options import search_options

ROWS, DIM = 300, 16
ROLES = {
    "plan": "Plan",
    "filter": "Search",
    "search": "Search",
    "fold": "Reduce",
    "measure": "Search",
    "refine": "Reduce",
}
ASKED = {
    "by index": {},
    "filtered": {"where": "length < 200"},
    "every row": {"exact": True},
    "columns": {"columns": ("length",), "with_vectors": True},
}


@pytest.fixture(scope="module")
def world(moto_s3, tmp_path_factory):
    """A collection and a bucket for results behind a proxy that sees each request."""
    folder = tmp_path_factory.mktemp("world")
    with proxied(moto_s3) as (server, seen):
        source = write_parquet(folder / "x.parquet", clustered(ROWS, DIM), length=np.arange(ROWS))
        reach = settings(folder / "scratch", storage=server.options())
        found = atoll.create(
            f"{server.new_bucket()}/vectors/one", source, settings=reach, bucket_rows=100,
            workers=1, num_partitions=4, calibrate=False,
        )  # fmt: skip
        found.delete(["p00003"])
        yield found, server.new_bucket(), reach, seen


def requests_of(event, reach, seen):
    """Carry out a step: what it says, and what it asked for as (action, bucket, key or prefix)."""
    seen.forget()
    told = carry_out(event, reach)
    return told, {(event["step"], *_asked(kind, path)) for kind, path in seen.paths}


def _asked(kind, path):
    parts = urlsplit(path)
    bucket, _, key = unquote(parts.path).strip("/").partition("/")
    if kind == "list":
        return "s3:ListBucket", bucket, parse_qs(parts.query).get("prefix", [""])[0]
    action = {"get": "s3:GetObject", "put": "s3:PutObject", "delete": "s3:DeleteObject"}[kind]
    return action, bucket, key


def all_requests(world, run, asked, monkeypatch):
    found, _, reach, seen = world
    monkeypatch.setattr(grouping, "MAX_PARTS", 1)
    monkeypatch.setattr(grouping, "APART_ROWS", 1)
    monkeypatch.setattr(grouping, "APART_BUCKET_ROWS", 0)
    found.begin_run(run, clustered(4, DIM, seed=8), search_options(k=5, **asked))
    requests = set()

    def do(step, **event):
        told, some = requests_of({"step": step, "run": run, **event}, reach, seen)
        requests.update(some)
        return told

    told = do("plan")
    if told["is_filtered"]:
        filtered = [do("filter", bucket=bucket) for bucket in told["buckets"]]
        told = do("plan", filtered=filtered)
    searched = [do("search", bucket=bucket) for bucket in told["buckets"]]
    for group in told["groups"]:
        do("fold", group=group)
    assert told["groups"]
    assert told["is_measured"] == (asked == {} or "columns" in asked)
    for bucket in told["buckets"] if told["is_measured"] else ():
        do("measure", bucket=bucket)
    assert do("refine", searched=searched)["failed_buckets"] == {}
    return requests


def is_granted(template, names, request):
    step, action, bucket, key = request
    role = f"{ROLES[step]}Role"
    if action == "s3:ListBucket":
        prefixes = [
            (_filled(statement["Resource"], names), _filled(listed_prefix(statement), names))
            for statement in statements(template, role)
            if statement["Action"] == action
        ]
        return any(
            where == f"arn:aws:s3:::{bucket}" and _fits(prefix, key) for where, prefix in prefixes
        )
    resources = [resource for granted, resource in rights(template, role) if granted == action]
    return any(
        _fits(_filled(resource, names), f"arn:aws:s3:::{bucket}/{key}") for resource in resources
    )


def _filled(resource, names):
    text = resource if isinstance(resource, str) else next(iter(resource.values()))
    text = "${" + ".".join(text) + "}" if isinstance(text, list) else text
    return re.sub(r"\$\{([^}]+)\}", lambda found: names[found[1]], text)


def _fits(pattern, text):
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def names_of(found, results):
    bucket, _, prefix = str(found.uri).removeprefix("s3://").partition("/")
    return {
        "AWS::Partition": "aws",
        "CollectionBucket": bucket,
        "CollectionPrefix": f"{prefix}/",
        "Results.Arn": f"arn:aws:s3:::{results.removeprefix('s3://')}",
    }


@pytest.mark.parametrize("asked", ASKED)
def test_each_step_asks_for_no_more_than_its_role_may(world, asked, monkeypatch):
    found, results, _, _ = world
    run = f"{results}/runs/{asked.replace(' ', '-')}"
    requests = all_requests(world, run, ASKED[asked], monkeypatch)
    assert {step for step, *_ in requests} >= {"plan", "search", "fold", "refine"}
    template, names = parsed(render(SearchStack(str(found.uri)))), names_of(found, results)
    refused = {each for each in requests if not is_granted(template, names, each)}
    assert refused == set()


def test_a_failed_bucket_is_noted_within_the_rights_of_the_step(world, monkeypatch):
    found, results, reach, seen = world
    run = f"{results}/runs/failing"
    found.begin_run(run, clustered(4, DIM, seed=8), search_options(k=5))
    carry_out({"step": "plan", "run": run}, reach)
    monkeypatch.setattr(steps, "searching", _corrupt)
    seen.forget()
    with pytest.raises(atoll.Corrupt):
        carry_out({"step": "search", "run": run, "bucket": 0}, reach)
    asked = {("search", *_asked(kind, path)) for kind, path in seen.paths}
    template, names = parsed(render(SearchStack(str(found.uri)))), names_of(found, results)
    assert any(action == "s3:PutObject" and "failed/0" in key for _, action, _, key in asked)
    assert {each for each in asked if not is_granted(template, names, each)} == set()


def test_a_bucket_found_damaged_at_the_end_is_noted_within_the_rights_of_the_step(
    world, monkeypatch
):
    found, results, reach, seen = world
    run = f"{results}/runs/damaged"
    found.begin_run(run, clustered(4, DIM, seed=8), search_options(k=5, allow_partial=True))
    for bucket in carry_out({"step": "plan", "run": run}, reach)["buckets"]:
        carry_out({"step": "search", "run": run, "bucket": bucket}, reach)
    refined, errors = reducing._refined, [BucketsFailed({0: atoll.Corrupt("it is damaged")})]

    def damaged_once(*given):
        if errors:
            raise errors.pop()
        return refined(*given)

    monkeypatch.setattr(reducing, "_refined", damaged_once)
    told, asked = requests_of({"step": "refine", "run": run}, reach, seen)
    assert list(told["failed_buckets"].values()) == ["it is damaged"]
    template, names = parsed(render(SearchStack(str(found.uri)))), names_of(found, results)
    assert any(action == "s3:PutObject" and "failed/0" in key for _, action, _, key in asked)
    assert {each for each in asked if not is_granted(template, names, each)} == set()


def _corrupt(*_):
    raise atoll.Corrupt("it is damaged")


@pytest.mark.parametrize(
    "request_", [
        ("search", "s3:PutObject", "collection", "vectors/one/_atoll/hint"),
        ("search", "s3:PutObject", "results", "runs/1/hits.csv"),
        ("search", "s3:GetObject", "collection", "vectors/two/x"),
        ("search", "s3:ListBucket", "collection", "vectors/"),
        ("plan", "s3:PutObject", "results", "runs/1/_run/parts/key/0/0"),
        ("refine", "s3:PutObject", "results", "runs/1/_run/parts/key/0/0"),
        ("refine", "s3:DeleteObject", "results", "runs/1/hits.csv"),
    ],
)  # fmt: skip
def test_judge_refuses_what_no_step_should_do(request_):
    template = parsed(render(SearchStack("s3://collection/vectors/one")))
    names = {
        "AWS::Partition": "aws",
        "CollectionBucket": "collection",
        "CollectionPrefix": "vectors/one/",
        "Results.Arn": "arn:aws:s3:::results",
    }
    assert not is_granted(template, names, request_)
