"""Runs an instance's bootstrap actions, in order, before its daemons start."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from atoll.core.errors import AtollError, Unavailable
from atoll.fleet.agent.children import spawn
from atoll.fleet.model import BootstrapAction

LIMIT_SECONDS = 540.0
_TOLD_BYTES = 400


def run_bootstrap(actions: Sequence[BootstrapAction], folder: Path, env: dict[str, str]) -> None:
    """Run all actions; each leaves its output in a file of `folder`.

    Raises:
        Unavailable: one could not be fetched, ended with an error or not in time; those after it
            were not run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, action in enumerate(actions):
        log = folder / f"{number:02}.log"
        script = _fetched(action, folder / f"{number:02}.script")
        _run(action, script, log, env)


def _fetched(action: BootstrapAction, script: Path) -> Path:
    try:
        script.write_bytes(_content(action.path))
    except (OSError, AtollError) as error:
        raise Unavailable(
            f"bootstrap action {action.name!r}: {action.path} cannot be read: {error}"
        ) from error
    script.chmod(0o700)
    return script


def _content(path: str) -> bytes:
    if "://" not in path:
        return Path(path).read_bytes()
    # Only where it is needed: agents are small.
    from atoll.storage import open_storage

    folder, _, name = path.rpartition("/")
    return open_storage(folder).get(name)


def _run(action: BootstrapAction, script: Path, log: Path, env: dict[str, str]) -> None:
    try:
        process = spawn([str(script), *action.args], env={**os.environ, **env}, output=log)
        status = process.wait(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise Unavailable(
            f"bootstrap action {action.name!r} did not end within {LIMIT_SECONDS:g} s"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"bootstrap action {action.name!r} cannot be run: {error}; does it begin with "
            "'#!/bin/sh' or the like?"
        ) from error
    if status != 0:
        told = log.read_bytes()[-_TOLD_BYTES:].decode(errors="replace").strip()
        raise Unavailable(f"bootstrap action {action.name!r} ended with status {status}: {told}")
