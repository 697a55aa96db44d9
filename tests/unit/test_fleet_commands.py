"""What commands of fleets ask of a host that is only believed in, and what they print of it."""

import json
from dataclasses import replace

import pytest
from commandline import atoll
from fleet_world import World, desired

from atoll.core.errors import Unavailable
from atoll.fleet.cli import clusters
from atoll.fleet.host.client import FleetClient
from atoll.fleet.life.records import Event, Fleet
from atoll.fleet.model import Role
from atoll.fleet.providers.port import ProviderAt
from atoll.fleet.registry import ClusterRecord, Phase, Registry

SUBMIT = ("fleet", "submit", "c")


class Host:
    """Answers calls and remembers them; of a list each answer is given once, then it is gone."""

    def __init__(self):
        self.answers, self.calls = {"find": record()}, []

    def call(self, name, kind, **args):
        self.calls.append((name, args))
        answer = self.answers[name]
        if not isinstance(answer, list):
            return answer
        if not answer:
            raise Unavailable("the host is gone")
        return answer.pop(0)


def record(**changes):
    world = World(desired())
    return ClusterRecord(replace(world.desired, **changes), Phase.LIVING, world.known)


@pytest.fixture
def host(monkeypatch):
    host = Host()
    monkeypatch.setenv("ATOLL_FLEET_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ATOLL_FLEET_TOKEN", "t")
    monkeypatch.setattr(FleetClient, "call", lambda _, *args, **more: host.call(*args, **more))
    monkeypatch.setattr(clusters, "_POLL_SECONDS", 0.0)
    return host


def test_metrics_are_those_that_the_host_measured(host):
    host.answers["measures"] = {"MultiMasterInstanceGroupNodesRunning": 0.0}
    printed = json.loads(atoll("fleet", "metrics", "c", "--json").out)
    assert printed == {"MultiMasterInstanceGroupNodesRunning": 0.0}


@pytest.fixture
def registry(tmp_path):
    registry = Registry(tmp_path / "control.sqlite")
    yield registry
    registry.close()


def looks(registry, *told):
    """Return what the host tells after each of some events: source, number, time, kind."""
    seen = []
    for source, number, at, kind in told:
        registry.tell("j-1", source, [(number, Event(at, kind, "j-1", "it happened"))])
        seen.append(registry.told("j-1"))
    return seen


def test_an_event_that_is_told_late_is_shown_and_no_other_twice(host, registry):
    told = [("host", 0, 10.0, "FIRST"), ("ensemble", 0, 30.0, "THIRD"), ("host", 1, 20.0, "LATE")]
    host.answers["told"] = looks(registry, *told)
    printed = atoll("fleet", "events", "c", "--watch").out
    assert [line.split()[2] for line in printed.splitlines()] == ["FIRST", "THIRD", "LATE"]


def test_events_as_they_come_are_a_line_of_json_each(host, registry):
    host.answers["told"] = looks(registry, ("host", 0, 1.0, "A"), ("host", 1, 2.0, "B"))
    printed = atoll("fleet", "events", "c", "--watch", "--json").out
    assert [json.loads(line)["kind"] for line in printed.splitlines()] == ["A", "B"]


def with_task_fleets(*names):
    others = [one for one in desired().fleets if one.spec.role is not Role.TASK]
    task = next(one.spec for one in desired().fleets if one.spec.role is Role.TASK)
    added = [Fleet(f"if-{at}", replace(task, name=name)) for at, name in enumerate(names)]
    return record(fleets=(*others, *added))


@pytest.mark.parametrize(("names", "asked"), [(("task", "task"), "task"), (("a", "b"), "TASK")])
def test_of_several_fleets_none_is_resized_by_chance(host, names, asked):
    host.answers["find"] = with_task_fleets(*names)
    done = atoll("fleet", "resize", "c", asked, "--spot", 3)
    assert done.code == 1
    assert all(f"{one} (" in done.err for one in ("if-0", "if-1"))


def test_a_fleet_is_resized_by_its_id_whatever_the_others_are_called(host):
    host.answers["find"] = with_task_fleets("task", "task")
    host.answers["resize"] = host.answers["find"].desired.fleets[-1]
    assert atoll("fleet", "resize", "c", "if-1", "--spot", 3).code == 0
    assert host.calls[-1][1]["resize"].fleet_id == "if-1"


def test_an_added_fleet_that_nobody_named_is_numbered(host, tmp_path):
    host.answers |= {"find": with_task_fleets("task"), "add_fleet": desired().fleets[-1]}
    file = tmp_path / "more.yaml"
    file.write_text("spot: 1\ntypes: {m5.xlarge: 1}\n")
    assert atoll("fleet", "add-fleet", "c", "--file", file).code == 0
    assert host.calls[-1][1]["spec"].name == "task-2"


@pytest.mark.parametrize("fence", [(), ("--",)])
def test_options_after_a_step_s_command_are_the_step_s(host, fence):
    host.answers["add_steps"] = [["s-1"]]
    job = ("spark-submit", "--name", "etl", "job.py", "--wait", "-q")
    done = atoll(*SUBMIT, "--name", "mine", "--on-failure", "CANCEL_AND_WAIT", *fence, *job)
    assert (done.code, done.out) == (0, "s-1\n")
    (spec,) = host.calls[-1][1]["specs"]
    assert (spec.name, spec.args, spec.action_on_failure) == ("mine", job, "CANCEL_AND_WAIT")


def test_an_option_that_submit_has_not_is_refused(host):
    assert atoll(*SUBMIT, "--nmae", "mine", "job.py").code == 2


def test_what_is_shown_of_a_cluster_has_no_token(host):
    host.answers["find"] = record(provider=ProviderAt("local", "127.0.0.1:1", "hush"))
    printed = atoll("fleet", "describe", "c", "--json").out
    assert "127.0.0.1:1" in printed
    assert "hush" not in printed
