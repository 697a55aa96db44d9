"""Asks a ZooKeeper server what it is now, by a four-letter word."""

from __future__ import annotations

import re
from enum import Enum

from atoll.compute.asking import TIMEOUT_SECONDS, ask
from atoll.core.errors import Corrupt
from atoll.fleet.engine.zookeeper import CLIENT_PORT


class Mode(Enum):
    """What a server is in its ensemble."""

    LEADER = "leader"
    FOLLOWER = "follower"
    STANDALONE = "standalone"
    # It runs, but is in no quorum.
    NOT_SERVING = "not serving"

    @property
    def is_serving(self) -> bool:
        """Whether clients get answers there."""
        return self is not Mode.NOT_SERVING


def probe_zookeeper(address: str, *, timeout_s: float = TIMEOUT_SECONDS) -> Mode:
    """Ask the server at `address`.

    Raises:
        Unavailable: it did not answer in time.
        Corrupt: what answered is no ZooKeeper, or one that may not be asked.
    """
    answer = ask(address, CLIENT_PORT, b"srvr", what="ZooKeeper", timeout_s=timeout_s)
    return parse_srvr(answer.decode("ascii", errors="replace"))


def parse_srvr(text: str) -> Mode:
    """Read the answer to `srvr`.

    Raises:
        Corrupt: it is none, or cut short.
    """
    if text.startswith("This ZooKeeper instance is not currently serving requests"):
        return Mode.NOT_SERVING
    # Mode is the last line but one: an answer that has both is whole.
    mode = re.search(r"^Mode: (leader|follower|standalone)$", text, re.MULTILINE)
    if mode and re.search(r"^Zxid: 0x[0-9a-f]{1,16}$", text, re.MULTILINE):
        return Mode(mode[1])
    raise Corrupt(
        f"the answer to srvr is not ZooKeeper's: {text[:60]!r}; another program has its port "
        f"{CLIENT_PORT}, or its 4lw.commands.whitelist lacks srvr",
        answer=text[:200],
    )
