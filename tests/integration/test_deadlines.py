"""Work that is not waited for without end, in processes and in threads."""

import re
import time
from contextlib import nullcontext
from threading import Event

import pytest
from mesh_access import technical

from atoll.compute import deadlines
from atoll.compute.deadlines import in_time, in_worker
from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Outcome
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import StorageOptions
from atoll.core.errors import Unavailable
from atoll.mesh import personal
from atoll.mesh.harvest import readers
from atoll.mesh.harvest.losses import GIVE_UP_AFTER, Losses
from atoll.storage import open_storage


def waits(place):
    return in_worker(lambda: Event().wait(600), 1, place)


def holds_the_interpreter(place):
    return in_worker(lambda: re.match("(a+)+$", "a" * 60 + "b"), 1, place)


def goes_on(place):
    return in_worker(lambda: place, 1, place)


def test_work_that_takes_too_long_is_not_waited_for():
    over = Event()
    with pytest.raises(Unavailable, match=r"s3://lake/log takes too long, more than 0\.01 s"):
        in_time(lambda: over.wait(60), 0.01, "s3://lake/log")
    over.set()
    assert in_time(lambda: 7, 60, "") == 7
    with pytest.raises(TimeoutError, match="the store's"):
        in_time(_slow_store, 60, "")


def _slow_store():
    raise TimeoutError("the store's")


def test_a_task_that_waits_for_ever_is_an_outcome_and_the_next_one_is_done():
    executor = ProcessExecutor(1)
    [stuck] = executor.map(waits, ["s3://lake/log"])
    assert "s3://lake/log takes too long" in stuck.error.message
    assert (stuck.error.details["task"], stuck.attempts) == ("s3://lake/log", 1)
    [held] = executor.map(holds_the_interpreter, ["s3://lake/log"])
    assert "ended its worker process 3 times (SIGALRM)" in held.error.message


def test_a_worker_that_waits_for_its_next_task_is_not_ended_by_the_last_ones_time():
    outcomes = ProcessExecutor(2).map(_short_or_long, [0, 4])
    assert [one.attempts for one in outcomes] == [1, 1]


def _short_or_long(seconds):
    done = goes_on("here")
    time.sleep(seconds)
    return done


def test_what_was_given_up_shares_its_process_with_no_other_task():
    given_up, next_one = ProcessExecutor(1).map(_left_behind, [30, 0])
    assert "takes too long" in given_up.error.message
    assert (next_one.value, next_one.attempts) == (False, 1)


def _left_behind(seconds):
    in_worker(lambda: Event().wait(seconds), 1, "here")
    return deadlines.is_any_going_on()


@pytest.fixture
def hanging(monkeypatch):
    """As in a worker process, with stores that do not answer, and little patience."""
    over = Event()
    monkeypatch.setattr(deadlines.multiprocessing, "parent_process", lambda: "there is one")
    monkeypatch.setattr(personal, "SAMPLE_SECONDS", 5)
    monkeypatch.setattr(readers, "_LANCE_SECONDS", 5)
    monkeypatch.setattr(personal, "sample_of", lambda *_: over.wait(60))
    monkeypatch.setattr(readers, "read_lance", lambda _: over.wait(60))
    # The clock of those who wait: theirs, not the alarm's.
    monkeypatch.setattr(deadlines, "in_time", lambda work, _, label: in_time(work, 0.1, label))
    yield
    over.set()


def test_a_lance_table_that_nobody_answers_for_is_given_up(hanging, tmp_path):
    with pytest.raises(Unavailable, match="log takes too long"):
        readers._read_lance((open_storage(tmp_path), "log"))


def test_samples_that_nobody_answers_for_leave_the_names_and_are_given_up_together(hanging):
    tables = [technical(f"s3://lake/{number}") for number in range(GIVE_UP_AFTER + 4)]
    found = personal.look_through(InlineExecutor(), tables, StorageOptions())
    assert "by the names of columns alone: s3://lake/0 takes too long" in found[0].remark
    last = GIVE_UP_AFTER - 1
    assert {one.remark for one in found[last:]} == {found[last].remark}


@pytest.mark.parametrize("attempts", [1, 3], ids=["a store that is gone", "damaged tables"])
def test_lance_tables_are_given_up_where_it_is_their_store_that_does_not_answer(attempts):
    told = Losses().told
    lost = Outcome(None, Unavailable("gone"), attempts)
    for _ in range(2):
        for number in range(GIVE_UP_AFTER - 1):
            told(number, lost)
        told(number, Outcome("content", None, 1))
    for number in range(GIVE_UP_AFTER - 1):
        told(number, lost)
    with pytest.raises(Unavailable, match="gone") if attempts == 1 else nullcontext():
        told(number, lost)
