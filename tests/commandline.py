"""The `atoll` command as a user runs it: in this process, or in one that can be killed."""

import io
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from atoll.app import main as command

PROGRAM = [sys.executable, "-c", "from atoll.app.main import main; main()"]
DEADLINE_SECONDS = 60


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def atoll(*words):
    """Run a command here: quick, the same code from its arguments to its exit code."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    code = 0
    with (
        patch.object(sys, "argv", ["atoll", *map(str, words)]),
        redirect_stdout(streams[0]),
        redirect_stderr(streams[1]),
    ):
        try:
            command.main()
        except SystemExit as stopped:
            code = stopped.code
    return Done(code, *(stream.buffer.getvalue().decode() for stream in streams))


def must(*words):
    """Run a command that has to succeed and return what it printed."""
    done = atoll(*words)
    assert done.code == 0, done.err
    return done.out


def start(*words, **environment):
    """Start a command in a process of its own, in a group of its own."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,
    )


def ended(process):
    """Wait for a started command."""
    try:
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Done(process.returncode, out, err)


def children_of(process):
    """Process ids of the workers that a command has spawned."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"\) \S (\d+)", (path / "stat").read_text())[1])
            command = (path / "cmdline").read_bytes()
        except (OSError, TypeError):
            continue  # ended meanwhile
        if parent == process.pid and b"spawn_main" in command:
            found.append(int(path.name))
    return found
