"""What commands of fleets ask of a host that is only believed in, and what they print of it."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
from commandline import atoll
from fleet_world import World, desired
from fleetspecs import SHORT

from atoll.core.errors import Unavailable
from atoll.fleet.capacity import Subnet
from atoll.fleet.cli import clusters, common
from atoll.fleet.control.repair import Repair
from atoll.fleet.host.client import FleetClient
from atoll.fleet.life.records import Event, Fleet, Step
from atoll.fleet.model import Role, StepSpec
from atoll.fleet.planning.advice import Advice
from atoll.fleet.planning.allocate import Allocation
from atoll.fleet.planning.fleets import FleetPlan
from atoll.fleet.planning.subnets import LaunchPreview
from atoll.fleet.providers.port import ProviderAt
from atoll.fleet.registry import ClusterRecord, Phase, Registry
from atoll.fleet.states import StepState

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


def record(seconds=0, **changes):
    """Return a cluster that lived for so long."""
    world = World(desired())
    world.run(seconds)
    return ClusterRecord(replace(world.desired, **changes), Phase.LIVING, world.known)


@pytest.fixture
def host(monkeypatch):
    host = Host()
    monkeypatch.setenv("ATOLL_FLEET_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ATOLL_FLEET_TOKEN", "t")
    monkeypatch.setattr(FleetClient, "call", lambda _, *args, **more: host.call(*args, **more))
    monkeypatch.setattr(clusters, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(common, "WATCH_SECONDS", 0.0)
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


SUBNET = Subnet("subnet-1", "zone-a", "vpc-1", False, 50)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text(SHORT)
    return path


def planned():
    fleets = tuple(FleetPlan(one.spec, Allocation(), Allocation()) for one in desired().fleets)
    return LaunchPreview(SUBNET, fleets, ("it is small",))


def step(state):
    return Step("s-1", StepSpec("etl", ("true",)), state, created_at=1.0)


ADVICE = [Advice("release", False, "it is old", "use a newer one")]


@pytest.mark.parametrize(
    ("words", "answers", "printed"),
    [
        ("list", {"clusters": [[record(20)]]}, {"id": "j-1", "state": "WAITING"}),
        ("instances c --role MASTER", {"find": record(20)}, {"id": "i-1", "state": "RUNNING"}),
        ("steps c", {"steps": [[step(StepState.RUNNING)]]}, {"id": "s-1", "state": "RUNNING"}),
        ("create c --file FILE --dry-run", {"preview": planned()}, {"warnings": ["it is small"]}),
        (
            "create c --file FILE",
            {"preview": planned(), "create": record()},
            {"ClusterId": "j-1"},
        ),
        ("advise c", {"advice": [ADVICE], "warnings": [["w"]]}, {"how": "use a newer one"}),
        ("advise --file FILE", {"preview": planned()}, {"topic": "primaries", "is_followed": True}),
        ("repair c", {"repair": Repair(("i-1 started",), True)}, {"did": ["i-1 started"]}),
    ],
)
def test_what_a_command_prints_as_json_is_all_that_it_prints(host, file, words, answers, printed):
    host.answers |= deepcopy(answers)
    done = atoll("fleet", *words.replace("FILE", str(file)).split(), "--json")
    assert done.code == 0
    found = json.loads(done.out)
    first = found[0] if isinstance(found, list) else found
    assert printed.items() <= first.items()


def test_a_dry_run_asks_for_no_cluster(host, file):
    host.answers["preview"] = planned()
    done = atoll("fleet", "create", "c", "--file", file, "--dry-run")
    assert "in subnet-1 (zone-a)" in done.out
    assert [name for name, _ in host.calls] == ["preview"]


def test_a_repair_that_is_not_done_yet_says_so_beside_its_json(host):
    host.answers["repair"] = Repair(("i-1 started",), False)
    done = atoll("fleet", "repair", "c", "--json")
    assert (done.code, json.loads(done.out)["has_quorum"]) == (3, False)
    assert "no quorum yet" in done.err


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("words", "asked", "before", "after"),
    [
        (("list",), "clusters", [record(2)], [record(20)]),
        (("describe", "c"), "find", record(2), record(20)),
        (("instances", "c"), "find", record(2), record(20)),
        (("steps", "c"), "steps", [step(StepState.PENDING)], [step(StepState.COMPLETED)]),
    ],
)
def test_what_is_watched_is_printed_again_when_it_changes(
    host, words, asked, before, after, as_json
):
    once = []
    for answer in (before, after):
        host.answers[asked] = [answer]
        once.append(atoll("fleet", *words, *["--json"][:as_json]).out)
    assert once[0] != once[1]
    host.answers[asked] = [before, before, after]
    done = atoll("fleet", *words, "--watch", *["--json"][:as_json])
    lines = done.out.splitlines(keepends=True)
    assert "".join(one for one in lines if not one.startswith("-- ")) == "".join(once)
    assert sum(one.startswith("-- ") for one in lines) == (not as_json)
    assert "the host is gone" in done.err
