"""When a worker that the active master does not know as it is is started again."""

import signal
from types import SimpleNamespace

import pytest

from atoll.compute.sparkmaster import MasterHealth, SeenWorker
from atoll.core.errors import Unavailable
from atoll.fleet.agent.enlisting import PATIENCE_SECONDS, Enlisting
from atoll.fleet.life.records import Daemon

OURS, OTHER = "10.0.0.9", "10.0.0.8"


class Worker:
    """One whose signals are counted, and which may have executors."""

    def __init__(self, executors=0, **health):
        self.known = Daemon(**{"detail": "registered", "is_up": True, **health})
        self.executors, self.signals = executors, []

    def is_at_work(self):
        return self.executors > 0

    def health(self):
        return self.known

    def signal(self, number):
        self.signals.append(number)


def master(status, *workers):
    seen = [SeenWorker("w", host, state, 4, *held, 1, 0) for host, state, *held in workers]
    return MasterHealth(status, tuple(seen), ())


def looked(worker, *masters, times=3, is_leaving=False):
    """Look several times, so far apart that one would do."""
    return seen(worker, [masters] * times, is_leaving=is_leaving)


def seen(worker, turns, *, is_leaving=False):
    """Look once for each turn: what the masters say then."""
    now = SimpleNamespace(s=0.0, masters=())

    def ask(number):
        if now.masters[number] is None:
            raise Unavailable("it does not answer")
        return now.masters[number]

    addresses = range(len(turns[0]))
    given = {"ask": ask, "clock": lambda: now.s, "is_leaving": lambda: is_leaving}
    one = Enlisting(worker, OURS, addresses, **given)
    for now.masters in turns:
        one.look()
        now.s += PATIENCE_SECONDS
    return worker.signals


STANDBY, STRANGER = master("STANDBY"), master("ALIVE", (OTHER, "ALIVE", 0), (OURS, "DEAD", 0))
HELD = master("ALIVE", (OURS, "ALIVE", 1), (OURS, "DEAD", 0))


def test_an_idle_worker_that_the_active_master_does_not_know_is_ended():
    assert looked(Worker(), None, STANDBY, STRANGER) == [signal.SIGTERM]


def test_an_idle_worker_whose_processors_the_active_master_takes_for_held_is_ended():
    assert looked(Worker(), STANDBY, HELD) == [signal.SIGTERM]


@pytest.mark.parametrize("active", [STRANGER, HELD])
def test_a_worker_has_some_time_to_be_called_and_to_start_executors(active):
    assert looked(Worker(), active, times=1) == []


@pytest.mark.parametrize(
    ("health", "masters"),
    [
        ({}, [STANDBY, master("ALIVE", (OURS, "ALIVE", 0), (OTHER, "ALIVE", 1))]),
        ({}, [master("ALIVE", (OURS, "DECOMMISSIONED", 1))]),
        ({}, [None, STANDBY, master("RECOVERING")]),
        ({"executors": 1}, [STRANGER]),
        ({"executors": 1}, [HELD]),
        ({"is_up": False}, [STRANGER]),
    ],
    ids=["known", "draining", "no active master", "job goes on", "busy", "does not answer"],
)
def test_any_other_worker_is_left_alone(health, masters):
    assert looked(Worker(**health), *masters) == []


@pytest.mark.parametrize("active", [STRANGER, HELD])
def test_a_worker_that_is_drained_is_not_started_again(active):
    assert looked(Worker(), active, is_leaving=True) == []


def test_each_mistake_has_its_own_patience():
    assert seen(Worker(), [[STRANGER], [HELD]]) == []
    assert seen(Worker(), [[STRANGER], [HELD], [HELD]]) == [signal.SIGTERM]


def test_a_worker_that_gets_work_while_masters_are_asked_is_left_alone():
    worker = Worker()
    worker.is_at_work = iter([False, False, True]).__next__
    assert seen(worker, [[HELD], [HELD]]) == []
