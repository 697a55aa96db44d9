"""Watches which Spark masters say that they are active: two at the same instant must never be.

Each master is asked from inside its own machine, so that one that is cut off is heard, too. Between
two answers "ALIVE" in a row it is taken to have been active; only certain overlaps are counted. Who
cannot look into each machine does not know that there was one master: that is an error.
"""

import ctypes
import os
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import combinations, groupby
from pathlib import Path

from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import AtollError
from atoll.fleet.model import Role
from atoll.fleet.providers.local.inventory import FILE, Inventory, Process
from atoll.fleet.providers.local.processes import is_running

_CLONE_NEWNET = 0x40000000


@dataclass
class Reign:
    """One master's time as the active one, as far as its answers tell.

    Attributes:
        machine_id: whose master.
        first: when its first answer had come.
        last: when the question was asked to which its last answer came.
    """

    machine_id: str
    first: float
    last: float


@dataclass
class Watched:
    """Watches the masters of a cluster while a block runs.

    Attributes:
        home: the local cloud's.
        cluster_id: the cluster.
        every_s: how often each is asked.
        reigns: what was seen.
        unseen: machines that could not be looked into, or all of them, and why.
    """

    home: Path
    cluster_id: str
    every_s: float
    reigns: list[Reign] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: dict[Process, threading.Thread] = field(default_factory=dict)

    def __enter__(self):
        self._thread = threading.Thread(target=self._find_machines, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        for thread in self._threads.values():
            thread.join()

    def doubles(self):
        """Return the pairs of machines that were active at the same instant.

        Raises:
            AssertionError: some were not looked into.
        """
        assert not self.unseen, f"nobody knows which masters were active: {self.unseen}"
        return [
            (one, other)
            for one, other in combinations(self.reigns, 2)
            if one.machine_id != other.machine_id
            and max(one.first, other.first) < min(one.last, other.last)
        ]

    def successions(self):
        """Return the machines in the order of their reigns, none twice in a row."""
        ordered = sorted(self.reigns, key=lambda one: one.first)
        return [id_ for id_, _ in groupby(one.machine_id for one in ordered)]

    def _find_machines(self):
        with self._telling("all machines"), closing(Inventory(self.home / FILE)) as inventory:
            while not self._over.wait(self.every_s):
                for record in inventory.living():
                    machine, process = record.machine, record.process
                    is_ours = machine.cluster_id == self.cluster_id and machine.role is Role.MASTER
                    # One that was stopped and started again is another process.
                    if is_ours and process and process not in self._threads:
                        watch = threading.Thread(target=self._watch, args=(record,), daemon=True)
                        self._threads[process] = watch
                        watch.start()

    def _watch(self, record):
        with self._telling(record.machine.id):
            try:
                _enter(record.process.pid)
            except OSError:
                if is_running(record.process):
                    raise
                return  # it has ended meanwhile
            self._ask(record)

    @contextmanager
    def _telling(self, what):
        """Have whoever asks for doubles know what ended a watch too early."""
        try:
            yield
        except Exception as error:
            self.unseen.append(f"{what}: {error!r}")

    def _ask(self, record):
        reign = None
        while not self._over.wait(self.every_s) and is_running(record.process):
            asked = time.monotonic()
            if not _is_alive(record.machine.private_ip):
                reign = None
            elif reign is None:
                reign = Reign(record.machine.id, time.monotonic(), asked)
                self.reigns.append(reign)
            else:
                reign.last = asked


def _is_alive(ip):
    try:
        return probe_master(ip).status == "ALIVE"
    except AtollError:
        return False


def _enter(pid):
    """Move this thread into a machine's network, where it has one of its own.

    Raises:
        OSError: it may not go there, or the machine has ended.
    """
    inside = Path(f"/proc/{pid}/ns/net")
    if inside.stat().st_ino == Path("/proc/thread-self/ns/net").stat().st_ino:
        return
    handle = os.open(inside, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, f"cannot enter the network of process {pid}: {os.strerror(error)}")
    finally:
        os.close(handle)
