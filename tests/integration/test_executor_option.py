"""`--executor`: what it may say, and who gets the executor it means."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from commandline import atoll as command
from commandline import must
from vectordata import clustered, names, write_fasta, write_parquet

import atoll
from atoll.app import executors
from atoll.app.executors import SparkAt, executor_of, find_fleet, spark_at
from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Room, settings_for
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import InvalidInput, NotFound
from atoll.fleet.cli import common
from atoll.fleet.host import home
from atoll.fleet.providers.local import privileges
from atoll.fleet.states import ClusterState

MASTERS = "spark://10.0.0.4:7077,10.0.0.5:7077"


class Elsewhere(InlineExecutor):
    """A cluster, as far as commands can tell; it counts the tasks it gets."""

    def __init__(self, *, is_local=True):
        self.is_local, self.tasks, self.closed = is_local, 0, False

    def map(self, task, items, **more):
        self.tasks += len(items)
        return super().map(task, items, **more)


@pytest.fixture
def elsewhere(monkeypatch):
    executor = Elsewhere()

    @contextmanager
    def opened(text, settings, *, environment, resolve):
        assert text == "fleet:demo"
        yield executor
        executor.closed = True

    monkeypatch.setattr(executors, "executor_of", opened)
    return executor


@pytest.fixture
def source(tmp_path):
    return write_parquet(tmp_path / "x.parquet", clustered(300, 8), names(300))


TO_FLEET = ("--executor", "fleet:demo", "-q")


def test_commands_that_build_hand_their_buckets_to_the_executor(tmp_path, source, elsewhere):
    place = tmp_path / "c"
    more = write_parquet(tmp_path / "more.parquet", clustered(100, 8, seed=2), names(100, 300))
    for words, buckets in (("create", source), 3), (("add", more), 4), (("upsert", more), 5):
        must(words[0], place, words[1], "--bucket-rows", 100, *TO_FLEET)
        assert (elsewhere.tasks, elsewhere.closed) == (buckets, True)
        elsewhere.closed = False
    assert len(atoll.open(place)) == 400


def test_batch_search_hands_its_steps_to_the_executor(tmp_path, source, elsewhere):
    must("create", tmp_path / "c", source, "--bucket-rows", 100, "-q")
    must("batch-search", tmp_path / "c", source, "-o", tmp_path / "run", *TO_FLEET)
    assert elsewhere.tasks > 3
    assert (tmp_path / "run" / "hits.csv").exists()


def test_embed_hands_each_part_to_the_executor(tmp_path, elsewhere):
    write_fasta(tmp_path / "x.fasta", 9)
    must("embed", tmp_path / "x.fasta", "-o", tmp_path / "out", "--parts", 4, *TO_FLEET)
    assert elsewhere.tasks == 4
    assert len(list((tmp_path / "out").glob("part-*-of-00004.json"))) == 4


def test_a_command_looks_the_fleet_up_that_it_names(tmp_path, source, monkeypatch):
    def found(settings, name):
        raise NotFound(f"there is no cluster {name} in {settings.fleet_home}")

    monkeypatch.setattr(executors, "find_fleet", found)
    monkeypatch.setenv("ATOLL_FLEET_HOME", str(tmp_path))
    done = command("create", tmp_path / "c", source, *TO_FLEET)
    assert done.code == 1
    assert f"there is no cluster demo in {tmp_path}" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "c", "x", "--workers", 2), "--workers is for processes"),
        (("create", "c", "x", "--via", "batch"), "give --executor or --via batch, not both"),
        (("embed", "x.fasta", "-o", "out"), "--executor needs --parts"),
        (("embed", "x.fasta", "-o", "out", "--parts", 2, "--step-index", 0), "leave --step-index"),
    ],
)
def test_options_that_contradict_it_are_refused(elsewhere, words, said):
    done = command(*words, *TO_FLEET)
    assert done.code == 2
    assert said in done.err
    assert elsewhere.tasks == 0


def test_files_of_this_machine_are_refused_where_the_executor_is_on_others(
    tmp_path, source, elsewhere
):
    elsewhere.is_local = False
    for words in (
        ("create", tmp_path / "c", source),
        ("create", "s3://nowhere/c", source),
        ("embed", tmp_path / "x.fasta", "-o", "s3://nowhere/v", "--parts", 2),
    ):
        done = command(*words, *TO_FLEET)
        assert (done.code, elsewhere.tasks) == (1, 0)
        assert "lies on this machine, where the executor's machines cannot reach it" in done.err
    must("create", tmp_path / "here", source, "-q")
    done = command("batch-search", tmp_path / "here", source, "-o", tmp_path / "run", *TO_FLEET)
    assert "cannot reach it" in done.err


STEP = {
    "ATOLL_SPARK_MASTER": MASTERS, "ATOLL_CLUSTER_ID": "j-1", "ATOLL_CLUSTER_NAME": "demo",
}  # fmt: skip


def test_a_step_does_not_run_on_its_own_cluster_what_names_another():
    with pytest.raises(InvalidInput, match=r"a step of cluster demo \(j-1\)"):
        spark_at("fleet:other", STEP, SparkAt)


@pytest.mark.parametrize(
    ("text", "environment", "meant"),
    [
        (MASTERS, {}, SparkAt(MASTERS)),
        (f"{MASTERS}?files=shared", {}, SparkAt(MASTERS, True)),
        ("spark://127.8.0.1:7077", {}, SparkAt("spark://127.8.0.1:7077", True)),
        ("spark://127.8.0.1:7077,a:7077", {}, SparkAt("spark://127.8.0.1:7077,a:7077")),
        ("fleet:demo", {}, SparkAt("spark://of-demo:7077")),
        ("fleet", {"ATOLL_SPARK_MASTER": MASTERS}, SparkAt(MASTERS)),
        ("fleet:demo", {**STEP, "ATOLL_SPARK_FILES": "shared"}, SparkAt(MASTERS, True)),
        ("fleet:j-1", STEP, SparkAt(MASTERS)),
    ],
)  # fmt: skip
def test_a_text_means_a_cluster(text, environment, meant):
    assert spark_at(text, environment, lambda name: SparkAt(f"spark://of-{name}:7077")) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yarn", "--executor yarn is unknown; give processes"),
        ("fleet", "whose step this is, and this is none"),
    ],
)
def test_a_text_that_means_none_is_refused(text, said):
    with pytest.raises(InvalidInput, match=said):
        spark_at(text, {}, SparkAt)


@pytest.mark.parametrize(("provider", "is_shared"), [("local", True), ("ec2", False)])
def test_a_fleet_is_found_by_its_host(monkeypatch, provider, is_shared):
    record = a_record(provider, ClusterState.WAITING)
    monkeypatch.setattr(common, "host", lambda _: SimpleNamespace(call=lambda *_, **__: record))
    reach = Settings(fleet_url="http://10.0.0.2:8998")
    assert find_fleet(reach, "demo") == SparkAt(MASTERS, is_shared)


def test_a_fleet_that_has_ended_is_not_there(monkeypatch):
    record = a_record("local", ClusterState.TERMINATED)
    monkeypatch.setattr(common, "host", lambda _: SimpleNamespace(call=lambda *_, **__: record))
    with pytest.raises(NotFound, match="fleet 'demo' is TERMINATED"):
        find_fleet(Settings(), "demo")


def a_record(provider, state):
    """As much of a cluster's record as tells where it is."""
    addresses = ("10.0.0.4", "10.0.0.5")
    slots = [
        SimpleNamespace(server_id=number, address=SimpleNamespace(private_ip=address))
        for number, address in enumerate(addresses, 1)
    ]
    return SimpleNamespace(
        id="j-DEMO",
        desired=SimpleNamespace(slots=slots, provider=SimpleNamespace(name=provider)),
        known=SimpleNamespace(status=SimpleNamespace(state=state)),
    )


def test_processes_are_those_of_this_machine():
    with executor_of(
        "processes", Settings(threads=3), environment={}, resolve=find_fleet
    ) as executor:
        assert isinstance(executor, ProcessExecutor)
        assert executor.workers == 3


def test_tasks_elsewhere_may_use_what_there_is_there():
    ours = Settings(threads=2, memory_bytes=1000, cache_bytes=600)
    executor = Elsewhere(is_local=False)
    executor.room = Room(threads=8, memory_bytes=8000)
    there = settings_for(executor, ours, 4)
    assert (there.threads, there.memory_bytes, there.cache_bytes) == (2, 2000, 150)
    executor.is_local = True
    assert settings_for(executor, ours, 1).memory_bytes == 1000
    executor.room = None
    assert settings_for(executor, ours, 1) == replace(ours)


@pytest.mark.parametrize("is_privileged", [True, False])
def test_machines_in_namespaces_of_others_are_told_to_be_out_of_reach(
    monkeypatch, tmp_path, is_privileged
):
    record = a_record("local", ClusterState.WAITING)
    monkeypatch.setattr(common, "host", lambda _: SimpleNamespace(call=lambda *_, **__: record))
    monkeypatch.setattr(home, "provider_of", lambda _: "netns")
    monkeypatch.setattr(privileges, "is_privileged", lambda: is_privileged)
    ours = Settings(fleet_home=tmp_path)
    if is_privileged:
        assert find_fleet(ours, "demo") == SparkAt(MASTERS, True)
        return
    with pytest.raises(InvalidInput, match="as a step: atoll fleet submit j-DEMO -- atoll"):
        find_fleet(ours, "demo")
