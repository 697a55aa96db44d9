"""Launches a cluster's first primaries: addresses, then machines, each step idempotent."""

from __future__ import annotations

from dataclasses import replace

from atoll.fleet.life.placing import placement
from atoll.fleet.life.records import Slot
from atoll.fleet.providers.port import Machine, Provider
from atoll.fleet.registry import ClusterRecord, Registry


def launch_primaries(
    provider: Provider, registry: Registry, record: ClusterRecord
) -> list[Machine]:
    """Reserve the primaries' addresses and launch them; what was done before is not done again.

    Args:
        provider: where.
        registry: gets the addresses before the first machine is launched.
        record: the cluster; its slots may lack their addresses.

    Returns:
        The primaries, by their numbers.

    Raises:
        InsufficientCapacity: not all are to be had.
        NoFreeAddress: the subnet has not enough free addresses any more.
    """
    slots = tuple(_reserved(provider, record, slot) for slot in record.desired.slots)
    desired = registry.change(record.id, lambda old: _placed(old, slots)).desired
    place = placement(desired, desired.primary_fleet, epoch=record.epoch, is_founding=True)
    # An ensemble that is begun anew has machines of its own.
    order = f"anew{record.anew}" if record.anew else "first"
    return [
        provider.launch_primary(
            desired.primary_type(slot),
            slot.address,
            desired.primary_fleet.id,
            place,
            token=f"{record.id}-primary{slot.server_id}-{order}",
        )
        for slot in slots
    ]


def _placed(old: ClusterRecord, slots: tuple[Slot, ...]) -> ClusterRecord:
    """Write the addresses down beside what else was asked for meanwhile."""
    return replace(old, desired=replace(old.desired, slots=slots))


def _reserved(provider: Provider, record: ClusterRecord, slot: Slot) -> Slot:
    address = provider.reserve(
        record.desired.subnet_id,
        token=f"{record.id}-primary{slot.server_id}",
        cluster_id=record.id,
        epoch=record.epoch,
    )
    return replace(slot, address=address)
