"""Alarms, their history and what is still to be notified, in the host's SQLite file.

A change of state, its line of history and its notifications are written together: a host that is
killed in between has all of them or none.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atoll.core.errors import Corrupt, NotFound
from atoll.fleet.codec import decode, encode
from atoll.fleet.database import Database
from atoll.fleet.monitoring.alarms import Alarm, AlarmState

logger = logging.getLogger(__name__)

MOST_HISTORY = 10_000
MOST_WAITING = 10_000
"""Notifications; the oldest go first."""
KEPT_SECONDS = 30 * 86400.0
"""CloudWatch's, of history."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alarms (name TEXT PRIMARY KEY, alarm BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS alarm_history (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, at REAL NOT NULL,
    entry BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS notifications (
    number INTEGER PRIMARY KEY AUTOINCREMENT, due_at REAL NOT NULL, notification BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS alarmed (cluster_id TEXT PRIMARY KEY);
"""


@dataclass(frozen=True)
class KeptAlarm:
    """An alarm and the state it is in.

    Attributes:
        alarm: its definition.
        state: where it stands.
        reason: why, for people.
        updated_at: when the definition was put, time of day.
        changed_at: when the state changed last.
    """

    alarm: Alarm
    state: AlarmState
    reason: str
    updated_at: float
    changed_at: float


@dataclass(frozen=True)
class Entry:
    """A line of an alarm's history.

    Attributes:
        name: the alarm's.
        at: time of day.
        kind: "ConfigurationUpdate", "StateUpdate" or "Action".
        summary: what happened, for people.
        data: the same with all facts, JSON-ready.
    """

    name: str
    at: float
    kind: str
    summary: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Notification:
    """Somebody to be told of a change of state.

    Attributes:
        id: tells it from all others, the same at each try.
        alarm_name: whose.
        target: a URL or "mailto:...".
        subject: one line.
        body: the facts, JSON-ready.
        attempts: tries so far.
    """

    id: str
    alarm_name: str
    target: str
    subject: str
    body: dict[str, Any]
    attempts: int = 0


class AlarmStore:
    """The host's alarms. Calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the host's file."""
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Definitions.

    def put(self, alarm: Alarm) -> None:
        """Set an alarm, or set it anew; its state stays until it is evaluated."""
        now = time.time()
        fresh = KeptAlarm(
            alarm, AlarmState.INSUFFICIENT_DATA, "Unchecked: Initial alarm creation", now, now
        )
        with self._database.whole():
            old = self._readable(alarm.name)
            self._keep(fresh if old is None else replace(old, alarm=alarm, updated_at=now))
            what = "updated" if old else "created"
            self._tell(Entry(alarm.name, now, "ConfigurationUpdate", f"Alarm {what}", {}))

    def put_own(self, cluster_id: str, alarms: Sequence[Alarm]) -> None:
        """Set the alarms that a cluster has from its start; what a user made of them stays."""
        with self._database.whole():
            known = self._database.ask("SELECT 1 FROM alarmed WHERE cluster_id = ?", (cluster_id,))
            if known:
                return
            self._database.ask("INSERT INTO alarmed VALUES (?)", (cluster_id,))
            now, why = time.time(), "Unchecked: Initial alarm creation"
            for one in alarms:
                self._keep(KeptAlarm(one, AlarmState.INSUFFICIENT_DATA, why, now, now))
                self._tell(Entry(one.name, now, "ConfigurationUpdate", "Alarm created", {}))

    def all(self) -> list[KeptAlarm]:
        """Recall all alarms by name; one that cannot be read is logged, and keeps no other back."""
        found = [self._readable(name) for name in self.names()]
        return [one for one in found if one is not None]

    def names(self) -> list[str]:
        """Recall the names of all alarms in order, also of those that cannot be read."""
        return [name for (name,) in self._database.ask("SELECT name FROM alarms ORDER BY name")]

    def get(self, name: str) -> KeptAlarm:
        """Recall an alarm.

        Raises:
            NotFound: there is none of that name.
            Corrupt: there is, and it cannot be read.
        """
        found = self._found(name)
        if found is None:
            raise NotFound(f"there is no alarm {name!r}", name=name)
        return found

    def delete(self, name: str) -> None:
        """Forget an alarm; its history stays."""
        with self._database.whole():
            self._database.ask("DELETE FROM alarms WHERE name = ?", (name,))
            self._tell(Entry(name, time.time(), "ConfigurationUpdate", "Alarm deleted", {}))

    # States.

    def change(
        self,
        old: KeptAlarm,
        new: KeptAlarm,
        entries: Sequence[Entry],
        notifications: Sequence[Notification],
    ) -> bool:
        """Put an alarm into another state, with its history and its notifications.

        Args:
            old: as it was read; where it is another now, nothing is changed.
            new: as it is from now on.
            entries: what is told of it.
            notifications: who is told.

        Returns:
            Whether it was changed.
        """
        with self._database.whole():
            if self._found(old.alarm.name) != old:
                return False
            self._keep(new)
            for entry in entries:
                self._tell(entry)
            for one in notifications:
                self._database.ask(
                    "INSERT INTO notifications (due_at, notification) VALUES (?, ?)",
                    (new.changed_at, encode(one)),
                )
        return True

    def history(self) -> list[tuple[int, Entry]]:
        """Recall all history with its numbers, the newest first."""
        rows = self._database.ask("SELECT number, entry FROM alarm_history ORDER BY number DESC")
        return [(number, decode(data, Entry, what="history of alarms")) for number, data in rows]

    # Notifications.

    def due(self, now: float) -> list[tuple[int, Notification]]:
        """Recall the notifications that are to be sent now, with their numbers, in order."""
        rows = self._database.ask(
            "SELECT number, notification FROM notifications WHERE due_at <= ? ORDER BY number",
            (now,),
        )
        return [
            (number, decode(data, Notification, what="a notification")) for number, data in rows
        ]

    def waiting(self) -> int:
        """Count the notifications that have not arrived."""
        return int(self._database.ask("SELECT COUNT(*) FROM notifications")[0][0])

    def postpone(self, number: int, notification: Notification, due_at: float) -> None:
        """Try a notification again later."""
        self._database.ask(
            "UPDATE notifications SET due_at = ?, notification = ? WHERE number = ?",
            (due_at, encode(notification), number),
        )

    def settle(self, number: int, entry: Entry) -> None:
        """Be done with a notification, and say in its alarm's history how."""
        with self._database.whole():
            self._database.ask("DELETE FROM notifications WHERE number = ?", (number,))
            self._tell(entry)

    def prune(self, now: float) -> None:
        """Forget old history, and bound history and waiting notifications."""
        self._database.ask("DELETE FROM alarm_history WHERE at < ?", (now - KEPT_SECONDS,))
        for table, most in (("alarm_history", MOST_HISTORY), ("notifications", MOST_WAITING)):
            newest = f"SELECT number FROM {table} ORDER BY number DESC LIMIT 1 OFFSET ?"
            self._database.ask(f"DELETE FROM {table} WHERE number <= ({newest})", (most,))

    def _found(self, name: str) -> KeptAlarm | None:
        rows = self._database.ask("SELECT alarm FROM alarms WHERE name = ?", (name,))
        return decode(rows[0][0], KeptAlarm, what=f"the record of alarm {name}") if rows else None

    def _readable(self, name: str) -> KeptAlarm | None:
        try:
            return self._found(name)
        except Corrupt as error:
            logger.warning("alarm not read, put it anew or delete it error=%s", error)
            return None

    def _keep(self, kept: KeptAlarm) -> None:
        row = (kept.alarm.name, encode(kept))
        self._database.ask("INSERT OR REPLACE INTO alarms VALUES (?, ?)", row)

    def _tell(self, entry: Entry) -> None:
        row = (entry.name, entry.at, encode(entry))
        self._database.ask("INSERT INTO alarm_history (name, at, entry) VALUES (?, ?, ?)", row)
