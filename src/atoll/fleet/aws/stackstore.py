"""Stacks as the host remembers them; what became of one follows from its cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from atoll.fleet.codec import decode, encode
from atoll.fleet.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS stacks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at REAL NOT NULL, stack BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS stacks_by_name ON stacks (name);
"""


@dataclass(frozen=True)
class Deletion:
    """A request to delete a stack.

    Attributes:
        at: time of day.
        refused: why that could not be; empty: it could.
        token: the request's.
    """

    at: float
    refused: str = ""
    token: str | None = None


@dataclass(frozen=True)
class KeptStack:
    """A stack as it was asked for.

    Attributes:
        id: its ARN.
        name: for people; of those that were not deleted, one has it.
        template: as it was sent.
        cluster_id: of its cluster, written down before that was begun.
        created_at: time of day.
        parameters: those given, by name.
        tags: by key.
        on_failure: "ROLLBACK", "DO_NOTHING", "DELETE".
        token: the request's, so that the same request again makes no other stack.
        is_protected: whether it may not be deleted.
        deletions: how it was asked to be deleted; the last may have been taken.
    """

    id: str
    name: str
    template: str
    cluster_id: str
    created_at: float
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    on_failure: str = "ROLLBACK"
    token: str | None = None
    is_protected: bool = False
    deletions: tuple[Deletion, ...] = ()

    @property
    def deletion(self) -> Deletion | None:
        """The request to delete it that was taken; None: none was."""
        return next((one for one in self.deletions if not one.refused), None)


class StackStore:
    """The host's stacks."""

    def __init__(self, path: Path) -> None:
        """Open the host's file."""
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, stack: KeptStack) -> None:
        """Remember a stack as it is now."""
        row = (stack.id, stack.name, stack.created_at, encode(stack))
        self._database.ask("INSERT OR REPLACE INTO stacks VALUES (?, ?, ?, ?)", row)

    def forget(self, stack: KeptStack) -> None:
        """Remember it no longer: it never came to be."""
        self._database.ask("DELETE FROM stacks WHERE id = ?", (stack.id,))

    def all(self) -> list[KeptStack]:
        """Recall all stacks, the newest first."""
        rows = self._database.ask("SELECT stack FROM stacks ORDER BY created_at DESC, id")
        return [_stack(row[0]) for row in rows]

    def of(self, name_or_id: str) -> list[KeptStack]:
        """Recall the stacks of a name, the newest first, or the one of an id."""
        rows = self._database.ask(
            "SELECT stack FROM stacks WHERE name = ? OR id = ? ORDER BY created_at DESC",
            (name_or_id, name_or_id),
        )
        return [_stack(row[0]) for row in rows]


def _stack(data: bytes) -> KeptStack:
    return decode(data, KeptStack, what="the record of a stack")
