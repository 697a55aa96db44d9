"""The Ground port: how a machine comes to be on this host. Two adapters: loopback and netns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atoll.fleet.providers.local.inventory import Process

MARKER = "ATOLL_MACHINE"
"""Variable in the environment of every process of a machine: "<key of the home>:<machine>"."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Box:
    """What a ground must know of a machine.

    Attributes:
        id: the machine's.
        ip, dns: its address and name.
        folder: its own folder.
        disk_bytes: size of its disk.
    """

    id: str
    ip: str
    dns: str
    folder: Path
    disk_bytes: int

    @property
    def disk(self) -> Path:
        """Where its disk is seen."""
        return self.folder / "disk"

    @property
    def console(self) -> Path:
        """What its processes say."""
        return self.folder / "console.log"


@dataclass(frozen=True)
class Ran:
    """How a command inside a machine ended: its exit status and what it said."""

    status: int
    output: str


class Ground(Protocol):
    """Makes machines out of what the host has."""

    name: str
    gateway: str
    """Address at which machines reach the host."""
    has_own_hosts: bool
    """Whether a machine's system resolves the names in the home's hosts file."""

    def prepare(self) -> None:
        """Make what all machines share; what is there already stays."""
        ...

    def make_disk(self, box: Box) -> None:
        """Give a machine an empty disk, unless it has one."""
        ...

    def has_disk(self, box: Box) -> bool:
        """Tell whether a machine's disk is still there."""
        ...

    def start(self, box: Box, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        """Run a machine's command; whatever still runs of it is ended before.

        Raises:
            Unavailable: the host refuses; the message says what.
        """
        ...

    def is_running(self, process: Process) -> bool:
        """Tell whether a machine is there."""
        ...

    def stop(self, box: Box, process: Process | None) -> None:
        """Cut a machine off and end every process of it; its disk stays.

        Raises:
            Unavailable: processes of it did not end.
        """
        ...

    def drop_disk(self, box: Box) -> None:
        """Remove a stopped machine's disk and all that lies there."""
        ...

    def run(self, box: Box, process: Process, command: Sequence[str], timeout_s: float) -> Ran:
        """Run a command inside a machine, as a process of it, and wait for its end."""
        ...

    def pids(self, box: Box, process: Process | None) -> Collection[int]:
        """List a machine's processes, by their numbers on the host."""
        ...


def environment_of(key: str, box: Box, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of a machine's processes: nothing of ours is in it."""
    own = {"PATH": PATH, "HOME": str(box.folder), "LANG": "C.UTF-8"}
    return {**own, **environment, MARKER: f"{key}:{box.id}"}
