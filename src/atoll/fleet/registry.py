"""What the host remembers of all clusters: one SQLite file.

A cluster's truth lies in its own ZooKeeper. Here is what must outlive that: which clusters there
are, what was begun for them (so that a killed process goes on), and the last that was seen of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from atoll.core.errors import NotFound
from atoll.fleet.codec import decode, encode
from atoll.fleet.database import Database
from atoll.fleet.life.records import Desired, Event, Known, Step

FILE = "control.sqlite"
OLD_STEPS_KEPT = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS clusters (id TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    cluster_id TEXT NOT NULL, source TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
    event BLOB NOT NULL, PRIMARY KEY (cluster_id, source, number)
);
CREATE TABLE IF NOT EXISTS old_steps (
    cluster_id TEXT NOT NULL, id TEXT NOT NULL, created_at REAL NOT NULL, step BLOB NOT NULL,
    PRIMARY KEY (cluster_id, id)
);
"""


class Phase(StrEnum):
    """How far the host's part in a cluster's life is."""

    LAUNCHING = "LAUNCHING"
    """Its primaries are being launched; the cluster cannot act yet."""
    LIVING = "LIVING"
    """Its own controller looks after it."""
    ENDING = "ENDING"
    """It is being ended, by a user's wish or because it could not begin."""
    ENDED = "ENDED"


@dataclass(frozen=True)
class Ending:
    """Why a cluster ends.

    Attributes:
        reason: a `ClusterReason`.
        message: for people.
        is_failure: TERMINATED_WITH_ERRORS, not TERMINATED.
        at: when that was written down; `ending.begin` says so.
    """

    reason: str
    message: str
    is_failure: bool
    at: float = 0.0


@dataclass(frozen=True)
class ClusterRecord:
    """A cluster as the host remembers it.

    Attributes:
        desired: what it shall be, as last seen.
        phase: the host's part.
        known: its status and instances, as last seen.
        steps: its steps, as last seen; those that it forgot are apart (`Registry.old_steps`).
        epoch: the highest epoch of a controller that was seen.
        ending: why it ends; None: it does not.
        lifts_protection: whether its protection was lifted while it could not be asked, and it has
            yet to hear of that.
        anew: the epoch in which a repair began its ensemble anew; 0: it has its first.
    """

    desired: Desired
    phase: Phase
    known: Known
    steps: tuple[Step, ...] = ()
    epoch: int = 0
    ending: Ending | None = None
    lifts_protection: bool = False
    anew: int = 0

    @property
    def id(self) -> str:
        """The cluster's id."""
        return self.desired.cluster_id


@dataclass(frozen=True)
class Told:
    """An event, and what tells it from all others of its cluster.

    Attributes:
        source: who numbered it: "host", or one of the cluster's ensembles.
        number: the source's.
        event: what happened.
    """

    source: str
    number: int
    event: Event


class Registry:
    """The file. Calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        """Open it; it is made if need be.

        Raises:
            Unavailable: it cannot be opened or written. Corrupt: it is damaged.
        """
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def add(self, record: ClusterRecord, event: Event) -> None:
        """Remember a new cluster and its first event, or neither."""
        row = (record.id, encode(record))
        with self._database.whole():
            self._database.ask("INSERT INTO clusters VALUES (?, ?)", row)
            self.tell_here(record.id, event)

    def get(self, cluster_id: str) -> ClusterRecord:
        """Recall a cluster.

        Raises:
            NotFound: there is none of that id.
        """
        rows = self._database.ask("SELECT record FROM clusters WHERE id = ?", (cluster_id,))
        if not rows:
            # EMR's words.
            raise NotFound(f"Cluster id '{cluster_id}' is not valid.", cluster_id=cluster_id)
        return decode(rows[0][0], ClusterRecord, what=f"the record of cluster {cluster_id}")

    def all(self) -> list[ClusterRecord]:
        """Recall all clusters, the newest first."""
        rows = self._database.ask("SELECT id, record FROM clusters")
        records = [decode(data, ClusterRecord, what=f"the record of {id_}") for id_, data in rows]
        return sorted(records, key=lambda one: -one.desired.created_at)

    def change(
        self, cluster_id: str, change: Callable[[ClusterRecord], ClusterRecord]
    ) -> ClusterRecord:
        """Read a record, change it, write it; nobody comes between."""
        with self._database.reaching():
            old = self.get(cluster_id)
            new = change(old)
            if new != old:
                row = (encode(new), cluster_id)
                self._database.ask("UPDATE clusters SET record = ? WHERE id = ?", row)
        return new

    def tell(self, cluster_id: str, source: str, events: Sequence[tuple[int, Event]]) -> None:
        """Remember events; a number that is known of a source stays as it is.

        Args:
            cluster_id: the cluster.
            source: who numbered them: "host", or one of the cluster's ensembles.
            events: number and event.
        """
        rows = [(cluster_id, source, number, one.at, encode(one)) for number, one in events]
        self._database.write("INSERT OR IGNORE INTO events VALUES (?,?,?,?,?)", rows)

    def tell_here(self, cluster_id: str, event: Event) -> None:
        """Remember an event of the host's own."""
        with self._database.reaching():
            self.tell(cluster_id, "host", [(self.newest(cluster_id, "host") + 1, event)])

    def newest(self, cluster_id: str, source: str) -> int:
        """Return the highest number of a source's events, -1 without any."""
        ((newest,),) = self._database.ask(
            "SELECT MAX(number) FROM events WHERE cluster_id = ? AND source = ?",
            (cluster_id, source),
        )
        return -1 if newest is None else int(newest)

    def events(self, cluster_id: str) -> list[Event]:
        """Recall a cluster's events in order."""
        return [one.event for one in self.told(cluster_id)]

    def told(self, cluster_id: str) -> list[Told]:
        """Recall a cluster's events in order, with their numbers.

        One that a source tells late comes to stand before others that were there.
        """
        rows = self._database.ask(
            "SELECT source, number, event FROM events WHERE cluster_id = ?"
            " ORDER BY at, source, number",
            (cluster_id,),
        )
        what = f"an event of {cluster_id}"
        return [
            Told(source, number, decode(data, Event, what=what)) for source, number, data in rows
        ]

    def keep_steps(self, cluster_id: str, steps: Sequence[Step]) -> None:
        """Remember steps that a cluster forgot, the newest `OLD_STEPS_KEPT`."""
        if not steps:
            return
        rows = [(cluster_id, one.id, one.created_at, encode(one)) for one in steps]
        self._database.write("INSERT OR IGNORE INTO old_steps VALUES (?,?,?,?)", rows)
        self._database.ask(
            "DELETE FROM old_steps WHERE cluster_id = ? AND id NOT IN (SELECT id FROM old_steps "
            "WHERE cluster_id = ? ORDER BY created_at DESC, id DESC LIMIT ?)",
            (cluster_id, cluster_id, OLD_STEPS_KEPT),
        )

    def old_steps(self, cluster_id: str) -> list[Step]:
        """Recall the steps that a cluster forgot, the oldest first."""
        rows = self._database.ask(
            "SELECT step FROM old_steps WHERE cluster_id = ? ORDER BY created_at, id", (cluster_id,)
        )
        return [decode(row[0], Step, what=f"a step of {cluster_id}") for row in rows]
