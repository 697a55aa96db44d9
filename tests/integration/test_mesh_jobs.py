"""Jobs: kept with the change that wants them, done by one server at a time, until all is well."""

import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise

import pytest
from mesh_world import world

from atoll.core import threads
from atoll.core.errors import Conflict, Unavailable
from atoll.mesh.model.jobs import Job
from atoll.mesh.operations import jobs
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import HANDLERS, SYSTEM, Worker, job, later
from atoll.mesh.store.database import opened
from atoll.mesh.store.writing import Store

PATIENCE_S = 60


@pytest.fixture
def mesh(database):
    with world(database) as made:
        yield made


@pytest.fixture
def quick(monkeypatch):
    """Waits that a test has the patience for."""
    monkeypatch.setattr(jobs, "FIRST_RETRY_S", 0.05)
    monkeypatch.setattr(jobs, "POLL_S", 0.05)


@contextmanager
def handling(run, kind="test", **options):
    """Have a kind of jobs for a while."""
    job(kind, **options)(run)
    try:
        yield
    finally:
        del HANDLERS[kind]


@contextmanager
def working(mesh, holder="here", store=None):
    worker = Worker(store or mesh.store, mesh.attendant, holder)
    try:
        yield worker
    finally:
        worker.stop()


def want(mesh, subject="it", kind="test", **given):
    def wanted(changes):
        later(Call(changes, SYSTEM, "", mesh.authorizer, mesh.tools), kind, subject, **given)

    mesh.store.write(wanted)


def found(mesh, kind="test"):
    with mesh.store.reading() as reader:
        return reader.one(Job, kind=kind)


def await_(is_so):
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_job_is_kept_with_the_change_that_wants_it_or_not_at_all(mesh):
    def refused(changes):
        later(Call(changes, SYSTEM, "", mesh.authorizer, mesh.tools), "test", "it")
        raise Conflict("no")

    with handling(lambda *_: None):
        with suppress(Conflict):
            mesh.store.write(refused)
        assert found(mesh) is None
        want(mesh)
        assert found(mesh).subject_id == "it"


def test_a_job_is_done_once_and_is_gone(mesh, quick):
    done = []
    with handling(lambda _, one: done.append(one.subject_id)), working(mesh):
        want(mesh, "a")
        want(mesh, "b")
        await_(lambda: found(mesh) is None)
    assert sorted(done) == ["a", "b"]


def test_46_a_job_that_ended_while_the_database_was_gone_does_not_wait_for_its_lease(
    mesh, quick, monkeypatch
):
    write, lost, done = mesh.store.write, [1, 2, 3], []

    def gone(change):
        if done and lost:
            raise Unavailable(f"the database does not answer {lost.pop()}")
        return write(change)

    monkeypatch.setattr(mesh.store, "write", gone)
    with handling(lambda *_: done.append(True)), working(mesh):
        want(mesh)
        await_(lambda: found(mesh) is None)
    assert (done, lost) == ([True], [])


def test_what_is_wanted_twice_is_one_job_at_the_time_wanted_last(mesh):
    with handling(lambda *_: None):
        want(mesh, due_at=1_000)
        want(mesh, due_at=2_000)
        with mesh.store.reading() as reader:
            assert [one.due_at for one in reader.all(Job)] == [2_000]


@pytest.mark.parametrize(
    "error", [Unavailable("the store is gone"), Unavailable(""), KeyError("x")]
)
def test_a_job_that_fails_is_done_again_after_a_longer_wait_each_time(mesh, quick, error):
    tries = []

    def failing(_, one):
        tries.append((one.attempts, time.time_ns() // 1000))
        if len(tries) < 4:
            raise error

    with handling(failing), working(mesh):
        want(mesh)
        await_(lambda: found(mesh) is None)
    assert [attempts for attempts, _ in tries] == [1, 2, 3, 4]
    waits = [after - before for (_, before), (_, after) in pairwise(tries)]
    assert all(wait >= 50_000 * 2**number for number, wait in enumerate(waits))


def test_why_a_job_failed_is_kept_without_what_a_fault_of_ours_says(mesh, quick, monkeypatch):
    monkeypatch.setattr(jobs, "FIRST_RETRY_S", 3600)
    errors = {"ours": KeyError("hunter2"), "theirs": Unavailable("the store is gone")}

    def failing(_, one):
        raise errors[one.subject_id]

    with handling(failing), working(mesh):
        for subject in errors:
            want(mesh, subject)
        await_(lambda: all(one.error for one in _all(mesh)))
        told = {one.subject_id: one.error for one in _all(mesh)}
    assert told == {"ours": "a fault of ours; see the server's log", "theirs": "the store is gone"}


def _all(mesh):
    with mesh.store.reading() as reader:
        return list(reader.all(Job, kind="test"))


def test_one_that_has_failed_for_weeks_is_tried_still(mesh, quick):
    done = []
    with handling(lambda _, one: done.append(one) if one.attempts > 5001 else 1 / 0):
        want(mesh)
        old = found(mesh)
        mesh.store.write(
            lambda changes: changes.put(replace(old, version=old.version + 1, attempts=5000))
        )
        with working(mesh):
            await_(lambda: found(mesh) is None or found(mesh).error)
            waiting = found(mesh)
    assert (waiting.attempts, waiting.leased_until) == (5001, 0)


def test_one_that_is_wanted_while_it_is_done_is_done_once_more(mesh, quick):
    begun, may_end, done = threading.Event(), threading.Event(), []

    def slow(_, one):
        begun.set()
        may_end.wait(PATIENCE_S)
        done.append(one.attempts)

    with handling(slow), working(mesh):
        want(mesh)
        begun.wait(PATIENCE_S)
        want(mesh)
        may_end.set()
        await_(lambda: found(mesh) is None)
    assert done == [1, 1]


def test_one_that_is_due_again_says_when(mesh, quick):
    again = 2 * time.time_ns() // 1000
    with handling(lambda *_: again), working(mesh):
        want(mesh)
        await_(lambda: found(mesh).due_at == again)
    assert (found(mesh).holder, found(mesh).attempts, found(mesh).error) == ("", 0, "")


def test_a_slow_job_keeps_no_quick_one_waiting(mesh, quick):
    may_end = threading.Event()
    with (
        handling(lambda *_: may_end.wait(PATIENCE_S) and None, "slow", lane="slow"),
        handling(lambda *_: None, "quick"),
        working(mesh),
    ):
        want(mesh, kind="slow")
        await_(lambda: found(mesh, "slow").leased_until)
        want(mesh, kind="quick")
        await_(lambda: found(mesh, "quick") is None)
        may_end.set()


LANES = [
    {"expire-subscription", "expire-request", "start-data-source-run"},
    {"grant"},
    {"grant-again"},
    {"close-campaign", "remind-reviewers"},
    {"run-data-source"},
    {"sweep", "forget-asset", "forget-data-source-runs"},
    {"anchor"},
    {"send-email"},
    {"send-webhook"},
]


def test_what_may_take_long_keeps_nothing_else_waiting():
    lanes = [{HANDLERS[kind].lane for kind in kinds} for kinds in LANES]
    assert all(len(one) == 1 for one in lanes)
    assert len(set.union(*lanes)) == len(LANES)
    assert {kind for kinds in LANES for kind in kinds} == set(HANDLERS)


def test_a_schedule_is_there_from_the_first_start_and_once(mesh, quick):
    again = 2 * time.time_ns() // 1000
    with handling(lambda *_: again, is_standing=True):
        for _ in range(2):
            with working(mesh):
                await_(lambda: found(mesh) and found(mesh).due_at == again)
        assert len(_all(mesh)) == 1


def test_a_schedule_is_due_when_a_server_starts_whatever_the_clock_was_before(mesh, quick):
    ahead, done = 2 * time.time_ns() // 1000, []
    with handling(lambda _, one: done.append(one) or ahead, is_standing=True):
        for times in (1, 2):
            with working(mesh):
                await_(lambda times=times: len(done) == times)


def test_a_schedule_is_due_when_the_clock_is_set_back(mesh, quick, monkeypatch):
    ahead, done = time.time_ns() // 1000 + 3_600_000_000, []
    with handling(lambda _, one: done.append(one) or ahead, is_standing=True), working(mesh):
        await_(lambda: found(mesh) and found(mesh).due_at == ahead)
        monkeypatch.setattr(jobs, "_now", lambda: time.time_ns() // 1000 - 86_400_000_000)
        await_(lambda: len(done) == 2)


def test_one_that_never_ends_is_left_behind_and_named(mesh, quick, monkeypatch, caplog):
    monkeypatch.setattr(threads, "CLOSE_SECONDS", 0.2)
    begun, may_end = threading.Event(), threading.Event()

    def stuck(*_):
        begun.set()
        may_end.wait(PATIENCE_S)

    with handling(stuck):
        with working(mesh):
            want(mesh)
            begun.wait(PATIENCE_S)
        assert "jobs are left unfinished: test of it" in caplog.text
        may_end.set()


def test_a_panic_in_a_job_is_a_fault_of_ours_and_the_next_one_is_done(mesh, quick):
    def panics(_, one):
        if one.subject_id == "panics":
            raise KeyboardInterrupt  # like a panic of Rust's no Exception

    with handling(panics), working(mesh):
        want(mesh, "panics")
        want(mesh, "well")
        await_(lambda: [one.subject_id for one in _all(mesh) if one.error] == ["panics"])


def held(mesh, holder, until):
    """Have somebody hold the first job."""
    [taken] = [one for one in _all(mesh) if one.subject_id == "it"]
    changed = replace(taken, version=taken.version + 1, holder=holder, leased_until=until)
    mesh.store.write(lambda changes: changes.put(changed))


def test_what_another_server_holds_is_left_until_its_lease_runs_out(mesh, quick):
    done = []
    with handling(lambda _, one: done.append((one.subject_id, one.holder))):
        want(mesh)
        held(mesh, "there", 2 * time.time_ns() // 1000)
        with working(mesh):
            want(mesh, "later")
            await_(lambda: done)
            assert done == [("later", "here")]
            held(mesh, "there", 1)
            await_(lambda: found(mesh) is None)
    assert done[1:] == [("it", "here")]


def test_what_a_server_held_when_it_died_it_takes_up_at_once(mesh, quick):
    done = []
    with handling(lambda _, one: done.append(one.holder)):
        want(mesh)
        held(mesh, "here", 2 * time.time_ns() // 1000)
        with working(mesh):
            await_(lambda: found(mesh) is None)
    assert done == ["here"]


def test_a_lease_is_made_longer_for_as_long_as_the_job_takes(mesh, quick, monkeypatch):
    monkeypatch.setattr(jobs, "LEASE_S", 0.4)
    leases, begun = set(), []

    def slow(_, one):
        begun.append(one)
        await_(lambda: leases.add(found(mesh).leased_until) or len(leases) > 4)

    with handling(slow), working(mesh), working(mesh, "there"):
        want(mesh)
        await_(lambda: found(mesh) is None)
    assert len(begun) == 1


def test_who_lost_a_lease_puts_nothing_back(mesh, quick):
    begun, may_end = threading.Event(), threading.Event()

    def slow(*_):
        begun.set()
        may_end.wait(PATIENCE_S)

    with handling(slow), working(mesh):
        want(mesh)
        begun.wait(PATIENCE_S)
        held(mesh, "there", 2 * time.time_ns() // 1000)
        may_end.set()
    assert found(mesh).holder == "there"


def test_two_servers_of_one_postgresql_never_do_one_at_once(postgres, quick):
    url = postgres.new_database()
    going, at_once, done = set(), [], []

    def counted(_, one):
        at_once.append(one.subject_id in going)
        going.add(one.subject_id)
        time.sleep(0.01)
        going.discard(one.subject_id)
        done.append(one.subject_id)

    with world(url) as mesh:
        second = Store(opened(url), lambda connection, notes: None)
        subjects = [f"it-{number}" for number in range(20)]
        with handling(counted), working(mesh), working(mesh, "there", second):
            for subject in subjects:
                want(mesh, subject)
            await_(lambda: found(mesh) is None)
        second.close()
    assert sorted(done) == sorted(subjects)
    assert not any(at_once)
