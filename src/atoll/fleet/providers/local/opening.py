"""Opens a home: takes it for this process alone, makes it if it is new, recovers what was left."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.files import writing
from atoll.fleet.providers.local.addressing import LocalSubnet
from atoll.fleet.providers.local.claims import claim_network, home_key
from atoll.fleet.providers.local.ground import Ground
from atoll.fleet.providers.local.inventory import FILE, Inventory
from atoll.fleet.providers.local.lifecycle import HOSTS
from atoll.fleet.providers.local.loopback import Loopback
from atoll.fleet.providers.local.netns import Netns, networks_of_host
from atoll.fleet.providers.local.privileges import enter
from atoll.fleet.providers.local.provider import LocalProvider
from atoll.fleet.providers.local.world import World

logger = logging.getLogger(__name__)

KINDS = (Loopback.name, Netns.name)
LOCK = "lock"


@contextmanager
def open_provider(home: Path, kind: str, world: World) -> Iterator[LocalProvider]:
    """Open the local cloud in a folder; its machines outlive the block and this process.

    Args:
        home: the folder; it is made if need be.
        kind: "loopback" or "netns"; a home keeps the one it was made with.
        world: what there is; subnets count for a new home only.

    Raises:
        Conflict: another process has it open, or another home has the network of this one.
        InvalidInput: no such kind, or the home was made with the other.
            Or (netns, without root) this process has other threads.
        Unavailable: the host lacks what the kind needs; the message says what.
    """
    with held(home):
        if kind == Netns.name:
            enter(home)
        inventory = Inventory(home / FILE)
        try:
            ground, network = _grounded(home, kind, inventory)
            _populate(inventory, world)
            provider = LocalProvider(home, network, ground, inventory, world)
            provider.recover()
            logger.info("local cloud open home=%s kind=%s network=%s", home, kind, network)
            yield provider
        finally:
            inventory.close()


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold a home for this process alone; the lock ends with the process.

    Raises:
        Conflict: another process holds it.
    """
    with writing(home):
        # 0700: facts hold what launchers tell their machines.
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with writing(home / LOCK), (home / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another process serves {home}; stop it or use another folder", home=str(home)
            ) from error
        yield


def _grounded(home: Path, kind: str, inventory: Inventory) -> tuple[Ground, str]:
    """Return the home's ground, ready, and its network."""
    made_with = inventory.fact("kind") or kind
    if kind not in KINDS or kind != made_with:
        raise InvalidInput(
            f"{home} cannot be opened as {kind!r}; "
            + (f"it was made as {made_with!r}" if kind in KINDS else f"take one of {KINDS}"),
            home=str(home),
            kind=kind,
        )
    network = _network(home, kind, inventory)
    ground: Ground = Loopback(home_key(home), network)
    if kind == Netns.name:
        ground = Netns(home_key(home), network, home / HOSTS)
    ground.prepare()
    inventory.put_fact("kind", kind)
    return ground, network


def _network(home: Path, kind: str, inventory: Inventory) -> str:
    """Return the network of a home: the one it has had since it was made."""
    kept = inventory.fact("network")
    if kind == Netns.name:
        foreign = [] if kept else networks_of_host()
        network = claim_network(home, Netns.first_octet, kept=kept, foreign=foreign)
    else:
        network = claim_network(home, Loopback.first_octet, kept=kept)
    inventory.put_fact("network", network)
    return network


def _populate(inventory: Inventory, world: World) -> None:
    """Give a new home its subnets."""
    with inventory.change():
        if inventory.subnets():
            return
        for number, one in enumerate(world.subnets):
            inventory.put_subnet(
                LocalSubnet(one.id, one.zone, one.network, one.is_public, one.addresses, number)
            )
