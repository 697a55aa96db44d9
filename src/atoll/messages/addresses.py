"""Where a name leads, and whether one may go there: names that others give may lead inside."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, TypeAlias

from atoll.core.errors import InvalidInput, Unavailable

IP: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
MayReach: TypeAlias = Callable[[IP], bool]

# An IPv4 address stands in these: what lies behind a translator may be inside.
_TRANSLATED = [ip_network(one) for one in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")]


def anywhere(_address: IP) -> bool:
    """Let every address be reached: an administrator has named it."""
    return True


def public_or(networks: Iterable[Network]) -> MayReach:
    """Let only public addresses be reached, and those of some networks.

    >>> may_reach = public_or([ip_network("10.1.0.0/16")])
    >>> [may_reach(ip_address(one)) for one in ("10.1.0.9", "10.2.0.9", "9.9.9.9", "::1")]
    [True, False, True, False]
    """
    allowed = list(networks)

    def may_reach(address: IP) -> bool:
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        found = inner or address
        if any(found in one for one in allowed):
            return True
        is_translated = any(found in one for one in _TRANSLATED)
        return found.is_global and not found.is_multicast and not is_translated

    return may_reach


def within(networks: Iterable[Network]) -> MayReach:
    """Let only addresses of some networks be reached."""
    allowed = list(networks)
    return lambda address: any(address in one for one in allowed)


def networks_in(text: str) -> tuple[Network, ...]:
    """Read networks with commas between, such as "10.1.0.0/16, fd00::/8".

    Raises:
        InvalidInput: one of them is none.
    """
    try:
        return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise InvalidInput(f"{error}; give networks such as 10.1.0.0/16, commas between") from error


def addresses_of(host: str, port: int, may_reach: MayReach) -> list[tuple[int, Any]]:
    """Look up where a name leads; whoever connects to what is returned goes nowhere else.

    Returns:
        Address families with addresses as sockets take them, none that may not be reached.

    Raises:
        Unavailable: nothing that may be reached; what else there is, is not told.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    allowed: list[tuple[int, Any]] = [
        (family, address) for family, _, _, _, address in found if may_reach(_ip(str(address[0])))
    ]
    if not allowed:
        raise Unavailable(f"{host} leads to no address that may be reached from here")
    return allowed


def _ip(text: str) -> IP:
    return ip_address(text.partition("%")[0])
