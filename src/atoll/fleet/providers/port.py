"""The Provider port: whoever supplies machines, addresses and disks.

A provider knows nothing of clusters: it launches what it is told, remembers it under the tags it
was given, and tells the truth about what there is. Every adapter passes
`atoll.testing.provider_contract`.

Fencing: each call that changes something carries the epoch of the controller behind it. A provider
that can keeps the highest epoch it saw for a cluster and refuses lower ones with `Conflict`, whose
details name the `highest`; EC2 cannot: there idempotency tokens keep two controllers from launching
the same thing twice.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from atoll.core.errors import InvalidInput
from atoll.fleet.capacity import Pool, Subnet
from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Market, Role

ENDED_ITSELF = "Client.InstanceInitiatedShutdown"
"""How the reason begins of a machine that stopped from within; EC2's words."""

USER_DATA_BYTES = 13 << 10
"""The most of a machine's user data, packed: EC2 takes 16 KiB with the script that starts it."""


class MachineState(StrEnum):
    """What a provider knows of a machine; EC2's words."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    """Not running, its disk kept: `start` brings it back as it was."""
    TERMINATED = "terminated"
    """Gone, and its disk with it."""


@dataclass(frozen=True)
class Address:
    """A private address and its name, kept for a primary whatever machine holds it (an ENI)."""

    id: str
    subnet_id: str
    private_ip: str
    private_dns: str


@dataclass(frozen=True)
class Machine:
    """A machine as the provider sees it.

    Attributes:
        id: the provider's, such as "i-0ab...".
        cluster_id: the cluster it was tagged with.
        fleet_id: the instance fleet it was tagged with.
        role: what it is for.
        market: how it is paid for.
        instance_type: as EC2 names it.
        state: pending, running, stopped or terminated.
        private_ip, private_dns: where it is reached.
        subnet_id, zone: where it stands.
        address_id: the kept address it holds; None: an ordinary one.
        launched_at: seconds since the epoch.
        ended_at: the same; None: it lives.
        reason: why it ended, in the provider's words.
        reclaim_at: when spot will be taken back; None: no notice was given.
        rack: the hardware it shares with others; for placement.
        token: the idempotency token it was launched with.
    """

    id: str
    cluster_id: str
    fleet_id: str
    role: Role
    market: Market
    instance_type: str
    state: MachineState
    private_ip: str
    private_dns: str
    subnet_id: str
    zone: str
    launched_at: float
    address_id: str | None = None
    ended_at: float | None = None
    reason: str = ""
    reclaim_at: float | None = None
    rack: str = ""
    token: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it runs or is about to."""
        return self.state in (MachineState.PENDING, MachineState.RUNNING)


@dataclass(frozen=True)
class Placement:
    """What all machines of a cluster have in common, kept by the provider as tags and settings.

    Attributes:
        cluster_id: the tag by which they are found.
        epoch: the controller's; see the module.
        subnet_id: where they go.
        spread_group: machines of one group each stand on a rack of their own; None: anywhere.
        user_data: what the machine's agent is told at its start (JSON, at most
            `USER_DATA_BYTES`).
        tags: for people.
        settings: provider's own (ec2: AMI, key, security groups, instance profile), name to value.
    """

    cluster_id: str
    epoch: int
    subnet_id: str
    user_data: str
    spread_group: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FleetRequest:
    """Capacity for one fleet.

    Attributes:
        fleet_id: the fleet's tag.
        fleet: types, weights, strategies.
        on_demand: capacity units to add on demand; the last instance may overshoot.
        spot: the same as spot.
        is_resize: after the start: the fleet's resizing strategies count.
    """

    fleet_id: str
    fleet: FleetSpec
    on_demand: int
    spot: int
    is_resize: bool = False


@dataclass(frozen=True)
class ProviderAt:
    """Which provider, and how to reach it.

    Attributes:
        name: "local" or "ec2".
        where: "address:port" of the local cloud; the region of EC2.
        token: as whom the local cloud is asked; empty for EC2, where the instance profile tells.
        settings: what the provider does for every cluster, such as ec2's "package_url"; a
            placement's own settings count more.
    """

    name: str
    where: str = ""
    token: str = ""
    settings: dict[str, str] = field(default_factory=dict)


def packed_bytes(user_data: str) -> int:
    """Count what user data takes of `USER_DATA_BYTES`: compressed by gzip."""
    return len(gzip.compress(user_data.encode(), mtime=0))


def require_short(user_data: str) -> None:
    """Refuse user data that is too long.

    Raises:
        InvalidInput: it is.
    """
    size = packed_bytes(user_data)
    if size > USER_DATA_BYTES:
        raise InvalidInput(
            f"user_data has {size} bytes, packed; at most {USER_DATA_BYTES} go", size_bytes=size
        )


class Provider(Protocol):
    """Supplies machines."""

    name: str
    lag_s: float
    """So long a list of machines may lack one that was launched; 0: it shows what there is."""
    ends_at_once: bool
    """Whether a machine that is shown as stopped or terminated runs nothing any more."""

    def subnets(self, ids: Sequence[str] = ()) -> list[Subnet]:
        """List subnets, all or the named; an unknown one is `NotFound`."""
        ...

    def pools(self, types: Sequence[str], subnet_ids: Sequence[str]) -> list[Pool]:
        """List what capacity there is; a type it does not know is `InvalidInput`."""
        ...

    def require(self, spec: ClusterSpec) -> None:
        """Refuse a cluster that can never be launched here, by all reasons; nothing is asked.

        Raises:
            InvalidInput: it says what to change.
        """
        ...

    def warnings(self, spec: ClusterSpec) -> list[str]:
        """Say what speaks against a cluster here, or is left aside; nothing is launched."""
        ...

    def reserve(self, subnet_id: str, *, token: str, cluster_id: str, epoch: int) -> Address:
        """Keep an address and name; the same token gives the same. Full: `NoFreeAddress`."""
        ...

    def release(self, address_id: str, *, epoch: int) -> None:
        """Give an address back; one that is not there is no error, one in use is `Conflict`."""
        ...

    def addresses(self, cluster_id: str) -> list[Address]:
        """List the addresses kept for a cluster."""
        ...

    def launch_primary(
        self,
        config: InstanceTypeConfig,
        address: Address,
        fleet_id: str,
        placement: Placement,
        *,
        token: str,
    ) -> Machine:
        """Launch one on-demand machine at a kept address.

        The same token gives the same machine, however often it is asked. The address still held
        by a machine that lives is `Conflict`.

        Raises:
            InsufficientCapacity: no such machine is to be had (or none on a rack of its own).
        """
        ...

    def launch_fleet(
        self, request: FleetRequest, placement: Placement, *, token: str
    ) -> list[Machine]:
        """Launch as much as there is of what is asked for, on demand first.

        Returns:
            The machines, possibly fewer than asked for, none twice for one token.

        Raises:
            NoFreeAddress: the subnet holds fewer free addresses than the request needs; nothing
                was launched.
        """
        ...

    def machines(self, cluster_id: str) -> list[Machine]:
        """List a cluster's machines, those that ended within the last day included."""
        ...

    def start(self, machine_id: str, *, epoch: int) -> None:
        """Start a stopped machine again, with its disk and address."""
        ...

    def terminate(self, machine_ids: Sequence[str], *, epoch: int, reason: str) -> None:
        """Cut machines off, end them and free their disks; those that ended are no error.

        When it returns, nothing of them runs any more: an address may be used again.
        """
        ...
