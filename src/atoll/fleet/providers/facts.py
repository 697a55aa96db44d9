"""What a machine is told of itself: the file that its command, the agent, is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from atoll.core.files import whole_file
from atoll.fleet.codec import decode
from atoll.fleet.model import Market

FILE = "facts.json"
NOTICE = "notice.json"


@dataclass(frozen=True)
class MachineFacts:
    """A machine, as it may know itself; EC2's instance metadata.

    Attributes:
        id, market: as the provider names it, and sells it.
        private_ip: its address: it listens on no other.
        vcpus: what its type has.
        memory_mib: the same.
        disk: its disk's folder; empty at the first start, kept when it is stopped.
        disk_bytes: how much may lie there.
        hosts_file: names of all machines. Where `has_own_hosts`, it is /etc/hosts as well.
        has_own_hosts: whether the system resolves the names; if not, read the file.
        notice_file: appears (`Notice`) when its spot capacity is to be taken back.
        user_data: what whoever launched it has to say.
    """

    id: str
    market: Market
    private_ip: str
    vcpus: int
    memory_mib: int
    disk: str
    disk_bytes: int
    hosts_file: str
    has_own_hosts: bool
    notice_file: str
    user_data: str


@dataclass(frozen=True)
class Notice:
    """A warning that spot capacity goes; `reclaim_at` in seconds since the epoch."""

    reclaim_at: float


def write_facts(folder: Path, facts: MachineFacts) -> Path:
    """Write a machine's facts into its folder."""
    path = folder / FILE
    # 0600 through the folder's mode: user_data may hold keys.
    with whole_file(path) as file:
        file.write(msgspec.json.encode(facts))
    return path


def write_notice(folder: Path, notice: Notice) -> None:
    """Write a notice into a machine's folder; its agent watches for it."""
    with whole_file(folder / NOTICE) as file:
        file.write(msgspec.json.encode(notice))


def read_facts(path: Path) -> MachineFacts:
    """Read what `write_facts` wrote.

    Raises:
        Corrupt: it is damaged.
    """
    return decode(path.read_bytes(), MachineFacts, what=str(path))
