"""Browser sessions: what a cookie stands for, and until when.

    open_session -> open -> idle too long, too old, ended by the caller, or its user's generation
                            changed (unassigned, new password, signed out everywhere)

A session's secret is never taken from a browser, always drawn at sign-in: a cookie planted before
(fixation) stands for nothing. At sign-in end the session that the browser had, too.

Source: OWASP Session Management and CSRF Prevention Cheat Sheets.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from atoll.core.errors import Forbidden
from atoll.mesh.identity import secret
from atoll.mesh.identity.tokens import EVERYTHING, Token


@dataclass(frozen=True)
class Lifetime:
    """How long sessions last.

    Attributes:
        idle_s: seconds without a request that end it, or a tenth less.
        whole_s: seconds after which it ends however busy.
    """

    idle_s: int = 1_800
    whole_s: int = 43_200


@dataclass(frozen=True)
class Session:
    """What is stored of a session.

    Attributes:
        sha256: of the cookie's text, hexadecimal; its key.
        principal: who signed in.
        generation: of that user at sign-in.
        scopes: as a token's; a person's cover everything.
        expires_at: however busy it is.
        used_at: the last request that was noted.
        token_id: of the token whose login opened it: end it when that is revoked.
    """

    sha256: str = field(repr=False)
    principal: str
    generation: int
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime
    used_at: datetime
    token_id: str | None = None


def open_session(
    principal: str,
    *,
    generation: int,
    now: datetime,
    lifetime: Lifetime = Lifetime(),
    token: Token | None = None,
) -> tuple[str, Session]:
    """Open a session for somebody who has just proved who they are.

    Args:
        principal: who.
        generation: the user's, which grows when all their sessions are to end.
        now: aware.
        lifetime: how long sessions last.
        token: whose login opens it; it has the token's scopes then, and ends with it at the
            latest. None: a person signed in, and may do whatever that person may.

    Returns:
        The cookie's text and what to store. The cookie: `__Host-` in its name, Secure, HttpOnly,
        SameSite=Lax.
    """
    cookie = secret.new_secret()
    ends = now + timedelta(seconds=lifetime.whole_s)
    session = Session(key_of(cookie), principal, generation, EVERYTHING, now, ends, now)
    if token is not None:
        ends = min(ends, token.expires_at)
        session = replace(session, scopes=token.scopes, expires_at=ends, token_id=token.id)
    return cookie, session


def key_of(cookie: str) -> str:
    """Give the key under which a cookie's session is stored; any text has one."""
    return secret.digest(cookie)


def check(
    session: Session | None,
    *,
    generation: int | None,
    now: datetime,
    lifetime: Lifetime = Lifetime(),
) -> Session:
    """Let a session's request in, or not.

    Args:
        session: the record under `key_of` the cookie; None: there is none.
        generation: its user's now; None: there is no such user.
        now: aware.
        lifetime: how long sessions last.

    Returns:
        The session; another than the one given where it is worth storing that it was used.

    Raises:
        Forbidden: sign in again; why is not told.
    """
    if session is None or not is_open(session, generation, now, lifetime):
        raise Forbidden("you are not signed in, or no longer; sign in")
    # Not every request is worth a write.
    if now - session.used_at < timedelta(seconds=lifetime.idle_s / 10):
        return session
    return replace(session, used_at=now)


def csrf_token(cookie: str) -> str:
    """Derive what every form of a session carries; stored nowhere, new with the session."""
    return hmac.new(secret.as_bytes(cookie), b"atoll csrf", hashlib.sha256).hexdigest()


def check_csrf(cookie: str, shown: str) -> None:
    """Refuse a form that was not made in this session.

    Raises:
        Forbidden: it was made elsewhere, or before the last sign-in.
    """
    if not secret.is_same(csrf_token(cookie), shown):
        raise Forbidden("this form is not of your session; load the page again and repeat it")


def is_open(
    session: Session, generation: int | None, now: datetime, lifetime: Lifetime = Lifetime()
) -> bool:
    """Tell whether a session still stands for its user; see `check`."""
    idle = now - session.used_at
    is_busy = -secret.MAX_SKEW < idle < timedelta(seconds=lifetime.idle_s)
    return is_busy and now < session.expires_at and session.generation == generation
