"""Keeps what ended steps left on a primary's disk small."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

FOLDERS_KEPT = 1000
_SHARE = 10


def most_logs(disk_bytes: int) -> int:
    """Return how much of a disk the output of ended steps may take: a tenth."""
    return disk_bytes // _SHARE


def make_room(logs: Path, most_bytes: int, in_use: Collection[Path]) -> None:
    """Remove the output that is oldest, where there is too much.

    Args:
        logs: has a folder for each step, and in it one for each attempt.
        most_bytes: what may stay beside what is in use; at most `FOLDERS_KEPT` do.
        in_use: folders of attempts that go on.
    """
    left = [one for one in logs.glob("*/*") if one not in in_use]
    kept_bytes = 0
    for number, folder in enumerate(sorted(left, key=_written_at, reverse=True)):
        kept_bytes += sum(file.stat().st_size for file in folder.iterdir())
        if kept_bytes > most_bytes or number >= FOLDERS_KEPT:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # another attempt is there
                folder.parent.rmdir()


def _written_at(folder: Path) -> float:
    return max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)
