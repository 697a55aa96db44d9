"""Watches which Spark masters say that they are active: two at the same instant must never be.

Each master is asked from inside its own machine, so that one that is cut off is heard, too. Between
two answers "ALIVE" in a row it is taken to have been active; only certain overlaps are counted.
"""

import ctypes
import os
import threading
import time
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from atoll.compute.sparkmaster import probe_master
from atoll.core.errors import AtollError
from atoll.fleet.model import Role
from atoll.fleet.providers.local.inventory import FILE, Inventory

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
    """

    home: Path
    cluster_id: str
    every_s: float
    reigns: list[Reign] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)

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
        """Return the pairs of machines that were active at the same instant."""
        return [
            (one, other)
            for one, other in combinations(self.reigns, 2)
            if one.machine_id != other.machine_id
            and max(one.first, other.first) < min(one.last, other.last)
        ]

    def _find_machines(self):
        inventory = Inventory(self.home / FILE)
        try:
            while not self._over.wait(self.every_s):
                for record in inventory.living():
                    machine = record.machine
                    is_ours = machine.cluster_id == self.cluster_id and machine.role is Role.MASTER
                    if is_ours and machine.id not in self._threads and record.process:
                        watch = threading.Thread(target=self._watch, args=(record,), daemon=True)
                        self._threads[machine.id] = watch
                        watch.start()
        finally:
            inventory.close()

    def _watch(self, record):
        pid, reign = record.process.pid, None
        if not _entered(pid):
            return
        while not self._over.wait(self.every_s) and Path(f"/proc/{pid}").exists():
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


def _entered(pid):
    """Move this thread into a machine's network, where it has one of its own."""
    inside = Path(f"/proc/{pid}/ns/net")
    try:
        if inside.stat().st_ino == Path("/proc/thread-self/ns/net").stat().st_ino:
            return True
        handle = os.open(inside, os.O_RDONLY)
    except OSError:
        return False
    try:
        return ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) == 0
    finally:
        os.close(handle)
