"""Who signed in at a provider, read from the claims that were checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.core.errors import Forbidden
from atoll.core.text import printable
from atoll.mesh.identity.provider import Provider

MAX_EMAIL_CHARS = 254
MAX_NAME_CHARS = 200


@dataclass(frozen=True)
class Identity:
    """Who signed in, by the provider's word.

    Attributes:
        issuer: of the provider; with `subject` the user's key.
        subject: never given to anybody else, as an e-mail address may be.
        email: for people to read and to write to; None: not told.
        is_email_verified: the provider saw that it is theirs.
        name: None: not told.
        groups: ours, sorted.
    """

    issuer: str
    subject: str
    email: str | None
    is_email_verified: bool
    name: str | None
    groups: tuple[str, ...]


def wanted_claims(provider: Provider) -> set[str]:
    """Name the claims that an identity is made of, besides the subject."""
    return {"email", "name"} | ({provider.group_claim} if provider.groups else set())


def identity(
    provider: Provider, claims: Mapping[str, Any], userinfo: Mapping[str, Any]
) -> Identity:
    """Put together who signed in.

    Args:
        provider: whose claims these are.
        claims: of the ID token, checked.
        userinfo: what the provider told besides, about the same subject; the ID token is preferred.

    Raises:
        Forbidden: a claim is of a wrong type, the groups are not whole, or the address is of no
            domain that is let in.
    """
    # An address and its being verified come from one place.
    mail = claims if "email" in claims else userinfo
    email = _text(mail, "email", MAX_EMAIL_CHARS)
    word = mail.get("email_verified")
    # Some providers write "true".
    is_verified = email is not None and (word is True or word == "true")
    if provider.email_domains and not (is_verified and _domain(email) in provider.email_domains):
        raise Forbidden(
            f"provider {provider.name!r} lets in verified e-mail addresses of "
            f"{', '.join(provider.email_domains)} only, and yours is none; sign in with another "
            "account"
        )
    told = {**userinfo, **claims}
    name = _text(told, "name", MAX_NAME_CHARS)
    subject = str(claims["sub"])
    groups = _groups(provider, told)
    return Identity(provider.issuer, subject, email, is_verified, name, groups)


def _text(claims: Mapping[str, Any], name: str, most: int) -> str | None:
    found = claims.get(name)
    if found is not None and (not isinstance(found, str) or len(found) > most):
        raise Forbidden(
            f"the sign-in provider's claim {name!r} is no text of up to {most} characters; tell "
            "your administrator"
        )
    return printable(found) if found else None


def _domain(email: str | None) -> str:
    return (email or "").rpartition("@")[2].lower()


def _groups(provider: Provider, told: Mapping[str, Any]) -> tuple[str, ...]:
    if not provider.groups:
        return ()
    claim = provider.group_claim
    elsewhere = told.get("_claim_names")
    if claim not in told and isinstance(elsewhere, dict) and claim in elsewhere:
        # Microsoft's, with more than 200 groups; taken for none, it would take rights away.
        raise Forbidden(
            f"the sign-in provider left out your groups, for they are too many; have it send only "
            f"those assigned to the application in the claim {claim!r}"
        )
    found = told.get(claim) or []
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise Forbidden(
            f"the sign-in provider's claim {claim!r} is no list of names; tell your administrator"
        )
    return tuple(sorted({provider.groups[each] for each in listed if each in provider.groups}))
