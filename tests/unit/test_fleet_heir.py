"""When what a primary led is handed on."""

from types import SimpleNamespace

import pytest

from atoll.fleet.agent.heir import Heir


class Store:
    """A queue of candidates, the beats of their hearts, and what was taken from whom."""

    def __init__(self, *candidates):
        self.queue, self.beat = candidates, 1
        self.withdrawn, self.released = [], []
        self.now = 0

    def candidates(self):
        return [one for one in self.queue if one not in self.withdrawn]

    def heart(self, machine_id):
        if self.beat is None:
            return None
        master = SimpleNamespace(sessions=(int(machine_id[2:]),))
        return SimpleNamespace(beat=self.beat, daemons={"master": master})

    def withdraw(self, machine_id):
        self.withdrawn.append(machine_id)

    def release_leadership(self, sessions):
        self.released += sessions


def heir(store, *, gone=(), ends_at_once=True):
    """An heir, on i-2."""
    ids = ("i-1", "i-2", "i-3")
    machines = [SimpleNamespace(id=one, is_alive=one not in gone) for one in ids]
    provider = SimpleNamespace(machines=lambda _: machines, ends_at_once=ends_at_once)
    return Heir(store, provider, "j-1", "i-2", clock=lambda: store.now)


def look(one, store):
    one.look()
    store.now += 2


@pytest.mark.parametrize("queue", [("i-1", "i-2", "i-3"), ("i-3", "i-1", "i-2"), ("i-1",)])
def test_what_a_silent_primary_led_is_handed_on_when_its_machine_is_gone(queue):
    store = Store(*queue)
    one = heir(store, gone=["i-1"])
    look(one, store)
    assert store.withdrawn == []
    look(one, store)
    assert (store.withdrawn, store.released) == (["i-1"], [1])
    look(one, store)
    assert store.withdrawn == ["i-1"]


def test_what_was_heard_last_counts_when_a_heart_is_gone_too():
    store = Store("i-1")
    one = heir(store, gone=["i-1"])
    look(one, store)
    store.beat = None
    look(one, store)
    assert (store.withdrawn, store.released) == (["i-1"], [1])


@pytest.mark.parametrize(("queue", "gone"), [(("i-1",), ()), (("i-2",), ("i-2",)), ((), ("i-1",))])
def test_nobody_else_loses_what_it_leads(queue, gone):
    store = Store(*queue)
    one = heir(store, gone=gone)
    for _ in range(3):
        look(one, store)
    assert (store.withdrawn, store.released) == ([], [])


def test_a_heart_that_beats_is_not_asked_about():
    store = Store("i-1")
    one = heir(store, gone=["i-1"])
    for beat in range(4):
        store.beat = beat
        look(one, store)
    assert store.withdrawn == []


def test_a_master_whose_machine_may_still_run_keeps_its_leadership():
    store = Store("i-1")
    one = heir(store, gone=["i-1"], ends_at_once=False)
    look(one, store)
    look(one, store)
    assert (store.withdrawn, store.released) == (["i-1"], [])


def test_a_candidacy_that_ended_by_itself_first_does_not_matter():
    store = Store("i-1")
    one = heir(store, gone=["i-1"])
    look(one, store)
    store.queue = ()
    look(one, store)
    assert store.released == [1]
