"""Work on a cluster of its own: what is killed, cancelled, fails, runs beside other work."""

from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as parquet
import pytest
from commandline import ended, must, start
from vectordata import write_fasta

import atoll as library
from atoll.fleet.model import ActionOnFailure
from atoll.fleet.states import StepState
from bench.fleetclusters import DEADLINE_SECONDS, atoll, await_, small_cluster

pytestmark = pytest.mark.slow
TRIES = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept")
    with small_cluster(
        tmp_path_factory.mktemp("steps"), step_concurrency=2, log_uri=kept
    ) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _nothing_runs(cluster):
    yield
    assert all(one.state.is_over for one in cluster.record.steps)


def started(cluster, file, seconds=600):
    """Run a step that says when it runs, and then takes its time; return its id once it does."""
    id_ = cluster.submit("sh", "-c", f"echo $$ >> {file}; exec sleep {seconds}")
    await_("the step", lambda: file.exists() and cluster.step(id_).state is StepState.RUNNING)
    return id_


def test_two_steps_run_at_once_and_a_third_waits_until_one_is_cancelled(cluster, tmp_path):
    first, second = started(cluster, tmp_path / "1"), started(cluster, tmp_path / "2")
    third = cluster.submit("sh", "-c", f"echo $$ >> {tmp_path / '3'}")
    assert cluster.step(third).state is StepState.PENDING
    assert not (tmp_path / "3").exists()
    status, said = atoll(cluster.host.home, "cancel", "small", first)
    assert (status, said) == (0, f"{first} is being cancelled\n")
    cluster.completed(third)
    assert cluster.step(first).state is StepState.CANCELLED
    cluster.call("cancel_steps", dict, step_ids=[second])
    cluster.step_in(second, StepState.CANCELLED)


def test_a_step_that_waits_is_cancelled_without_having_run(cluster, tmp_path):
    running = [started(cluster, tmp_path / name) for name in "12"]
    waiting = cluster.submit("sh", "-c", f"touch {tmp_path / '3'}")
    cluster.call("cancel_steps", dict, step_ids=[waiting, *running])
    cluster.step_in(waiting, StepState.CANCELLED)
    for id_ in running:
        cluster.step_in(id_, StepState.CANCELLED)
    assert not (tmp_path / "3").exists()


def test_a_killed_step_failed_and_says_by_what(cluster, tmp_path):
    id_ = started(cluster, tmp_path / "1", seconds=601)
    machine = next(
        one for one in cluster.primaries().values() if one.id == cluster.step(id_).machine_id
    )
    cluster.fault("kill", machine, pattern="sleep 601")
    assert "ended by signal 9" in cluster.step_in(id_, StepState.FAILED).message


def test_a_step_that_fails_shows_the_end_of_what_it_said(cluster):
    id_ = cluster.submit("sh", "-c", "echo no such table; exit 7")
    message = cluster.step_in(id_, StepState.FAILED).message
    assert "status 7" in message
    assert "no such table" in message


def test_a_command_that_is_not_there_fails_and_is_named(cluster):
    failed = cluster.step_in(cluster.submit("nosuchprogram", "--now"), StepState.FAILED)
    assert "nosuchprogram cannot be started" in failed.message


def test_a_failure_cancels_what_waits_where_it_was_told_to(cluster, tmp_path):
    other = started(cluster, tmp_path / "1")
    failing = cluster.submit(
        "sh", "-c", "sleep 3; exit 1", action_on_failure=ActionOnFailure.CANCEL_AND_WAIT
    )
    waiting = cluster.submit("true", name="waiting")
    cluster.step_in(failing, StepState.FAILED)
    cancelled = cluster.step_in(waiting, StepState.CANCELLED)
    assert failing in cancelled.message
    cluster.call("cancel_steps", dict, step_ids=[other])
    cluster.step_in(other, StepState.CANCELLED)


def failed_on(cluster, machine):
    """Let steps fail until one did on a machine, one of three that take them; return its id."""
    for _ in range(TRIES):
        id_ = cluster.submit("sh", "-c", "echo to read; echo 'no such table' >&2; exit 7")
        if cluster.step_in(id_, StepState.FAILED).machine_id == machine.id:
            return id_
    raise AssertionError(f"none of {TRIES} steps ran on {machine.id}")


def printed(cluster, *step):
    return atoll(cluster.host.home, "logs", "small", *step)


@pytest.mark.nightly
def test_what_steps_printed_is_read_after_their_primary_was_lost(cluster, tmp_path):
    begun = tmp_path / "1"
    moved = cluster.submit(
        "sh", "-c", f"echo began; test -e {begun} && exit; touch {begun}; exec sleep 600"
    )
    await_("the step", lambda: begun.exists() and cluster.step(moved).machine_id)
    lost = next(
        one for one in cluster.primaries().values() if one.id == cluster.step(moved).machine_id
    )
    failed = failed_on(cluster, lost)
    assert printed(cluster, failed) == (0, "to read\nno such table\n")
    cluster.fault("crash", lost)
    assert cluster.completed(moved).attempts == 2
    assert printed(cluster, failed) == (0, "to read\nno such table\n")
    assert printed(cluster, moved, "--attempt", "2") == (0, "began\n")
    kept = Path(cluster.record.desired.spec.log_uri) / cluster.id / "steps" / moved
    assert (kept / "attempt-2" / "controller.gz").exists()
    assert not (kept / "controller.gz").exists()  # nobody knows how the first one ended
    cluster.replaced(lost)


def test_a_long_step_goes_on_elsewhere_when_its_primary_falls_ill(cluster, tmp_path):
    id_ = started(cluster, tmp_path / "1", seconds=20)
    ill = next(
        one for one in cluster.primaries().values() if one.id == cluster.step(id_).machine_id
    )
    cluster.fault("fill_disk", ill, percent=95)
    step = cluster.completed(id_)
    cluster.replaced(ill)
    assert (step.attempts > 1) == (step.machine_id != ill.id)


@pytest.mark.nightly
def test_atolls_own_commands_let_a_cluster_work_from_here_and_as_steps(cluster, tmp_path):
    fasta = write_fasta(tmp_path / "x.fasta", 60)
    parts, place, run = (tmp_path / name for name in ("parts", "collection", "run"))
    there = ("--executor", "fleet:small", "-q")

    from_here(cluster, "embed", fasta, "-o", parts, "--parts", 2, *there)
    first, second = sorted(parts.glob("*.h5"))
    words = ("--executor", "fleet", "--bucket-rows", 15, "--no-calibrate", "-q")
    cluster.completed(cluster.submit("atoll", "create", place, first, *words))
    from_here(cluster, "add", place, second, "--no-calibrate", *there)
    from_here(cluster, "batch-search", place, fasta, "-o", run, "-k", 3, *there)

    must("embed", fasta, "-o", tmp_path / "here.h5", "-q")
    assert rows_of(place, tmp_path / "rows") == vectors_of(tmp_path / "here.h5")
    must("search", place, fasta, "-o", tmp_path / "hits.csv", "-k", 3, "-q")
    assert (run / "hits.csv").read_bytes() == (tmp_path / "hits.csv").read_bytes()


def from_here(cluster, *words):
    """Run a command of this machine that has to succeed."""
    process = start(*words, ATOLL_FLEET_HOME=str(cluster.host.home))
    done = ended(process, DEADLINE_SECONDS)
    assert done.code == 0, done.err


def vectors_of(path):
    """Return the vectors that were embedded, by id."""
    with h5py.File(path) as file:
        return by_id(file["id"].asstr()[:], file["embedding"][:])


def rows_of(place, out):
    """Return the vectors of a collection that is sound, by id."""
    collection = library.open(place)
    assert collection.verify().is_clean
    collection.export(out, format="parquet")
    rows = parquet.read_table(out)
    found = by_id(rows["id"].to_pylist(), rows["embedding"].to_numpy(zero_copy_only=False))
    assert len(found) == len(rows)
    return found


def by_id(ids, vectors):
    return {id_: np.asarray(one).tobytes() for id_, one in zip(ids, vectors, strict=True)}
