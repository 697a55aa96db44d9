"""What the local cloud is made of: zones, subnets, racks, types, and what its machines run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Protocol

from atoll.core.errors import InvalidInput
from atoll.core.resources import available_memory, available_threads
from atoll.core.text import some_of

# EC2, too, keeps the first four and the last address of a subnet for itself.
RESERVED_ADDRESSES = 4
MOST_ADDRESSES = 251
MOST_SUBNETS = 256
NETWORK = "vpc-local"
ZONES = ("local-1a", "local-1b", "local-1c")


class TypeFacts(Protocol):
    """What is known of an instance type; `spec.catalogue.InstanceType` has it all."""

    @property
    def vcpus(self) -> int:
        """Processors."""
        ...

    @property
    def memory_gib(self) -> float:
        """In 2^30 bytes."""
        ...

    @property
    def disk_gib(self) -> int:
        """The disk an instance has when nobody asks for another."""
        ...

    @property
    def price_hour(self) -> float:
        """US dollars for an hour on demand."""
        ...


@dataclass(frozen=True)
class SubnetSpec:
    """A subnet of a new home.

    Attributes:
        id: as specifications name it.
        zone: where it is.
        addresses: how many machines fit, 1 to 251.
        is_public: whether machines there get public addresses.
        network: the VPC it belongs to.
    """

    id: str
    zone: str
    addresses: int = MOST_ADDRESSES
    is_public: bool = False
    network: str = NETWORK

    def __post_init__(self) -> None:
        """Refuse a size that is no subnet's."""
        if not 1 <= self.addresses <= MOST_ADDRESSES:
            raise InvalidInput(
                f"subnet {self.id} cannot have {self.addresses} addresses; "
                f"give it 1 to {MOST_ADDRESSES}",
                subnet_id=self.id,
            )


def _three_subnets() -> tuple[SubnetSpec, ...]:
    return tuple(SubnetSpec(f"subnet-{zone}", zone) for zone in ZONES)


@dataclass(frozen=True)
class World:
    """How a local cloud is set up.

    Attributes:
        types: the instance types there are.
        subnets: those of a new home; one that exists keeps its own.
        adopts_subnets: whether an unknown "subnet-..." becomes a subnet of the next zone, so that
            a template written for AWS runs unchanged.
        racks_per_zone: hardware to spread machines on.
        disk_limit_mib: most of a machine's disk, whatever its type has: it is this machine's
            memory (netns) or disk (loopback).
        vcpu_limit: most processors of a machine, whatever its type has: all share this host's.
        memory_limit_mib: the same of its memory.
        spot_price_share: of the on-demand price, what spot costs unless told otherwise.
        command: what a machine runs; the path of its facts is appended.
        environment: variables for it.
    """

    types: Mapping[str, TypeFacts]
    subnets: tuple[SubnetSpec, ...] = field(default_factory=_three_subnets)
    adopts_subnets: bool = False
    racks_per_zone: int = 7
    disk_limit_mib: int = 1024
    vcpu_limit: int = field(default_factory=lambda: max(1, available_threads() // 2))
    memory_limit_mib: int = field(default_factory=lambda: available_memory() >> 21)
    spot_price_share: float = 0.4
    command: tuple[str, ...] = (sys.executable, "-m", "atoll.fleet.agent")
    environment: Mapping[str, str] = field(default_factory=dict)

    def facts_of(self, instance_type: str) -> TypeFacts:
        """Return what is known of a type.

        Raises:
            InvalidInput: the world has no such type.
        """
        if instance_type not in self.types:
            near = get_close_matches(instance_type, self.types) or sorted(self.types)
            raise InvalidInput(
                f"instance type {instance_type!r} is not in the catalogue; the nearest are "
                f"{some_of(near, 3)}: take one of them, or give the host a catalogue that has it "
                "(catalogue.toml in its folder)",
                instance_type=instance_type,
                near=near[:3],
            )
        return self.types[instance_type]

    def disk_bytes(self, instance_type: str, asked_gib: int | None) -> int:
        """Return the size of a machine's disk.

        Args:
            instance_type: its type.
            asked_gib: what the specification asks for; None: the type's usual.
        """
        wanted_mib = (asked_gib or self.facts_of(instance_type).disk_gib) * 1024
        return min(wanted_mib, self.disk_limit_mib) << 20
