"""Runs what users want run on an instance: a bootstrap action, a step.

It gets a session of its own, so that its processor time is not held against the instance. What it
prints is kept, and kept small.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from typing import IO

from atoll.fleet.outputs import STDERR, STDOUT

logger = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
_SHARE = 128
_PIECE_BYTES = 1 << 16
_LAST_SECONDS = 1.0
"""How long the last of an output is waited for: what left the session may hold it open."""


def most_bytes(disk_bytes: int) -> int:
    """Return how much of a stream is kept on a disk: 64 MiB, or its 128th part if that is less."""
    return min(MOST_BYTES, disk_bytes // _SHARE)


class Work:
    """A process, and what it starts in its group."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        output: Path,
        most: int,
        folder: Path | None = None,
    ) -> None:
        """Start it, without input.

        Args:
            argv: the program and its arguments.
            env: all of its environment.
            output: the folder that gets what it prints, as `stdout` and `stderr`.
            most: bytes that are kept of each of these.
            folder: where it runs; None: where the agent does.

        Raises:
            OSError: it cannot be started.
        """
        with ExitStack() as opened:
            files = [opened.enter_context(FileIO(output / name, "w+")) for name in (STDOUT, STDERR)]
            self._process = _started(argv, env, folder)
            opened.pop_all()
        self.pid = self._process.pid
        streams = (self._process.stdout, self._process.stderr)
        self._pumps = [
            threading.Thread(
                target=_pump, args=(stream, Kept(file, most)), name="output", daemon=True
            )
            for stream, file in zip(streams, files, strict=True)
        ]
        for pump in self._pumps:
            pump.start()

    def poll(self) -> int | None:
        """Return its exit status, less than 0 for a signal; None: it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait for its exit status; None: it runs on after so long."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.poll()

    def end(self) -> None:
        """End it, if it runs, and what it left."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def settle(self) -> None:
        """Wait until all that it printed, now that it has ended, is in its files."""
        for pump in self._pumps:
            pump.join(_LAST_SECONDS)


def _started(
    argv: Sequence[str], env: Mapping[str, str], folder: Path | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )


def _pump(stream: IO[bytes], kept: Kept) -> None:
    """Read a stream to its end, whatever becomes of the file: who prints must not wait for that."""
    is_told = False
    with stream, kept:
        while piece := stream.read(_PIECE_BYTES):
            try:
                kept.write(piece)
            except OSError as error:
                if not is_told:
                    logger.warning("output not kept file=%s error=%s", kept.name, error)
                is_told = True


class Kept:
    """An open file that keeps the beginning and the end of what is written to it.

    Where it would outgrow its size, what lies between its first half and its last quarter is left
    out, and a line there says how much.
    """

    def __init__(self, file: FileIO, most: int) -> None:
        """Take an empty file, open for reading and writing, and how large it may become, about."""
        self._file, self._first, self._last = file, most // 2, most // 4
        self._most, self._written = most, 0
        self.name = file.name

    def __enter__(self) -> Kept:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def write(self, piece: bytes) -> None:
        """Write at the end.

        Raises:
            OSError: the disk takes no more of it.
        """
        self._written += len(piece)
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]
        if self._file.tell() > self._most:
            self._leave_out()

    def _leave_out(self) -> None:
        file, start = self._file, self._file.tell() - self._last
        left_out = self._written - self._first - self._last
        note = f"\n... {left_out} bytes are left out here ...\n".encode()
        file.seek(self._first)
        file.write(note)
        end = self._first + len(note)
        for offset in range(0, self._last, _PIECE_BYTES):
            file.seek(start + offset)
            piece = file.read(min(_PIECE_BYTES, self._last - offset))
            file.seek(end)
            end += file.write(piece)
        file.truncate(end)
