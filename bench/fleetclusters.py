"""Whole clusters for tests and benches: a host of its own, its faults, what is awaited.

Nothing here measures: every wait has a deadline that only a hopeless cluster reaches.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kazoo.client import KazooClient

from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import AtollError, NotFound
from atoll.fleet.control.repair import Repair
from atoll.fleet.control.service import Resize
from atoll.fleet.engine.zookeeper import CLIENT_PORT
from atoll.fleet.engine.zookeeper_probe import Mode, probe_zookeeper
from atoll.fleet.host.client import FleetClient
from atoll.fleet.host.garbage import remove
from atoll.fleet.host.home import LOG, serving, token_of
from atoll.fleet.host.server import CLOUD
from atoll.fleet.life.records import Event, Fleet, Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import Role, StepSpec
from atoll.fleet.providers.local.claims import home_key
from atoll.fleet.providers.local.privileges import is_privileged
from atoll.fleet.providers.local.processes import marked
from atoll.fleet.registry import ClusterRecord, Phase
from atoll.fleet.spec.short import parse_short
from atoll.fleet.states import InstanceState, StepState
from bench import fleetjob
from bench.fleetwatch import Watched

DEADLINE_SECONDS = 300
PROVIDER = "auto" if is_privileged() else "loopback"
"""Machines that can be asked from here: those of a user's namespaces cannot."""
MASTER, ZOOKEEPER, AGENT = "deploy.master.Master", "QuorumPeerMain", "atoll.fleet.agent"
WORKER = "deploy.worker.Worker"
"""What tells a machine's processes by their command lines."""
SMALL = """
name: {name}
primary: 3 x m5.xlarge
core: {{on_demand: 1, types: {{m5.xlarge: 1}}}}
health: {{primary_grace_s: 3, worker_grace_s: 3}}
spark: {{spark.executor.memory: 512m, spark.ui.enabled: "false"}}
"""
"""The least that is highly available; grave illness is told from a hiccup after seconds."""


def await_(what, look, seconds=DEADLINE_SECONDS):
    """Look until what is seen is true, and return it; what cannot be seen now is looked for on."""
    deadline = time.monotonic() + seconds
    seen = "nothing"
    while time.monotonic() < deadline:
        try:
            if seen := look():
                return seen
        except AtollError as error:
            seen = error
        time.sleep(0.2)
    raise AssertionError(f"{what} did not come within {seconds} s; seen last: {seen}")


@contextmanager
def fleet_host(home, provider=PROVIDER, prefix=()):
    """Serve a home from a process of its own; all that was made for it is gone afterwards.

    `prefix` is a command that starts another, such as setpriv.
    """
    host = Host(Path(home), provider, prefix)
    try:
        host.start()
        yield host
    finally:
        remove(host.home, everything=True)
        host.process.wait()
        assert not host.left()


@contextmanager
def small_cluster(home, name="small", **more):
    """Yield a small cluster that can work, alone on a host of its own."""
    with fleet_host(home) as host:
        yield host.create(SMALL.format(name=name), **more).ready()


class Host:
    """A fleet host that can be killed and started again."""

    def __init__(self, home, provider, prefix=()):
        self.home, self.provider, self.prefix = home, provider, prefix
        self.process = None

    @property
    def client(self):
        found = serving(self.home)
        if found is None:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the host ended ({self.process.poll()}): {self.log}")
            raise NotFound(f"no host serves {self.home}")
        return FleetClient(found.url, token_of(self.home))

    @property
    def is_walled_off(self):
        """Whether it has entered namespaces of its own, as without root, and we are outside."""
        found = serving(self.home)
        networks = [f"/proc/{pid}/ns/net" for pid in ("self", found.pid if found else "self")]
        return len({Path(one).stat().st_ino for one in networks}) == 2

    @property
    def log(self):
        return (self.home / LOG).read_text(errors="replace")

    def start(self):
        """Start its process, and wait until it answers."""
        self.home.mkdir(exist_ok=True)
        options = ["--home", str(self.home), "--provider", self.provider]
        command = [*self.prefix, sys.executable, "-m", "atoll", "fleet", "serve", *options]
        with (self.home / LOG).open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

        def answers():
            assert self.process.poll() is None, self.log
            found = serving(self.home)
            return found and found.pid == self.process.pid

        await_("the host", answers)

    def kill(self):
        """End its process as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def create(self, text, **more):
        """Create a cluster; `more` of the short form, a line of YAML by key."""
        text += "".join(f"{key}: {value}\n" for key, value in more.items())
        spec = parse_short(text).spec
        return Cluster(self, self.client.call("create", ClusterRecord, spec=spec).id)

    def left(self):
        """Return what runs of this home's machines."""
        return marked(home_key(self.home / CLOUD))


class Cluster:
    """One cluster, as its user sees it."""

    def __init__(self, host, id_):
        self.host, self.id = host, id_

    def call(self, name, kind=object, **args):
        return self.host.client.call(name, kind, cluster_id=self.id, **args)

    @property
    def record(self):
        return self.call("cluster", ClusterRecord)

    @property
    def state(self):
        return self.record.known.status.state

    def events(self, kind=""):
        found = self.call("events", list[Event])
        return [one.message for one in found if kind in one.kind]

    def ready(self):
        def seen():
            record = self.record
            assert record.phase in (Phase.LAUNCHING, Phase.LIVING), record.known.status
            return record.known.status.state.is_ready and self.is_whole()

        await_("a cluster that can work", seen)
        return self

    def instances(self, role=None):
        """Return all instances, those that ended too, the newest first."""
        records = self.record.known.instances.values()
        found = [one for one in records if role in (None, one.machine.role)]
        return sorted(found, key=lambda one: -one.machine.launched_at)

    def serving(self, role):
        return [one for one in self.instances(role) if one.state is InstanceState.RUNNING]

    def primaries(self):
        """Return the machine in service at each primary's address."""
        return {one.machine.private_ip: one.machine for one in self.serving(Role.MASTER)}

    def is_whole(self):
        """Whether three primaries serve, one of them active, and every fleet has its target.

        Where masters can be asked they are: what is on record may be from before a loss.
        """
        fleets = self.record.known.status.fleets.values()
        are_running = all(one.state.value == "RUNNING" for one in fleets)
        if not are_running or len(self.primaries()) != 3:
            return False
        if self.host.is_walled_off:
            return self.active() is not None
        return sorted(self.masters().values()) == ["ALIVE", "STANDBY", "STANDBY"]

    def masters(self):
        """Ask every primary's master for its status; one that does not answer has none."""
        return {slot.address.private_ip: _status(slot) for slot in self.record.desired.slots}

    def active(self):
        """Return the address of the active master; None: none says it is.

        Masters that cannot be reached from here are active where the cluster says so.
        """
        if self.host.is_walled_off:
            found = [one for one in self.serving(Role.MASTER) if one.is_active]
            return next((one.machine.private_ip for one in found), None)
        return next((ip for ip, status in self.masters().items() if status == "ALIVE"), None)

    def active_machine(self):
        return self.primaries()[await_("an active master", self.active)]

    def standby_machine(self):
        active = self.active_machine()
        return next(one for one in self.primaries().values() if one.id != active.id)

    def leader_machine(self):
        """Return the machine of ZooKeeper's leader."""
        primaries = self.primaries()
        return await_(
            "a leader",
            lambda: next((one for ip, one in primaries.items() if _leads(ip)), None),
        )

    def controller_machine(self):
        """Return the machine whose agent is the elected controller."""

        def seen():
            with self.store() as store:
                first = store.candidates()[:1]
            return next((one for one in self.primaries().values() if [one.id] == first), None)

        return await_("a controller", seen)

    @contextmanager
    def store(self):
        """Open the cluster's own records, whatever the host has written."""
        slots = self.record.desired.slots
        client = KazooClient(",".join(f"{one.address.private_ip}:{CLIENT_PORT}" for one in slots))
        client.start(timeout=30)
        try:
            yield ClusterStore(client)
        finally:
            client.stop()
            client.close()

    def zookeepers_word(self):
        """Return what the cluster itself says cannot be done."""
        with self.store() as store:
            return "; ".join(store.known().status.blocked.values())

    def fault(self, kind, machine, **args):
        return self.host.client.call(f"faults.{kind}", object, machine_id=machine.id, **args)

    def repair(self, *, from_backup=False):
        return self.call("repair", Repair, from_backup=from_backup)

    def fleet(self, role):
        return next(one for one in self.record.desired.fleets if one.spec.role is role)

    def resize(self, role, **targets):
        wanted = Resize(self.fleet(role).id, **targets)
        return self.call("resize", Fleet, resize=wanted)

    def submit(self, *args, name="step", **more):
        spec = StepSpec(name, tuple(map(str, args)), **more)
        return self.call("add_steps", list[str], specs=[spec])[0]

    def step(self, id_):
        return next(one for one in self.call("steps", list[Step]) if one.id == id_)

    def step_in(self, id_, *states):
        """Wait until a step is in one of the states, and return it."""

        def seen():
            step = self.step(id_)
            assert not step.state.is_over or step.state in states, step
            return step if step.state in states else None

        return await_(f"step {id_} {states}", seen)

    def completed(self, id_):
        return self.step_in(id_, StepState.COMPLETED)

    def replaced(self, old):
        """Wait until a machine has ended and another serves whole in its place; return that."""

        def seen():
            now = self.primaries().get(old.private_ip)
            return now if now and now.id != old.id and self.is_whole() else None

        new = await_(f"the replacement of {old.id}", seen)
        states = {one.machine.id: one.state for one in self.instances(Role.MASTER)}
        assert states[old.id] is InstanceState.TERMINATED
        assert (new.private_ip, new.private_dns) == (old.private_ip, old.private_dns)
        return new

    def terminate(self):
        """Lift the protection, end the cluster, and wait until it is over."""
        self.call("protect", is_protected=False)
        self.call("terminate")
        await_("the end", lambda: self.record.phase is Phase.ENDED)

    def watched(self, every_s=0.2):
        """Watch which masters are active while a block runs; see `bench.fleetwatch`."""
        return Watched(self.host.home / CLOUD, self.id, every_s)

    def read(self, machine, name):
        """Read a file of a machine's disk."""
        path = self.host.home / CLOUD / "machines" / machine.id / "disk" / name
        return path.read_text(errors="replace") if path.exists() else ""


def _status(slot):
    try:
        return probe_master(slot.address.private_ip).status
    except AtollError:
        return ""


def _leads(ip):
    try:
        return probe_zookeeper(ip) is Mode.LEADER
    except AtollError:
        return False


def atoll(home, *args):
    """Run the command line against a home; return its status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "atoll", "fleet", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "ATOLL_FLEET_HOME": str(home)},
    )
    return done.returncode, done.stdout + done.stderr


@dataclass
class Job:
    """A Spark job under way as a step; see `bench.fleetjob`."""

    cluster: Cluster
    out: Path
    partitions: int
    step_id: str = ""

    def submitted(self, seconds=1):
        """Hand it in; each of its tasks takes so many seconds."""
        script = Path(fleetjob.__file__)
        self.step_id = self.cluster.submit(
            "spark-submit", script, self.out, self.partitions, seconds, name="job"
        )
        return self

    def begun(self):
        """Hand it in, and wait until one of its tasks runs."""
        self.submitted()
        await_("a task of the job", self._has_executor)
        return self

    def _has_executor(self):
        active = self.cluster.active()
        return active and any(one.coresused for one in probe_master(active).workers)

    def is_exact(self):
        """Wait until it ended; whether no row was lost or doubled."""
        self.cluster.completed(self.step_id)
        rows = fleetjob.ROWS * self.partitions
        return self.out.read_text() == f"{rows} {sum(range(rows))}"
