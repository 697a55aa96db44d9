"""When the candidacy of a controller is taken out of the queue."""

from types import SimpleNamespace

import pytest

from atoll.fleet.agent import heir as module
from atoll.fleet.agent.heir import Heir


class Store:
    """A queue of candidates, and the beats of their hearts."""

    def __init__(self, first, beat=1):
        self.first, self.beat, self.withdrawn = first, beat, []

    def first_candidate(self):
        return self.first

    def heart(self, machine_id):
        return SimpleNamespace(beat=self.beat)

    def withdraw(self, machine_id):
        self.withdrawn.append(machine_id)


def heir(monkeypatch, store, *, is_alive):
    provider = SimpleNamespace(machines=lambda _: [SimpleNamespace(id="i-1", is_alive=is_alive)])
    monkeypatch.setattr(module, "reach", lambda _: provider)
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)
    made = Heir(None, SimpleNamespace(cluster_id="j-1", provider=None), "i-2")
    made._store = store
    return made


def test_a_silent_controller_whose_machine_is_gone_loses_its_turn(monkeypatch):
    store = Store("i-1")
    one = heir(monkeypatch, store, is_alive=False)
    one._look()
    assert store.withdrawn == []
    one._look()
    assert store.withdrawn == ["i-1"]


@pytest.mark.parametrize(("first", "is_alive"), [("i-1", True), ("i-2", False), (None, False)])
def test_nobody_else_loses_its_turn(monkeypatch, first, is_alive):
    store = Store(first)
    one = heir(monkeypatch, store, is_alive=is_alive)
    for _ in range(3):
        one._look()
    assert store.withdrawn == []


def test_a_heart_that_beats_is_not_asked_about(monkeypatch):
    store = Store("i-1")
    one = heir(monkeypatch, store, is_alive=False)
    for beat in range(4):
        store.beat = beat
        one._look()
    assert store.withdrawn == []
