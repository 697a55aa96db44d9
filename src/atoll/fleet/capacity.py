"""What capacity there is: subnets with free addresses, pools of instance types."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.core.errors import Unavailable
from atoll.fleet.model import Market


@dataclass(frozen=True)
class Subnet:
    """A range of addresses in one zone.

    Attributes:
        id: as the provider names it.
        zone: the availability zone; machines of one cluster share one.
        network: the VPC it belongs to.
        is_public: whether machines there get public addresses.
        free_addresses: how many are left.
        foreign_machines: machines in it that are not this cluster's.
    """

    id: str
    zone: str
    network: str
    is_public: bool
    free_addresses: int
    foreign_machines: int = 0


@dataclass(frozen=True)
class Pool:
    """A kind of capacity that can be had: a type in a subnet's zone on one market.

    Attributes:
        instance_type: as EC2 names it.
        market: on demand or spot.
        subnet_id: where.
        price: US dollars an hour for one instance; None: not known.
        capacity: instances that can be had now; None: more than one asks for (not known).
        score: how available spot is, higher is better; a model of what AWS keeps to itself.
    """

    instance_type: str
    market: Market
    subnet_id: str
    price: float | None
    capacity: int | None
    score: float = 0.0


class InsufficientCapacity(Unavailable):
    """No such machine is to be had now."""

    code = "insufficient_capacity"


class NoFreeAddress(Unavailable):
    """A subnet has not as many free addresses as are needed."""

    code = "insufficient_free_addresses"
