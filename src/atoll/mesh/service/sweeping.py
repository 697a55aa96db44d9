"""Removes what has run out: what people came in by, answers kept for repeats, old notifications."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from atoll.mesh.model.jobs import Job
from atoll.mesh.model.notices import Notification, NotificationStatus, NotificationType
from atoll.mesh.model.people import AccessToken, PendingSignIn, Proof
from atoll.mesh.model.record import Record, Replay
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import HOUSEKEEPING, Attendant, job

EVERY_S = 600
REPLAY_S = 86_400
# For whoever wonders what a token was, or what they were told.
SHOWN_S = 90 * 86_400
AT_ONCE = 200  # others wait meanwhile


@dataclass(frozen=True)
class RunsOut:
    """What is removed of a kind.

    Attributes:
        since: the field from which on time counts, microseconds since the epoch.
        kept_s: seconds that it stays.
        values: of which fields; none: of any.
    """

    kind: type[Record]
    since: str
    kept_s: int = 0
    values: dict[str, Any] = field(default_factory=dict)


_ALL = (
    RunsOut(Proof, "expires_at"),
    RunsOut(PendingSignIn, "expires_at"),
    RunsOut(Replay, "created_at", REPLAY_S),
    RunsOut(AccessToken, "expires_at", SHOWN_S),
    # Tasks stay until they are done.
    RunsOut(Notification, "created_at", SHOWN_S, {"type": NotificationType.EVENT}),
    RunsOut(Notification, "created_at", SHOWN_S, {"status": NotificationStatus.INACTIVE}),
)


@job("sweep", lane=HOUSEKEEPING, is_standing=True)
def sweep(attendant: Attendant, _: Job) -> int:
    """Remove some of what has run out; where there is more, go on at once."""
    due_at = 0

    def swept(call: Call) -> None:
        nonlocal due_at
        due_at = call.now + EVERY_S * 1_000_000
        for one in _ALL:
            until = call.now - one.kept_s * 1_000_000
            old = call.changes.until(one.kind, one.since, until, most=AT_ONCE, **one.values)
            for each in old:
                _remove(call, each)
            if len(old) == AT_ONCE:
                due_at = call.now

    attendant.act("Sweep", "sweep", swept)
    return due_at


def _remove(call: Call, record: Record) -> None:
    call.remove(record)
    if isinstance(record, AccessToken) and (proof := call.find(Proof, id=record.id)):
        call.remove(proof)
