"""How one primary runs steps, beside others that may take them over."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fleet_world import desired
from fleet_zookeeper import Ensemble

from atoll.fleet.agent.steps import StepRunner
from atoll.fleet.agent.work import Work
from atoll.fleet.life.records import Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import StepSpec
from atoll.fleet.states import StepState

STEP = Step("s-1", StepSpec("one", ("/bin/sleep", "600")), StepState.PENDING, 1.0)


class Primary:
    """A primary whose steps are a command that sleeps."""

    def __init__(self, ensemble, folder, number=1):
        self.ensemble, self.number, self.started, self.kept = ensemble, number, [], []
        self.client = ensemble.client(session=number)
        task = SimpleNamespace(slots=desired().slots, cluster_id="j-1")
        facts = SimpleNamespace(
            id=f"i-{number}", disk=str(folder), disk_bytes=1 << 30, private_ip=f"10.0.0.{number}"
        )
        self.runner = StepRunner(
            self.client,
            task,
            facts,
            provider=SimpleNamespace(machines=lambda _: []),
            delivery=SimpleNamespace(keep=lambda *told: self.kept.append(told)),
            start=self._start,
        )

    def _start(self, step, log):
        log.mkdir(parents=True)
        work = Work(step.spec.args, env={}, output=log, most=1 << 20)
        self.started.append(work)
        return work

    def end_session(self):
        """Let others believe for a moment that this one is gone."""
        self.ensemble.end(self.number)

    @property
    def is_idle(self):
        return all(one.poll() is not None for one in self.started)


@pytest.fixture
def ensemble():
    return Ensemble()


@pytest.fixture
def store(ensemble):
    store = ClusterStore(ensemble.client(session=9))
    store.prepare()
    store.found(desired())
    store.add_step(STEP)
    return store


@pytest.fixture
def primary(ensemble, store, tmp_path):
    primary = Primary(ensemble, tmp_path)
    yield primary
    for one in primary.started:
        one.end()
        one.settle()


def change(store, **changes):
    return store.change_step("s-1", lambda old: replace(old, **changes))


def test_a_step_runs_and_its_end_is_told(primary, store):
    primary.runner.look()
    [seen] = store.steps()
    assert (seen.state, seen.machine_id, seen.attempts) == (StepState.RUNNING, "i-1", 1)
    primary.started[0].end()
    primary.runner.look()
    assert "signal 9" in store.steps()[0].message
    assert store.lease_holder("s-1") is None


@pytest.mark.parametrize("state", [StepState.CANCELLED, StepState.FAILED])
def test_a_step_that_others_ended_does_not_run_on(primary, store, state):
    primary.runner.look()
    assert not primary.is_idle
    primary.end_session()
    change(store, state=state, message="its primary was lost")
    primary.runner.look()
    assert primary.is_idle
    assert primary.kept[-1][2].endswith("its primary was lost")
    primary.runner.look()
    assert [one.state for one in store.steps()] == [state]


def test_what_an_attempt_left_where_it_ran_goes_with_it(primary, store, tmp_path):
    left = tmp_path / "steps" / "s-1-1" / "left"
    left.parent.mkdir(parents=True)
    left.touch()
    primary.runner.look()
    assert left.exists()
    primary.started[0].end()
    primary.runner.look()
    for one in threading.enumerate():
        if one.name == "cleaning":
            one.join(60)
    assert not left.parent.exists()
    assert (tmp_path / "logs" / "steps" / "s-1" / "attempt-1" / "stdout").exists()
