"""Takes the leadership from a Spark master that is certainly dead, before its session ends.

A master holds the leadership through a node of ZooKeeper that lives as long as its session:
4 s after its last sign of life, and when ZooKeeper's own leader dies, 4 s after the next one is
elected. Whoever knows for certain that the process is gone need not wait: its parent that reaped
it, or the provider that ended its machine. Nobody else may: a master whose node is taken
while it lives goes on working, and there are two.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from atoll.compute.asking import ask
from atoll.core.errors import Unavailable
from atoll.fleet.engine.spark import ZNODE
from atoll.fleet.engine.zookeeper import CLIENT_PORT

LATCHES = f"{ZNODE}/leader_election"
_PROC = Path("/proc")
_CONNECTION = re.compile(
    r"^ /(?P<client>[\d.]+:\d+)\[.*[(,]sid=0x(?P<session>[0-9a-f]{1,16}),", re.M
)


def sessions_of(pid: int, address: str, *, proc: Path = _PROC) -> frozenset[int]:
    """Find the sessions of a process of this instance with the instance's ZooKeeper server.

    Sessions outlive connections, so what was found stays true until the process ends.

    Args:
        pid: a Spark master's.
        address: the instance's.
        proc: where the kernel tells of processes.

    Returns:
        Ids of sessions; empty while it has no connection, or the server does not answer.
    """
    server = f"{address}:{CLIENT_PORT}"
    clients = {ours for ours, theirs in _connections(pid, proc) if theirs == server}
    if clients:
        with suppress(Unavailable):
            answer = ask(address, CLIENT_PORT, b"cons", what="ZooKeeper")
            return frozenset(parse_cons(answer.decode("ascii", errors="replace"), clients))
    return frozenset()


def parse_cons(text: str, clients: Collection[str]) -> set[int]:
    """Read from the answer to `cons` the sessions of some clients.

    >>> line = " /10.0.0.4:4711[1](queued=0,recved=9,sent=9,sid=0x1a,lop=PING,est=1)"
    >>> parse_cons(line, ["10.0.0.4:4711"])
    {26}
    """
    lines = _CONNECTION.finditer(text)
    return {int(line["session"], 16) for line in lines if line["client"] in clients}


def release_latches(zookeeper: KazooClient, sessions: Collection[int]) -> list[str]:
    """Take the leadership, or the place in the queue for it, from masters that are dead.

    Args:
        zookeeper: a started client.
        sessions: as `sessions_of` found them while the master lived. Its process must be gone:
            reaped, or its machine ended.

    Returns:
        The nodes that were deleted.
    """
    deleted = []
    with suppress(NoNodeError):
        for name in zookeeper.get_children(LATCHES):
            node = f"{LATCHES}/{name}"
            seen = zookeeper.exists(node)
            if seen is not None and seen.ephemeralOwner in sessions:
                with suppress(NoNodeError):
                    zookeeper.delete(node)
                    deleted.append(node)
    return deleted


def _connections(pid: int, proc: Path) -> list[tuple[str, str]]:
    """List a process's TCP connections over IPv4: (our end, their end)."""
    sockets = set()
    try:
        for link in (proc / str(pid) / "fd").iterdir():
            # One that it closes just now; the probe's own connection, as a rule.
            with suppress(OSError):
                sockets.add(str(link.readlink()))
        lines = (proc / str(pid) / "net/tcp").read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [
        (_endpoint(row[1]), _endpoint(row[2])) for row in rows if f"socket:[{row[9]}]" in sockets
    ]


def _endpoint(told: str) -> str:
    """Read an address as the kernel writes it, in the byte order of a little-endian machine.

    >>> _endpoint("0100007F:0885")
    '127.0.0.1:2181'
    """
    address, port = told.split(":")
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(address))) + f":{int(port, 16)}"
