"""What an instance does each time before its agent starts: `python -m ...ec2.boot FOLDER`.

It mounts the largest instance store, if there is one, and writes the facts that the agent is
started with. FOLDER holds what the cluster wants of it (user-data.json) and gets `facts.json`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from atoll.core.errors import AtollError, Unavailable
from atoll.fleet.model import Market
from atoll.fleet.providers.ec2.metadata import Metadata
from atoll.fleet.providers.facts import FILE, NOTICE, MachineFacts, read_facts, write_facts

USER_DATA = "user-data.json"
MOUNT = Path("/mnt/atoll")
_BLOCKS = Path("/sys/block")
_STORE_MODEL = "Amazon EC2 NVMe Instance Storage"
_SECTOR_BYTES = 512


@dataclass(frozen=True)
class Disk:
    """The instance's disk: a folder, and how much may lie there."""

    folder: Path
    size_bytes: int


def main(folder: Path) -> None:
    """Prepare the disk, then write the facts."""
    store = largest_store(_BLOCKS)
    disk = _mounted(store, MOUNT) if store is not None else _on_root(folder)
    write_facts(folder, facts_of(folder, disk, Metadata()))


def facts_of(folder: Path, disk: Disk, metadata: Metadata) -> MachineFacts:
    """Gather what the instance may know of itself."""
    user_data = (folder / USER_DATA).read_text()
    is_spot = metadata.get("instance-life-cycle") == "spot"
    return MachineFacts(
        id=metadata.get("instance-id"),
        market=Market.SPOT if is_spot else Market.ON_DEMAND,
        private_ip=metadata.get("local-ipv4"),
        vcpus=os.cpu_count() or 1,
        memory_mib=memory_mib(Path("/proc/meminfo").read_text()),
        disk=str(disk.folder),
        disk_bytes=disk.size_bytes,
        hosts_file="/etc/hosts",
        has_own_hosts=True,
        notice_file=str(folder / NOTICE),
        user_data=user_data,
    )


def memory_mib(meminfo: str) -> int:
    """Read a machine's memory out of /proc/meminfo.

    >>> memory_mib("MemTotal:       16384000 kB")
    16000
    """
    return int(meminfo.split("MemTotal:")[1].split()[0]) // 1024


def largest_store(blocks: Path) -> str | None:
    """Return the device of the largest instance store, such as "nvme1n1"; None: there is none."""
    stores = [
        (int((block / "size").read_text()) * _SECTOR_BYTES, block.name)
        for block in blocks.glob("nvme*")
        if (block / "device/model").exists()
        and (block / "device/model").read_text().strip() == _STORE_MODEL
    ]
    return max(stores)[1] if stores else None


def _mounted(store: str, mount: Path) -> Disk:
    """Mount an instance store; it is blank at the first start, and whenever it was stopped."""
    mount.mkdir(parents=True, exist_ok=True)
    if not mount.is_mount():
        device = f"/dev/{store}"
        is_blank = subprocess.run(["blkid", device], capture_output=True, check=False).returncode
        if is_blank:
            _run("mkfs.ext4", "-q", "-m", "0", device)
        _run("mount", "-o", "noatime", device, str(mount))
    stat = os.statvfs(mount)
    return Disk(mount, stat.f_blocks * stat.f_frsize)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(
            f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}"
        )


def _on_root(folder: Path) -> Disk:
    """Use a folder of the root disk: what was free there at the first start."""
    disk = folder / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    if (folder / FILE).exists():
        return Disk(disk, read_facts(folder / FILE).disk_bytes)
    stat = os.statvfs(disk)
    return Disk(disk, stat.f_bavail * stat.f_frsize)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except AtollError as error:
        sys.exit(f"boot: {error}")
