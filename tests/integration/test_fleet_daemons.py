"""Real ZooKeepers and Sparks on loopback addresses: what they keep, refuse, and listen on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from fleet_world import World, desired
from kazoo.client import KazooClient
from listening import listening, written

from atoll.compute.asking import ask
from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import AtollError, Conflict
from atoll.fleet.engine.ensemble import is_empty, write_marker
from atoll.fleet.engine.latch import release_latches, sessions_of
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import Capacity, master_daemon, master_url, worker_daemon
from atoll.fleet.engine.spark_probe import probe_worker
from atoll.fleet.engine.zookeeper import (
    CLIENT_PORT,
    Peer,
    connect_string,
    data_folder,
    zookeeper_daemon,
)
from atoll.fleet.engine.zookeeper_probe import Mode, probe_zookeeper
from atoll.fleet.life.store import ClusterStore

PEERS = [Peer(number, f"127.66.20.{number}") for number in (1, 2, 3)]
CORE_NODE, DRIVER = "127.66.20.101", "127.66.20.201"
# Starting a driver takes five times as long where others work, too.
DEADLINE_SECONDS = 300
JOB = """
import sys
from pyspark import SparkConf, SparkContext
driver, master = sys.argv[1:]
conf = SparkConf().setMaster(master).setAppName("job").set("spark.ui.enabled", "false")
conf.set("spark.driver.host", driver).set("spark.driver.bindAddress", driver)
conf.set("spark.executor.memory", "512m")
with SparkContext(conf=conf) as context:
    print("sum", context.parallelize(range(10), 2).sum())
"""


class Machine:
    """Daemons of one ensemble, each instance a folder and an address."""

    def __init__(self, root):
        self.root = root
        self.java, self.home = find_java(os.environ), spark_home()
        self.processes = {}

    def place(self, address):
        return Place(address, self.root / address)

    def zookeeper(self, peer):
        place = self.place(peer.address)
        daemon = zookeeper_daemon(peer.server_id, PEERS, place, java=self.java, home=self.home)
        self.start(daemon, peer.address)

    def master(self, peer):
        place = self.place(peer.address)
        self.start(master_daemon(place, java=self.java, home=self.home), peer.address)

    def worker(self, address):
        place, offer = self.place(address), Capacity(1, 1024)
        self.start(worker_daemon(PEERS, place, offer, java=self.java, home=self.home), address)

    def start(self, daemon, address):
        daemon.prepare()
        output = (self.root / f"{daemon.name}-{address}.out").open("ab")
        with output:
            self.processes[daemon.name, address] = subprocess.Popen(
                daemon.argv, env=dict(daemon.env), stdout=output, stderr=output
            )

    def kill(self, name, address, how=signal.SIGKILL):
        process = self.processes.pop((name, address))
        process.send_signal(how)
        process.wait()
        return process.pid

    def wipe(self, peer):
        self.kill("zookeeper", peer.address)
        shutil.rmtree(data_folder(self.place(peer.address)))

    def mark(self, peer):
        folder = data_folder(self.place(peer.address))
        assert is_empty(folder)
        write_marker(folder)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    machine = Machine(tmp_path_factory.mktemp("instances"))
    try:
        for peer in PEERS:
            machine.mark(peer)
            machine.zookeeper(peer)
        until(is_whole)
        yield machine
    finally:
        for name, address in list(machine.processes):
            machine.kill(name, address)


@pytest.fixture
def precious(machine):
    """A node that must never be lost."""
    with_client(lambda client: client.ensure_path("/precious"))


def until(is_so):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{is_so} never came true"
        time.sleep(0.1)


def told(probe, address):
    try:
        return probe(address)
    except AtollError:
        return None


def modes(peers=PEERS):
    return [told(probe_zookeeper, peer.address) for peer in peers]


def is_whole():
    seen = dict(zip(PEERS, modes(), strict=True))
    leaders = [peer for peer, mode in seen.items() if mode is Mode.LEADER]
    return None not in seen.values() and [told(synced, one.address) for one in leaders] == [2]


def synced(address):
    """A leader counts a follower only when that one is up to date."""
    answer = ask(address, CLIENT_PORT, b"mntr", what="ZooKeeper").decode()
    found = re.search(r"^zk_synced_followers\t(\d+)", answer, re.MULTILINE)
    return found and int(found[1])  # it may have stopped leading just now


def with_client(use, hosts=PEERS):
    client = KazooClient(connect_string(hosts), timeout=4)
    client.start(timeout=DEADLINE_SECONDS)
    try:
        return use(client)
    finally:
        client.stop()
        client.close()


def active():
    seen = {peer: told(probe_master, peer.address) for peer in PEERS}
    return [peer for peer, health in seen.items() if health and health.is_active]


def test_wiped_replacement_with_marker_joins_and_has_the_data(machine, precious):
    machine.wipe(PEERS[0])
    machine.mark(PEERS[0])
    machine.zookeeper(PEERS[0])
    until(is_whole)
    assert with_client(lambda client: client.exists("/precious"), hosts=PEERS[:1])


def test_rolling_restart_keeps_the_data(machine, precious):
    for peer in PEERS:
        machine.kill("zookeeper", peer.address, signal.SIGTERM)
        machine.zookeeper(peer)
        until(is_whole)
    assert with_client(lambda client: client.exists("/precious"))


def test_two_wiped_replacements_without_marker_never_serve_and_one_with_it_does(machine, precious):
    machine.kill("zookeeper", PEERS[2].address)
    for peer in PEERS[:2]:
        machine.wipe(peer)
        machine.zookeeper(peer)
    until(lambda: modes(PEERS[:2]) == [Mode.NOT_SERVING] * 2)
    # Long enough for several elections: one takes less than half a second.
    for _ in range(20):
        assert modes(PEERS[:2]) == [Mode.NOT_SERVING] * 2
        time.sleep(0.2)
    machine.zookeeper(PEERS[2])
    for peer in PEERS[:2]:
        machine.wipe(peer)
        machine.mark(peer)
        machine.zookeeper(peer)
        until(lambda peer=peer: modes([peer])[0] in {Mode.LEADER, Mode.FOLLOWER})
    until(is_whole)
    assert with_client(lambda client: client.exists("/precious"))


@pytest.mark.usefixtures("machine")
def test_controller_of_an_older_epoch_writes_nothing_more():
    world = World(desired())
    world.run(2)
    before = world.known
    world.run(20)
    after = world.known
    assert before.status != after.status
    assert before.instances != after.instances

    def hand_over(old, new):
        old.prepare()
        first = old.next_epoch()
        old.save(before, None, epoch=first)
        second = new.next_epoch()
        with pytest.raises(Conflict, match="another controller took over"):
            old.save(after, before, epoch=first)
        assert new.known() == before
        new.save(after, before, epoch=second)
        assert new.known() == after  # the other's server may still lag behind

    with_client(
        lambda one: with_client(lambda other: hand_over(ClusterStore(one), ClusterStore(other)))
    )


@pytest.mark.nightly
def test_leadership_of_a_reaped_master_is_taken_and_work_goes_on(machine):
    for peer in PEERS[:2]:
        machine.master(peer)
    until(active)
    machine.worker(CORE_NODE)
    until(lambda: (health := told(probe_worker, CORE_NODE)) and health.masterurl)
    for (_, address), process in machine.processes.items():
        assert listening(process.pid) <= written(address)

    [first] = active()
    sessions = sessions_of(machine.processes["master", first.address].pid, first.address)
    machine.kill("master", first.address)
    assert len(with_client(lambda client: release_latches(client, sessions))) == 1
    until(lambda: active() not in ([], [first]))
    [second] = active()
    assert [worker.state for worker in probe_master(second.address).workers] == ["ALIVE"]
    assert run_job() == "sum 45"


def run_job():
    done = subprocess.run(
        [sys.executable, "-c", JOB, DRIVER, master_url(PEERS)],
        env={**os.environ, "SPARK_LOCAL_IP": DRIVER, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    return done.stdout.splitlines()[-1]
