"""Runs an instance's bootstrap actions, in order, before its daemons start."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from atoll.core.errors import AtollError, Unavailable
from atoll.fleet.agent.children import last_words
from atoll.fleet.agent.work import Work
from atoll.fleet.model import BootstrapAction

LIMIT_SECONDS = 540.0
_TOLD_BYTES = 400


def run_bootstrap(
    actions: Sequence[BootstrapAction],
    folder: Path,
    env: dict[str, str],
    most: int,
    on_end: Callable[[int, Path, str], None],
) -> None:
    """Run all actions.

    Args:
        actions: in their order.
        folder: gets a folder for each, named by its number, from 1, with what it printed.
        env: beside the agent's.
        most: bytes that are kept of each stream.
        on_end: told of each its number, its folder and how it ended.

    Raises:
        Unavailable: one could not be fetched, ended with an error or not in time; those after it
            were not run.
    """
    for number, action in enumerate(actions, 1):
        own = folder / str(number)
        own.mkdir(parents=True, exist_ok=True)
        try:
            _run(action, _fetched(action, own / "script"), own, env, most)
        except Unavailable as error:
            on_end(number, own, error.message)
            raise
        on_end(number, own, f"bootstrap action {action.name!r} was done")


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


def _run(
    action: BootstrapAction, script: Path, folder: Path, env: dict[str, str], most: int
) -> None:
    argv = [str(script), *action.args]
    try:
        work = Work(argv, env={**os.environ, **env}, output=folder, most=most)
    except OSError as error:
        raise Unavailable(
            f"bootstrap action {action.name!r} cannot be run: {error}; does it begin with "
            "'#!/bin/sh' or the like?"
        ) from error
    status = work.wait(LIMIT_SECONDS)
    if status is None:
        work.end()
        raise Unavailable(
            f"bootstrap action {action.name!r} did not end within {LIMIT_SECONDS:g} s"
        )
    work.settle()
    if status != 0:
        told = last_words(folder, _TOLD_BYTES)
        raise Unavailable(f"bootstrap action {action.name!r} ended with status {status}: {told}")
