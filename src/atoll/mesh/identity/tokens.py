"""Tokens of machines: `atoll_<id>_<secret>`, scoped, expiring, revocable.

    issue -> ACTIVE -> REVOKED
                    -> EXPIRED

Who may issue for whom, and whether the principal is still assigned, is the caller's to decide; a
token never lets its principal do more than the principal may.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from atoll.core.errors import Forbidden, InvalidInput
from atoll.core.text import some_of
from atoll.mesh.identity import secret
from atoll.mesh.identity.secret import Presented

PREFIX = "atoll"
MAX_TTL_SECONDS = 366 * 86_400
MAX_SCOPES = 100
LEVELS = ("read", "write", "admin")
"""Groups of operations, each with those before it."""
EVERYTHING = frozenset({"admin"})


class State(StrEnum):
    """Where a token stands: revoked for ever, expired for as long as the clock is not set back."""

    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


@dataclass(frozen=True)
class Token:
    """What is stored of a token.

    Attributes:
        id: not secret; lists and the audit name it.
        principal: whose id.
        scopes: names of operations, and of LEVELS.
        sha256: of its text, hexadecimal.
        expires_at: from then on it is refused.
        revoked_at: since when it is refused, whatever else holds.
        used_at: as exactly as the caller keeps it.
    """

    id: str
    principal: str
    scopes: frozenset[str]
    sha256: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def state(self, now: datetime) -> State:
        """Tell where it stands."""
        if self.revoked_at is not None:
            return State.REVOKED
        return State.EXPIRED if now >= self.expires_at else State.ACTIVE


def issue(
    principal: str,
    scopes: Collection[str],
    *,
    operations: Collection[str],
    now: datetime,
    ttl_s: int,
) -> tuple[str, Token]:
    """Make a token.

    Args:
        principal: whose id.
        scopes: what it may be used for, see `permits`; at least one.
        operations: every name of an operation that there is.
        now: aware.
        ttl_s: seconds that it lasts, up to MAX_TTL_SECONDS.

    Returns:
        Its text, to be shown once, and what to store.

    Raises:
        InvalidInput: a scope is unknown, there is none or too many; it would last too long.
    """
    unknown = sorted(set(scopes) - set(LEVELS) - set(operations))
    if unknown:
        raise InvalidInput(
            f"there is no operation {some_of(unknown)}; a scope is one of {', '.join(LEVELS)}, or "
            "the name of an operation",
            scopes=unknown[:MAX_SCOPES],
        )
    if not 0 < len(scopes) <= MAX_SCOPES:
        raise InvalidInput(f"a token takes 1 to {MAX_SCOPES} scopes, not {len(scopes)}")
    if not 0 < ttl_s <= MAX_TTL_SECONDS:
        raise InvalidInput(f"a token lasts 1 to {MAX_TTL_SECONDS:,} seconds, not {ttl_s:,}")
    text, shown = secret.new_text(PREFIX)
    ends = now + timedelta(seconds=ttl_s)
    return text, Token(shown.id, principal, frozenset(scopes), shown.sha256, now, ends)


def parse(text: str) -> Presented:
    """Read the text of a token.

    Raises:
        InvalidInput: it is none, or not whole.
    """
    return secret.read(text, PREFIX)


def check(token: Token | None, shown: Presented, *, now: datetime) -> Token:
    """Let a token in, or not.

    Args:
        token: the record with the id that was shown; None: there is none.
        shown: what `parse` gave.
        now: aware.

    Returns:
        The token, which is active.

    Raises:
        Forbidden: unknown, expired or revoked; which of these only its holder learns.
    """
    if token is None or not secret.is_same(token.sha256, shown.sha256):
        raise Forbidden("there is no such token; issue a new one")
    state = token.state(now)
    if state is not State.ACTIVE:
        since = (token.revoked_at or token.expires_at).astimezone(UTC)
        raise Forbidden(
            f"token {token.id} is {state.lower()} since {since:%Y-%m-%d %H:%M} UTC; issue a new one"
        )
    return token


def permits(scopes: Collection[str], operation: str, level: str) -> bool:
    """Tell whether scopes cover an operation.

    Args:
        scopes: of a token or a session.
        operation: its name.
        level: of LEVELS, the one that it belongs to.

    >>> permits({"write"}, "publish", "write"), permits({"write"}, "search", "read")
    (True, True)
    >>> permits({"write"}, "apply", "admin"), permits({"apply"}, "apply", "admin")
    (False, True)
    """
    return operation in scopes or any(each in scopes for each in LEVELS[LEVELS.index(level) :])
