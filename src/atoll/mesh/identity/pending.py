"""A sign-in on its way: the browser is sent to the provider, and comes back with a code.

    begin -> pending -> code
                     -> refused: too late, another browser, state or issuer, or the provider said no

Source: OpenID Connect Core 1.0, section 3.1.2; RFC 7636 (PKCE); RFC 9207 and 9700 (mix-up, CSRF).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from atoll.core.errors import Forbidden, InvalidInput
from atoll.mesh.identity import secret
from atoll.mesh.identity.provider import Metadata, Provider, checked_url

PENDING_SECONDS = 600
MAX_CALLBACK_CHARS = 8_192
_PROBLEM = re.compile(r"[a-z_]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Pending:
    """A sign-in that has begun; the caller stores it, under `state`.

    It is used once: delete it first, and finish only where it was still there to delete.

    Attributes:
        state: what the callback brings back.
        issuer: of the provider.
        redirect_uri: of the callback.
        nonce: what the ID token brings back.
        verifier: what proves to the provider that we began.
        browser_sha256: of the cookie that the browser was given.
    """

    state: str
    issuer: str
    redirect_uri: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    browser_sha256: str = field(repr=False)
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Begun:
    """A sign-in that begins.

    Attributes:
        url: where to send the browser.
        cookie: what to give it on the way; without, a link could sign somebody in as another.
            `__Host-` in its name, Secure, HttpOnly, SameSite=Lax, for PENDING_SECONDS.
        pending: what to store.
    """

    url: str
    cookie: str = field(repr=False)
    pending: Pending


def begin(provider: Provider, metadata: Metadata, redirect_uri: str, *, now: datetime) -> Begun:
    """Make what a sign-in begins with.

    Raises:
        InvalidInput: redirect_uri is unsafe.
    """
    checked_url(redirect_uri, "address of the callback")
    cookie = secret.new_secret()
    pending = Pending(
        state=secret.new_secret(),
        issuer=metadata.issuer,
        redirect_uri=redirect_uri,
        nonce=secret.new_secret(),
        verifier=secret.new_secret(),
        browser_sha256=secret.digest(cookie),
        created_at=now,
        expires_at=now + timedelta(seconds=PENDING_SECONDS),
    )
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "scope": " ".join(provider.scopes),
        "redirect_uri": redirect_uri,
        "state": pending.state,
        "nonce": pending.nonce,
        "code_challenge": create_s256_code_challenge(pending.verifier),
        "code_challenge_method": "S256",
    }
    return Begun(str(add_params_to_uri(metadata.authorization_endpoint, asked)), cookie, pending)


def checked_code(
    pending: Pending | None,
    callback: Iterable[tuple[str, str]],
    cookie: str | None,
    metadata: Metadata,
    *,
    now: datetime,
) -> tuple[str, Pending]:
    """Check that a callback belongs to a sign-in; give its code, and the sign-in.

    Args:
        pending: what was stored under the callback's state; None: nothing.
        callback: every parameter that the browser brought, repeated ones, too.
        cookie: that the browser brought; None: none.
        metadata: of the provider whose callback this is.
        now: aware.

    Raises:
        InvalidInput: it is no callback at all.
        Forbidden: it belongs to another sign-in or provider, comes too late, or says no.
    """
    brought = _once_each(callback)
    if pending is None or not pending.created_at - secret.MAX_SKEW < now < pending.expires_at:
        raise Forbidden("this sign-in was finished already, or took too long; sign in again")
    is_ours = secret.is_same(pending.state, brought.get("state", ""))
    if not is_ours or not secret.is_same(pending.browser_sha256, secret.digest(cookie or "")):
        raise Forbidden("this sign-in was begun in another browser or window; sign in again")
    must_name = metadata.authorization_response_iss_parameter_supported
    named = brought.get("iss", None if must_name else metadata.issuer)
    if not pending.issuer == named == metadata.issuer:
        raise Forbidden(
            "another sign-in provider answered than was asked; sign in again, and tell your "
            "administrator if it repeats"
        )
    if "error" in brought:
        raise Forbidden(f"the sign-in provider refused: {problem(brought['error'])}; sign in again")
    code = brought.get("code", "")
    if not code or not secret.is_plain(code):
        raise InvalidInput("the sign-in provider sent no code; sign in again")
    return code, pending


def problem(code: str) -> str:
    """Give a provider's error code, but no other text: anybody can write what a callback says."""
    return code if _PROBLEM.fullmatch(code) else "an unknown error"


def _once_each(callback: Iterable[tuple[str, str]]) -> dict[str, str]:
    pairs = list(callback)
    brought = dict(pairs)
    size = sum(len(name) + len(value) for name, value in pairs)
    if len(brought) < len(pairs) or size > MAX_CALLBACK_CHARS:
        raise InvalidInput(
            "the callback repeats a parameter, or has more than "
            f"{MAX_CALLBACK_CHARS:,} characters; sign in again"
        )
    return brought
