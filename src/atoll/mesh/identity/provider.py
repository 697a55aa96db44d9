"""A company's sign-in provider: how it is configured, and what it says of itself.

Source: OpenID Connect Discovery 1.0; RFC 9207 for the issuer in the callback.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from atoll.core.errors import InvalidInput
from atoll.mesh.identity.fetching import read

# Signatures of public keys only: with "none" or HS* anybody could sign, with the client's secret or
# with a public key taken for a secret (RFC 8725, section 3.1). Authlib cannot check the at_hash of
# Ed25519.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
MAX_URL_CHARS = 2_048
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


@dataclass(frozen=True)
class Provider:
    """One provider, as an administrator configured it.

    Attributes:
        name: ours, as in the addresses of sign-in and callback.
        issuer: exactly as the provider writes it; https, on loopback also http.
        client_id: ours at the provider.
        client_secret: None for a public client.
        scopes: asked for; "openid" among them.
        group_claim: the claim that lists a user's groups, by its exact name.
        groups: our group by the provider's, both exact; others are not taken over.
        algorithms: with which ID tokens may be signed, of ALGORITHMS.
        email_domains: of which a verified address is demanded; empty: none is.
        ca_file: certificates to trust instead of the machine's own; None: those.
    """

    name: str
    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    group_claim: str = "groups"
    groups: Mapping[str, str] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256")
    email_domains: tuple[str, ...] = ()
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what could not work or would be unsafe.

        Raises:
            InvalidInput: which value, and how to mend it.
        """
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(f"{self.name!r} names no provider: a-z, 0-9 and -, up to 63")
        issuer = checked_url(self.issuer, f"issuer of provider {self.name!r}")
        if issuer.query or not self.client_id:
            raise InvalidInput(
                f"provider {self.name!r} needs a client_id, and an issuer without a query"
            )
        if "openid" not in self.scopes or any(not each or " " in each for each in self.scopes):
            raise InvalidInput(
                f"the scopes of provider {self.name!r} need 'openid' among them, and no spaces"
            )
        unsafe = sorted(set(self.algorithms) - set(ALGORITHMS))
        if unsafe or not self.algorithms:
            raise InvalidInput(
                f"provider {self.name!r} cannot sign with {unsafe or 'nothing'}; choose of "
                f"{', '.join(ALGORITHMS)}"
            )
        if any("@" in each or each != each.lower() for each in self.email_domains):
            raise InvalidInput(
                f"the email_domains of provider {self.name!r} are written in lower case and "
                "without @: 'plant.example'"
            )


@dataclass(frozen=True)
class Metadata:
    """What a provider says of itself, as far as we use it; OpenID's names."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


def metadata_url(provider: Provider) -> str:
    """Give the address of the provider's metadata."""
    return provider.issuer.rstrip("/") + "/.well-known/openid-configuration"


def read_metadata(provider: Provider, document: bytes) -> Metadata:
    """Read the provider's metadata.

    Endpoints may be on other hosts than the issuer, as Google's and Microsoft's are: the document
    came from the issuer over TLS, and who controls that can as well hand codes on. Each is https,
    unless issuer and endpoint are both on loopback.

    Raises:
        InvalidInput: another issuer than the one configured, or an endpoint that is unsafe.
        Unavailable: it is no such document.
    """
    found = read(document, Metadata, f"the metadata of provider {provider.name!r}")
    if found.issuer != provider.issuer:
        raise InvalidInput(
            f"provider {provider.name!r} is configured with another issuer than it names in its "
            f"metadata; if {found.issuer[:MAX_URL_CHARS]!r} is right, configure exactly that"
        )
    is_local = urlsplit(provider.issuer).scheme == "http"
    for name in _ENDPOINTS:
        url = getattr(found, name)
        if url is None:
            continue
        parts = checked_url(url, f"{name} of provider {provider.name!r}")
        if parts.scheme == "http" and not is_local:
            raise InvalidInput(f"the {name} of provider {provider.name!r} is not https")
    return found


def checked_url(url: str, what: str) -> SplitResult:
    """Refuse an address that is not absolute, not https (on loopback also http), or misleading.

    Raises:
        InvalidInput: it says `what` the address is.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    # Browsers and libraries differ in what they do with spaces, backslashes and names before an @.
    is_plain = len(url) <= MAX_URL_CHARS and re.fullmatch(r"[!-~]+", url) and "\\" not in url
    if not host or not is_plain or "@" in parts.netloc or "#" in url:
        raise InvalidInput(
            f"the {what} is no plain address; write https://HOST/PATH without user and fragment"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise InvalidInput(f"the {what} is not https; only on this machine may it be http")
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
