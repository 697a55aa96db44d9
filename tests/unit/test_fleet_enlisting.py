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
    """One whose signals are counted."""

    def __init__(self, **health):
        self.known = Daemon(**{"detail": "registered", "is_up": True, **health})
        self.signals = []

    def health(self):
        return self.known

    def signal(self, number):
        self.signals.append(number)


def master(status, *workers):
    seen = [SeenWorker("w", host, state, 4, *held, 1, 0) for host, state, *held in workers]
    return MasterHealth(status, tuple(seen), ())


def looked(worker, *masters, times=3):
    """Look several times, so far apart that one would do."""
    answers, now = dict(enumerate(masters)), SimpleNamespace(s=0.0)

    def ask(address):
        if answers[address] is None:
            raise Unavailable("it does not answer")
        return answers[address]

    one = Enlisting(worker, OURS, list(answers), ask=ask, clock=lambda: now.s)
    for _ in range(times):
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
        ({}, [master("ALIVE", (OURS, "DECOMMISSIONED", 0))]),
        ({}, [None, STANDBY, master("RECOVERING")]),
        ({"busy": 1}, [STRANGER]),
        ({"busy": 1}, [HELD]),
        ({"is_up": False}, [STRANGER]),
    ],
    ids=["known", "draining", "no active master", "job goes on", "busy", "does not answer"],
)
def test_any_other_worker_is_left_alone(health, masters):
    assert looked(Worker(**health), *masters) == []
