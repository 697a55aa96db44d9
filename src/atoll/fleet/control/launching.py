"""Launches a cluster's first primaries: addresses, then machines, each step idempotent."""

from __future__ import annotations

from dataclasses import replace

from atoll.fleet.control.registry import ClusterRecord, Registry
from atoll.fleet.life.placing import placement
from atoll.fleet.life.records import Slot
from atoll.fleet.providers.port import Provider


def launch_primaries(provider: Provider, registry: Registry, record: ClusterRecord) -> None:
    """Reserve the primaries' addresses and launch them; what was done before is not done again.

    Args:
        provider: where.
        registry: gets the addresses before the first machine is launched.
        record: the cluster; its slots may lack their addresses.

    Raises:
        InsufficientCapacity: not all are to be had.
        NoFreeAddress: the subnet has not enough free addresses any more.
    """
    desired = record.desired
    slots = tuple(_reserved(provider, record, slot) for slot in desired.slots)
    desired = replace(desired, slots=slots)
    registry.change(record.id, lambda old: replace(old, desired=desired))
    place = placement(desired, desired.primary_fleet, epoch=record.epoch, is_founding=True)
    for slot in slots:
        provider.launch_primary(
            desired.primary_type(slot),
            slot.address,
            desired.primary_fleet.id,
            place,
            token=f"{record.id}-primary{slot.server_id}-first",
        )


def _reserved(provider: Provider, record: ClusterRecord, slot: Slot) -> Slot:
    address = provider.reserve(
        record.desired.subnet_id,
        token=f"{record.id}-primary{slot.server_id}",
        cluster_id=record.id,
        epoch=record.epoch,
    )
    return replace(slot, address=address)
