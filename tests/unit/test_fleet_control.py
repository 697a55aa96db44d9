"""What the host keeps of a cluster, hands on to it, and refuses to do to one that has ended."""

import stat
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fleet_world import desired

from atoll.core.errors import Conflict, InvalidInput, Unavailable
from atoll.fleet.capacity import InsufficientCapacity
from atoll.fleet.control import mirror as mirrors
from atoll.fleet.control import watch as watches
from atoll.fleet.control.mirror import Mirror
from atoll.fleet.control.service import FleetService
from atoll.fleet.control.watch import Watch
from atoll.fleet.host.home import settings_of
from atoll.fleet.host.server import HostOptions, serve_host
from atoll.fleet.life.records import ClusterStatus, Event, Known, Step
from atoll.fleet.model import Market, Role, StepSpec
from atoll.fleet.providers.port import Machine, MachineState
from atoll.fleet.registry import ClusterRecord, Ending, Phase, Registry
from atoll.fleet.spec.reader import Notice
from atoll.fleet.states import ClusterReason, ClusterState, StepState

RUNNING, TERMINATED = MachineState.RUNNING, MachineState.TERMINATED
KNOWN = Known(ClusterStatus(ClusterState.WAITING, created_at=0.0))
STEP = Step("s-1", StepSpec("one", ("true",)), StepState.PENDING, created_at=1.0)
PROTECTED = replace(desired(), termination_protected=True)


class Store:
    """A cluster's records, in memory."""

    def __init__(self, wanted, known=KNOWN):
        self.wanted, self._known, self.added, self.version = wanted, known, [], 0
        self.refuses = False

    def desired(self):
        return self.wanted and (self.wanted, self.version)

    def change(self, wanted, version):
        if self.refuses or version != self.version:
            raise Conflict("somebody else changed the cluster just now")
        self.wanted, self.version = wanted, version + 1

    def add_step(self, step):
        if step.id not in [one.id for one in self.added]:
            self.added.append(step)

    def known(self):
        return self._known

    def steps(self):
        return self.added

    def epoch(self):
        return 1

    def born(self):
        return 0

    def events(self, after):
        return []


class Records:
    """The store that an ensemble has now."""

    def __init__(self, ensemble):
        self._ensemble = ensemble

    def __getattr__(self, name):
        return getattr(self._ensemble.store, name)


class Ensemble:
    """The ZooKeeper that clients find; it answers while there is a store."""

    def __init__(self, monkeypatch):
        self.store, self.closed = None, 0
        monkeypatch.setattr(mirrors, "ensemble_client", lambda *_, **__: self)
        monkeypatch.setattr(mirrors, "ClusterStore", lambda _: Records(self))

    @property
    def connected(self):
        return self.store is not None

    def start_async(self):
        pass

    stop = start_async

    def close(self):
        self.closed += 1


class Onlooker:
    def looked(self, *_):
        pass

    def failed(self):
        pass


@pytest.fixture
def ensemble(monkeypatch):
    return Ensemble(monkeypatch)


@pytest.fixture
def registry(tmp_path):
    opened = Registry(tmp_path / "control.sqlite")
    yield opened
    opened.close()


def kept(registry, phase, wanted=PROTECTED, **more):
    begun = Event(0.0, "BEGUN", wanted.cluster_id, "begun")
    registry.add(ClusterRecord(wanted, phase, KNOWN, **more), begun)


@contextmanager
def service(registry, monkeypatch, provider=None):
    """A service whose watches only connect, so that nothing happens beside the test."""
    monkeypatch.setattr(Watch, "_look", lambda self: self._connect(registry.get(self.cluster_id)))
    monkeypatch.setattr(watches, "LOOK_SECONDS", 0.01)
    opened = FleetService(provider, desired().provider, registry, Onlooker(), None)
    for one in opened._watches.values():
        while one._mirror is None and registry.get(one.cluster_id).phase is not Phase.ENDED:
            time.sleep(0.001)
    yield opened
    opened.close()


def test_protection_is_lifted_without_a_quorum_and_stays_lifted(ensemble, registry, monkeypatch):
    kept(registry, Phase.LIVING)
    with service(registry, monkeypatch) as host:
        host.protect("j-1", False)
        ensemble.store = Store(PROTECTED)
        ensemble.store.refuses = True
        host._look_now("j-1")
        assert registry.get("j-1").desired.termination_protected is False
        ensemble.store.refuses = False
        host._look_now("j-1")
        assert ensemble.store.wanted.termination_protected is False
        assert registry.get("j-1").lifts_protection is False
        host.terminate("j-1")
    assert registry.get("j-1").phase is Phase.ENDING


def test_protection_asked_for_again_is_not_lifted_by_an_older_wish(ensemble, registry, monkeypatch):
    kept(registry, Phase.LIVING)
    with service(registry, monkeypatch) as host:
        host.protect("j-1", False)
        ensemble.store = Store(PROTECTED)
        host.protect("j-1", True)
        host._look_now("j-1")
    assert ensemble.store.wanted.termination_protected
    assert registry.get("j-1").desired.termination_protected


def test_a_cluster_without_a_quorum_cannot_be_protected(ensemble, registry, monkeypatch):
    kept(registry, Phase.LIVING, desired())
    with service(registry, monkeypatch) as host, pytest.raises(Unavailable):
        host.protect("j-1", True)


def test_a_look_stays_at_launching_until_all_is_handed_in(ensemble, registry):
    kept(registry, Phase.LAUNCHING, steps=(STEP,))
    mirror = Mirror(registry, PROTECTED)
    ensemble.store = Store(replace(desired(), awaits_host=True))
    ensemble.store.refuses = True
    mirror.look()
    assert registry.get("j-1") == ClusterRecord(PROTECTED, Phase.LAUNCHING, KNOWN, (STEP,))
    ensemble.store.refuses = False
    found = mirror.look()
    assert (found.phase, found.steps, found.desired) == (Phase.LIVING, (STEP,), PROTECTED)
    assert ensemble.store.wanted == PROTECTED


def test_a_step_that_comes_while_a_look_is_under_way_is_not_lost(ensemble, registry):
    kept(registry, Phase.LAUNCHING)
    mirror = Mirror(registry, PROTECTED)
    ensemble.store = Store(replace(desired(), awaits_host=True))
    late = replace(STEP, id="s-late")
    ensemble.store.born = lambda: registry.change("j-1", lambda old: replace(old, steps=(late,)))
    assert mirror.look().phase is Phase.LAUNCHING
    assert mirror.look().steps == (late,)
    assert ensemble.store.added == [late]


def test_steps_go_where_the_cluster_is_when_they_are_written_down(ensemble, registry, monkeypatch):
    kept(registry, Phase.LAUNCHING)
    ensemble.store = Store(desired())
    with service(registry, monkeypatch) as host:
        get = registry.get

        def get_late(cluster_id):
            record = get(cluster_id)
            registry.get = get
            registry.change(cluster_id, lambda old: replace(old, phase=Phase.LIVING))
            return record

        monkeypatch.setattr(registry, "get", get_late)
        (id_,) = host.add_steps("j-1", [STEP.spec])
    assert [one.id for one in ensemble.store.added] == [id_]


def test_records_of_another_cluster_at_the_same_addresses_are_left_alone(ensemble, registry):
    kept(registry, Phase.LIVING)
    mirror = Mirror(registry, PROTECTED)
    ensemble.store = Store(replace(desired(), cluster_id="j-2"))
    assert mirror.look() is None
    with pytest.raises(Unavailable, match="j-2 has its addresses now"):
        _ = mirror.store
    assert registry.get("j-1").desired == PROTECTED


@pytest.mark.parametrize("phase", [Phase.ENDING, Phase.ENDED])
def test_nothing_of_a_cluster_that_ends_is_changed(ensemble, registry, monkeypatch, phase):
    kept(registry, phase, steps=(STEP,))
    ensemble.store = Store(PROTECTED)
    with service(registry, monkeypatch) as host:
        for call in (host.repair, lambda id_: host.cancel_steps(id_, ["s-1"])):
            with pytest.raises(Conflict, match="nothing of it can be changed"):
                call("j-1")
        with pytest.raises(InvalidInput):
            host.protect("j-1", False)
        host.terminate("j-1")


def test_the_mirror_of_an_ended_cluster_is_closed_and_its_watch_dropped(
    ensemble, registry, monkeypatch
):
    kept(registry, Phase.LIVING)
    with service(registry, monkeypatch) as host:
        watch = host._watch_of("j-1")
        registry.change("j-1", lambda old: replace(old, phase=Phase.ENDED))
        watch.join(30)
        assert ensemble.closed == 1
        kept(registry, Phase.LIVING, replace(desired(), cluster_id="j-2"))
        host._watch("j-2")
        assert list(host._watches) == ["j-2"]


def test_a_new_ensemble_whose_third_cannot_be_launched_is_not_given_up(ensemble, registry):
    class Full:
        def reserve(self, *_, **__):
            raise InsufficientCapacity("no m5.xlarge is to be had")

    kept(registry, Phase.LAUNCHING, anew=3, steps=(STEP,))
    watch = Watch(Full(), registry, "j-1", Onlooker())
    for _ in range(7):
        watch._look()
    assert registry.get("j-1").phase is Phase.LAUNCHING
    ensemble.store = Store(replace(PROTECTED, awaits_host=True))
    watch._look()
    assert ensemble.store.added == [STEP]
    assert registry.get("j-1").phase is Phase.LIVING
    assert [one.kind for one in registry.events("j-1")] == ["BEGUN", "REPAIR"]


def machine(id_, state):
    return Machine(
        id=id_, cluster_id="j-1", fleet_id="if-c", role=Role.CORE, market=Market.ON_DEMAND,
        instance_type="m5.xlarge", state=state, private_ip="10.0.1.1", private_dns="x",
        subnet_id="subnet-1", zone="zone-a", launched_at=1.0,
    )  # fmt: skip


def test_a_cluster_whose_event_cannot_be_written_is_not_there_and_the_next_is(registry):
    refused = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'full'); END"
    registry._database.ask(refused)
    with pytest.raises(Unavailable, match="full"):
        kept(registry, Phase.LAUNCHING)
    assert registry.all() == []
    registry._database.ask("DROP TRIGGER full")
    kept(registry, Phase.LAUNCHING)
    assert len(registry.all()) == len(registry.events("j-1")) == 1


def test_a_notice_that_cannot_be_written_fails_no_request(ensemble, registry, monkeypatch):
    kept(registry, Phase.LIVING)

    def full(*_):
        raise Unavailable("the disk is full")

    with service(registry, monkeypatch) as host:
        monkeypatch.setattr(registry, "tell_here", full)
        host.note("j-1", [Notice("Instances", "left aside")])


def test_what_holds_tokens_is_its_owners_alone_in_a_folder_that_all_may_read(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "control.sqlite").touch(mode=0o644)
    settings_of(home, "loopback", "")
    opened = Registry(home / "control.sqlite")
    kept(opened, Phase.LIVING)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in home.iterdir()}
    opened.close()
    assert len(modes) >= 3
    assert set(modes.values()) == {0o600}


def test_no_more_are_notified_than_an_alarm_has_actions(tmp_path):
    many = tuple(f"https://x/{number}" for number in range(6))
    with pytest.raises(InvalidInput, match="at most 5"):
        serve_host(HostOptions(tmp_path, notified=many), threading.Event())


class Lagging:
    """A provider that shows what was ordered before the end only after a while.

    Attributes:
        late: machine by the second in which a list first shows it.
    """

    def __init__(self, lag_s, late):
        self.lag_s, self.late, self.now = lag_s, late, 0
        self.ended, self.released = [], []

    def machines(self, _):
        shown = [id_ for at, id_ in self.late.items() if at <= self.now]
        return [machine(id_, TERMINATED if id_ in self.ended else RUNNING) for id_ in shown]

    def terminate(self, ids, *, epoch, reason):
        self.ended += ids

    def addresses(self, _):
        return [one.address for one in desired().slots]

    def release(self, address_id, *, epoch):
        self.released.append(address_id)


def ended_at(registry, monkeypatch, provider):
    """Let time pass until the cluster has ended; return the second in which it had."""
    clock = SimpleNamespace(monotonic=lambda: float(provider.now), time=time.time)
    monkeypatch.setattr(watches, "time", clock)
    ending = Ending(ClusterReason.USER_REQUEST.value, "by wish", is_failure=False)
    kept(registry, Phase.ENDING, ending=ending)
    watch = Watch(provider, registry, "j-1", Onlooker())
    for provider.now in range(1000):
        watch._look()
        if registry.get("j-1").phase is Phase.ENDED:
            return provider.now
    raise AssertionError("it never ended")


def test_workers_that_appear_while_a_cluster_ends_are_ended_before_it_has(registry, monkeypatch):
    provider = Lagging(65.0, {0: "i-1", 30: "i-2", 60: "i-3"})
    assert ended_at(registry, monkeypatch, provider) == 60 + 65
    assert provider.ended == ["i-1", "i-2", "i-3"]
    assert len(provider.released) == 3


def test_where_lists_show_all_there_is_a_cluster_ends_at_once(registry, monkeypatch):
    assert ended_at(registry, monkeypatch, Lagging(0.0, {0: "i-1"})) == 0


def test_a_machine_that_lives_on_keeps_its_cluster_from_having_ended(registry, monkeypatch):
    provider = Lagging(0.0, {0: "i-1"})
    calls = []

    def refuse_twice(ids, *, epoch, reason):
        calls.append(ids)
        provider.ended += ids if len(calls) > 2 else []

    provider.terminate = refuse_twice
    assert ended_at(registry, monkeypatch, provider) == 2


def test_of_a_new_ensemble_only_what_has_not_ended_is_awaited():
    ended = replace(STEP, id="s-0", state=StepState.COMPLETED)
    before = ClusterRecord(desired(), Phase.LAUNCHING, KNOWN, steps=(ended, STEP))
    seen = mirrors.Seen(desired(), KNOWN, (STEP,), 1)
    assert mirrors.merged(before, seen).phase is Phase.LIVING
    assert mirrors.merged(before, replace(seen, steps=())).phase is Phase.LAUNCHING
