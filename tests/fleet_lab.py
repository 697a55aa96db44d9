"""A fleet whose machines are only believed in: real ZooKeeper, real controller, no Spark.

Its provider keeps machines in memory. One ZooKeeper server answers at the first address of a
cluster; a thread beats all agents' hearts and ends the steps, and one runs the controller.
"""

import ipaddress
import itertools
import os
import random
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

from kazoo.client import KazooClient

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.core.errors import AtollError, NotFound
from atoll.fleet.capacity import NoFreeAddress, Pool, Subnet
from atoll.fleet.control.service import FleetService
from atoll.fleet.engine.jars import zookeeper_classpath
from atoll.fleet.life.controller import Controller
from atoll.fleet.life.records import Daemon, Heartbeat
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import Market, Role
from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.monitoring.metricstore import MetricStore
from atoll.fleet.monitoring.monitor import Monitor
from atoll.fleet.providers.port import Address, Machine, MachineState, ProviderAt
from atoll.fleet.registry import FILE, Registry
from atoll.fleet.states import StepState

SUBNETS = ("subnet-0a", "subnet-0b", "subnet-0c")
BEAT_SECONDS = 0.2
UP = {"zookeeper": Daemon("follower", is_up=True), "worker": Daemon("ALIVE", is_up=True)}


class Believed:
    """A provider of machines that are only written down."""

    name = "local"
    lag_s = 0.0

    def __init__(self, network):
        self._hosts = map(str, ipaddress.ip_network(network).hosts())
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._addresses, self._machines, self._done = {}, {}, {}
        self.free = 200

    def subnets(self, ids=()):
        # As the local cloud does: what a template names comes to be, one zone after the other.
        zones = zip(ids or SUBNETS, itertools.cycle("abc"), strict=False)
        return [Subnet(one, f"local-1{zone}", "vpc-1", False, self.free) for one, zone in zones]

    def pools(self, types, subnet_ids):
        return [Pool(t, m, s, 0.2, None) for t in types for m in Market for s in subnet_ids]

    def require(self, spec):
        pass

    def warnings(self, spec):
        return []

    def reserve(self, subnet_id, *, token, cluster_id, epoch):
        with self._lock:
            if token not in self._addresses:
                ip = next(self._hosts)
                name = f"ip-{ip.replace('.', '-')}.emr.internal"
                self._addresses[token] = (cluster_id, Address(token, subnet_id, ip, name))
            return self._addresses[token][1]

    def release(self, address_id, *, epoch):
        self._addresses.pop(address_id, None)

    def addresses(self, cluster_id):
        return [address for owner, address in self._addresses.values() if owner == cluster_id]

    def launch_primary(self, config, address, fleet_id, placement, *, token):
        with self._lock:
            if token not in self._done:
                kind = (Role.MASTER, Market.ON_DEMAND, config.instance_type)
                self._done[token] = [self._launched(kind, fleet_id, placement, address)]
            return self._machines[self._done[token][0]]

    def launch_fleet(self, request, placement, *, token):
        if self.free < request.on_demand + request.spot:
            raise NoFreeAddress("the subnet is full", subnet_id=placement.subnet_id)
        with self._lock:
            if token not in self._done:
                one = request.fleet.types[0]
                wanted = [(Market.ON_DEMAND, request.on_demand), (Market.SPOT, request.spot)]
                self._done[token] = [
                    self._launched(
                        (request.fleet.role, market, one.instance_type), request.fleet_id, placement
                    )
                    for market, units in wanted
                    for _ in range(-(-units // one.weighted_capacity))
                ]
            return [self._machines[id_] for id_ in self._done[token]]

    def _launched(self, kind, fleet_id, placement, address=None):
        role, market, instance_type = kind
        ip = address.private_ip if address else next(self._hosts)
        number = next(self._numbers)
        machine = Machine(
            id=f"i-{number:017x}",
            cluster_id=placement.cluster_id,
            fleet_id=fleet_id,
            role=role,
            market=market,
            instance_type=instance_type,
            state=MachineState.RUNNING,
            private_ip=ip,
            private_dns=f"ip-{ip.replace('.', '-')}.emr.internal",
            subnet_id=placement.subnet_id,
            zone="local-1a",
            launched_at=time.time(),
            address_id=address.id if address else None,
        )
        self._machines[machine.id] = machine
        return machine.id

    def machines(self, cluster_id):
        with self._lock:
            return [one for one in self._machines.values() if one.cluster_id == cluster_id]

    def start(self, machine_id, *, epoch):
        raise NotFound(f"machine {machine_id} cannot be started")

    def terminate(self, machine_ids, *, epoch=0, reason="test"):
        with self._lock:
            for id_ in machine_ids:
                old = self._machines[id_]
                self._machines[id_] = replace(
                    old, state=MachineState.TERMINATED, ended_at=time.time(), reason=reason
                )


@contextmanager
def zookeeper(folder, address):
    """Run one server alone, without a quorum to wait for."""
    folder.mkdir(parents=True)
    config = folder / "zoo.cfg"
    config.write_text(
        f"tickTime=500\ndataDir={folder}\nclientPort=2181\nclientPortAddress={address}\n"
        "admin.enableServer=false\nmaxSessionTimeout=4000\nminSessionTimeout=1000\n"
        "4lw.commands.whitelist=srvr\n"
    )
    program = str(find_java(os.environ).program)
    java = [program, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    main = "org.apache.zookeeper.server.ZooKeeperServerMain"
    argv = [*java, "-cp", zookeeper_classpath(spark_home()), main, str(config)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Life(threading.Thread):
    """A cluster's inside: its controller, its agents' hearts, its steps."""

    def __init__(self, provider, registry, cluster_id, folder):
        super().__init__(daemon=True)
        self._provider, self._registry, self._id = provider, registry, cluster_id
        self._folder = folder
        self.ending, self.silent = threading.Event(), set()

    def run(self):
        awaited(lambda: all(slot.address.private_ip for slot in self._desired.slots))
        address = self._desired.slots[0].address.private_ip
        with zookeeper(self._folder / self._id, address):
            client = KazooClient(f"{address}:2181", timeout=4.0)
            client.start(timeout=60)
            client.ensure_path("/fleet/hearts")
            self._live(ClusterStore(client))
            client.stop()
            client.close()

    def _live(self, store):
        threading.Thread(target=self._control, args=(store,), daemon=True).start()
        beats = itertools.count()
        while not self.ending.wait(BEAT_SECONDS):
            with suppress(AtollError):
                self._beat(store, next(beats))
                self._work(store)

    @property
    def _desired(self):
        return self._registry.get(self._id).desired

    def _control(self, store):
        with suppress(AtollError):
            controller = Controller(store, self._provider, "i-controller")
            controller.run(self._desired, lambda: not self.ending.is_set())

    def _beat(self, store, number):
        for machine in self._provider.machines(self._id):
            if machine.is_alive and machine.id not in self.silent:
                store.beat(Heartbeat(machine.id, number, "ready", daemons=UP))

    def _work(self, store):
        following = {StepState.PENDING: StepState.RUNNING, StepState.RUNNING: StepState.COMPLETED}
        for step in store.steps():
            if step.state in following and step.spec.name != "waits":
                state, now = following[step.state], time.time()
                store.change_step(
                    step.id, lambda old, s=state, t=now: replace(old, state=s, ended_at=t)
                )


class Lab:
    """A fleet, and a life for each of its clusters."""

    def __init__(self, folder, notified=()):
        self.folder, self.registry = folder, Registry(folder / FILE)
        network = f"127.{random.randint(20, 250)}.{random.randint(1, 250)}.0/24"
        self.provider = Believed(network)
        self.metrics, self.alarms = MetricStore(folder / FILE), AlarmStore(folder / FILE)
        self.monitor = Monitor(self.registry, self.metrics, self.alarms, notified)
        at = ProviderAt("local", "nowhere:1")
        self.fleet = FleetService(self.provider, at, self.registry, self.monitor, self.alarms)
        self.lives = {}

    def live(self, cluster_id):
        """Let a cluster live; wait until it can be worked with."""
        self.lives[cluster_id] = Life(self.provider, self.registry, cluster_id, self.folder)
        self.lives[cluster_id].start()
        self.await_state(cluster_id, "WAITING", "RUNNING")
        return cluster_id

    def primaries(self, cluster_id):
        """Return the living machines of the primaries, by address."""
        machines = self.provider.machines(cluster_id)
        alive = [one for one in machines if one.is_alive and one.role is Role.MASTER]
        return sorted(alive, key=lambda one: one.private_ip)

    def await_state(self, cluster_id, *states):
        awaited(lambda: self.registry.get(cluster_id).known.status.state.value in states)

    def close(self):
        for life in self.lives.values():
            life.ending.set()
            life.join()
        for one in (self.fleet, self.metrics, self.alarms, self.registry):
            one.close()


def awaited(is_so, seconds=60):
    """Wait until something is so; what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)
    return found
