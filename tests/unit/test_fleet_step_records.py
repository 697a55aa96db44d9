"""How many steps a cluster and its host remember, and how often they are read."""

from dataclasses import replace

import pytest
from fleet_zookeeper import Ensemble

from atoll.core.errors import Conflict
from atoll.fleet import registry as module
from atoll.fleet.control.mirror import forgotten
from atoll.fleet.life.records import Step
from atoll.fleet.life.store import ENDED_STEPS_KEPT, ClusterStore
from atoll.fleet.model import StepSpec
from atoll.fleet.registry import Registry
from atoll.fleet.states import StepState

SPEC = StepSpec("one", ("true",))


def ended(number, **changes):
    one = Step(f"s-{number:04d}", SPEC, StepState.COMPLETED, float(number), ended_at=float(number))
    return replace(one, **changes)


def living(number, **changes):
    return Step(f"s-{number:04d}", SPEC, StepState.RUNNING, float(number), **changes)


def filled(ensemble, steps):
    store = ClusterStore(ensemble.client())
    store.prepare()
    for one in steps:
        store.add_step(one)
    return store


def test_a_look_reads_again_only_what_can_change():
    ensemble = Ensemble()
    store = filled(ensemble, [*map(ended, range(1000)), living(1000), living(1001)])
    assert len(store.steps()) == 1002
    ensemble.asked.clear()
    assert len(store.steps()) == 1002
    assert ensemble.asked == {"get_children": 1, "get": 2}


def test_a_step_that_ends_and_one_that_is_new_are_seen():
    store = filled(Ensemble(), [ended(1), living(2)])
    store.steps()
    store.change_step("s-0002", lambda old: replace(old, state=StepState.FAILED))
    store.add_step(living(3))
    seen = {one.id: one.state for one in store.steps()}
    assert seen == {
        "s-0001": StepState.COMPLETED, "s-0002": StepState.FAILED, "s-0003": StepState.RUNNING,
    }  # fmt: skip


def test_what_ended_in_a_lost_ensemble_is_read_anew_in_the_next():
    client = Ensemble().client()
    store = ClusterStore(client)
    filled(client._ensemble, [ended(1)])
    store.steps()
    client._ensemble = Ensemble(ctime=2)
    filled(client._ensemble, [living(1)])
    assert store.steps() == [living(1)]


def test_what_ended_is_not_changed_any_more():
    store = filled(Ensemble(), [ended(1)])
    with pytest.raises(Conflict):
        store.change_step("s-0001", lambda old: replace(old, message="otherwise"))


def test_what_ended_first_is_forgotten_unless_it_is_leased():
    late = ended(0, ended_at=1e6)  # it began first, and ended last
    steps = [late, *map(ended, range(1, ENDED_STEPS_KEPT + 3)), living(5000)]
    store = filled(Ensemble(), steps)
    store.lease_step("s-0001", "i-1")
    store.forget_steps(store.steps())
    assert store.steps() == [late, ended(1), *map(ended, range(4, ENDED_STEPS_KEPT + 3)), steps[-1]]
    assert not store.lease_step("s-0002", "i-1")


def test_the_host_keeps_what_the_cluster_forgot_up_to_a_number(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OLD_STEPS_KEPT", 3)
    registry = Registry(tmp_path / "control.sqlite")
    before, now = [ended(1), ended(2), living(3)], [ended(2)]
    assert forgotten(before, now) == [ended(1)]
    for number in (1, 2, 2, 3, 4):
        registry.keep_steps("j-1", [ended(number)])
    registry.keep_steps("j-2", [ended(1)])
    assert registry.old_steps("j-1") == [ended(2), ended(3), ended(4)]
    assert registry.old_steps("j-2") == [ended(1)]
    registry.close()
