"""How full a machine's disk is: a file system of its own, or a folder with a size."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def used_bytes(disk: Path) -> int:
    """Return how many bytes of a machine's disk are used.

    Args:
        disk: where it is mounted (netns), or its folder (loopback): then files are summed up by
            the blocks they take.
    """
    if disk.is_mount():
        seen = os.statvfs(disk)
        return (seen.f_blocks - seen.f_bfree) * seen.f_frsize
    return sum(_blocks(Path(folder, name)) for folder, _, names in os.walk(disk) for name in names)


def _blocks(path: Path) -> int:
    # A file may go while we look.
    with suppress(FileNotFoundError):
        return path.lstat().st_blocks * 512
    return 0
