"""The quote of a cold search against the requests and bytes of real ones, counted at the store."""

import tempfile

import numpy as np
import pytest
from vectordata import clustered, write_h5

import atoll.storage
from atoll.core.config import Settings
from atoll.storage import REMOTE_GAP_BYTES, count_usage, open_storage
from atoll.vectors import blobs, byteranges, manifests
from atoll.vectors.distributed import opened
from atoll.vectors.distributed.dispatch import carry_out
from atoll.vectors.options import BuildOptions, SearchOptions
from atoll.vectors.pricing.searchcost import cold_search, search_cost
from atoll.vectors.pricing.shape import (
    SearchSettings,
    planned_shape,
    shape_of,
    skew_of_calibration,
)
from atoll.vectors.pricing.storedcost import stored
from atoll.vectors.service import create_collection, open_collection
from bench.learning import learned, skew_of_layouts

ROWS, BUCKET_ROWS, DIM = 40_000, 10_000, 256
LEARNED, HELD = slice(0, 24), slice(24, 48)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A collection of four buckets, and queries near its rows."""
    folder = tmp_path_factory.mktemp("estimate")
    made = clustered(ROWS + 48, DIM, clusters=400)
    source = write_h5(folder / "a.h5", made[:ROWS])
    options = BuildOptions(bucket_rows=BUCKET_ROWS, calibrate=False)
    create_collection(folder / "c", [source], options=options, settings=settings(folder))
    return folder / "c", made[ROWS:]


def settings(folder):
    return Settings(threads=2, memory_bytes=1 << 28, scratch=folder)


@pytest.fixture
def shape(place):
    storage = open_storage(place[0])
    manifest = manifests.latest_manifest(storage)
    layouts = [blobs.get_layout(storage, bucket.layout) for bucket in manifest.buckets]
    size = storage.size(manifests.manifest_path(manifest.version))
    return shape_of(manifest, size, skew_of_layouts(layouts))


@pytest.fixture
def counted(place, monkeypatch, tmp_path):
    """Counts what cold searches read: (requests, bytes) of each."""
    # Requests are chosen as for a distant store.
    monkeypatch.setattr(atoll.storage, "LOCAL_GAP_BYTES", REMOTE_GAP_BYTES)
    monkeypatch.setattr(byteranges, "READS_SINGLY", False)

    def count(queries, asked):
        found = []
        for query in queries:
            with count_usage() as reads:
                collection = open_collection(place[0], settings(tmp_path))
                collection.search(
                    query[None], asked.k, nprobes=asked.nprobes, refine_factor=asked.refine_factor
                )
            found.append((reads.reads, reads.bytes_read))
        return np.array(found).T

    return count


@pytest.mark.parametrize(("k", "nprobes"), [(10, 5), (10, 12), (100, 12)])
def test_row_24_the_estimate_of_a_cold_search_is_within_a_tenth_of_what_is_counted(
    place, shape, counted, k, nprobes
):
    asked = SearchSettings(k=k, nprobes=nprobes)
    requests, size = counted(place[1][LEARNED], asked)
    fitted = learned(shape, asked, requests.mean(), size.mean())
    requests, size = counted(place[1][HELD], asked)
    expected = cold_search(fitted, asked)
    assert expected.gets == pytest.approx(requests.mean(), rel=0.1)
    assert expected.bytes_in == pytest.approx(size.mean(), rel=0.1)


@pytest.fixture
def counted_steps(place, monkeypatch, tmp_path):
    """Carries a search out in steps, each with nothing open: what they asked for, by step."""
    monkeypatch.setattr(atoll.storage, "LOCAL_GAP_BYTES", REMOTE_GAP_BYTES)
    monkeypatch.setattr(byteranges, "READS_SINGLY", False)
    reach = settings(tmp_path)

    def carry(run, name, **number):
        monkeypatch.setattr(opened, "_last", [])
        with count_usage() as usage:
            told = carry_out({"step": name, "run": run.storage.url, **number}, reach)
        return told, usage

    def count(query, asked):
        collection = open_collection(place[0], reach)
        options = SearchOptions(
            k=asked.k,
            nprobes=None if asked.widens else asked.nprobes,
            refine_factor=asked.refine_factor,
        )
        run = collection.begin_run(tempfile.mkdtemp(dir=tmp_path), query, options)
        told, plan = carry(run, "plan")
        searched = [carry(run, "search", bucket=bucket)[1] for bucket in told["buckets"]]
        return {"plan": [plan], "search": searched, "refine": [carry(run, "refine")[1]]}

    return count


@pytest.mark.parametrize("widens", [False, True])
def test_row_24_the_estimate_of_a_run_is_within_a_tenth_of_its_bill(
    place, shape, counted, counted_steps, widens
):
    asked = SearchSettings(k=10, nprobes=20 if widens else 5, widens=widens)
    requests, size = counted(place[1][LEARNED], asked)
    expected = search_cost(learned(shape, asked, requests.mean(), size.mean()), asked)
    runs = [counted_steps(query[None], asked) for query in place[1][HELD]]
    for name in ("plan", "search", "refine"):
        usages = [usage for run in runs for usage in run[name]]
        step = expected.step(name).step
        assert step.count * len(runs) == len(usages)
        assert step.puts == usages[0].puts
        if name == "plan":
            assert step.gets == usages[0].gets
    usages = [usage for run in runs for works in run.values() for usage in works]
    bill = expected.bill.times(len(runs))
    assert bill.gets == pytest.approx(sum(usage.gets for usage in usages), rel=0.1)
    assert bill.puts == sum(usage.puts for usage in usages)
    assert bill.bytes_in == pytest.approx(sum(usage.bytes_read for usage in usages), rel=0.1)
    written = sum(usage.bytes_written for usage in usages)
    assert bill.bytes_out == pytest.approx(written, rel=0.1)


def test_a_shape_planned_is_that_of_the_collection_made(shape):
    planned = planned_shape(ROWS, DIM, bucket_rows=BUCKET_ROWS)
    assert (planned.rows, planned.buckets, planned.index) == (
        shape.rows, shape.buckets, shape.index,
    )  # fmt: skip
    assert planned.code_bytes == shape.code_bytes == DIM // 8 + 12
    assert planned.manifest_size == pytest.approx(shape.manifest_size, rel=0.1)
    assert planned.layout_size == pytest.approx(shape.layout_size, abs=100)
    assert planned.model_size == pytest.approx(shape.model_size, rel=0.05)
    assert 1 <= shape.partition_skew < 2


def test_row_23_storage_is_within_3_per_cent_of_what_lies_there(place, shape):
    found = sum(each.size_bytes for each in open_storage(place[0]).list())
    assert stored(shape).bytes == pytest.approx(found, rel=0.03)


def test_a_calibration_tells_how_uneven_partitions_are(place, shape, tmp_path):
    collection = open_collection(place[0], settings(tmp_path))
    found = collection.calibrate(k=[10], num_queries=200)
    skew = skew_of_calibration(found, shape.index.num_partitions)
    assert skew == pytest.approx(shape.partition_skew, rel=0.15)
