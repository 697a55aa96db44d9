"""One-time logins: how a machine with a token opens the portal in a browser.

    issue -> ISSUED -> USED
                    -> EXPIRED
                    -> REVOKED (with the token)

The text goes into an address, and addresses are fetched by previews and mail scanners: a GET should
show a button, and its POST use the login. It opens one browser session with the token's scopes and
does nothing else; as a token it is refused, by its prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.identity import secret, tokens
from atoll.mesh.identity.secret import Presented
from atoll.mesh.identity.tokens import Token

PREFIX = "atollonce"
MAX_TTL_SECONDS = 300


class State(StrEnum):
    """Where a login stands; only ISSUED can be left."""

    ISSUED = "ISSUED"
    USED = "USED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


@dataclass(frozen=True)
class Login:
    """What is stored of a login.

    Attributes:
        id: not secret.
        token_id: of the token that it was exchanged for; principal and scopes are that token's.
        sha256: of its text, hexadecimal.
        used_at: None: not yet.
    """

    id: str
    token_id: str
    sha256: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None

    def state(self, token: Token | None, now: datetime) -> State:
        """Tell where it stands; `token` is the one with its token_id, None where that is gone."""
        if self.used_at is not None:
            return State.USED
        is_its = token is not None and token.id == self.token_id
        if token is None or not is_its or token.state(now) is not tokens.State.ACTIVE:
            return State.REVOKED
        is_timely = self.created_at - secret.MAX_SKEW < now < self.expires_at
        return State.ISSUED if is_timely else State.EXPIRED


def issue(token: Token, *, now: datetime, ttl_s: int = 60) -> tuple[str, Login]:
    """Exchange a token that `tokens.check` let in.

    Returns:
        The text, to be shown once, and what to store.

    Raises:
        InvalidInput: it would last longer than MAX_TTL_SECONDS, or no time.
    """
    if not 0 < ttl_s <= MAX_TTL_SECONDS:
        raise InvalidInput(f"a login lasts 1 to {MAX_TTL_SECONDS} seconds, not {ttl_s:,}")
    text, shown = secret.new_text(PREFIX)
    return text, Login(shown.id, token.id, shown.sha256, now, now + timedelta(seconds=ttl_s))


def parse(text: str) -> Presented:
    """Read the text of a login.

    Raises:
        InvalidInput: it is none, or not whole.
    """
    return secret.read(text, PREFIX)


def use(login: Login | None, token: Token | None, shown: Presented, *, now: datetime) -> Login:
    """Use a login up.

    Two may try at once: store what this gives only where the stored one has no `used_at` yet, and
    open a session only if it was stored.

    Args:
        login: the record with the id that was shown; None: there is none.
        token: the record with its token_id; None: there is none.
        shown: what `parse` gave.
        now: aware.

    Raises:
        Forbidden: unknown, used, expired, or its token is no longer active.
    """
    if login is None or not secret.is_same(login.sha256, shown.sha256):
        raise Forbidden("there is no such login; ask for a new one")
    state = login.state(token, now)
    if state is not State.ISSUED:
        raise Forbidden(f"this login is {state.lower()}; ask for a new one")
    return replace(login, used_at=now)
