"""Addresses and names of local machines: which there are, which is free."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from atoll.fleet.providers.local.world import RESERVED_ADDRESSES

DOMAIN = "atoll.internal"


@dataclass(frozen=True)
class LocalSubnet:
    """A subnet as the inventory keeps it.

    Attributes:
        id, zone, network, is_public, addresses: see `SubnetSpec`.
        number: its place in the home's network, the third part of its addresses.
        foreign: addresses that somebody else took (a fault that tests ask for).
    """

    id: str
    zone: str
    network: str
    is_public: bool
    addresses: int
    number: int
    foreign: int = 0

    def ips(self, network: str) -> list[str]:
        """List its addresses for machines; `network` is the home's first two parts, "10.77"."""
        first = RESERVED_ADDRESSES
        numbers = range(first, first + self.addresses)
        return [f"{network}.{self.number}.{number}" for number in numbers]

    def free_ips(self, network: str, taken: Collection[str]) -> list[str]:
        """List what is left of its addresses, lowest first.

        Args:
            network: the home's.
            taken: addresses in use or kept, of any subnet.
        """
        free = [ip for ip in self.ips(network) if ip not in taken]
        return free[: max(len(free) - self.foreign, 0)]


def name_of(ip: str) -> str:
    """Return an address's DNS name, as EC2 forms it.

    >>> name_of("10.77.0.11")
    'ip-10-77-0-11.atoll.internal'
    """
    return f"ip-{ip.replace('.', '-')}.{DOMAIN}"


def gateway_of(network: str) -> str:
    """Return the address at which machines reach the machine they live on."""
    return f"{network}.0.1"


def hosts_lines(network: str, subnets: Collection[LocalSubnet]) -> str:
    """Write the hosts file of a home: every address it can give, used or not.

    Names follow from addresses, so the file only grows, when a subnet is added: whoever reads it
    meanwhile misses nothing that was there before.
    """
    lines = ["127.0.0.1 localhost", f"{gateway_of(network)} gateway.{DOMAIN} gateway"]
    for subnet in sorted(subnets, key=lambda one: one.number):
        for ip in subnet.ips(network):
            name = name_of(ip)
            lines.append(f"{ip} {name} {name.split('.')[0]}")
    return "\n".join(lines) + "\n"
