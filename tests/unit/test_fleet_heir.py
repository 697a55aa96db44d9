"""When the candidacy of a controller is taken out of the queue."""

import itertools
from types import SimpleNamespace

import pytest

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


def heir(store, *, is_alive):
    """An heir that looks each two seconds."""
    provider = SimpleNamespace(machines=lambda _: [SimpleNamespace(id="i-1", is_alive=is_alive)])
    return Heir(store, provider, "j-1", "i-2", clock=itertools.count(step=2).__next__)


def test_a_silent_controller_whose_machine_is_gone_loses_its_turn():
    store = Store("i-1")
    one = heir(store, is_alive=False)
    one.look()
    assert store.withdrawn == []
    one.look()
    assert store.withdrawn == ["i-1"]


@pytest.mark.parametrize(("first", "is_alive"), [("i-1", True), ("i-2", False), (None, False)])
def test_nobody_else_loses_its_turn(first, is_alive):
    store = Store(first)
    one = heir(store, is_alive=is_alive)
    for _ in range(3):
        one.look()
    assert store.withdrawn == []


def test_a_heart_that_beats_is_not_asked_about():
    store = Store("i-1")
    one = heir(store, is_alive=False)
    for beat in range(4):
        store.beat = beat
        one.look()
    assert store.withdrawn == []
