"""Faults on demand: what goes wrong in clouds, done to a local one, for tests and demos."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from atoll.core.errors import NotFound, Unavailable
from atoll.core.files import writing
from atoll.fleet.model import Market
from atoll.fleet.providers.local import links
from atoll.fleet.providers.local.claims import home_key
from atoll.fleet.providers.local.disk import used_bytes
from atoll.fleet.providers.local.inventory import Terms
from atoll.fleet.providers.local.links import Direction
from atoll.fleet.providers.local.netns import Netns, wire_name
from atoll.fleet.providers.local.provider import LocalProvider

_FILLING = ".filled"


class Faults:
    """Faults of one local cloud. Each says what it cannot do on loopback."""

    def __init__(self, provider: LocalProvider) -> None:
        """Take the cloud, open in this process."""
        self._provider = provider

    def calls(self) -> dict[str, Callable[..., Any]]:
        """Return the faults by name, "faults.crash", to be served."""
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        return {f"faults.{name}": getattr(self, name) for name in names if name != "calls"}

    def crash(self, machine_id: str) -> None:
        """Stop a machine at once; its disk stays."""
        self._provider.stop(machine_id, reason="Server.InternalError: crashed")

    def reclaim(self, machine_id: str, notice_s: float) -> None:
        """Take a spot machine back after a notice of so many seconds.

        Raises:
            InvalidInput: it is not spot. Conflict: it does not run.
        """
        self._provider.give_notice(machine_id, notice_s)

    def limit(
        self, instance_type: str, market: Market, subnet_id: str, capacity: int | None
    ) -> None:
        """Let so many more instances of a pool be had from now on; None: no limit."""
        self._change_terms(instance_type, market, subnet_id, capacity=capacity)

    def reprice(self, instance_type: str, market: Market, subnet_id: str, price: float) -> None:
        """Change what a pool costs, in US dollars an hour."""
        self._change_terms(instance_type, market, subnet_id, price=price)

    def rescore(self, instance_type: str, market: Market, subnet_id: str, score: float) -> None:
        """Change how available a pool is said to be."""
        self._change_terms(instance_type, market, subnet_id, score=score)

    def crowd(self, subnet_id: str, addresses: int) -> None:
        """Let somebody else hold so many of a subnet's addresses; 0 frees them.

        Raises:
            NotFound: there is no such subnet.
        """
        inventory = self._provider.inventory
        with inventory.change():
            found = [one for one in inventory.subnets() if one.id == subnet_id]
            if not found:
                raise NotFound(f"there is no subnet {subnet_id} here", subnet_id=subnet_id)
            inventory.put_subnet(replace(found[0], foreign=addresses))

    def fill_disk(self, machine_id: str, percent: float) -> None:
        """Fill a machine's disk up to a share of its size; a fuller one stays as it is."""
        self.free_disk(machine_id)
        box, _ = self._provider.inside(machine_id)
        missing = int(box.disk_bytes * percent / 100) - used_bytes(box.disk)
        if missing <= 0:
            return
        path = box.disk / _FILLING
        with writing(path), path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, missing)

    def free_disk(self, machine_id: str) -> None:
        """Remove what `fill_disk` wrote."""
        box, _ = self._provider.inside(machine_id)
        (box.disk / _FILLING).unlink(missing_ok=True)

    def cut(
        self,
        machine_id: str,
        *,
        peers: Sequence[str] = (),
        direction: Direction = Direction.BOTH,
        percent: float = 100.0,
    ) -> None:
        """Lose a machine's packets until it is healed, started anew or cut otherwise.

        Args:
            machine_id: the machine.
            peers: machines (ids) or addresses it loses; none: all others and the host.
            direction: seen from the machine.
            percent: how many packets are lost.

        Raises:
            Unavailable: loopback has no wires.
        """
        wire = self._wire(machine_id)
        ips = [self._ip(peer) for peer in peers]
        key = home_key(self._provider.home)
        links.lose(key, wire, percent=percent, peers=ips, direction=direction)

    def heal(self, machine_id: str) -> None:
        """Undo `cut`."""
        links.heal(self._wire(machine_id))

    def freeze(self, machine_id: str, pattern: str = "") -> int:
        """Halt a machine's processes, so that they hang; return how many.

        Args:
            machine_id: the machine.
            pattern: a regular expression; only those whose command line has it.
        """
        return self._signal(machine_id, pattern, signal.SIGSTOP)

    def thaw(self, machine_id: str, pattern: str = "") -> int:
        """Let halted processes go on; see `freeze`."""
        return self._signal(machine_id, pattern, signal.SIGCONT)

    def kill(self, machine_id: str, pattern: str) -> int:
        """Kill a machine's processes whose command line matches; return how many.

        Raises:
            NotFound: none does.
        """
        return self._signal(machine_id, pattern, signal.SIGKILL)

    def busy(self, machine_id: str, loops: int, seconds: float) -> None:
        """Keep so many processors busy from inside a machine."""
        loop = f"timeout {seconds} sh -c 'while :; do :; done'"
        start = f"setsid --fork {loop} </dev/null >/dev/null 2>&1"
        for _ in range(loops):
            self._provider.run(machine_id, ["sh", "-c", start])

    def _change_terms(
        self, instance_type: str, market: Market, subnet_id: str, **changed: Any
    ) -> None:
        self._provider.world.facts_of(instance_type)
        inventory, key = self._provider.inventory, (instance_type, market, subnet_id)
        with inventory.change():
            terms = inventory.terms().get(key, Terms())
            inventory.put_terms(key, replace(terms, **changed))

    def _wire(self, machine_id: str) -> str:
        if not isinstance(self._provider.ground, Netns):
            raise Unavailable(
                "machines on loopback addresses have no wires of their own to cut; use netns",
                ground=self._provider.ground.name,
            )
        box, _ = self._provider.inside(machine_id)
        return wire_name(home_key(self._provider.home), box.ip)

    def _ip(self, peer: str) -> str:
        if peer.startswith("i-"):
            return self._provider.inventory.record(peer).machine.private_ip
        return peer

    def _signal(self, machine_id: str, pattern: str, sent: signal.Signals) -> int:
        box, process = self._provider.inside(machine_id)
        pids = self._provider.ground.pids(box, process)
        chosen = [pid for pid in pids if re.search(pattern, _command_line(pid))]
        if not chosen:
            raise NotFound(
                f"no process of machine {machine_id} matches {pattern!r}",
                machine_id=machine_id,
                pattern=pattern,
            )
        return _sent(chosen, sent)


def _sent(pids: Collection[int], sent: signal.Signals) -> int:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sent)
    return len(pids)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
