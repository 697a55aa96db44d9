"""Machines as network, PID, UTS, IPC and mount namespaces: real addresses, names, walls.

A machine is `unshare` with one child, the first process of a PID namespace: killing either ends
all of it. Its wire is a pair of interfaces, one end on the home's bridge; its disk a tmpfs. Only
util-linux and iproute2 are called.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

from atoll.core.errors import Unavailable
from atoll.core.files import writing
from atoll.fleet.providers.local.addressing import gateway_of
from atoll.fleet.providers.local.commands import empty, need, remove_tree, run_command
from atoll.fleet.providers.local.ground import PATH, Box, Ran, environment_of
from atoll.fleet.providers.local.inventory import Process
from atoll.fleet.providers.local.processes import (
    end_all,
    in_child_namespace,
    is_running,
    of_machine,
)
from atoll.fleet.providers.local.spawn import Spawned

logger = logging.getLogger(__name__)

_PACKAGES = {"ip": "iproute2", "tc": "iproute2", "mount": "mount", "hostname": "hostname"}
_COMMANDS = ("setsid", "sh", "unshare", "nsenter", "mount", "umount", "ip", "hostname", "timeout")
_DISK = "atoll-disk"
_WIDEST = 8
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

_APART = ("--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# The shell stays the first process of the namespace: it takes in orphans, the agent need not.
# Disks of other machines, mounted when this one began, are not its to see; without root those of
# root's clouds stay in sight.
_INIT = """
set -e
hosts=$1 name=$2 ip=$3 gateway=$4 log=$5 disk=$6; shift 6
echo apart
read go
while read -r source place rest; do
    place=$(printf %b "$place")
    [ "$source" != atoll-disk ] || [ "$place" = "$disk" ] || umount -l "$place" || true
done </proc/self/mounts
mount --bind "$hosts" /etc/hosts
hostname "$name"
ip link set lo up
ip addr add "$ip/16" dev eth0
ip link set eth0 up
ip route add default via "$gateway"
echo up
exec </dev/null >>"$log" 2>&1
"$@" &
wait $!
"""


class Netns:
    """The ground of namespaces; the process must be privileged (see `privileges`)."""

    name = "netns"
    first_octet = 10
    has_own_hosts = True

    def __init__(self, key: str, network: str, hosts: Path) -> None:
        """Take a home.

        Args:
            key: the home's; its interfaces are named after it.
            network: the first two parts of its addresses, "10.77".
            hosts: becomes /etc/hosts of every machine.
        """
        self._key = key
        self._hosts = hosts
        self.gateway = gateway_of(network)
        self.bridge = bridge_of(key)

    def prepare(self) -> None:
        """Make the bridge on which all machines and the host meet."""
        need(_COMMANDS, _PACKAGES)
        if not has_link(self.bridge):
            # An address of its own: it would else change with every machine that comes.
            ip_batch(f"link add {self.bridge} address {_mac(self.gateway)} type bridge")
        ip_batch(
            f"addr replace {self.gateway}/16 dev {self.bridge}",
            f"link set {self.bridge} up",
        )
        if _BRIDGE_FILTER.exists() and _BRIDGE_FILTER.read_text().strip() == "1":
            logger.warning("this host filters bridged packets: machines may not reach each other")

    def make_disk(self, box: Box) -> None:
        """Mount a file system of the disk's size; what lies there takes this host's memory."""
        with writing(box.disk):
            box.disk.mkdir(exist_ok=True)
        if not box.disk.is_mount():
            options = f"size={box.disk_bytes},mode=0755,nosuid,nodev"
            call(["mount", "-t", "tmpfs", "-o", options, _DISK, str(box.disk)])

    def has_disk(self, box: Box) -> bool:
        """Tell whether the file system is mounted."""
        return box.disk.is_mount()

    def start(self, box: Box, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        """Unshare the namespaces, plug in the wire, then let the command go.

        Until it is let go, the machine ends with us: nothing half made is left.
        """
        self.stop(box, None)
        about = [str(self._hosts), box.dns, box.ip, self.gateway, str(box.console), str(box.disk)]
        with Spawned(
            ["unshare", *_APART, "sh", "-c", _INIT, "sh", *about, *command],
            environment=environment_of(self._key, box, environment),
            folder=box.folder,
            console=box.console,
        ) as spawned:
            spawned.awaited("namespaces of its own")
            wire = wire_name(self._key, box.ip)
            ip_batch(
                f"link add {wire} type veth peer name eth0 address {_mac(box.ip)}"
                f" netns {spawned.pid}",
                f"link set {wire} master {self.bridge} up",
            )
            spawned.allow()
            spawned.awaited("its command")
            return spawned.process()

    def is_running(self, process: Process) -> bool:
        """Tell whether the process that holds the namespaces lives."""
        return is_running(process)

    def stop(self, box: Box, process: Process | None) -> None:
        """Cut the wire, then end all that is in the namespace."""
        cut_wire(wire_name(self._key, box.ip))
        end_all(lambda: self.pids(box, process), f"machine {box.id}")

    def drop_disk(self, box: Box) -> None:
        """Empty the disk and unmount it."""
        # Other mount namespaces of this host may hold it, too: what lies there must not stay.
        empty(box.disk)
        unmount(box.disk)
        remove_tree(box.disk)

    def run(self, box: Box, process: Process, command: Sequence[str], timeout_s: float) -> Ran:
        """Enter the machine's namespaces and run a command there."""
        inside = [
            *("nsenter", f"--target={process.pid}", "--net", "--uts", "--ipc", "--mount"),
            f"--pid=/proc/{process.pid}/ns/pid_for_children",
            *("env", "-C", str(box.folder), *command),
        ]
        return run_command(inside, timeout_s, environment_of(self._key, box, {}), folder=box.folder)

    def pids(self, box: Box, process: Process | None) -> Collection[int]:
        """Find the machine's processes, all that is in its PID namespace included."""
        found = of_machine(f"{self._key}:{box.id}", process)
        return found | in_child_namespace(found)


def bridge_of(key: str) -> str:
    """Return the name of a home's bridge; those of its wires begin with it."""
    return f"at{key}"


def wire_name(key: str, ip: str) -> str:
    """Return the name of the host's end of a machine's wire; it tells the machine's address."""
    third, fourth = ip.split(".")[2:]
    return f"{bridge_of(key)}.{int(third):02x}{int(fourth):02x}"


def networks_of_host() -> list[IPv4Network]:
    """List the networks in which the host has addresses or routes, of every table.

    What is wider than a private network (10.0.0.0/8) is a way to everywhere, and no network.
    """
    need(_COMMANDS, _PACKAGES)
    said = call(["ip", "-4", "-o", "addr"]) + call(["ip", "-4", "route", "show", "table", "all"])
    found = []
    for word in said.split():
        with suppress(ValueError):
            found.append(IPv4Network(word, strict=False))
    return sorted({one for one in found if one.prefixlen >= _WIDEST})


def cut_wire(name: str) -> None:
    """Remove an interface, if it is there: the kernel removes it with its other end's namespace."""
    try:
        if has_link(name):
            ip_batch(f"link del {name}")
    except Unavailable:
        if has_link(name):
            raise


def has_link(name: str) -> bool:
    """Tell whether there is an interface of that name."""
    shown = subprocess.run(
        ["ip", "-o", "link", "show", "dev", name], capture_output=True, check=False
    )
    return shown.returncode == 0


def ip_batch(*lines: str) -> None:
    """Carry out lines of `ip`, one after another, up to the first that fails.

    Raises:
        Unavailable: one failed; the message says what the kernel said.
    """
    call(["ip", "-batch", "-"], said="\n".join(lines) + "\n")


def unmount(folder: Path) -> None:
    """Unmount all that is mounted on a folder."""
    while folder.is_mount():
        call(["umount", str(folder)])


def call(command: Sequence[str], *, said: str = "") -> str:
    """Run one of the system's commands and return its output.

    Raises:
        Unavailable: it failed.
    """
    done = subprocess.run(
        command,
        input=said,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": PATH, "LANG": "C"},
    )
    if done.returncode:
        raise Unavailable(
            f"{' '.join([*command, said]).strip()!r} failed: {done.stderr.strip()}; "
            "see that the user may do so (`privileges`)",
            command=list(command),
            status=done.returncode,
        )
    return done.stdout


def _mac(ip: str) -> str:
    """Return the hardware address of an address: a replacement has its predecessor's.

    Neighbours that still know the old machine so reach the new one at once.
    """
    return "02:a7:" + ":".join(f"{int(part):02x}" for part in ip.split("."))
