"""Lance's index in segments is the index that Lance builds in one piece."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import commandline
import lance
import pytest
from test_concurrent_builds import at_once
from test_shared_builds import Workers, await_file
from vectordata import clustered, names, settings, write_h5

import atoll
from atoll.core.errors import Unavailable
from atoll.storage import open_storage
from atoll.vectors import blobs, ids, ivfpq, manifests, teams, view

ROWS, DIM, PARTITIONS, SUBS = 6000, 16, 20, 4


@pytest.fixture(autouse=True)
def small_buckets_have_segments(monkeypatch):
    monkeypatch.setattr(teams, "MIN_SHARED_ROWS", 1)
    monkeypatch.setattr(ids, "RUN_ROWS", 1000)
    monkeypatch.setattr(ivfpq, "MIN_SEGMENT_ROWS", 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    return write_h5(folder / "x.h5", clustered(ROWS, DIM), names(ROWS))


def created(folder, source, executor=None, **options):
    options = {"num_partitions": PARTITIONS, "num_sub_vectors": SUBS} | options
    limits = settings(folder / "scratch")
    return atoll.create(
        folder / "c", source, index="ivf_pq", executor=executor, settings=limits, **options
    )


def tables(folder):
    return sorted((folder / "c").glob("*.lance"))


def nearest(table, query, k):
    """The rows of Lance's index, unrefined: addresses and distances."""
    asked = {"column": "embedding", "q": query, "k": k, "metric": "l2",
             "minimum_nprobes": 5, "maximum_nprobes": 5}  # fmt: skip
    found = table.to_table(columns=["_distance"], nearest=asked, with_row_address=True)
    return found["_rowaddr"].to_pylist(), found["_distance"].to_pylist()


def in_one_piece(collection, table, place):
    """Index a copy of a table's first version by one call to Lance, which assigns rows itself."""
    (blob,) = manifests.latest_manifest(open_storage(collection.uri)).models.values()
    model = blobs.get_model(open_storage(collection.uri), blob)
    shutil.copytree(table, place)
    copy = lance.dataset(str(place), version=1)
    copy.restore()
    copy.create_index(
        "embedding",
        "IVF_PQ",
        metric="l2",
        num_partitions=PARTITIONS,
        num_sub_vectors=SUBS,
        ivf_centroids=model.centroids,
        pq_codebook=model.codebook,
        replace=True,
    )
    return lance.dataset(str(place))


def test_segments_answer_as_an_index_in_one_piece_does(tmp_path, source):
    collection = created(tmp_path, source, Workers(3), distance_type="l2")
    (path,) = tables(tmp_path)
    table = lance.dataset(str(path))
    assert len(table.get_fragments()) > 3
    (index,) = table.describe_indices()
    assert (index.num_rows_indexed, len(index.segments), table.version) == (ROWS, 1, 2)
    whole = in_one_piece(collection, path, tmp_path / "copy.lance")
    for query in clustered(40, DIM, seed=3):
        assert nearest(table, query, 50) == nearest(whole, query, 50)


def test_merged_segments_do_not_stay(tmp_path, source):
    collection = created(tmp_path, source, Workers(3))
    (path,) = tables(tmp_path)
    assert len(list((path / "_indices").iterdir())) == 1
    assert collection.verify().is_clean


@pytest.mark.parametrize("workers", [1, 3])
def test_index_that_hangs_is_named_and_leaves_nothing_half_done(
    tmp_path, source, monkeypatch, workers
):
    whose = {1: r"table", 3: r"rows 0 to \S+ of table"}[workers]
    with monkeypatch.context() as patch:
        patch.setattr(ivfpq, "DEADLINE_SECONDS", 0.01)
        patch.setattr(ivfpq, "DEADLINE_SECONDS_PER_ROW", 0)
        with pytest.raises(Unavailable, match=rf"index of {whose} bucket_\w+ did not end .* hung"):
            created(tmp_path, source, Workers(workers))
    (path,) = tables(tmp_path)
    assert lance.dataset(str(path)).version == 1
    collection = created(tmp_path, source, Workers(workers))
    assert tables(tmp_path) == [path]
    assert collection.verify().is_clean
    collection.gc()
    assert len(list((path / "_indices").iterdir())) == 1


def test_two_who_build_segments_of_one_table_end_with_one_index(tmp_path, source):
    one, two = at_once(*[lambda: created(tmp_path, source, Workers(2))] * 2)
    assert one.buckets == two.buckets
    (path,) = tables(tmp_path)
    (index,) = lance.dataset(str(path), version=one.buckets[0].version).describe_indices()
    assert (index.num_rows_indexed, len(index.segments)) == (ROWS, 1)
    assert one.verify().is_clean


@pytest.mark.parametrize(
    ("options", "candidates"),
    [({}, 4 * 10 * 5), ({"refine_factor": 2}, 4 * 10 * 2), ({"exact": True}, 4 * 10)],
)
def test_candidates_of_every_bucket_count_in_what_is_answered_at_once(
    tmp_path, source, options, candidates
):
    created(tmp_path, source, bucket_rows=ROWS // 4, workers=1)
    memory = int(8 * candidates * view.CANDIDATE_BYTES / view.CANDIDATE_SHARE)
    frugal = settings(tmp_path / "scratch", memory_bytes=memory)
    steps = []
    atoll.open(tmp_path / "c", settings=frugal).search(
        clustered(20, DIM, seed=3),
        k=10,
        on_progress=lambda step: steps.append(step.done),
        **options,
    )
    assert steps == [8, 16, 20]


# -- killed ---------------------------------------------------------------------------------------

SMALL_SEGMENTS = (
    "from atoll.app.main import main; from atoll.vectors import ivfpq, teams; "
    "teams.MIN_SHARED_ROWS = ivfpq.MIN_SEGMENT_ROWS = 1; main()"
)


@pytest.fixture
def create(tmp_path, source, monkeypatch):
    """The words of a command whose two workers build a segment each."""
    monkeypatch.setattr(commandline, "PROGRAM", [sys.executable, "-c", SMALL_SEGMENTS])
    (tmp_path / "scratch").mkdir()
    return ("create", tmp_path / "c", source, "--index", "ivf_pq", "--num-partitions", PARTITIONS,
            "--num-sub-vectors", SUBS, "--workers", 2, "--scratch", tmp_path / "scratch",
            "-q")  # fmt: skip


def answers_of(place):
    hits = atoll.open(place).search(clustered(20, DIM, seed=3), k=20, nprobes=5)
    return hits.replace_schema_metadata(None)


@pytest.mark.slow
def test_builders_of_segments_that_are_killed_are_replaced(tmp_path, source, create):
    process = commandline.start(*create)
    await_file(tmp_path, "scratch/atoll-scratch-build-*/atoll-scratch-ivfpq-*", process)
    for worker in commandline.children_of(process):
        os.kill(worker, signal.SIGKILL)
    done = commandline.ended(process)
    assert done.code == 0, done.err
    (tmp_path / "alone").mkdir()
    created(tmp_path / "alone", source)
    assert answers_of(tmp_path / "c") == answers_of(tmp_path / "alone" / "c")
    commandline.must("verify", tmp_path / "c")


@pytest.mark.slow
def test_a_create_killed_in_its_segments_leaves_the_table_as_it_was(tmp_path, create):
    process = commandline.start(*create)
    await_file(tmp_path, "c/*.lance/_indices/*", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (path,) = tables(tmp_path)
    assert lance.dataset(str(path)).version == 1
    done = commandline.ended(commandline.start(*create))
    assert done.code == 0, done.err
    assert tables(tmp_path) == [path]
    commandline.must("verify", tmp_path / "c")
