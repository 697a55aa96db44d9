"""What `atoll fleet terminate` asks the host, and says."""

from dataclasses import replace

import pytest
from click.testing import CliRunner
from fleet_world import desired

from atoll.core.config import Settings
from atoll.fleet.cli import clusters
from atoll.fleet.life.records import ClusterStatus, Known
from atoll.fleet.registry import ClusterRecord, Phase
from atoll.fleet.states import ClusterState

PROTECTED = replace(desired(), termination_protected=True)


class Host:
    """Answers with one record after another, the last for good."""

    def __init__(self, *records):
        self.records, self.asked = list(records), []

    def call(self, name, kind, **args):
        self.asked.append(name)
        if name in ("find", "cluster"):
            return self.records.pop(0) if len(self.records) > 1 else self.records[0]
        return None


def record(phase, state):
    return ClusterRecord(PROTECTED, phase, Known(ClusterStatus(state, created_at=0.0)))


def terminated(monkeypatch, host, *options):
    monkeypatch.setattr(clusters, "host", lambda _: host)
    monkeypatch.setattr(clusters, "_POLL_SECONDS", 0.0)
    arguments = ["small", "--unprotect", *options]
    return CliRunner().invoke(clusters.terminate, arguments, obj=Settings()).output


LIVING = record(Phase.LIVING, ClusterState.WAITING)
ENDING = record(Phase.ENDING, ClusterState.TERMINATING)
FAILED = record(Phase.ENDED, ClusterState.TERMINATED_WITH_ERRORS)


def test_protection_is_lifted_and_the_state_at_the_end_is_told(monkeypatch):
    host = Host(LIVING, ENDING, ENDING, FAILED)
    assert terminated(monkeypatch, host, "--wait") == "j-1 is TERMINATED_WITH_ERRORS\n"
    assert host.asked[:3] == ["find", "protect", "terminate"]


@pytest.mark.parametrize("ending", [ENDING, FAILED])
def test_one_that_is_ending_or_has_ended_is_not_asked_to_lift_its_protection(monkeypatch, ending):
    host = Host(ending)
    said = terminated(monkeypatch, host)
    assert said == f"j-1 is {ending.known.status.state.value}\n"
    assert "protect" not in host.asked
