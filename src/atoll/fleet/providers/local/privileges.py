"""Namespaces without root: a user namespace, kept by a process that does nothing else.

A process with the rights of root uses the host's own namespaces. Any other enters the home's user,
network and mount namespaces, makes them if need be, and has root's rights there. The holder keeps
them while no provider runs, so that machines, bridge and disks outlive it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.files import whole_file
from atoll.fleet.codec import decode
from atoll.fleet.providers.local.claims import home_key
from atoll.fleet.providers.local.commands import need
from atoll.fleet.providers.local.ground import MARKER, PATH
from atoll.fleet.providers.local.inventory import Process
from atoll.fleet.providers.local.processes import end_all, is_running, marked
from atoll.fleet.providers.local.spawn import Spawned

HOLDER = "holder"
_FILE = "holder.json"
_NEEDED = (12, 21)
"""Capabilities NET_ADMIN and SYS_ADMIN."""
_HOLD = "ip link set lo up || exit 1; echo up; exec </dev/null >/dev/null 2>&1; exec sleep infinity"
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", _HOLD)
_FORBIDDING = (
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user/max_user_namespaces", "0", "10000"),
)


def is_privileged() -> bool:
    """Tell whether this process may make namespaces and interfaces where it is."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [mask] = [int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")]
    return all(mask >> bit & 1 for bit in _NEEDED)


def can_make_namespaces() -> bool:
    """Tell whether this process, or any of its user, may make the namespaces of machines."""
    if is_privileged():
        return True
    try:
        tried = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", "--mount", "true"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0


def enter(home: Path) -> None:
    """Enter the home's namespaces, for good; a privileged process stays where it is.

    Sockets made before still belong to the outside. The caller holds the home.

    Raises:
        InvalidInput: the process has other threads; enter before they start.
        Unavailable: this host does not let users make namespaces; the message says what to change.
    """
    if is_privileged():
        return
    need(["setsid", "unshare", "sh", "ip", "sleep"], {"ip": "iproute2", "sleep": "coreutils"})
    holder = _known_holder(home) or _new_holder(home)
    folder = Path.cwd()
    # All are opened before any is entered: from inside, the holder's may not be seen.
    kinds = ("user", "net", "mnt")
    files = [os.open(f"/proc/{holder.pid}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    try:
        _set_namespaces(files)
    finally:
        for file in files:
            os.close(file)
    os.chdir(folder)


def _set_namespaces(files: Sequence[int]) -> None:
    system = ctypes.CDLL(None, use_errno=True)
    for file in files:
        if system.setns(file, 0):
            said = os.strerror(ctypes.get_errno())
            raise InvalidInput(
                f"this process cannot enter the home's namespaces: {said}; "
                "open the home before any thread is started",
                threads=len(list(Path("/proc/self/task").iterdir())),
            )


def _known_holder(home: Path) -> Process | None:
    path = home / _FILE
    if not path.exists():
        return None
    holder = decode(path.read_bytes(), Process, what=str(path))
    return holder if is_running(holder) else None


def _new_holder(home: Path) -> Process:
    """Start a holder; machines of an earlier one, without wires now, are ended."""
    key = home_key(home)
    end_all(lambda: marked(key), f"what is left in {home}")
    environment = {"PATH": PATH, MARKER: f"{key}:{HOLDER}"}
    try:
        spawned = Spawned(
            _UNSHARE, environment=environment, folder=home, console=home / "holder.log"
        )
        with spawned:
            spawned.awaited("a user namespace")
            holder = spawned.process()
    except Unavailable as error:
        raise Unavailable(f"{error}; {_what_forbids()}", **error.details) from error
    with whole_file(home / _FILE) as file:
        file.write(msgspec.json.encode(holder))
    return holder


def _what_forbids() -> str:
    """Say which of the host's settings keeps users from making namespaces."""
    for name, forbids, allows in _FORBIDDING:
        path = Path("/proc/sys", name)
        if path.exists() and path.read_text().strip() == forbids:
            return f"as root: sysctl {name.replace('/', '.')}={allows}, or use loopback"
    return "this host or container forbids user namespaces: run as root, or use loopback"
