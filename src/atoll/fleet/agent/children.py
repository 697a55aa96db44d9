"""Starts an agent's child processes, and buries the orphans that are left to process number 1."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_lock = threading.Lock()
_ours: list[subprocess.Popen[bytes]] = []


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], output: Path, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, without input.

    Args:
        argv: the program and its arguments.
        env: all of its environment.
        output: the file that its output is appended to.
        folder: where it runs; None: where the agent does.

    Raises:
        OSError: it cannot be started.
    """
    with _lock, output.open("ab") as out:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        _ours.append(process)
    return process


def reap_orphans() -> None:
    """Bury ended processes that nobody waits for; only process number 1 inherits such."""
    if os.getpid() != 1:
        return
    with _lock:
        _ours[:] = [one for one in _ours if one.returncode is None]
        awaited = {one.pid for one in _ours}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            # Whoever started one of ours wants its status; the next round sees what is behind it.
            if ended is None or ended.si_pid in awaited:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
