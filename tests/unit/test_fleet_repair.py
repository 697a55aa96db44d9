"""Whom a repair takes for one that holds the state, and whom it lets in."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fleet_world import desired

from atoll.core.errors import Conflict
from atoll.fleet.capacity import InsufficientCapacity
from atoll.fleet.control import repair as module
from atoll.fleet.control.launching import launch_primaries
from atoll.fleet.control.repair import Repairer
from atoll.fleet.life.records import ClusterStatus, Event, InstanceRecord, Known
from atoll.fleet.model import Market, Role
from atoll.fleet.providers.port import Machine, MachineState
from atoll.fleet.registry import ClusterRecord, Phase, Registry
from atoll.fleet.states import ClusterState, InstanceState

RUNNING, STOPPED, TERMINATED = MachineState.RUNNING, MachineState.STOPPED, MachineState.TERMINATED


class Cloud:
    """Three primaries' machines, by state; what is launched runs and serves nobody."""

    def __init__(self, *states, capacity=9):
        self.capacity = capacity
        self.list = [
            machine(f"i-{number}", number, state, "first", launched_at=100.0)
            for number, state in enumerate(states, start=1)
        ]

    def reserve(self, _, *, token, **more):
        number = int(token.removeprefix("j-1-primary"))
        return desired().slots[number - 1].address

    def machines(self, _):
        return self.list

    def start(self, machine_id, *, epoch):
        self._become(machine_id, RUNNING)

    def terminate(self, machine_ids, *, epoch, reason):
        for id_ in machine_ids:
            self._become(id_, TERMINATED)

    def launch_primary(self, _, address, *more, token):
        known = [one for one in self.list if one.token == token]
        if known:
            return known[0]
        if self.capacity < 1:
            raise InsufficientCapacity("no capacity")
        self.capacity -= 1
        number = int(address.id.removeprefix("eni-"))
        id_ = f"i-new-{number}"
        while any(one.id == id_ for one in self.list):
            id_ += "-again"
        new = replace(machine(id_, number, RUNNING, ""), token=token)
        self.list = [*self.list, new]
        return new

    def _become(self, machine_id, state):
        self.list = [
            replace(one, state=state) if one.id == machine_id else one for one in self.list
        ]

    def running(self):
        return sorted(one.id for one in self.list if one.state is RUNNING)


def machine(id_, number, state, order, launched_at=None):
    return Machine(
        id=id_, cluster_id="j-1", fleet_id="if-p", role=Role.MASTER, market=Market.ON_DEMAND,
        instance_type="m5.xlarge", state=state, private_ip=f"10.0.0.{number}", private_dns="x",
        subnet_id="subnet-1", zone="zone-a", launched_at=launched_at or time.time(),
        address_id=f"eni-{number}", token=f"j-1-primary{number}-{order}",
    )  # fmt: skip


def served(one):
    state = InstanceState.RUNNING
    return InstanceRecord(f"c{one.id}", one, state, created_at=0.0, ready_at=1.0)


@pytest.fixture
def registry(tmp_path):
    opened = Registry(tmp_path / "control.sqlite")
    founders = {f"i-{n}": served(machine(f"i-{n}", n, RUNNING, "first")) for n in (1, 2, 3)}
    known = Known(ClusterStatus(ClusterState.WAITING, created_at=0.0), founders)
    opened.add(ClusterRecord(desired(), Phase.LIVING, known), Event(0.0, "BEGUN", "j-1", "begun"))
    yield opened
    opened.close()


@pytest.fixture
def repair(monkeypatch, registry):
    monkeypatch.setattr(module, "QUORUM_SECONDS", 0.0)
    mirror, awaited_since = SimpleNamespace(is_connected=False), {}

    def run(cloud, from_backup=False, after_s=0.0):
        run.now += after_s
        repairer = Repairer(
            cloud,
            registry,
            registry.get("j-1"),
            mirror,
            awaited_since=awaited_since,
            clock=lambda: run.now,
        )
        return repairer.run(from_backup=from_backup)

    run.now = 1000.0
    return run


def test_one_empty_server_is_let_in_beside_the_one_that_holds_the_state(repair):
    cloud = Cloud(TERMINATED, TERMINATED, RUNNING)
    assert "takes the state from server 3" in repair(cloud).did[0]
    assert cloud.running() == ["i-3", "i-new-1"]


def test_a_second_repair_waits_for_the_one_that_was_let_in(repair):
    cloud = Cloud(TERMINATED, TERMINATED, RUNNING)
    repair(cloud)
    again = repair(cloud)
    assert again.did == ("primary 1: i-new-1 was let in, starts",)
    assert (again.has_quorum, cloud.running()) == (False, ["i-3", "i-new-1"])


def test_one_that_was_let_in_and_never_came_is_ended_before_another_is(repair):
    cloud = Cloud(TERMINATED, TERMINATED, RUNNING)
    repair(cloud)
    assert repair(cloud, after_s=590).did == ("primary 1: i-new-1 was let in, starts",)
    assert "i-new-1-again launched empty" in repair(cloud, after_s=20).did[0]
    assert cloud.running() == ["i-3", "i-new-1-again"]


@pytest.mark.parametrize("launched_at", [100.0, 1e12])
def test_a_clock_that_jumps_neither_ends_nor_keeps_one_that_was_let_in(repair, launched_at):
    cloud = Cloud(TERMINATED, TERMINATED, RUNNING)
    cloud.list.append(machine("i-in", 2, RUNNING, "repair1", launched_at=launched_at))
    for _ in range(2):
        assert repair(cloud, after_s=300).did == ("primary 2: i-in was let in, starts",)
    repair(cloud, after_s=400)
    assert "i-in" not in cloud.running()


def test_disks_that_were_kept_are_started_before_anything_is_launched(repair):
    cloud = Cloud(STOPPED, STOPPED, RUNNING)
    repaired = repair_or_conflict(repair, cloud)
    assert "no primary is lost" in repaired
    assert cloud.running() == ["i-1", "i-2", "i-3"]


def test_without_a_disk_it_begins_anew_only_when_told_to_and_ends_who_was_let_in(repair):
    cloud = Cloud(TERMINATED, TERMINATED, TERMINATED)
    cloud.list.append(machine("i-in", 1, RUNNING, "repair1"))
    assert "--from-backup" in repair_or_conflict(repair, cloud)
    assert cloud.running() == ["i-in"]
    assert len(repair(cloud, from_backup=True).did) == 3
    assert cloud.running() == ["i-new-1", "i-new-2", "i-new-3"]


@pytest.mark.parametrize("from_backup", [False, True])
@pytest.mark.parametrize("others", [(TERMINATED, TERMINATED), (RUNNING, TERMINATED)])
def test_one_that_may_have_served_while_nobody_looked_is_kept(repair, others, from_backup):
    cloud = Cloud(TERMINATED, *others)
    cloud.list.append(machine("i-x", 1, RUNNING, "1-after-i-1"))
    before = cloud.running()
    assert "server 1 may hold" in repair_or_conflict(repair, cloud, from_backup)
    assert cloud.running() == before


def test_one_that_was_let_in_may_hold_the_state_once_a_controller_acted_after_it(repair):
    cloud = Cloud(TERMINATED, TERMINATED, TERMINATED)
    cloud.list.append(machine("i-in", 1, RUNNING, "repair1", launched_at=200.0))
    cloud.list.append(machine("i-lost", 2, TERMINATED, "1-after-i-2", launched_at=300.0))
    assert "server 1 may hold" in repair_or_conflict(repair, cloud, from_backup=True)
    assert cloud.running() == ["i-in"]


def test_a_new_ensemble_is_written_down_before_its_first_machine_is_launched(repair, registry):
    cloud = Cloud(TERMINATED, TERMINATED, TERMINATED, capacity=2)
    with pytest.raises(InsufficientCapacity):
        repair(cloud, from_backup=True)
    record = registry.get("j-1")
    assert (record.phase, record.anew, len(cloud.running())) == (Phase.LAUNCHING, 1, 2)
    cloud.capacity = 1
    launch_primaries(cloud, registry, record)
    assert cloud.running() == ["i-new-1", "i-new-2", "i-new-3"]


def test_machines_of_a_new_ensemble_that_nobody_saw_in_service_are_kept(repair, registry):
    cloud = Cloud(TERMINATED, TERMINATED, TERMINATED)
    repair(cloud, from_backup=True)
    registry.change("j-1", lambda old: replace(old, phase=Phase.LIVING))
    assert "server 1, 2, 3 may hold" in repair_or_conflict(repair, cloud, from_backup=True)
    assert len(cloud.running()) == 3


def repair_or_conflict(repair, cloud, from_backup=False):
    with pytest.raises(Conflict) as refused:
        repair(cloud, from_backup)
    return str(refused.value)
