"""How each part of a blueprint is read from a mesh, and changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from atoll.core.errors import InvalidInput
from atoll.mesh.cli.blueprint.document import (
    AssociationSpec,
    DomainSpec,
    EnvironmentSpec,
    GlossarySpec,
    GrantSpec,
    GroupSpec,
    ProjectSpec,
    Spec,
    TermSpec,
    UnitSpec,
    UserSpec,
)
from atoll.mesh.cli.blueprint.remote import ROOT, Remote
from atoll.mesh.model.organisation import AssociationStatus, Designation
from atoll.mesh.model.people import UserType

S = TypeVar("S", bound=Spec)


class Section(Protocol[S]):
    """One part of a blueprint.

    Attributes:
        name: its key in the file.
        noun: what one of its things is.
    """

    name: str
    noun: str

    def current(self, mesh: Remote) -> dict[str, S]:
        """Read what is there."""
        ...

    def create(self, mesh: Remote, key: str, spec: S) -> None:
        """Make what is not there; `update` follows with what else it should be."""
        ...

    def update(self, mesh: Remote, key: str, before: S, changed: dict[str, Any]) -> None:
        """Change what is there.

        Args:
            mesh: where.
            key: of the thing.
            before: as it is; just made: as `current` reads it then.
            changed: fields of the spec that should be otherwise.
        """
        ...


class Domains:
    """The domain: the only thing under the key "this"."""

    name, noun = "domain", "domain"

    def current(self, mesh: Remote) -> dict[str, DomainSpec]:
        """Read it."""
        found = mesh.get("GetDomain")
        return {"this": DomainSpec(name=found["name"], description=found["description"])}

    def create(self, mesh: Remote, key: str, spec: DomainSpec) -> None:
        """Refuse another."""
        raise InvalidInput(f"a mesh has one domain: write its properties under 'this', not '{key}'")

    def update(self, mesh: Remote, key: str, before: DomainSpec, changed: dict[str, Any]) -> None:
        """Rename or describe it."""
        mesh.do("UpdateDomain", **changed)


class Groups:
    """Groups."""

    name, noun = "groups", "group"

    def current(self, mesh: Remote) -> dict[str, GroupSpec]:
        """Read them."""
        return {
            one["name"]: GroupSpec(description=one["description"])
            for one in mesh.listed("ListGroupProfiles")
        }

    def create(self, mesh: Remote, key: str, spec: GroupSpec) -> None:
        """Make one."""
        mesh.do("CreateGroupProfile", name=key, description=spec.description or "")

    def update(self, mesh: Remote, key: str, before: GroupSpec, changed: dict[str, Any]) -> None:
        """Refuse: a group's description stands."""
        raise InvalidInput(
            f"the description of group '{key}' cannot be changed; remove and make it"
        )


class Users:
    """Users and services."""

    name, noun = "users", "user"

    def current(self, mesh: Remote) -> dict[str, UserSpec]:
        """Read them."""
        return {
            one["name"]: UserSpec(
                type=UserType(one["type"]),
                email=one["email"],
                groups=tuple(
                    sorted(mesh.name_of("ListGroupProfiles", id_) for id_ in one["groups"])
                ),
            )
            for one in mesh.listed("ListUserProfiles")
        }

    def create(self, mesh: Remote, key: str, spec: UserSpec) -> None:
        """Make a service."""
        if spec.type is not UserType.SERVICE:
            raise InvalidInput(
                f"user '{key}' is not there, and a blueprint makes services only, as it holds no "
                "passwords; run `atoll mesh create-user-profile` first, or let them sign in"
            )
        mesh.do("CreateUserProfile", name=key, type=spec.type, email=spec.email or "")

    def update(self, mesh: Remote, key: str, before: UserSpec, changed: dict[str, Any]) -> None:
        """Change the address or the groups."""
        if "type" in changed:
            raise InvalidInput(
                f"'{key}' is {before.type}; what kind of user one is does not change"
            )
        if "groups" in changed:
            changed["groups"] = [
                mesh.named("ListGroupProfiles", name)["id"] for name in changed["groups"]
            ]
        id_ = mesh.named("ListUserProfiles", key)["id"]
        mesh.do("UpdateUserProfile", user_profile_id=id_, **changed)


class Units:
    """Domain units with their owners and what was granted in them."""

    name, noun = "domain_units", "domain unit"

    def current(self, mesh: Remote) -> dict[str, UnitSpec]:
        """Read them, parents first."""
        return {
            path: UnitSpec(
                description=one["description"],
                owners=tuple(sorted(map(mesh.principal_name, one["owners"]))),
                grants=tuple(self._grants(mesh, one["id"])),
            )
            for path, one in mesh.units().items()
        }

    def create(self, mesh: Remote, key: str, spec: UnitSpec) -> None:
        """Make one in its parent."""
        parent, _, name = key.rpartition("/")
        at = mesh.unit(parent or ROOT)["id"]
        given = {"name": name, "description": spec.description or ""}
        mesh.do("CreateDomainUnit", domain_unit_id=at, **given)

    def update(self, mesh: Remote, key: str, before: UnitSpec, changed: dict[str, Any]) -> None:
        """Describe it, change its owners, grant and take back."""
        id_ = mesh.unit(key)["id"]
        if "description" in changed:
            mesh.do("UpdateDomainUnit", domain_unit_id=id_, description=changed["description"])
        if "grants" in changed:
            self._regrant(mesh, id_, changed["grants"])
        # Last: who gives their own place away could do nothing after it.
        if "owners" in changed:
            owners = [mesh.principal(name) for name in changed["owners"]]
            mesh.do("SetDomainUnitOwners", domain_unit_id=id_, owners=owners)

    def _grants(self, mesh: Remote, unit_id: str) -> Iterator[GrantSpec]:
        for one in self._listed(mesh, unit_id):
            yield GrantSpec(
                policy_type=one["policy_type"],
                to=mesh.principal_name(one["principal_id"]),
                includes_children=one["includes_children"],
            )

    def _listed(self, mesh: Remote, unit_id: str) -> list[Any]:
        found = mesh.listed("ListPolicyGrants", domain_unit_id=unit_id)
        return sorted(
            found, key=lambda one: (one["policy_type"], mesh.principal_name(one["principal_id"]))
        )

    def _regrant(self, mesh: Remote, unit_id: str, wanted: tuple[GrantSpec, ...]) -> None:
        there = dict(zip(self._grants(mesh, unit_id), self._listed(mesh, unit_id), strict=True))
        for spec, one in there.items():
            if spec not in wanted:
                mesh.do("RemovePolicyGrant", policy_grant_id=one["id"])
        for spec in wanted:
            if spec not in there:
                mesh.do(
                    "AddPolicyGrant",
                    domain_unit_id=unit_id,
                    policy_type=spec.policy_type,
                    principal_id=mesh.principal(spec.to),
                    includes_children=spec.includes_children,
                )


class Projects:
    """Projects and their members."""

    name, noun = "projects", "project"

    def current(self, mesh: Remote) -> dict[str, ProjectSpec]:
        """Read those that one may look at."""
        return {
            one["name"]: ProjectSpec(
                domain_unit=mesh.unit_path(one["domain_unit_id"]),
                description=one["description"],
                members=dict(sorted(self._members(mesh, one["id"]))),
            )
            for one in mesh.listed("ListProjects")
        }

    def _members(self, mesh: Remote, project_id: str) -> Iterator[tuple[str, Designation]]:
        for one in mesh.listed("ListProjectMemberships", project_id=project_id):
            yield mesh.principal_name(one["member_id"]), Designation(one["designation"])

    def create(self, mesh: Remote, key: str, spec: ProjectSpec) -> None:
        """Make one; who makes it owns it until the file's members are in."""
        at = mesh.unit(_required(spec.domain_unit, f"project '{key}'", "domain_unit"))["id"]
        given = {"name": key, "description": spec.description or ""}
        mesh.do("CreateProject", domain_unit_id=at, **given)

    def update(self, mesh: Remote, key: str, before: ProjectSpec, changed: dict[str, Any]) -> None:
        """Move or describe it, take members in and let them go."""
        id_ = mesh.named("ListProjects", key)["id"]
        if "domain_unit" in changed:
            unit_id = mesh.unit(changed["domain_unit"])["id"]
            mesh.do("MoveProject", project_id=id_, domain_unit_id=unit_id)
        if "description" in changed:
            mesh.do("UpdateProject", project_id=id_, description=changed["description"])
        wanted, there = changed.get("members"), before.members or {}
        if wanted is None:
            return
        # Owners first, and who leaves last: there is always an owner.
        for name, designation in sorted(
            wanted.items(), key=lambda one: one[1] != Designation.OWNER
        ):
            if there.get(name) != designation:
                given = {"member_id": mesh.principal(name), "designation": designation}
                mesh.do("CreateProjectMembership", project_id=id_, **given)
        for name in there.keys() - wanted.keys():
            member_id = mesh.principal(name)
            mesh.do("DeleteProjectMembership", project_id=id_, member_id=member_id)


class Associations:
    """Storage and workgroups of the domain."""

    name, noun = "associations", "association"

    def current(self, mesh: Remote) -> dict[str, AssociationSpec]:
        """Read those that one may look at."""
        return {
            one["name"]: AssociationSpec(
                project=mesh.name_of("ListProjects", one["project_id"]),
                kind=one["kind"],
                location=one["location"],
                credentials=one["credentials"],
                limits=one["limits"],
                status=one["status"],
            )
            for one in mesh.listed("ListAssociations")
        }

    def create(self, mesh: Remote, key: str, spec: AssociationSpec) -> None:
        """Offer one to the domain."""
        project = _required(spec.project, f"association '{key}'", "project")
        given: dict[str, Any] = {
            "kind": _required(spec.kind, f"association '{key}'", "kind"),
            "location": spec.location or "",
            "credentials": spec.credentials or "",
            "limits": spec.limits or {},
        }
        id_ = mesh.named("ListProjects", project)["id"]
        mesh.do("Associate", project_id=id_, name=key, **given)

    def update(
        self, mesh: Remote, key: str, before: AssociationSpec, changed: dict[str, Any]
    ) -> None:
        """Accept or remove it."""
        if others := changed.keys() - {"status"}:
            raise InvalidInput(
                f"{', '.join(sorted(others))} of association '{key}' cannot be changed; remove it "
                "and associate another"
            )
        id_ = mesh.named("ListAssociations", key)["id"]
        accepts = changed["status"] is AssociationStatus.ACCEPTED
        mesh.do("AcceptAssociation" if accepts else "RemoveAssociation", association_id=id_)


class Environments:
    """Environments of projects."""

    name, noun = "environments", "environment"

    def current(self, mesh: Remote) -> dict[str, EnvironmentSpec]:
        """Read those of the projects that one may look at."""
        return {
            f"{project['name']}/{one['name']}": EnvironmentSpec(
                storage=mesh.name_of("ListAssociations", one["storage_id"]),
                workgroup=mesh.name_of("ListAssociations", one["workgroup_id"]),
                description=one["description"],
                quota_bytes=one["quota_bytes"],
            )
            for project in mesh.listed("ListProjects")
            for one in mesh.listed("ListEnvironments", project_id=project["id"])
        }

    def create(self, mesh: Remote, key: str, spec: EnvironmentSpec) -> None:
        """Set one up."""
        project, name = _both(key, "environment", "PROJECT/NAME")
        given = {
            f"{role}_id": mesh.named("ListAssociations", _required(one, f"'{key}'", role))["id"]
            for role, one in (("storage", spec.storage), ("workgroup", spec.workgroup))
        }
        id_ = mesh.named("ListProjects", project)["id"]
        mesh.do(
            "CreateEnvironment",
            project_id=id_,
            name=name,
            description=spec.description or "",
            quota_bytes=spec.quota_bytes or 0,
            **given,
        )

    def update(
        self, mesh: Remote, key: str, before: EnvironmentSpec, changed: dict[str, Any]
    ) -> None:
        """Describe it, or give it another quota."""
        if others := changed.keys() & {"storage", "workgroup"}:
            raise InvalidInput(
                f"{', '.join(sorted(others))} of environment '{key}' cannot be changed"
            )
        project, name = _both(key, "environment", "PROJECT/NAME")
        id_ = mesh.named("ListProjects", project)["id"]
        found = mesh.listed("ListEnvironments", project_id=id_)
        [one] = [one for one in found if one["name"] == name]
        mesh.do("UpdateEnvironment", environment_id=one["id"], **changed)


class Glossaries:
    """Glossaries, without their terms."""

    name, noun = "glossaries", "glossary"

    def current(self, mesh: Remote) -> dict[str, GlossarySpec]:
        """Read them."""
        return {
            one["name"]: GlossarySpec(
                project=mesh.name_of("ListProjects", one["owning_project_id"]),
                description=one["description"],
                status=one["status"],
            )
            for one in mesh.listed("ListGlossaries")
        }

    def create(self, mesh: Remote, key: str, spec: GlossarySpec) -> None:
        """Begin one."""
        project = _required(spec.project, f"glossary '{key}'", "project")
        id_ = mesh.named("ListProjects", project)["id"]
        mesh.do("CreateGlossary", project_id=id_, name=key, description=spec.description or "")

    def update(self, mesh: Remote, key: str, before: GlossarySpec, changed: dict[str, Any]) -> None:
        """Describe or disable it."""
        _stays(changed, "project", f"glossary '{key}'")
        id_ = mesh.named("ListGlossaries", key)["id"]
        mesh.do("UpdateGlossary", glossary_id=id_, **changed)


class Terms:
    """Terms of glossaries."""

    name, noun = "terms", "glossary term"

    def current(self, mesh: Remote) -> dict[str, TermSpec]:
        """Read them."""
        return {
            key: TermSpec(
                short_description=one["short_description"],
                long_description=one["long_description"],
                synonyms=tuple(one["synonyms"]),
                is_a=tuple(self._keys(mesh, one["is_a"])),
                classifies=tuple(self._keys(mesh, one["classifies"])),
                status=one["status"],
            )
            for key, one in self._terms(mesh).items()
        }

    def create(self, mesh: Remote, key: str, spec: TermSpec) -> None:
        """Add one; how it stands to others follows."""
        glossary, name = _both(key, "glossary term", "GLOSSARY/NAME")
        id_ = mesh.named("ListGlossaries", glossary)["id"]
        mesh.do("CreateGlossaryTerm", glossary_id=id_, name=name)

    def update(self, mesh: Remote, key: str, before: TermSpec, changed: dict[str, Any]) -> None:
        """Describe, relate or disable it."""
        terms = self._terms(mesh)
        for field in ("is_a", "classifies"):
            if field in changed:
                missing = [other for other in changed[field] if other not in terms]
                if missing:
                    raise InvalidInput(f"'{key}' refers to '{missing[0]}', which is no term")
                changed[field] = [terms[other]["id"] for other in changed[field]]
        mesh.do("UpdateGlossaryTerm", glossary_term_id=terms[key]["id"], **changed)

    def _terms(self, mesh: Remote) -> dict[str, Any]:
        return {
            f"{mesh.name_of('ListGlossaries', one['glossary_id'])}/{one['name']}": one
            for one in mesh.listed("SearchGlossaryTerms")
        }

    def _keys(self, mesh: Remote, ids: list[str]) -> list[str]:
        by_id = {one["id"]: key for key, one in self._terms(mesh).items()}
        return sorted(by_id[id_] for id_ in ids)


SECTIONS: tuple[Section[Any], ...] = (
    Domains(),
    Groups(),
    Users(),
    Units(),
    Projects(),
    Associations(),
    Environments(),
    Glossaries(),
    Terms(),
)
T = TypeVar("T")


def _required(value: T | None, what: str, field: str) -> T:
    if value is None:
        raise InvalidInput(f"{what} is not there yet, and is made only with a `{field}`; add it")
    return value


def _stays(changed: dict[str, Any], field: str, what: str) -> None:
    if field in changed:
        raise InvalidInput(f"the {field} of {what} cannot be changed")


def _both(key: str, noun: str, how: str) -> tuple[str, str]:
    first, _, second = key.partition("/")
    if not first or not second or "/" in second:
        raise InvalidInput(f"'{key}' is no {noun}'s name; write {how}")
    return first, second
