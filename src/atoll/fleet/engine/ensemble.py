"""When an empty ZooKeeper server may start: never so that empty servers alone form a quorum.

With `zookeeper.db.autocreate=false` an empty server has no vote, unless a file named `initialize`
lies in its data folder when it starts (the server removes it). Two empty servers of three that
both may vote elect each other, and the third, which holds the data, joins them and loses it
(measured). So the file is written when an ensemble is made, and else for one server at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from atoll.core.errors import Conflict

MARKER = "initialize"


@dataclass(frozen=True)
class Ensemble:
    """What is known of an ensemble that has served, when one of its servers is to start.

    Attributes:
        members: ids of all servers.
        holding: ids of the servers known to hold its data: in service, or their disk kept.
        admitted: ids of empty servers that got a marker and are not yet in service.
    """

    members: frozenset[int]
    holding: frozenset[int] = frozenset()
    admitted: frozenset[int] = frozenset()

    @property
    def quorum(self) -> int:
        """How many servers decide."""
        return len(self.members) // 2 + 1


def admit_empty(server_id: int, ensemble: Ensemble) -> None:
    """Decide whether an empty server may vote, and so gets the marker.

    Raises:
        Conflict: no; the message says what to wait for.
    """
    others = ensemble.admitted - {server_id}
    holding = ensemble.holding - {server_id}
    if len(others) + 1 >= ensemble.quorum:
        raise _refused(server_id, f"servers {_told(others)} are empty, too: wait until they serve")
    if len(holding) + len(others) + 1 < ensemble.quorum or not holding:
        raise _refused(
            server_id,
            f"only {_told(holding)} of {_told(ensemble.members)} hold the data: bring back a "
            "primary whose disk was kept",
        )


def _refused(server_id: int, why: str) -> Conflict:
    return Conflict(
        f"server {server_id} is empty and must not vote: {why}; empty servers that outvote the "
        "data would lose it",
        server_id=server_id,
    )


def _told(ids: Collection[int]) -> str:
    return ", ".join(map(str, sorted(ids))) or "none"


def is_empty(data_folder: Path) -> bool:
    """Say whether a server that starts on this folder would find no data."""
    kept = data_folder / "version-2"
    return not any(kept.glob("snapshot.*")) and not any(kept.glob("log.*"))


def write_marker(data_folder: Path) -> None:
    """Let the empty server of this folder vote at its next start; see `admit_empty`."""
    data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_folder / MARKER).touch()
