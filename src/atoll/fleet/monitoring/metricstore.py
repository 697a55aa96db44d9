"""Measures of all clusters over time, in the host's SQLite file: bounded, thinned, pruned.

One row has all measures of a cluster at a time of day. Like CloudWatch's, rows keep their full
resolution for three hours; from then on, of those that repeat the one before, one a minute stays.
"""

from __future__ import annotations

from pathlib import Path

from atoll.fleet.codec import decode, encode
from atoll.fleet.database import Database
from atoll.fleet.monitoring.metrics import Point

KEPT_SECONDS = 15 * 86400.0
FULL_SECONDS = 3 * 3600.0
MOST_ROWS = 100_000
"""Of one cluster."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS measures (
    cluster_id TEXT NOT NULL, at REAL NOT NULL, is_change INTEGER NOT NULL, measures BLOB NOT NULL,
    PRIMARY KEY (cluster_id, at)
) WITHOUT ROWID;
"""
_THIN = """
DELETE FROM measures WHERE NOT is_change AND at < ? AND EXISTS (
    SELECT 1 FROM measures AS earlier WHERE earlier.cluster_id = measures.cluster_id
    AND earlier.at >= CAST(measures.at / 60 AS INTEGER) * 60 AND earlier.at < measures.at
)
"""
_BOUND = """
DELETE FROM measures WHERE cluster_id = ? AND at <= (
    SELECT at FROM measures WHERE cluster_id = ? ORDER BY at DESC LIMIT 1 OFFSET ?
)
"""


class MetricStore:
    """The host's measures."""

    def __init__(self, path: Path) -> None:
        """Open the host's file."""
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def write(
        self, cluster_id: str, at: float, found: dict[str, float], *, is_change: bool
    ) -> None:
        """Remember a cluster's measures at a time of day."""
        row = (cluster_id, at, is_change, encode(found))
        self._database.ask("INSERT OR REPLACE INTO measures VALUES (?, ?, ?, ?)", row)

    def points(self, cluster_id: str, metric: str, start: float, end: float) -> list[Point]:
        """Recall a metric's points from `start` to before `end`, in order."""
        rows = self._database.ask(
            "SELECT at, measures FROM measures WHERE cluster_id = ? AND at >= ? AND at < ?"
            " ORDER BY at",
            (cluster_id, start, end),
        )
        found = ((at, _measures(data)) for at, data in rows)
        return [Point(at, values[metric]) for at, values in found if metric in values]

    def metrics(self, since: float = 0.0) -> dict[str, set[str]]:
        """Return the names of the metrics by cluster, of those with a row since a time of day."""
        # SQLite gives the columns of the row that MAX found; the newest row has all names.
        rows = self._database.ask(
            "SELECT cluster_id, measures, MAX(at) FROM measures WHERE at >= ? GROUP BY cluster_id",
            (since,),
        )
        return {cluster_id: set(_measures(data)) for cluster_id, data, _ in rows}

    def prune(self, now: float) -> None:
        """Forget what is old, thin out what is older, and bound what is left."""
        self._database.ask("DELETE FROM measures WHERE at < ?", (now - KEPT_SECONDS,))
        self._database.ask(_THIN, (now - FULL_SECONDS,))
        for (cluster_id,) in self._database.ask("SELECT DISTINCT cluster_id FROM measures"):
            self._database.ask(_BOUND, (cluster_id, cluster_id, MOST_ROWS))


def _measures(data: bytes) -> dict[str, float]:
    return decode(data, dict[str, float], what="measures of a cluster")
