"""Commands of the system: checked for, run to their end or killed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.files import writing
from atoll.fleet.providers.local.ground import PATH, Ran

# What `timeout -s KILL` ends with when it had to, and `env` and `nsenter` when there is no command.
_KILLED = 137
_NO_COMMAND = 127


def need(commands: Sequence[str], packages: Mapping[str, str] | None = None) -> None:
    """Check that commands are installed.

    Args:
        commands: their names.
        packages: Debian packages that hold them; util-linux where not named.

    Raises:
        Unavailable: one is missing; the message names the package.
    """
    for command in commands:
        if shutil.which(command, path=PATH) is None:
            package = (packages or {}).get(command, "util-linux")
            raise Unavailable(
                f"the command {command!r} is missing; install the package {package!r}",
                command=command,
                package=package,
            )


def run_command(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str], folder: Path
) -> Ran:
    """Run a command to its end.

    Raises:
        InvalidInput: there is no such command.
        Unavailable: it did not end in time and was killed.
    """
    done = subprocess.run(
        ["timeout", "-s", "KILL", str(timeout_s), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=folder,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode in (_KILLED, -9):
        raise Unavailable(
            f"{command[-1]!r} did not end within {timeout_s:g} s", timeout_s=timeout_s
        )
    if done.returncode == _NO_COMMAND:
        raise InvalidInput(f"there is no such command: {done.stdout.strip()}")
    return Ran(done.returncode, done.stdout)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it; one that is not there is no error."""
    with writing(folder):
        if folder.exists():
            shutil.rmtree(folder)


def empty(folder: Path) -> None:
    """Remove all that is in a folder; one that is not there is no error."""
    with writing(folder):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
