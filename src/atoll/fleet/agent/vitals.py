"""How full an instance's disk is, and how busy its processors are."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# Walking a folder is not free; a disk of its own is asked every time.
WALK_EVERY_SECONDS = 5.0


class Disk:
    """The instance's disk: a file system of its own, or a folder with a size."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        """Take the folder, and its size for where it shares a file system."""
        self._folder, self._size_bytes = folder, size_bytes
        self._is_own = folder.stat().st_dev != folder.parent.stat().st_dev
        self._walked_at, self._percent = float("-inf"), 0.0

    def percent(self) -> float:
        """Return how full it is, 0 to 100 (more where a folder outgrew its size)."""
        if self._is_own:
            stat = os.statvfs(self._folder)
            return 100.0 * (1 - stat.f_bavail / stat.f_blocks)
        if time.monotonic() - self._walked_at >= WALK_EVERY_SECONDS:
            self._percent = 100.0 * _bytes_below(self._folder) / self._size_bytes
            self._walked_at = time.monotonic()
        return self._percent


def _bytes_below(folder: Path) -> int:
    total = 0
    stack = [str(folder)]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed or replaced while we looked
    return total


class Processors:
    """How busy the agent and its daemons are, of the processors they may use.

    What users run has sessions of its own, and does not count: a step may take all there is.
    """

    def __init__(self, vcpus: int) -> None:
        """Take how many processors the instance may use."""
        self._count = min(vcpus, len(os.sched_getaffinity(0)))
        self._session = os.getsid(0)
        self._seen: dict[int, int] = {}
        self._at = time.monotonic()
        self.percent()

    def percent(self) -> float:
        """Return the share used since the last call, 0 to 100."""
        now, before = time.monotonic(), self._seen
        self._seen = ticks_by_process(self._session)
        # By process: one that ended between two looks must not count as negative work.
        used = sum(max(0, ticks - before.get(pid, ticks)) for pid, ticks in self._seen.items())
        elapsed_s, self._at = max(now - self._at, 1e-3), now
        return min(100.0, 100.0 * used / _TICKS / elapsed_s / self._count)


def ticks_by_process(session: int) -> dict[int, int]:
    """Return the processor time that each process of a session has used so far."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything, spaces too.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session:
                found[int(entry.name)] = int(fields[11]) + int(fields[12])
    return found
