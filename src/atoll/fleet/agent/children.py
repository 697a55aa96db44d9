"""Starts an agent's child processes, each in a group of its own, and looks after theirs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from atoll.fleet.outputs import STDERR, STDOUT


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: Path,
) -> subprocess.Popen[bytes]:
    """Start a process without input.

    Args:
        argv: the program and its arguments.
        env: all of its environment.
        output: the file that all it prints is appended to.

    Raises:
        OSError: it cannot be started.
    """
    with output.open("ab") as out:
        return subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            process_group=0,
        )


def has_children(pid: int, *, proc: Path = Path("/proc")) -> bool:
    """Tell whether a process has a child; one that is gone has none."""
    # Each thread lists those that it started itself.
    for thread in (proc / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            if thread.read_text().strip():
                return True
    return False


def last_words(folder: Path, size: int) -> str:
    """Return the end of what was printed into a folder, as much of it on standard error as can be.

    Args:
        folder: has the files `stdout` and `stderr`.
        size: bytes at most.
    """
    try:
        told = b"".join(_end(folder / name, size) for name in (STDOUT, STDERR))
    except OSError as error:
        return f"what it printed cannot be read: {error}"
    return told[-size:].decode(errors="replace").strip()


def _end(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - size))
        return file.read()
