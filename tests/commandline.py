"""The `atoll` command as a user runs it: in this process, or in one that can be killed."""

import io
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from atoll.app import main as command

PROGRAM = [sys.executable, "-c", "from atoll.app.main import main; main()"]
DEADLINE_SECONDS = 120


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


def ended(process, seconds=DEADLINE_SECONDS):
    """Wait for a started command."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Done(process.returncode, out, err)


def changes(place, process):
    """Yield how many files have come or gone at a place, whenever there are more, to the end."""
    seen, before = 0, files_at(place)
    while process.poll() is None:
        now = files_at(place)
        if now != before:
            seen, before = seen + len(now ^ before), now
            yield seen
        time.sleep(0.005)


def files_at(place):
    """Every file at a place, also while others add and remove some."""
    return {f"{folder}/{name}" for folder, _, names in os.walk(place) for name in names}


def steps_of(place, *words):
    """Run a command undisturbed: (changes so far, seconds until the next) for each of its steps."""
    process = start(*words)
    seen = [(count, time.monotonic()) for count in changes(place, process)]
    done = ended(process)
    assert done.code == 0, done.err
    times = [*(at for _, at in seen), time.monotonic()]
    return [(count, times[step + 1] - at) for step, (count, at) in enumerate(seen)]


def kill_midway(place, steps, seed, *words):
    """Run a command and kill it within a random one of its steps.

    Not at a random time: most of that is Python's start, or varies with what else the machine does.
    """
    draw = random.Random(seed)
    count, seconds = draw.choice(steps)
    process = start(*words)
    any(seen >= count for seen in changes(place, process))
    time.sleep(draw.uniform(0, seconds))
    # The first process only: its workers have to notice.
    process.send_signal(signal.SIGKILL)
    process.communicate()


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
