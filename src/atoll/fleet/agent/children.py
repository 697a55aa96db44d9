"""Starts an agent's child processes, each in a group of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from atoll.fleet.outputs import STDERR, STDOUT


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    output: Path,
    errors: Path | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process without input.

    Args:
        argv: the program and its arguments.
        env: all of its environment.
        output: the file that its output is appended to.
        errors: the same for its standard error; None: `output`.
        folder: where it runs; None: where the agent does.

    Raises:
        OSError: it cannot be started.
    """
    with output.open("ab") as out, (errors or output).open("ab") as err:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            process_group=0,
        )


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
