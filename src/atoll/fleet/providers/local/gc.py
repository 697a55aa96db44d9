"""Removes what a home left on this host: processes, interfaces, mounts, networks, folders.

Everything is found by what it is named after, the home's path, so that nothing else is needed: the
inventory may be lost, the provider and all of its machines killed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.core.errors import Unavailable
from atoll.core.files import writing
from atoll.fleet.providers.local.claims import home_key, release_network
from atoll.fleet.providers.local.ground import PATH
from atoll.fleet.providers.local.inventory import FILE, Inventory
from atoll.fleet.providers.local.lifecycle import MACHINES
from atoll.fleet.providers.local.links import sink_name
from atoll.fleet.providers.local.netns import bridge_of, call, wire_name
from atoll.fleet.providers.local.opening import held
from atoll.fleet.providers.local.privileges import HOLDER, is_privileged
from atoll.fleet.providers.local.processes import end_all, marked

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Removed:
    """Something that was removed.

    Attributes:
        kind: "process", "interface", "mount", "network" or "folder".
        name: which.
    """

    kind: str
    name: str


@dataclass(frozen=True)
class _Found:
    """What there is of a home, each with the machine (or address) it belongs to.

    Attributes:
        processes: machine by process; `HOLDER` for the one that holds namespaces.
        interfaces: by name; without root those of the outside, none of which is ours.
        mounts: where file systems are mounted, the deepest first.
        folders: the machines'.
    """

    processes: Mapping[int, str]
    interfaces: Collection[str]
    mounts: Sequence[Path]
    folders: Collection[Path]


def remove_home(home: Path) -> list[Removed]:
    """Remove a home and all that was made for it, whatever still runs.

    Returns:
        What was there. Of a home made without root the interfaces and mounts go with the process
        that held them, and are not named.

    Raises:
        Conflict: a provider serves it; stop that first.
    """
    with held(home):
        removed = _remove(home, _look(home), claimed=())
        removed += [Removed("network", name) for name in release_network(home)]
        with writing(home):
            shutil.rmtree(home)
    return [*removed, Removed("folder", str(home))]


def remove_unclaimed(home: Path) -> list[Removed]:
    """Remove what the home's inventory knows nothing of; a provider may serve it meanwhile.

    Without root, enter the home first (`privileges.enter`): its interfaces are seen from inside.
    """
    # Looked for before the inventory is read: whatever is made later was written there before.
    found = _look(home)
    inventory = Inventory(home / FILE)
    try:
        living = [one.machine for one in inventory.living()]
        known = [one.machine.id for one in inventory.records()]
    finally:
        inventory.close()
    key = home_key(home)
    wires = {wire_name(key, one.private_ip) for one in living}
    # The folder of a machine that ended holds what its console said, for two days.
    folders = [one for one in found.folders if one.name not in known]
    claimed = {HOLDER, bridge_of(key), sink_name(key), *wires, *(one.id for one in living)}
    return _remove(home, replace(found, folders=folders), claimed=claimed)


def _look(home: Path) -> _Found:
    key = home_key(home)
    folder = home / MACHINES
    return _Found(
        marked(key),
        _interfaces(bridge_of(key)),
        _mounts(home.resolve()),
        list(folder.iterdir()) if folder.is_dir() else (),
    )


def _remove(home: Path, found: _Found, *, claimed: Collection[str]) -> list[Removed]:
    """Remove what was found and is not claimed; processes that came meanwhile as well."""
    removed = [
        Removed("process", f"{pid} ({machine})")
        for pid, machine in found.processes.items()
        if machine not in claimed
    ]
    strangers = {one for one in found.processes.values() if one not in claimed}
    end_all(lambda: _of(home, strangers), f"what is left of {home}")
    for name in found.interfaces:
        if name not in claimed:
            # A machine's wire goes with its namespace: it may be gone by now.
            with suppress(Unavailable):
                call(["ip", "link", "del", name])
            removed.append(Removed("interface", name))
    for mount in found.mounts:
        if mount.parent.name not in claimed:
            call(["umount", str(mount)])
            removed.append(Removed("mount", str(mount)))
    for folder in found.folders:
        if folder.name not in claimed:
            shutil.rmtree(folder)
            removed.append(Removed("folder", str(folder)))
    return removed


def _of(home: Path, machines: Collection[str]) -> list[int]:
    return [pid for pid, machine in marked(home_key(home)).items() if machine in machines]


def _interfaces(bridge: str) -> list[str]:
    """List the home's interfaces, wires before the bridge."""
    if not is_privileged() or shutil.which("ip", path=PATH) is None:
        return []
    names = [line.split(": ")[1].partition("@")[0] for line in _links()]
    ours = [name for name in names if name == bridge or name.startswith(f"{bridge}.")]
    return sorted(ours, reverse=True)


def _links() -> list[str]:
    return call(["ip", "-o", "link", "show"]).splitlines()


def _mounts(home: Path) -> list[Path]:
    """List what is mounted below a folder, the deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [Path(_OCTAL.sub(_letter, line.split()[4])) for line in lines]
    return sorted((one for one in places if home in one.parents), reverse=True)


def _letter(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))
