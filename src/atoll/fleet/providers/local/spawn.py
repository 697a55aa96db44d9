"""Starts a machine's first process: in a session of its own, nobody's child, sure of its number.

The process says its number and then each stage it reached on a pipe; where it fails, what it said
of the failure is in the machine's console.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from atoll.core.errors import Unavailable
from atoll.core.files import writing
from atoll.fleet.providers.local.inventory import Process
from atoll.fleet.providers.local.processes import identify

_SAY_NUMBER = 'echo $$; exec "$@"'
_TAIL_CHARACTERS = 500


class Spawned:
    """A process that is being started; leaving the block without its last stage ends it."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, console: Path
    ) -> None:
        """Start it.

        Args:
            command: reads its standard input for permission to go on and says on its standard
                output how far it is; must send both elsewhere before it runs what is not ours.
            environment: the whole of it.
            folder: where it runs.
            console: gets what it says of failures.
        """
        self._console = console
        with writing(console), console.open("ab") as log:
            # setsid ends at once, so that the process is a child of the system's first one.
            self._starter = subprocess.Popen(
                ["setsid", "--fork", "sh", "-c", _SAY_NUMBER, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=dict(environment),
                text=True,
            )
        self.pid = int(self.awaited("its number"))

    def __enter__(self) -> Spawned:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close both pipes: a process that still waits for permission ends."""
        self._pipe(self._starter.stdin).close()
        self._pipe(self._starter.stdout).close()
        self._starter.wait()

    def awaited(self, stage: str) -> str:
        """Wait for the next line the process says.

        Raises:
            Unavailable: it ended without; the message ends with what its console says.
        """
        line = self._pipe(self._starter.stdout).readline()
        if not line:
            said = self._console.read_text(errors="replace")[-_TAIL_CHARACTERS:].strip()
            raise Unavailable(
                f"a machine did not come to {stage}: {said or 'it said nothing'}",
                console=str(self._console),
            )
        return line.strip()

    def allow(self) -> None:
        """Let it go on."""
        stdin = self._pipe(self._starter.stdin)
        stdin.write("go\n")
        stdin.flush()

    def process(self) -> Process:
        """Return what it is now known by.

        Raises:
            Unavailable: it ended.
        """
        found = identify(self.pid)
        if found is None:
            raise Unavailable(
                "a machine ended as soon as it was started; see its console",
                console=str(self._console),
            )
        return found

    @staticmethod
    def _pipe(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise RuntimeError("both pipes were asked for")
        return stream
