"""Loss on a machine's wire: all of it or a share, to all or to some, one way or both.

A classic BPF program at the host's end of the wire picks packets; what it picks goes to an
interface that leads nowhere. Both are in every kernel's traffic control, where netem and nftables
often are not; packets vanish silently, as in a network that is broken.

Source: Linux, Documentation/networking/filter.rst (opcodes, ancillary data `SKF_AD_RANDOM`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from enum import StrEnum

from atoll.core.errors import InvalidInput, Unavailable
from atoll.fleet.providers.local.commands import need
from atoll.fleet.providers.local.netns import bridge_of, call, has_link, ip_batch

MOST_PEERS = 200
"""Jumps of a program reach 255 instructions."""

_LOAD_HALF, _LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 40, 32, 21, 53, 6
_ETHERTYPE_AT, _IPV4 = 12, 0x0800
_RANDOM_AT = 0xFFFFF000 + 56
_PASS, _PICK = 0, 0xFFFFFFFF

_Instruction = tuple[int, int, int, int]


class Direction(StrEnum):
    """Seen from the machine."""

    OUT = "out"
    IN = "in"
    BOTH = "both"


# The host's end hears what the machine sends; peers are then at the destination, else the source.
_ENDS = {Direction.OUT: ("ingress", 30), Direction.IN: ("egress", 26)}


def lose(
    key: str, wire: str, *, percent: float, peers: Sequence[str], direction: Direction
) -> None:
    """Lose packets on a wire from now on, instead of what was lost before.

    Args:
        key: the home's.
        wire: the host's end.
        percent: how many, 0 to 100.
        peers: to and from these addresses only; none: all, not only IP.
        direction: which way.

    Raises:
        InvalidInput: no such share, or too many peers.
        Unavailable: the kernel lacks traffic control; the message names the modules.
    """
    if not 0 <= percent <= 100 or len(peers) > MOST_PEERS:
        raise InvalidInput(
            f"cannot lose {percent:g} % to {len(peers)} peers; "
            f"give 0 to 100 % and at most {MOST_PEERS} peers"
        )
    heal(wire)
    sink = _sink(key)
    try:
        call(["tc", "qdisc", "add", "dev", wire, "clsact"])
        for way, (hook, address_at) in _ENDS.items():
            if direction in (way, Direction.BOTH):
                _filter(wire, hook, program(percent, peers, address_at), sink)
    except Unavailable as error:
        heal(wire)
        raise Unavailable(
            f"{error}; the kernel needs sch_ingress, cls_bpf and act_mirred", **error.details
        ) from error


def heal(wire: str) -> None:
    """Lose nothing on a wire any more."""
    need(["tc"], {"tc": "iproute2"})
    if "clsact" in call(["tc", "qdisc", "show", "dev", wire]):
        call(["tc", "qdisc", "del", "dev", wire, "clsact"])


def sink_name(key: str) -> str:
    """Return the name of the interface that leads nowhere."""
    return f"{bridge_of(key)}.sink"


def program(percent: float, peers: Sequence[str], address_at: int) -> str:
    """Write the program that picks packets, as `tc` reads it.

    Args:
        percent: the share of packets to pick.
        peers: addresses, one of which a packet must have; none: any packet will do.
        address_at: where in a frame that address is.

    >>> program(100, [], 30)
    '1,6 0 0 4294967295'
    """
    found: list[_Instruction] = []
    if peers:
        numbers = [int(ipaddress.IPv4Address(peer)) for peer in peers]
        last = len(numbers) - 1
        found = [
            (_LOAD_HALF, 0, 0, _ETHERTYPE_AT),
            # Past the load and the comparisons: pass.
            (_IF_EQUAL, 0, len(numbers) + 1, _IPV4),
            (_LOAD, 0, 0, address_at),
            *((_IF_EQUAL, last - at + 1, 0, number) for at, number in enumerate(numbers)),
            (_RETURN, 0, 0, _PASS),
        ]
    if percent < 100:
        threshold = int(percent / 100 * 2**32)
        found += [
            (_LOAD, 0, 0, _RANDOM_AT),
            (_IF_AT_LEAST, 0, 1, threshold),
            (_RETURN, 0, 0, _PASS),
        ]
    found.append((_RETURN, 0, 0, _PICK))
    return ",".join([str(len(found)), *(" ".join(map(str, one)) for one in found)])


def _filter(wire: str, hook: str, code: str, sink: str) -> None:
    where = ["dev", wire, hook, "protocol", "all", "prio", "1"]
    then = ["flowid", "1:1", "action", "mirred", "egress", "redirect", "dev", sink]
    call(["tc", "filter", "add", *where, "bpf", "bytecode", code, *then])


def _sink(key: str) -> str:
    name = sink_name(key)
    if not has_link(name):
        # A bridge with nothing on it; the kind "dummy" is not in every kernel.
        ip_batch(f"link add {name} type bridge")
    ip_batch(f"link set {name} up")
    return name
