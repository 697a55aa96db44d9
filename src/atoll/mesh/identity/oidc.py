"""Signs people in at a company's own provider: OpenID Connect, code flow with PKCE.

Source: OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0; RFC 6749.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus

from atoll.core.errors import Forbidden, InvalidInput, Unavailable
from atoll.mesh.identity import idtoken, pending, person, secret
from atoll.mesh.identity.fetching import TIMEOUT_SECONDS, Fetcher, read
from atoll.mesh.identity.idtoken import Expected, Header, Key
from atoll.mesh.identity.pending import Begun, Pending
from atoll.mesh.identity.person import Identity
from atoll.mesh.identity.provider import (
    Metadata,
    Provider,
    metadata_url,
    read_metadata,
)
from atoll.mesh.identity.remembered import Remembered

_ANSWER = "the sign-in provider's answer to the code"


@dataclass(frozen=True)
class _Tokens:
    id_token: str = field(repr=False)
    access_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Problem:
    error: str


class RelyingParty:
    """We, to one provider; remembers what the provider says of itself.

    Safe in threads, in which no event loop may run.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        timeout_s: float = TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet.

        Args:
            provider: as configured.
            timeout_s: seconds for one answer of the provider.
            clock: seconds, monotonic; says how old is what the provider said.

        Raises:
            InvalidInput: the provider's ca_file cannot be read.
        """
        self._provider = provider
        self._fetcher = Fetcher(provider.ca_file, timeout_s)
        self._metadata = Remembered(self._fetch_metadata, clock=clock)
        self._keys = Remembered(self._fetch_keys, clock=clock)

    def begin(self, redirect_uri: str, *, now: datetime) -> Begun:
        """Begin a sign-in.

        Args:
            redirect_uri: of our callback, as it is registered at the provider; each provider has
                its own.
            now: aware.

        Raises:
            InvalidInput: redirect_uri is unsafe, or the provider is not as configured.
            Unavailable: the provider does not answer as it should.
        """
        return pending.begin(self._provider, self._metadata.get(), redirect_uri, now=now)

    def finish(
        self,
        begun: Pending | None,
        callback: Iterable[tuple[str, str]],
        cookie: str | None,
        *,
        now: datetime,
    ) -> Identity:
        """Finish a sign-in.

        Args:
            begun: what was stored under the callback's state, and is deleted; None: nothing.
            callback: every parameter that the browser brought, repeated ones, too.
            cookie: that the browser brought; None: none.
            now: aware.

        Raises:
            Forbidden: the provider or one of the checks refused; it says which.
            InvalidInput: this is no callback, or the provider is not as configured.
            Unavailable: the provider does not answer as it should.
        """
        metadata = self._metadata.get()
        code, begun = pending.checked_code(begun, callback, cookie, metadata, now=now)
        tokens = self._exchange(code, begun, metadata)
        expected = Expected(
            metadata.issuer,
            self._provider.client_id,
            begun.nonce,
            begun.created_at,
            tokens.access_token,
        )
        header = idtoken.read_header(tokens.id_token, self._provider.algorithms)
        key = self._key_for(header)
        claims = idtoken.checked_claims(tokens.id_token, header, key, expected, now=now)
        userinfo = self._userinfo(claims, tokens.access_token, metadata)
        return person.identity(self._provider, claims, userinfo)

    def _exchange(self, code: str, begun: Pending, metadata: Metadata) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier,
        }
        headers, more = _credentials(self._provider, metadata)
        answer = self._fetcher.post(metadata.token_endpoint, {**form, **more}, headers)
        if answer.status != 200:
            why = pending.problem(read(answer.body, _Problem, _ANSWER).error)
            raise Forbidden(
                f"the sign-in provider did not take the code ({why}); sign in again, and if that "
                f"does not help, have your administrator check provider {self._provider.name!r}: "
                "client id, secret, and that it is registered with client_secret_basic"
            )
        tokens = read(answer.body, _Tokens, _ANSWER)
        if not secret.is_plain(tokens.access_token or ""):
            raise Unavailable(f"{_ANSWER} has an access token that is none")
        return tokens

    def _key_for(self, header: Header) -> Key:
        # Providers change keys, and do not say when.
        for keys in (self._keys.get, self._keys.renewed):
            key = idtoken.key_for(header, keys())
            if key is not None:
                return key
        raise Forbidden(
            "the sign-in provider's ID token names a key that the provider does not show; sign in "
            "again in a minute"
        )

    def _userinfo(
        self, claims: Mapping[str, Any], access_token: str | None, metadata: Metadata
    ) -> Mapping[str, Any]:
        """Ask for what the ID token left out; {} where that is nothing, or nobody tells."""
        is_whole = person.wanted_claims(self._provider) <= claims.keys()
        if is_whole or not metadata.userinfo_endpoint or not access_token:
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        body = self._fetcher.get(metadata.userinfo_endpoint, headers)
        found = read(body, dict[str, Any], "the sign-in provider's userinfo")
        if found.get("sub") != claims["sub"]:
            raise Forbidden(
                "the sign-in provider's userinfo is about somebody else than its ID token; tell "
                "your administrator"
            )
        return found

    def _fetch_metadata(self) -> Metadata:
        return read_metadata(self._provider, self._fetcher.get(metadata_url(self._provider)))

    def _fetch_keys(self) -> tuple[Key, ...]:
        return idtoken.read_keys(self._fetcher.get(self._metadata.get().jwks_uri))


def _credentials(provider: Provider, metadata: Metadata) -> tuple[dict[str, str], dict[str, str]]:
    """Give the headers and form fields that say which client we are."""
    identified = {"client_id": provider.client_id}
    if provider.client_secret is None:
        return {}, identified
    methods = metadata.token_endpoint_auth_methods_supported
    if "client_secret_basic" in methods:
        # Authlib leaves out the encoding that RFC 6749, section 2.3.1, asks for.
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, {}
    if "client_secret_post" in methods:
        return {}, {**identified, "client_secret": provider.client_secret}
    raise InvalidInput(
        f"provider {provider.name!r} takes no client_secret; register this client at it with "
        "client_secret_basic"
    )
