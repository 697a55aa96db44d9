"""The browser sessions that somebody has open: seen, and ended one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from atoll.core.errors import NotFound
from atoll.mesh.identity.sessions import is_open
from atoll.mesh.model.people import Proof, ProofType, UserProfile
from atoll.mesh.model.record import moment
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Done, Page, Right, operation
from atoll.mesh.service.signing import session_of


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """One browser that is signed in.

    Attributes:
        id: not secret; the audit calls it so.
        means: what it was opened by: "password", "token", or the name of a provider.
        token_id: of that token; empty: none.
        begun_at, used_at, expires_at: microseconds since the epoch; used within a few minutes.
        is_this: whether it is the one that asks.
    """

    id: str
    means: str
    token_id: str
    begun_at: int
    used_at: int
    expires_at: int
    is_this: bool


class WhichSession(Ask, frozen=True, kw_only=True):
    """One of them."""

    session_id: Annotated[str, Meta(max_length=64)]


@operation("GET", "/user-profiles/{user_profile_id}/sessions", Right.ACT)
def list_sessions(call: Call, profile: UserProfile, ask: Page) -> Iterator[OpenSession]:
    """List where you are signed in, since when, and by what."""
    for one in call.each(Proof, owner_id=profile.id, type=ProofType.SESSION):
        is_there = is_open(session_of(one), profile.generation, moment(call.now))
        if is_there and one.via > call.after:
            yield OpenSession(
                id=one.via,
                means=one.means,
                token_id=one.token_id,
                begun_at=one.created_at,
                used_at=one.used_at,
                expires_at=one.expires_at,
                is_this=one.via == call.via,
            )


@operation("DELETE", "/user-profiles/{user_profile_id}/sessions/{session_id}", Right.ACT)
def end_session(call: Call, profile: UserProfile, ask: WhichSession) -> Done:
    """Sign yourself out in one browser."""
    for one in call.each(Proof, owner_id=profile.id, type=ProofType.SESSION):
        if one.via == ask.session_id:
            call.tell(session_id=one.via)
            call.remove(one)
            return Done()
    raise NotFound(f"there is no session '{ask.session_id}'; see ListSessions")
