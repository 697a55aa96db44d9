"""Processes of machines: told apart from others, found however they hide, ended for certain."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.core.errors import Unavailable
from atoll.fleet.providers.local.ground import MARKER
from atoll.fleet.providers.local.inventory import Process

_PROC = Path("/proc")
_SOUGHT = f"\0{MARKER}=".encode()
_END_SECONDS = 20.0
_LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class _Seen:
    """A process: the fields of /proc/<pid>/stat that we need, and its mark."""

    parent: int
    session: int
    started_ticks: int
    mark: str


def identify(pid: int) -> Process | None:
    """Return a living process by its number; None: it ended (a zombie has)."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return Process(pid, int(fields[19]))


def is_running(process: Process) -> bool:
    """Tell whether this very process lives."""
    return identify(process.pid) == process


def marked(key: str) -> dict[int, str]:
    """Find the living processes of a home's machines: process to machine.

    A process belongs to a machine by the mark in its environment, or as a child of one that does.
    """
    seen = _look()
    return {pid: mark.partition(":")[2] for pid, mark in _marks(seen, f"{key}:").items()}


def of_machine(mark: str, leader: Process | None) -> set[int]:
    """Find the living processes of one machine.

    Args:
        mark: value of the variable in their environment.
        leader: the first process, which leads the session; None: not known.
    """
    seen = _look()
    found = set(_marks(seen, mark))
    leads = leader is not None and leader.pid in seen
    # The number of a session is not given anew while its leader lives, and only then it is sure.
    if leader and leads and seen[leader.pid].started_ticks == leader.started_ticks:
        found |= {pid for pid, one in seen.items() if one.session == leader.pid}
    return found


def in_child_namespace(pids: Collection[int]) -> set[int]:
    """Find all processes in the PID namespaces that some of these gave to their children."""
    ours = _namespace(os.getpid(), "pid")
    made = {_namespace(pid, "pid_for_children") for pid in pids} - {ours, None}
    numbers = [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]
    return {pid for pid in numbers if made and _namespace(pid, "pid") in made}


def end_all(find: Callable[[], Collection[int]], what: str) -> int:
    """Kill until nothing is found any more.

    Args:
        find: looks for what shall end.
        what: names it in the error.

    Returns:
        How many processes were ended.

    Raises:
        Unavailable: some did not end in 20 s (they hang in the kernel).
    """
    ended: set[int] = set()
    deadline = time.monotonic() + _END_SECONDS
    while found := set(find()):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended |= found
        if time.monotonic() > deadline:
            raise Unavailable(
                f"{what}: processes {sorted(found)} do not end although they were killed; "
                "see what the kernel says of them (dmesg) and try again",
                pids=sorted(found),
            )
        time.sleep(_LOOK_SECONDS)
    return len(ended)


def _marks(seen: Mapping[int, _Seen], prefix: str) -> dict[int, str]:
    """Return the marks that begin with a prefix, children of the marked included."""
    found: dict[int, str] = {}
    for pid in seen:
        chain = []
        at = pid
        while at in seen and at not in found and not seen[at].mark and at not in chain:
            chain.append(at)
            at = seen[at].parent
        mark = found.get(at) or (seen[at].mark if at in seen else "")
        if mark.startswith(prefix):
            found |= dict.fromkeys([*chain, at], mark)
    return found


def _look() -> dict[int, _Seen]:
    """Read all living processes that we may see."""
    seen = {}
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        fields = _stat(int(entry.name))
        if fields is not None and fields[0] not in "ZX":
            mark = _mark(int(entry.name))
            seen[int(entry.name)] = _Seen(int(fields[1]), int(fields[3]), int(fields[19]), mark)
    return seen


def _stat(pid: int) -> list[str] | None:
    """Return the fields behind the command in /proc/<pid>/stat: state, parent, group, ..."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - twice as quick
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command may hold blanks and brackets.
    return text.rpartition(b")")[2].decode().split()


def _namespace(pid: int, kind: str) -> str | None:
    try:
        return str((_PROC / str(pid) / "ns" / kind).readlink())
    except OSError:
        return None


def _mark(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - as above
            environment = b"\0" + file.read()
    except OSError:
        # Ended meanwhile, or another user's: none of ours.
        return ""
    mark = environment.partition(_SOUGHT)[2].partition(b"\0")[0]
    return mark.decode(errors="replace")
