"""Removes what has run out: sessions, logins, sign-ins on their way, answers kept for repeats."""

from __future__ import annotations

from atoll.mesh.model.notices import Job
from atoll.mesh.model.people import PendingSignIn, Proof
from atoll.mesh.model.record import Record, Replay
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import Attendant, job

EVERY_S = 600
REPLAY_S = 86_400
AT_ONCE = 200  # others wait meanwhile
_RUN_OUT: tuple[tuple[type[Record], str, int], ...] = (
    (Proof, "expires_at", 0),
    (PendingSignIn, "expires_at", 0),
    (Replay, "created_at", REPLAY_S),
)


@job("sweep", is_standing=True)
def sweep(attendant: Attendant, _: Job) -> int:
    """Remove some of what has run out; where there is more, go on at once."""
    due_at = 0

    def swept(call: Call) -> None:
        nonlocal due_at
        due_at = call.now + EVERY_S * 1_000_000
        for kind, key, kept_s in _RUN_OUT:
            old = call.changes.until(kind, key, call.now - kept_s * 1_000_000, most=AT_ONCE)
            for one in old:
                call.remove(one)
            if len(old) == AT_ONCE:
                due_at = call.now

    attendant.act("Sweep", "sweep", swept)
    return due_at
