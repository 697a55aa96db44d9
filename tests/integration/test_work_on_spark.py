"""A Spark cluster makes what processes here make, also where machines are lost meanwhile."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import lance
import pytest
from commandline import must
from spark_cluster import spark_cluster
from vectordata import clustered, names, settings, write_fasta, write_h5, write_parquet

import atoll
from atoll.compute.processes import ProcessExecutor
from atoll.compute.spark import SparkExecutor
from atoll.storage import open_storage
from atoll.vectors import blobs, teams
from atoll.vectors.distributed import workers
from atoll.vectors.embed.distributing import embed_parts
from atoll.vectors.embed.service import EmbedOptions
from atoll.vectors.options import search_options

ROWS, DIM = 6000, 16
OPTIONS = {"bucket_rows": 1000, "num_partitions": 8, "calibrate": False}
QUERIES = clustered(20, DIM, seed=5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with spark_cluster(tmp_path_factory.mktemp("spark")) as found:
        yield found


@pytest.fixture(scope="module")
def spark(cluster):
    with SparkExecutor(cluster.url, shares_files=True) as found:
        yield found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Sources, and what processes here make of them."""
    folder = tmp_path_factory.mktemp("here")
    rows = clustered(ROWS + 2000, DIM)
    sources = [
        write_h5(folder / "a.h5", rows[:3500], names(3500)),
        write_parquet(folder / "b.parquet", rows[3500:ROWS], names(ROWS - 3500, 3500)),
    ]
    more = write_parquet(folder / "more.parquet", rows[ROWS:], names(2000, ROWS))
    processes = ProcessExecutor(2)
    collection = built(folder / "c", sources, processes)
    first = contents(collection)
    collection.add(more, executor=processes, **adding())
    return SimpleNamespace(sources=sources, more=more, first=first, collection=collection)


def built(place, sources, executor, **more):
    limits = settings(place.parent / "scratch")
    return atoll.create(place, sources, executor=executor, settings=limits, **(OPTIONS | more))


def adding():
    return {"bucket_rows": 1000, "calibrate": False}


def contents(collection):
    """What is recorded of the buckets, where their partitions begin, all rows in order."""
    tables = [
        lance.dataset(f"{collection.uri}/{bucket.name}.lance").to_table()
        for bucket in collection.buckets
    ]
    store = open_storage(collection.uri)
    offsets = [
        blobs.get_layout(store, bucket.layout).offsets.tolist() for bucket in collection.buckets
    ]
    # Layouts have names of their own.
    return [replace(bucket, layout=None) for bucket in collection.buckets], offsets, tables


def same(found, wanted):
    assert found[0] == wanted[0]
    assert found[1] == wanted[1]
    assert all(mine.equals(other) for mine, other in zip(found[2], wanted[2], strict=True))


def test_a_collection_is_the_one_that_processes_build(tmp_path, here, spark):
    collection = built(tmp_path / "c", here.sources, spark)
    same(contents(collection), here.first)
    collection.add(here.more, executor=spark, **adding())
    same(contents(collection), contents(here.collection))
    assert collection.verify().is_clean
    assert collection.search(QUERIES, k=9).equals(here.collection.search(QUERIES, k=9))


def test_a_bucket_that_all_workers_build_is_the_same(tmp_path, here, spark, monkeypatch):
    monkeypatch.setattr(teams, "MIN_SHARED_ROWS", 1)
    options = {"bucket_rows": ROWS, "index": "ivf_pq", "num_sub_vectors": 2}
    shared = built(tmp_path / "spark", here.sources, spark, **options)
    alone = built(tmp_path / "here", here.sources, None, workers=1, **options)
    same(contents(shared), contents(alone))
    assert shared.verify().is_clean


def test_a_worker_that_is_lost_in_the_middle_costs_nothing(tmp_path, here, cluster, spark):
    lost = cluster.workers[0]

    def lose(progress):
        if progress.stage == "build buckets" and progress.done and ("worker", lost) in running:
            running.clear()
            cluster.kill("worker", lost)
            cluster.start_worker(lost)

    running = set(cluster.processes)
    collection = built(tmp_path / "c", here.sources, spark, on_progress=lose)
    assert not running
    same(contents(collection), here.first)
    assert collection.verify().is_clean


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("fasta") / "x.fasta"
    write_fasta(path, 120)
    return path


def test_vectors_are_those_that_processes_embed(tmp_path, fasta, spark):
    options = EmbedOptions(shard_rows=25)

    def embedded(name, executor):
        report = embed_parts(
            fasta, tmp_path / name, parts=3, executor=executor, options=options,
            settings=settings(tmp_path / "scratch"),
        )  # fmt: skip
        return report.rows, digests(tmp_path / name)

    wanted = embedded("here", ProcessExecutor(2))
    assert embedded("spark", spark) == wanted
    assert wanted[0] == 120
    # Once more, it finds all there is.
    assert embedded("spark", spark) == wanted


def digests(folder):
    files = sorted(folder.glob("*.h5"))
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_hits_are_those_that_processes_find(tmp_path, here, spark):
    def answered(name, executor):
        run = here.collection.begin_run(
            tmp_path / name, QUERIES, search_options(k=7, nprobes=3), is_refined_early=True
        )
        limits = settings(tmp_path / "scratch")
        workers.batch_search(run, limits, workers=1, executor=executor)
        return (tmp_path / name / "hits.csv").read_bytes()

    assert answered("spark", spark) == answered("here", ProcessExecutor(2)) != b""


@pytest.mark.nightly
def test_the_active_master_that_is_lost_in_the_middle_costs_nothing(tmp_path, here, spark):
    # A process has one application at a time.
    spark.close()
    with (
        spark_cluster(tmp_path / "spark", primaries=3) as cluster,
        SparkExecutor(cluster.url, shares_files=True) as other,
    ):
        killed = []

        def lose(progress):
            if progress.stage == "build buckets" and progress.done and not killed:
                killed.append(cluster.active())
                cluster.kill("master", killed[0])

        collection = built(tmp_path / "c", here.sources, other, on_progress=lose)
        assert cluster.active() not in killed
        same(contents(collection), here.first)
        assert collection.verify().is_clean


@pytest.mark.nightly
def test_commands_take_a_cluster_by_its_masters(tmp_path, fasta, cluster, spark):
    spark.close()
    to_spark = ("--executor", cluster.url, "-q")
    parts = tmp_path / "parts"
    must("embed", fasta, "-o", parts, "--parts", 2, *to_spark)
    must("create", tmp_path / "c", parts, "--bucket-rows", 40, *to_spark)
    must("batch-search", tmp_path / "c", fasta, "-o", tmp_path / "run", "-k", 3, *to_spark)
    must("search", tmp_path / "c", fasta, "-o", tmp_path / "hits.csv", "-k", 3, "-q")
    assert (tmp_path / "run" / "hits.csv").read_bytes() == (tmp_path / "hits.csv").read_bytes()
    assert atoll.open(tmp_path / "c").verify().is_clean
