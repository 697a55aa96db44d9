"""Starts an agent's child processes, each in a group of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], output: Path, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process without input.

    Args:
        argv: the program and its arguments.
        env: all of its environment.
        output: the file that its output is appended to.
        folder: where it runs; None: where the agent does.

    Raises:
        OSError: it cannot be started.
    """
    with output.open("ab") as out:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
