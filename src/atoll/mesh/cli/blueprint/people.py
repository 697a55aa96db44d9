"""The domain, and who is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.mesh.cli.blueprint.remote import Remote
from atoll.mesh.cli.blueprint.section import Section, given
from atoll.mesh.cli.blueprint.specs import DomainSpec, GroupSpec, UserSpec
from atoll.mesh.model.people import UserType


class Domains(Section[DomainSpec]):
    """The domain: the only thing under the key "this"."""

    name, noun, spec = "domain", "domain", DomainSpec

    def current(self, mesh: Remote) -> Iterator[tuple[str, DomainSpec]]:
        """Read it."""
        found = mesh.get("GetDomain")
        yield "this", DomainSpec(name=found["name"], description=found["description"])

    def create(self, mesh: Remote, key: str, spec: DomainSpec) -> None:
        """Refuse another."""
        raise InvalidInput(f"a mesh has one domain: write its properties under 'this', not '{key}'")

    def update(self, mesh: Remote, key: str, before: DomainSpec, changed: dict[str, Any]) -> None:
        """Rename or describe it."""
        mesh.do("UpdateDomain", **changed)


class Groups(Section[GroupSpec]):
    """Groups."""

    name, noun, spec = "groups", "group", GroupSpec

    def current(self, mesh: Remote) -> Iterator[tuple[str, GroupSpec]]:
        """Read them."""
        for one in mesh.listed("ListGroupProfiles"):
            yield one["name"], GroupSpec(description=one["description"], status=one["status"])

    def create(self, mesh: Remote, key: str, spec: GroupSpec) -> None:
        """Make one."""
        mesh.do("CreateGroupProfile", name=key, **given(spec, "description"))

    def update(self, mesh: Remote, key: str, before: GroupSpec, changed: dict[str, Any]) -> None:
        """Describe, assign or unassign it."""
        id_ = mesh.id_of("ListGroupProfiles", key)
        mesh.do("UpdateGroupProfile", group_profile_id=id_, **changed)


class Users(Section[UserSpec]):
    """Users and services."""

    name, noun, spec, fixed = "users", "user", UserSpec, ("type",)

    def current(self, mesh: Remote) -> Iterator[tuple[str, UserSpec]]:
        """Read them."""
        for one in mesh.listed("ListUserProfiles"):
            yield (
                one["name"],
                UserSpec(
                    type=one["type"],
                    email=one["email"],
                    status=None if one["follows_provider"] else one["status"],
                    groups=mesh.names_of("ListGroupProfiles", one["groups"]),
                ),
            )

    def create(self, mesh: Remote, key: str, spec: UserSpec) -> None:
        """Make a service."""
        if spec.type is not UserType.SERVICE:
            raise InvalidInput(
                "it is not there, and a blueprint makes services only, as it holds no passwords; "
                "run `atoll mesh create-user-profile` first, or let them sign in"
            )
        mesh.do("CreateUserProfile", name=key, type=spec.type, **given(spec, "email"))

    def update(self, mesh: Remote, key: str, before: UserSpec, changed: dict[str, Any]) -> None:
        """Change the address or the groups, assign or unassign them."""
        if "groups" in changed:
            groups = [mesh.id_of("ListGroupProfiles", name) for name in changed["groups"]]
            changed["groups"] = groups
        id_ = mesh.id_of("ListUserProfiles", key)
        mesh.do("UpdateUserProfile", user_profile_id=id_, **changed)
