"""Who acts: users, groups of them, services; what they hold to prove it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from atoll.mesh.model.record import Record


class PrincipalKind(StrEnum):
    """Whether somebody is a person or a machine."""

    USER = "USER"
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile(Record):
    """A user or a service.

    Attributes:
        issuer, subject: of an OIDC user, who is known by both together and by nothing else.
        password: hash of a local user's; empty for others.
        groups: ids of groups.
        generation: one more each time all sessions end.
    """

    KIND: ClassVar[str] = "user"

    name: str
    kind: PrincipalKind = PrincipalKind.USER
    status: ProfileStatus = ProfileStatus.ASSIGNED
    email: str = ""
    issuer: str = ""
    subject: str = ""
    password: str = ""
    groups: tuple[str, ...] = ()
    generation: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Group(Record):
    """Users under one name; an OIDC provider's group may be mapped to it."""

    KIND: ClassVar[str] = "group"

    name: str
    description: str = ""
    status: ProfileStatus = ProfileStatus.ASSIGNED


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessToken(Record):
    """What a machine shows. Only a hash of it is kept.

    Attributes:
        scopes: "read", "write", "admin": nothing beyond these, whatever its principal may.
        expires_at: microseconds since the epoch; 0: never.
    """

    KIND: ClassVar[str] = "token"

    name: str
    principal_id: str
    digest: str
    scopes: tuple[str, ...]
    expires_at: int
    is_revoked: bool = False
