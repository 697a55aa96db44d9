"""ZooKeeper on an instance: its configuration, its command, its folder.

Source: ZooKeeper 3.9 administrator's guide; figures measured on two shared cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.compute.java import Java
from atoll.core.errors import InvalidInput
from atoll.fleet.engine.daemon import Daemon
from atoll.fleet.engine.jars import zookeeper_classpath
from atoll.fleet.engine.jvm import Memory, jvm_flags
from atoll.fleet.engine.logs import log4j2
from atoll.fleet.engine.place import Place

CLIENT_PORT = 2181
QUORUM_PORT = 2888
ELECTION_PORT = 3888

# A session ends at a multiple of it: the shorter, the sooner.
TICK_MS = 250
# A follower that is silent for so long is dropped; a leader whom most do not hear steps down.
SYNC_MS = 2000
# A follower may take so long to fetch the data.
INIT_MS = 10_000
MIN_SESSION_MS = 1000
MAX_SESSION_MS = 4000
MEMORY = Memory(heap=64, young=4, metaspace=64, direct=16)


@dataclass(frozen=True)
class Peer:
    """A member of the ensemble.

    Attributes:
        server_id: 1 to 255; kept by whoever replaces it.
        address: IPv4.
    """

    server_id: int
    address: str


def connect_string(peers: Sequence[Peer]) -> str:
    """Say where clients find the ensemble.

    >>> connect_string([Peer(1, "10.0.0.4"), Peer(2, "10.0.0.5")])
    '10.0.0.4:2181,10.0.0.5:2181'
    """
    return ",".join(f"{peer.address}:{CLIENT_PORT}" for peer in peers)


def data_folder(place: Place) -> Path:
    """Where an instance keeps its ensemble's data: a primary's only irreplaceable folder."""
    return place.disk / "zookeeper"


def zookeeper_daemon(
    server_id: int, peers: Sequence[Peer], place: Place, *, java: Java, home: Path
) -> Daemon:
    """Configure the ensemble's member on this instance.

    Args:
        server_id: which of `peers` this is.
        peers: all members.
        place: this instance; its address is the peer's.
        java: what it runs on.
        home: SPARK_HOME, whose jars hold ZooKeeper.

    Raises:
        InvalidInput: `peers` do not name this server at this address.
    """
    if Peer(server_id, place.address) not in peers:
        raise InvalidInput(
            f"server {server_id} at {place.address} is none of the ensemble's {list(peers)}",
            server_id=server_id,
            address=place.address,
        )
    config, log_config = place.conf / "zoo.cfg", place.conf / "zookeeper-log4j2.properties"
    folder = data_folder(place)
    return Daemon(
        name="zookeeper",
        argv=(
            str(java.program),
            *jvm_flags(MEMORY, place, log_config),
            *_PROPERTIES,
            "-cp",
            zookeeper_classpath(home),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(config),
        ),
        env={"MALLOC_ARENA_MAX": "1"},
        files={
            config: zoo_cfg(peers, place),
            folder / "myid": f"{server_id}\n",
            log_config: log4j2(place.logs / "zookeeper.log"),
        },
        folders=(folder, place.logs, place.scratch),
    )


# No key of zoo.cfg stands for these.
_PROPERTIES = (
    # Empty servers refuse to vote: see `ensemble`.
    "-Dzookeeper.db.autocreate=false",
    # KiB; the default takes 64 MiB of a small disk for each log.
    "-Dzookeeper.preAllocSize=1024",
    "-Dzookeeper.snapCount=10000",
    "-Dzookeeper.txnLogSizeLimitInKb=4096",
    # ms; a peer whose machine is gone does not answer at all, and must not hold up an election.
    "-Dzookeeper.cnxTimeout=300",
    # ms; the default's 60 s is how long a returning peer may go unnoticed.
    "-Dzookeeper.fastleader.maxNotificationInterval=1000",
    "-Dzookeeper.jmx.log4j.disable=true",
)


def zoo_cfg(peers: Sequence[Peer], place: Place) -> str:
    """Write zoo.cfg of the member at `place`.

    Session times: an active Spark master that is gone loses its leadership when its session ends,
    and Spark asks for 60 s; only the server's `maxSessionTimeout` shortens that.
    """
    settings = {
        "tickTime": TICK_MS,
        "initLimit": INIT_MS // TICK_MS,
        "syncLimit": SYNC_MS // TICK_MS,
        "dataDir": data_folder(place),
        "clientPort": CLIENT_PORT,
        "clientPortAddress": place.address,
        "quorumListenOnAllIPs": "false",
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "srvr,mntr,cons",
        "minSessionTimeout": MIN_SESSION_MS,
        "maxSessionTimeout": MAX_SESSION_MS,
        # By address of the client: on a loopback cluster all share one.
        "maxClientCnxns": 500,
        "autopurge.snapRetainCount": 3,
        "autopurge.purgeInterval": 1,
    }
    members = {
        f"server.{peer.server_id}": f"{peer.address}:{QUORUM_PORT}:{ELECTION_PORT}"
        for peer in peers
    }
    return "".join(f"{key}={value}\n" for key, value in {**settings, **members}.items())
