"""Which daemons an instance runs, by its role."""

from __future__ import annotations

import os
from pathlib import Path

from atoll.fleet.agent.supervisor import Answer, Supervised
from atoll.fleet.engine.ensemble import is_empty, write_marker
from atoll.fleet.engine.jars import spark_home
from atoll.fleet.engine.java import find_java
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import Capacity, master_daemon, worker_daemon
from atoll.fleet.engine.spark_probe import probe_master, probe_worker
from atoll.fleet.engine.zookeeper import Peer, data_folder, zookeeper_daemon
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper
from atoll.fleet.life.task import AgentTask
from atoll.fleet.model import Role
from atoll.fleet.providers.facts import MachineFacts

# Of an instance's memory, what the system, the agent and the daemons themselves need.
RESERVED_MIB = 1024


def peers(task: AgentTask) -> list[Peer]:
    """List the members of the ensemble."""
    return [Peer(slot.server_id, slot.address.private_ip) for slot in task.slots]


def daemons(
    facts: MachineFacts, task: AgentTask, marker: dict[str, str], *, is_first_start: bool
) -> list[Supervised]:
    """Configure the daemons of an instance, in the order of their start.

    Args:
        facts, task: the instance.
        marker: environment by which all its processes are known.
        is_first_start: whether it never ran before: then a primary's ZooKeeper may vote, empty as
            it is. That was decided before the machine was launched; it holds once.

    Raises:
        Unavailable: Java or Spark is missing; the message says what to install.
    """
    java, home = find_java(os.environ), spark_home()
    hosts_file = None if facts.has_own_hosts else Path(facts.hosts_file)
    place = Place(facts.private_ip, Path(facts.disk), hosts_file)
    if task.role is not Role.MASTER:
        worker = worker_daemon(peers(task), place, _capacity(facts), java=java, home=home)
        return [Supervised(worker, lambda: _worker(facts.private_ip), marker)]
    slot = task.slot_at(facts.private_ip)
    assert slot is not None
    if is_first_start and is_empty(data_folder(place)):
        write_marker(data_folder(place))
    zookeeper = zookeeper_daemon(slot.server_id, peers(task), place, java=java, home=home)
    master = master_daemon(peers(task), place, java=java, home=home)
    return [
        Supervised(zookeeper, lambda: _zookeeper(facts.private_ip), marker),
        Supervised(master, lambda: _master(facts.private_ip), marker),
    ]


def _capacity(facts: MachineFacts) -> Capacity:
    return Capacity(cores=facts.vcpus, memory_mib=max(facts.memory_mib - RESERVED_MIB, 512))


def _zookeeper(address: str) -> Answer:
    return Answer(probe_zookeeper(address).mode.value)


def _master(address: str) -> Answer:
    return Answer(probe_master(address).status)


def _worker(address: str) -> Answer:
    health = probe_worker(address)
    return Answer("registered" if health.masterurl else "unregistered", health.coresused)
