"""How one primary runs steps, beside others that may take them over."""

import os
import signal
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fleet_world import desired
from fleet_zookeeper import Ensemble

from atoll.fleet.agent.steps import StepRunner
from atoll.fleet.life.records import Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import StepSpec
from atoll.fleet.states import StepState

STEP = Step("s-1", StepSpec("one", ("sleep", "600")), StepState.PENDING, 1.0)


class Primary:
    """A primary whose steps are a command that sleeps."""

    def __init__(self, ensemble, folder, number=1):
        self.ensemble, self.number, self.processes, self.kept = ensemble, number, [], []
        self.client = ensemble.client(session=number)
        task = SimpleNamespace(slots=desired().slots, cluster_id="j-1")
        facts = SimpleNamespace(id=f"i-{number}", disk=str(folder), private_ip=f"10.0.0.{number}")
        self.runner = StepRunner(
            self.client,
            task,
            facts,
            provider=SimpleNamespace(machines=lambda _: []),
            delivery=SimpleNamespace(keep=lambda *told: self.kept.append(told)),
            start=self._start,
        )

    def _start(self, step, log):
        process = subprocess.Popen(step.spec.args, process_group=0)
        self.processes.append(process)
        return process

    def end_session(self):
        """Let others believe for a moment that this one is gone."""
        self.ensemble.end(self.number)

    @property
    def is_idle(self):
        return all(one.poll() is not None for one in self.processes)


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
    for one in primary.processes:
        one.kill()
        one.wait()


def change(store, **changes):
    return store.change_step("s-1", lambda old: replace(old, **changes))


def test_a_step_runs_and_its_end_is_told(primary, store):
    primary.runner.look()
    [seen] = store.steps()
    assert (seen.state, seen.machine_id, seen.attempts) == (StepState.RUNNING, "i-1", 1)
    os.killpg(primary.processes[0].pid, signal.SIGKILL)
    primary.processes[0].wait()
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
