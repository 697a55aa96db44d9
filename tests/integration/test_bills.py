"""What a search asks of a real store is counted where it is asked, as a proxy before it sees."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from vectordata import clustered, hit_ids, settings, write_parquet

import atoll
from atoll.storage import count_usage, open_storage

VECTORS = clustered(900, 32)
QUERIES = VECTORS[:4] + 0.01
pytestmark = pytest.mark.ceph


@pytest.fixture(scope="module", params=["rabitq", "ivf_pq"])
def place(request, store, tmp_path_factory):
    """A collection, and settings that reach it through the proxy."""
    scratch = tmp_path_factory.mktemp("scratch")
    source = write_parquet(scratch / "x.parquet", VECTORS, length=np.arange(900))
    reach = settings(scratch, storage=store[0].options(retries=8))
    url = store[0].new_bucket() + "/c"
    atoll.create(
        url, source, settings=reach, bucket_rows=300, workers=1, num_partitions=6,
        index=request.param, calibrate=False,
    )  # fmt: skip
    return url, reach


def asked(usage):
    return {"get": usage.gets, "list": usage.lists, "put": usage.puts, "delete": usage.deletes}


def seen(behaviour):
    return {kind: behaviour.requests[kind] for kind in ("get", "list", "put", "delete")}


@pytest.mark.parametrize(
    "given",
    [{}, {"nprobes": 2}, {"exact": True}, {"where": "length < 700"}, {"columns": ["length"]}],
    ids=str,
)
def test_counts_are_those_of_the_store(place, behaviour, given):
    url, reach = place
    with count_usage() as usage:
        atoll.open(url, settings=reach).search(QUERIES, k=5, **given)
    assert asked(usage) == seen(behaviour)
    assert usage.bytes_read == behaviour.bytes_out["get"]
    assert usage.retries == 0
    assert usage.gets > 5


def test_a_search_tells_its_own_part(place, behaviour):
    url, reach = place
    collection = atoll.open(url, settings=reach)
    behaviour.forget()
    table = collection.search(QUERIES, k=5)
    (work,) = json.loads(table.schema.metadata[b"atoll"])["works"]
    assert work["usage"]["gets"] == behaviour.requests["get"]
    assert work["usage"]["bytes_read"] == behaviour.bytes_out["get"]
    assert work["seconds"] > 0


def test_answers_are_equal_where_a_fifth_of_the_requests_fail(place, behaviour):
    url, reach = place
    expected = hit_ids(atoll.open(url, settings=reach).search(QUERIES, k=5))
    behaviour.forget()
    behaviour.failing = 0.2
    with count_usage() as usage:
        for _ in range(4):
            assert hit_ids(atoll.open(url, settings=reach).search(QUERIES, k=5)) == expected
    refused = sum(behaviour.refused.values())
    assert refused > 3
    index = atoll.open(url, settings=reach).spec.index.kind
    if index == "rabitq":
        # Lance makes its own requests again by itself, and tells nobody.
        assert usage.retries == refused
        assert asked(usage) == seen(behaviour) | {"get": usage.gets}


def test_searches_at_the_same_time_count_their_own(place, behaviour):
    url, reach = place
    counts = {}

    def search(name, k):
        with count_usage() as usage:
            atoll.open(url, settings=reach).search(QUERIES, k=k)
        counts[name] = usage.facts()

    search("alone", 5)
    behaviour.delay_s = 0.002
    threads = [threading.Thread(target=search, args=(f"{n}", 5)) for n in range(3)]
    behaviour.forget()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts[f"{n}"]["gets"] for n in range(3)) == behaviour.requests["get"]
    if atoll.open(url, settings=reach).spec.index.kind == "rabitq":
        assert all(counts[f"{n}"]["gets"] == counts["alone"]["gets"] for n in range(3))


def test_writes_are_counted_too(store, behaviour, tmp_path):
    storage = open_storage(store[0].new_bucket() + "/x", store[0].options())
    (tmp_path / "large").write_bytes(bytes(20 << 20))
    behaviour.forget()
    with count_usage() as usage:
        storage.put("a", b"123")
        storage.put_new("b", b"4567")
        storage.put_new("b", b"4567")
        storage.put_file("c", tmp_path / "large")
        storage.delete("a")
        list(storage.list())
    assert asked(usage) == seen(behaviour)
    assert usage.bytes_written == 3 + 4 + 4 + (20 << 20)


def test_a_store_that_goes_while_a_search_runs_is_named_and_may_come_back(place, behaviour):
    url, reach = place
    collection = atoll.open(url, settings=replace(reach, storage=replace(reach.storage, retries=1)))
    expected = hit_ids(collection.search(QUERIES, k=5))
    again = atoll.open(url, settings=replace(reach, storage=replace(reach.storage, retries=1)))
    behaviour.is_down = True
    with pytest.raises(atoll.Unavailable, match=reach.storage.endpoint):
        again.search(QUERIES, k=5)
    behaviour.is_down = False
    assert hit_ids(again.search(QUERIES, k=5)) == expected
