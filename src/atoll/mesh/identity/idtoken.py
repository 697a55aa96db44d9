"""Checks an ID token: its signature by the provider's key, and that it is for this sign-in.

Source: OpenID Connect Core 1.0, section 3.1.3.7; RFC 7515 and 7517; RFC 8725 for what goes wrong.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from authlib.oidc.core import CodeIDToken
from joserfc import jws
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import import_key

from atoll.core import records
from atoll.core.errors import Forbidden, Unavailable
from atoll.mesh.identity import secret
from atoll.mesh.identity.fetching import NO_JSON, read

MAX_KEYS = 100
MAX_SUBJECT_CHARS = 255  # OpenID's own limit
_RSA_BITS = range(2_048, 6_145)
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}


@dataclass(frozen=True)
class Header:
    """What a token says of its signature; `crit` would change what the rest means."""

    alg: str
    kid: str | None = None
    crit: Any = None


@dataclass(frozen=True)
class Key:
    """A public key of the provider, as JSON Web Keys have it."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    n: str | None = None
    e: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None


@dataclass(frozen=True)
class Expected:
    """What a token must be for.

    Attributes:
        issuer: of the provider.
        client_id: ours.
        nonce: sent when the sign-in began.
        begun_at: when that was; a token made before is another sign-in's.
        access_token: that came with it; None: none did.
    """

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    begun_at: datetime
    access_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Shape:
    """The types of the claims that are checked; over others Authlib stumbles."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nonce: str
    nbf: int | float | None = None
    azp: str | None = None
    at_hash: str | None = None


@dataclass(frozen=True)
class _KeySet:
    keys: list[dict[str, Any]]


def read_keys(document: bytes) -> tuple[Key, ...]:
    """Read the provider's keys; what cannot check a signature for us is left out.

    Raises:
        Unavailable: it is no set of keys.
    """
    found = read(document, _KeySet, "the sign-in provider's set of keys").keys
    if len(found) > MAX_KEYS:
        raise Unavailable(f"the sign-in provider has {len(found):,} keys; {MAX_KEYS} at most")
    return tuple(_usable(found))


def read_header(token: str, algorithms: Iterable[str]) -> Header:
    """Read how a token is signed, which says nothing of by whom.

    Raises:
        Forbidden: in no way that is allowed.
    """
    try:
        header = records.decoded(_unbase64(token.partition(".")[0]), Header)
    except (*NO_JSON, ValueError) as error:
        raise _refused("it cannot be read") from error
    if header.alg not in algorithms or header.crit is not None:
        raise _refused("it is signed in a way that is not allowed")
    return header


def key_for(header: Header, keys: Iterable[Key]) -> Key | None:
    """Find the key that a token names; one without a name where only one comes into question."""
    fitting = [
        key
        for key in keys
        if key.kty == _KEY_TYPES[header.alg[:2]]
        and key.alg in (None, header.alg)
        and header.kid in (None, key.kid)
    ]
    return fitting[0] if len(fitting) == 1 else None


def checked_claims(
    token: str, header: Header, key: Key, expected: Expected, *, now: datetime
) -> dict[str, Any]:
    """Check a token; give what it says.

    Raises:
        Forbidden: which check failed; the message repeats nothing of the token.
    """
    payload = _signed(token, header, key)
    try:
        claims = records.decoded(payload, dict[str, Any])
        shape = records.converted(claims, _Shape)
    except NO_JSON as error:
        raise _refused("a claim is missing or of a wrong type") from error
    checks = CodeIDToken(
        claims,
        {"alg": header.alg},
        {"iss": {"value": expected.issuer}, "aud": {"value": expected.client_id}},
        {
            "client_id": expected.client_id,
            "nonce": expected.nonce,
            "access_token": expected.access_token,
        },
    )
    try:
        checks.validate(now=int(now.timestamp()), leeway=int(secret.MAX_SKEW.total_seconds()))
    except ClaimError as error:
        raise _refused(f"its claim {error.claim!r} is not right") from error
    if shape.iat < (expected.begun_at - secret.MAX_SKEW).timestamp():
        raise _refused("its claim 'iat' is not right")
    if not 0 < len(shape.sub) <= MAX_SUBJECT_CHARS or not shape.sub.isprintable():
        raise _refused("its claim 'sub' is not right")
    return claims


def _usable(keys: Iterable[dict[str, Any]]) -> Iterable[Key]:
    for found in keys:
        try:
            key = records.converted(found, Key)
        except msgspec.ValidationError:
            continue
        if key.kty in _KEY_TYPES.values() and key.use in (None, "sig"):
            yield key


def _signed(token: str, header: Header, key: Key) -> bytes:
    """Give the payload, whose signature is the key's."""
    known = {name: value for name, value in asdict(key).items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[header.alg], strict_check_header=False)
    try:
        if key.kty == "RSA" and _bits(key) not in _RSA_BITS:
            raise _refused(f"its key has not {_RSA_BITS[0]:,} to {_RSA_BITS[-1]:,} bits")
        found = jws.deserialize_compact(token, import_key(known), registry=registry)
    except (JoseError, ValueError, KeyError) as error:
        raise _refused("its signature is not the provider's") from error
    return found.payload or b""


def _bits(key: Key) -> int:
    return int.from_bytes(_unbase64(key.n or ""), "big").bit_length()


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _refused(why: str) -> Forbidden:
    return Forbidden(
        f"the sign-in provider's ID token was refused: {why}; sign in again, and if that does not "
        "help, have your administrator compare provider, client id and clocks"
    )
