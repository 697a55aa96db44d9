"""The watch over masters: who saw nothing does not say that there was one at a time."""

import os
import threading

import pytest

from atoll.fleet.model import Market, Role
from atoll.fleet.providers.local.inventory import FILE, Inventory, Record
from atoll.fleet.providers.local.processes import identify
from atoll.fleet.providers.port import Machine, MachineState
from bench import fleetwatch
from bench.fleetwatch import Reign, Watched

DEADLINE_SECONDS = 60


@pytest.fixture
def home(tmp_path):
    """A cloud with one primary, which this very process runs."""
    inventory = Inventory(tmp_path / FILE)
    machine = Machine(
        "i-1", "j-1", "if-1", Role.MASTER, Market.ON_DEMAND, "m5.xlarge", MachineState.RUNNING,
        "127.0.0.1", "ip-127-0-0-1", "subnet-1", "zone-a", 0.0,
    )  # fmt: skip
    inventory.put(Record(machine, process=identify(os.getpid())))
    inventory.close()
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Set once a master was asked; each says that it is active."""
    event = threading.Event()
    monkeypatch.setattr(fleetwatch, "_is_alive", lambda _: not event.set())
    return event


def test_a_master_that_answers_was_seen(home, asked):
    with Watched(home, "j-1", 0.01) as watched:
        assert asked.wait(DEADLINE_SECONDS)
    assert (watched.successions(), watched.doubles()) == (["i-1"], [])


def test_a_machine_that_cannot_be_looked_into_is_an_error(home, asked, monkeypatch):
    tried = threading.Event()

    def refused(_):
        tried.set()
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(fleetwatch, "_enter", refused)
    with Watched(home, "j-1", 0.01) as watched:
        assert tried.wait(DEADLINE_SECONDS)
    with pytest.raises(AssertionError, match=r"nobody knows.*i-1.*Operation not permitted"):
        watched.doubles()


def test_reigns_that_overlap_are_doubles(tmp_path):
    first, second, third = Reign("i-1", 1, 5), Reign("i-2", 4, 8), Reign("i-1", 8, 9)
    watched = Watched(tmp_path, "j-1", 1, reigns=[first, third, second])
    assert watched.doubles() == [(first, second)]
    assert watched.successions() == ["i-1", "i-2", "i-1"]
