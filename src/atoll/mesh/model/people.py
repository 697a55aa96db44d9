"""Who acts: users, groups of them, services; what they hold to prove it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from atoll.mesh.model.record import Record


class UserType(StrEnum):
    """How somebody shows who they are: by a password, through an OIDC provider, by tokens only."""

    LOCAL = "LOCAL"
    SSO = "SSO"
    SERVICE = "SERVICE"


class ProfileStatus(StrEnum):
    """Whether somebody may come in."""

    ASSIGNED = "ASSIGNED"
    NOT_ASSIGNED = "NOT_ASSIGNED"
    ACTIVATED = "ACTIVATED"
    DEACTIVATED = "DEACTIVATED"

    @property
    def is_in(self) -> bool:
        """Whether one with this status is let in."""
        return self in (ProfileStatus.ASSIGNED, ProfileStatus.ACTIVATED)


class ProofType(StrEnum):
    """What a secret opens, or, of a DEVICE, only says: that somebody has come in with it before."""

    PASSWORD = "PASSWORD"
    TOKEN = "TOKEN"
    LOGIN = "LOGIN"
    SESSION = "SESSION"
    DEVICE = "DEVICE"


@dataclass(frozen=True, kw_only=True, slots=True)
class UserProfile(Record):
    """A user or a service.

    Attributes:
        name: what they sign in with, and are shown as.
        issuer, subject: of an OIDC user, who is known by both together and by nothing else.
        groups: ids of groups.
        mapped_groups: those of them that the provider gave; the others were given by hand.
        follows_provider: whether each sign-in says anew if they may come in; what an administrator
            says holds from then on.
        generation: one more each time all their sessions end.
    """

    KIND: ClassVar[str] = "user"

    name: str
    type: UserType = UserType.LOCAL
    status: ProfileStatus = ProfileStatus.ASSIGNED
    email: str = ""
    issuer: str = ""
    subject: str = ""
    groups: tuple[str, ...] = ()
    mapped_groups: tuple[str, ...] = ()
    follows_provider: bool = False
    generation: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupProfile(Record):
    """Users under one name; an OIDC provider's group may be mapped to it."""

    KIND: ClassVar[str] = "group"

    name: str
    description: str = ""
    status: ProfileStatus = ProfileStatus.ASSIGNED


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessToken(Record):
    """What a machine shows; its text was told once, and is kept nowhere.

    Attributes:
        scopes: nothing beyond these, whatever its principal may.
        expires_at: microseconds since the epoch.
        revoked_at: since when it is refused; 0: it is not revoked.
        parent_id: of the token by which somebody issued it for themselves; empty: by none.
    """

    KIND: ClassVar[str] = "token"

    name: str
    principal_id: str
    scopes: tuple[str, ...]
    expires_at: int
    revoked_at: int = 0
    parent_id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof(Record):
    """What a secret is checked by; no operation shows it. The id is that of what it proves.

    Attributes:
        type: of what it proves.
        text: a password's hash, or the SHA-256 of a token, login or cookie.
        owner_id: of the user that it belongs to.
        token_id: of the token that a login or a session came from; empty: none.
        expires_at: microseconds since the epoch; 0: never.
        used_at: a login: when it was used up; a session: its last request; a device: when somebody
            last came in with it; 0: not yet.
        generation: of the user when a session began.
        scopes: of a session.
        means: what a session was opened by: "password", "token", or the name of a provider.
    """

    KIND: ClassVar[str] = "proof"

    type: ProofType
    text: str
    owner_id: str
    token_id: str = ""
    expires_at: int = 0
    used_at: int = 0
    generation: int = 0
    scopes: tuple[str, ...] = ()
    means: str = ""

    @property
    def via(self) -> str:
        """Return what a session is called where its key would be too much: in lists and audit."""
        return self.id[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class PendingSignIn(Record):
    """A browser is on its way to a provider and back; its id is the state that it brings.

    Attributes:
        provider: its name in our configuration.
        issuer, redirect_uri, nonce, verifier, browser_sha256: see `identity.pending.Pending`.
        return_to: path of the portal, where it goes then.
        expires_at: microseconds since the epoch.
    """

    KIND: ClassVar[str] = "signin"

    provider: str
    issuer: str
    redirect_uri: str
    nonce: str
    verifier: str
    browser_sha256: str
    return_to: str
    expires_at: int
