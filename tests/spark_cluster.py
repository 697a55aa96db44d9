"""A real Spark cluster for tests, on loopback addresses of its own: no agents, no controller."""

import os
import random
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from atoll.compute.java import find_java
from atoll.compute.sparkhome import spark_home
from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import AtollError
from atoll.fleet.engine.ensemble import write_marker
from atoll.fleet.engine.place import Place
from atoll.fleet.engine.spark import Capacity, master_daemon, master_url, worker_daemon
from atoll.fleet.engine.zookeeper import Peer, data_folder, zookeeper_daemon
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper

DEADLINE_SECONDS = 300


@dataclass
class SparkCluster:
    """Its daemons, by name and address."""

    folder: Path
    peers: list[Peer]
    workers: list[str]
    cores: int
    processes: dict[tuple[str, str], subprocess.Popen] = field(default_factory=dict)

    @property
    def url(self):
        return master_url(self.peers)

    def start(self):
        how = {"java": find_java(os.environ), "home": spark_home()}
        for peer in self.peers:
            place = Place(peer.address, self.folder / peer.address)
            write_marker(data_folder(place))
            self.run(zookeeper_daemon(peer.server_id, self.peers, place, **how), peer.address)
        until(lambda: all(probe_zookeeper(peer.address).is_serving for peer in self.peers))
        for peer in self.peers:
            place = Place(peer.address, self.folder / peer.address)
            self.run(master_daemon(place, **how), peer.address)
        for address in self.workers:
            self.start_worker(address)
        until(lambda: self.alive_workers() == len(self.workers))

    def start_worker(self, address):
        how = {"java": find_java(os.environ), "home": spark_home()}
        place = Place(address, self.folder / address)
        self.run(worker_daemon(self.peers, place, Capacity(self.cores, 1024), **how), address)

    def run(self, daemon, address):
        daemon.prepare()
        self.processes[daemon.name, address] = subprocess.Popen(
            daemon.argv,
            env=dict(daemon.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def active(self):
        """The address of the active master; None while there is none."""
        for peer in self.peers:
            try:
                if probe_master(peer.address).is_active:
                    return peer.address
            except AtollError:
                continue
        return None

    def alive_workers(self):
        address = self.active()
        if address is None:
            return 0
        return sum(worker.state == "ALIVE" for worker in probe_master(address).workers)

    def kill(self, name, address):
        """End a daemon and all that it started, at once."""
        process = self.processes.pop((name, address))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pid in living_below(self.folder / address):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self):
        for name, address in list(self.processes):
            self.kill(name, address)


def living_below(folder):
    """Processes whose working folder is below a folder: executors have groups of their own."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink().is_relative_to(folder):
                found.append(int(link.parent.name))
        except OSError:
            continue
    return found


def until(is_there):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            if is_there():
                return
        except AtollError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not come up")


@contextmanager
def spark_cluster(folder, *, primaries=1, workers=2, cores=1):
    """A cluster that runs; gone at the end."""
    net = f"127.{random.randrange(80, 200)}.{random.randrange(1, 250)}"
    peers = [Peer(number, f"{net}.{number}") for number in range(1, primaries + 1)]
    addresses = [f"{net}.{number}" for number in range(11, 11 + workers)]
    cluster = SparkCluster(folder, peers, addresses, cores)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
