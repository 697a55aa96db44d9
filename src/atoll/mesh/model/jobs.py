"""What the mesh has still to do by itself, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from atoll.mesh.model.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Cursor(Record):
    """How far something has read the audit's events. The id is its name."""

    KIND: ClassVar[str] = "cursor"

    position: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Job(Record):
    """Work that is to be done after a change, or at a time; done again until it went well.

    Attributes:
        kind: whose work: a name in `operations.jobs.HANDLERS`.
        subject_id: what about. There is one job of a kind about one thing.
        due_at: not before, microseconds since the epoch.
        wanted: how often it was; more than when it was taken: it is to be done once more.
        leased_until: who took it has so long, and asks for more while it lives.
        holder: who took it: the home folder's id.
        attempts: how often it was begun since it last went well.
        error: how the last attempt ended.
    """

    KIND: ClassVar[str] = "job"

    kind: str
    subject_id: str
    due_at: int
    wanted: int = 1
    leased_until: int = 0
    holder: str = ""
    attempts: int = 0
    error: str = ""
