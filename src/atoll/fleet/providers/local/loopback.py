"""Machines as groups of processes on loopback addresses: no privileges, no walls between them.

A process of a machine is known by a mark in its environment, by its session or by its parents. One
that sheds all three at once escapes; network namespaces (`netns`) have no such hole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from atoll.core.files import writing
from atoll.fleet.providers.local.addressing import gateway_of
from atoll.fleet.providers.local.commands import need, remove_tree, run_command
from atoll.fleet.providers.local.ground import Box, Ran, environment_of
from atoll.fleet.providers.local.inventory import Process
from atoll.fleet.providers.local.processes import end_all, is_running, of_machine
from atoll.fleet.providers.local.spawn import Spawned

# Standard output is the pipe on which the stages are said; see `spawn`.
_INIT = 'log=$1; shift; echo up; exec "$@" </dev/null >>"$log" 2>&1'


class Loopback:
    """The ground without privileges."""

    name = "loopback"
    first_octet = 127
    has_own_hosts = False

    def __init__(self, key: str, network: str) -> None:
        """Take a home's key and its network's first two parts, "127.77"."""
        self._key = key
        self.gateway = gateway_of(network)

    def prepare(self) -> None:
        """Check that the host has the command that starts machines."""
        need(["setsid", "sh", "timeout"], {"timeout": "coreutils"})

    def make_disk(self, box: Box) -> None:
        """Make a folder; its size is the agent's to watch."""
        with writing(box.disk):
            box.disk.mkdir(exist_ok=True)

    def has_disk(self, box: Box) -> bool:
        """Tell whether the folder is there."""
        return box.disk.is_dir()

    def start(self, box: Box, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        """Start the machine's processes."""
        self.stop(box, None)
        with Spawned(
            ["sh", "-c", _INIT, "sh", str(box.console), *command],
            environment=environment_of(self._key, box, environment),
            folder=box.folder,
            console=box.console,
        ) as spawned:
            spawned.awaited("its command")
            return spawned.process()

    def is_running(self, process: Process) -> bool:
        """Tell whether the machine's first process lives."""
        return is_running(process)

    def stop(self, box: Box, process: Process | None) -> None:
        """End every process of the machine, those that left its session too."""
        end_all(lambda: self.pids(box, process), f"machine {box.id}")

    def drop_disk(self, box: Box) -> None:
        """Remove the folder."""
        remove_tree(box.disk)

    def run(self, box: Box, process: Process, command: Sequence[str], timeout_s: float) -> Ran:
        """Run a command with the machine's mark, in its folder."""
        return run_command(list(command), timeout_s, environment_of(self._key, box, {}), box.folder)

    def pids(self, box: Box, process: Process | None) -> Collection[int]:
        """Find the machine's processes."""
        return of_machine(f"{self._key}:{box.id}", process)
