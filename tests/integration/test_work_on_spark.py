"""A Spark cluster makes what processes here make, also where machines are lost meanwhile."""

import hashlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lance
import pytest
from commandline import must
from spark_cluster import spark_cluster
from vectordata import clustered, names, settings, write_fasta, write_h5, write_parquet

import atoll
from atoll.compute.processes import ProcessExecutor
from atoll.compute.spark import SparkExecutor
from atoll.compute.sparkcluster import find_cluster
from atoll.core.errors import Conflict, InvalidInput, Unavailable
from atoll.storage import open_storage
from atoll.testing.executor_contract import ExecutorContract
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
    # They are in the environment before anything is started.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
        patch.setenv("ATOLL_MEMORY", "1G")
        with SparkExecutor(cluster.url, shares_files=True) as found:
            found.map(len, ["abc"])
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


# -- what every executor promises, and this one beside ------------------------------------------


class TestSpark(ExecutorContract):
    isolates = True

    @pytest.fixture(autouse=True)
    def on_the_cluster(self, spark):
        self.executor = spark

    def make(self, workers):
        return self.executor


def test_a_task_that_lost_its_machine_is_tried_again(spark, tmp_path):
    outcomes = spark.map(_kill_sparks_process_at_first, [(tmp_path, n) for n in range(3)])
    assert [outcome.value for outcome in outcomes] == [0, 1, 2]
    assert max(outcome.attempts for outcome in outcomes) > 1


def test_a_task_that_exists_only_here_is_a_clear_error(spark):
    [outcome] = spark.map(lambda item: item, [1], name=lambda _: "bucket_0")
    assert isinstance(outcome.error, InvalidInput)
    assert "bucket_0 cannot be sent to a worker process" in str(outcome.error)
    assert outcome.attempts == 0


def test_a_second_application_in_one_process_is_refused(cluster, spark):
    spark.map(len, ["abc"])
    with pytest.raises(Conflict, match="has a Spark application already"):
        SparkExecutor(cluster.url).map(len, ["abc"])


def test_tasks_may_use_what_the_workers_have(cluster, spark):
    assert spark.workers == len(cluster.workers)
    assert spark.room.memory_bytes == len(cluster.workers) * 512 << 20


def test_ctrl_c_stays_ours(spark):
    spark.map(len, ["abc"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_keys_reach_neither_the_cluster_nor_its_logs(cluster, spark):
    [outcome] = spark.map(_environment, ["AKIA-IN-AN-ITEM"])
    assert "AWS_SECRET_ACCESS_KEY" not in outcome.value
    assert set(_jvm_environment(spark)).isdisjoint({"AWS_SECRET_ACCESS_KEY", "ATOLL_MEMORY"})
    shown = str(spark._driver._context.getConf().getAll())
    logs = [*cluster.folder.rglob("*.log"), *cluster.folder.rglob("stderr")]
    assert {path.name for path in logs} >= {"master.log", "worker.log", "stderr"}
    told = shown + "".join(path.read_text(errors="replace") for path in logs)
    assert not {key for key in ("AKIA-IN-AN-ITEM", "s3cr3t") if key in told}


def test_a_url_that_names_no_master_is_refused():
    with pytest.raises(InvalidInput, match="'local' does not name Spark's masters"):
        SparkExecutor("local")


def test_masters_that_do_not_answer_are_named():
    with pytest.raises(Unavailable, match=r"127\.79\.0\.1:8080 did not answer"):
        find_cluster("spark://127.79.0.1:7077", wait_s=0)


def _kill_sparks_process_at_first(item):
    folder, number = item
    mark = folder / str(number)
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return number


def _environment(_):
    return sorted(os.environ)


def _jvm_environment(executor):
    pid = executor._driver._context._gateway.proc.pid
    return Path(f"/proc/{pid}/environ").read_text().replace("=", "\0").split("\0")


# -- nightly: clusters of three masters, commands --------------------------------------------------


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
