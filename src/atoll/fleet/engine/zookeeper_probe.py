"""Asks a ZooKeeper server how it is, by its four-letter words."""

from __future__ import annotations

import re
from dataclasses import dataclass
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


@dataclass(frozen=True)
class ZooKeeperHealth:
    """What a server says of itself.

    Attributes:
        mode: LEADER, FOLLOWER and STANDALONE serve clients.
        zxid: the last transaction it has applied; None while it does not serve.
        outstanding: requests that wait for an answer.
        synced_followers: of a leader, how many follow it and are up to date; None of others.
    """

    mode: Mode
    zxid: int | None = None
    outstanding: int = 0
    synced_followers: int | None = None

    @property
    def is_serving(self) -> bool:
        """Whether clients get answers here."""
        return self.mode is not Mode.NOT_SERVING


def probe_zookeeper(address: str, *, timeout_s: float = TIMEOUT_SECONDS) -> ZooKeeperHealth:
    """Ask the server at `address`.

    Raises:
        Unavailable: it did not answer in time (for each of two questions).
        Corrupt: what answered is no ZooKeeper, or one that may not be asked.
    """
    health = parse_srvr(_word(b"srvr", address, timeout_s))
    if health.mode is not Mode.LEADER:
        return health
    synced = parse_synced_followers(_word(b"mntr", address, timeout_s))
    return ZooKeeperHealth(Mode.LEADER, health.zxid, health.outstanding, synced)


def _word(word: bytes, address: str, timeout_s: float) -> str:
    answer = ask(address, CLIENT_PORT, word, what="ZooKeeper", timeout_s=timeout_s)
    return answer.decode("ascii", errors="replace")


def parse_srvr(text: str) -> ZooKeeperHealth:
    """Read the answer to `srvr`.

    Raises:
        Corrupt: it is none, or cut short.
    """
    if text.startswith("This ZooKeeper instance is not currently serving requests"):
        return ZooKeeperHealth(Mode.NOT_SERVING)
    # Mode is the last line but one: an answer that has both is whole.
    mode = re.search(r"^Mode: (leader|follower|standalone)$", text, re.MULTILINE)
    zxid = re.search(r"^Zxid: 0x([0-9a-f]{1,16})$", text, re.MULTILINE)
    outstanding = re.search(r"^Outstanding: (\d{1,18})$", text, re.MULTILINE)
    if not (mode and zxid and outstanding):
        raise _nonsense("srvr", text)
    return ZooKeeperHealth(Mode(mode[1]), int(zxid[1], 16), int(outstanding[1]))


def parse_synced_followers(text: str) -> int | None:
    """Read a leader's answer to `mntr`; None where it has stopped leading since it was asked.

    Raises:
        Corrupt: the answer is none.
    """
    if synced := re.search(r"^zk_synced_followers\t(\d{1,9})(?:\.0)?$", text, re.MULTILINE):
        return int(synced[1])
    if text.startswith(("This ZooKeeper instance is not", "zk_version\t")):
        return None
    raise _nonsense("mntr", text)


def _nonsense(word: str, text: str) -> Corrupt:
    return Corrupt(
        f"the answer to {word} is not ZooKeeper's: {text[:60]!r}; another program has its port "
        f"{CLIENT_PORT}, or its 4lw.commands.whitelist lacks {word}",
        answer=text[:200],
    )
