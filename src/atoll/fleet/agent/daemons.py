"""Which daemons an instance runs, by its role."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.compute.sparkmaster import probe_master
from atoll.fleet.agent.children import has_children
from atoll.fleet.agent.supervisor import Answer, Supervised
from atoll.fleet.engine.archives import with_archive
from atoll.fleet.engine.daemon import Daemon as Program
from atoll.fleet.engine.ensemble import is_empty, write_marker
from atoll.fleet.engine.latch import sessions_of
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import Capacity, master_daemon, worker_daemon
from atoll.fleet.engine.spark_probe import probe_worker
from atoll.fleet.engine.zookeeper import Peer, data_folder, zookeeper_daemon
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper
from atoll.fleet.life.records import Daemon
from atoll.fleet.life.task import AgentTask
from atoll.fleet.model import Role
from atoll.fleet.providers.facts import MachineFacts

# Of an instance's memory, what the system, the agent and the daemons themselves need.
RESERVED_MIB = 1024


def peers(task: AgentTask) -> list[Peer]:
    """List the members of the ensemble."""
    return [Peer(slot.server_id, slot.address.private_ip) for slot in task.slots]


@dataclass(frozen=True)
class Setting:
    """What an instance's daemons are configured from.

    Attributes:
        facts, task: the instance.
        marker: environment by which all its processes are known.
        archives: class archives, where there are any.
    """

    facts: MachineFacts
    task: AgentTask
    marker: dict[str, str]
    archives: Path | None = None


def daemons(
    setting: Setting, *, is_first_start: bool, on_master_end: Callable[[Daemon], None]
) -> list[Supervised]:
    """Configure the daemons of an instance, in the order of their start.

    Args:
        setting: the instance.
        is_first_start: whether it never ran before: then a primary's ZooKeeper may vote, empty as
            it is. That was decided before the machine was launched; it holds once.
        on_master_end: called when a master's process is gone.

    Raises:
        Unavailable: Java or Spark is missing; the message says what to install.
    """
    java, home = find_java(os.environ), spark_home()
    facts, members = setting.facts, peers(setting.task)
    ip = facts.private_ip
    hosts_file = None if facts.has_own_hosts else Path(facts.hosts_file)
    place = Place(ip, Path(facts.disk), hosts_file)
    if setting.task.role is not Role.MASTER:
        worker = worker_daemon(members, place, _capacity(facts), java=java, home=home)
        return [_supervised(setting, worker, lambda pid: _worker(ip, pid))]
    slot = setting.task.slot_at(ip)
    assert slot is not None
    if is_first_start and is_empty(data_folder(place)):
        write_marker(data_folder(place))
    zookeeper = zookeeper_daemon(slot.server_id, members, place, java=java, home=home)
    master = master_daemon(place, java=java, home=home)
    return [
        _supervised(setting, zookeeper, lambda _: _zookeeper(ip)),
        _supervised(setting, master, lambda pid: _master(ip, pid), on_master_end, may_leave=True),
    ]


def _supervised(
    setting: Setting,
    program: Program,
    probe: Callable[[int], Answer],
    on_end: Callable[[Daemon], None] = lambda _: None,
    *,
    may_leave: bool = False,
) -> Supervised:
    if setting.archives is not None:
        program = with_archive(program, setting.archives)
    return Supervised(program, probe, setting.marker, on_end=on_end, may_leave=may_leave)


def _capacity(facts: MachineFacts) -> Capacity:
    return Capacity(cores=facts.vcpus, memory_mib=max(facts.memory_mib - RESERVED_MIB, 512))


def _zookeeper(address: str) -> Answer:
    return Answer(probe_zookeeper(address).value)


def _master(address: str, pid: int) -> Answer:
    status = probe_master(address).status
    return Answer(status, sessions=tuple(sorted(sessions_of(pid, address))))


def _worker(address: str, pid: int) -> Answer:
    health = probe_worker(address)
    # What it takes for held may be held by nobody (see `enlisting`): an executor is its child.
    busy = health.coresused if has_children(pid) else 0
    return Answer("registered" if health.masterurl else "unregistered", busy)
