"""Domain units and projects, and what people may do in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.mesh.cli.blueprint.remote import ROOT, Remote, read, spelled
from atoll.mesh.cli.blueprint.section import Section, given
from atoll.mesh.cli.blueprint.specs import (
    DelegationSpec,
    GrantSpec,
    GuardrailsSpec,
    ProjectSpec,
    UnitSpec,
)
from atoll.mesh.model.organisation import Designation
from atoll.mesh.model.record import microseconds, moment


class Units(Section[UnitSpec]):
    """Domain units."""

    name, noun, spec, fields = "domain_units", "domain unit", UnitSpec, ("description",)

    def current(self, mesh: Remote) -> Iterator[tuple[str, UnitSpec]]:
        """Read them, parents first."""
        for path, unit in mesh.units().items():
            yield path, UnitSpec(description=unit["description"])

    def create(self, mesh: Remote, key: str, spec: UnitSpec) -> None:
        """Make one in its parent."""
        parent, _, name = key.rpartition("/")
        at = mesh.unit(parent or ROOT)["id"]
        described = given(spec, "description")
        mesh.do("CreateDomainUnit", domain_unit_id=at, name=read(name), **described)
        mesh.forget()  # the next one may be below it

    def update(self, mesh: Remote, key: str, before: UnitSpec, changed: dict[str, Any]) -> None:
        """Describe it."""
        mesh.do("UpdateDomainUnit", domain_unit_id=mesh.unit(key)["id"], **changed)


class Guardrails(Section[UnitSpec]):
    """What domain units set, parents first: what one loosens, those below it may loosen, too."""

    name, noun, spec, fields = "domain_units", "domain unit", UnitSpec, ("guardrails",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, UnitSpec]]:
        """Read them."""
        set_ = {one["id"]: one for one in mesh.listed("ListGuardrails")}
        for path, unit in mesh.units().items():
            found = set_.get(unit["id"], {})
            guardrails = {key: found.get(key) for key in GuardrailsSpec.__struct_fields__}
            yield path, UnitSpec(guardrails=GuardrailsSpec(**guardrails))

    def rank(self, key: str) -> int:
        """Say how deep it is."""
        return 0 if key == ROOT else 1 + key.count("/")

    def update(self, mesh: Remote, key: str, before: UnitSpec, changed: dict[str, Any]) -> None:
        """Set them; what the file does not say stays."""
        fields = GuardrailsSpec.__struct_fields__
        there = given(before.guardrails or GuardrailsSpec(), *fields)
        said = {**there, **given(changed["guardrails"], *fields)}
        mesh.do("SetGuardrails", domain_unit_id=mesh.unit(key)["id"], **said)


class LowerGuardrails(Guardrails):
    """The same from below, as far as that goes.

    What a unit had set stays there when one above it sets a stricter bound, and could be set no
    more then.
    """

    def rank(self, key: str) -> int:
        """Say how high it is."""
        return -super().rank(key)

    def update(self, mesh: Remote, key: str, before: UnitSpec, changed: dict[str, Any]) -> None:
        """Set them, unless those above have to be looser first."""
        with suppress(InvalidInput):
            super().update(mesh, key, before, changed)


class Grants(Section[UnitSpec]):
    """What was granted in domain units; projects may be granted something, too."""

    name, noun, spec, fields = "domain_units", "domain unit", UnitSpec, ("grants",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, UnitSpec]]:
        """Read them."""
        for path, unit in mesh.units().items():
            found = mesh.allowed("ListPolicyGrants", domain_unit_id=unit["id"])
            if found is not None:
                told = sorted((self._told(mesh, one) for one in found), key=str)
                yield path, UnitSpec(grants=tuple(told))

    def update(self, mesh: Remote, key: str, before: UnitSpec, changed: dict[str, Any]) -> None:
        """Grant and take back."""
        id_, wanted = mesh.unit(key)["id"], changed["grants"]
        listed = mesh.listed("ListPolicyGrants", domain_unit_id=id_)
        there = {self._told(mesh, one): one for one in listed}
        for spec, one in there.items():
            if spec not in wanted:
                mesh.undo("RemovePolicyGrant", policy_grant_id=one["id"])
        for spec in wanted:
            if spec not in there:
                mesh.do(
                    "AddPolicyGrant",
                    domain_unit_id=id_,
                    policy_type=spec.policy_type,
                    principal_id=mesh.principal(spec.to),
                    includes_children=spec.includes_children,
                )

    def _told(self, mesh: Remote, one: Any) -> GrantSpec:
        return GrantSpec(
            policy_type=one["policy_type"],
            to=mesh.principal_name(one["principal_id"]),
            includes_children=one["includes_children"],
        )


class Owners(Section[UnitSpec]):
    """Who owns domain units. Last: who gives their own place away could do nothing after it."""

    name, noun, spec, fields = "domain_units", "domain unit", UnitSpec, ("owners",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, UnitSpec]]:
        """Read them."""
        for path, unit in mesh.units().items():
            yield path, UnitSpec(owners=tuple(sorted(map(mesh.principal_name, unit["owners"]))))

    def update(self, mesh: Remote, key: str, before: UnitSpec, changed: dict[str, Any]) -> None:
        """Say who owns it."""
        owners = [mesh.principal(name) for name in changed["owners"]]
        mesh.do("SetDomainUnitOwners", domain_unit_id=mesh.unit(key)["id"], owners=owners)


class Projects(Section[ProjectSpec]):
    """Projects."""

    name, noun, spec, needs = "projects", "project", ProjectSpec, ("domain_unit",)
    fields = ("domain_unit", "description")

    def current(self, mesh: Remote) -> Iterator[tuple[str, ProjectSpec]]:
        """Read those that one may look at."""
        for one in mesh.listed("ListProjects"):
            unit = mesh.unit_path(one["domain_unit_id"])
            yield one["name"], ProjectSpec(domain_unit=unit, description=one["description"])

    def create(self, mesh: Remote, key: str, spec: ProjectSpec) -> None:
        """Make one; who makes it owns it until the file's members are in."""
        at = mesh.unit(spec.domain_unit or ROOT)["id"]
        mesh.do("CreateProject", domain_unit_id=at, name=key, **given(spec, "description"))

    def update(self, mesh: Remote, key: str, before: ProjectSpec, changed: dict[str, Any]) -> None:
        """Move or describe it."""
        id_ = mesh.id_of("ListProjects", key)
        if "domain_unit" in changed:
            unit_id = mesh.unit(changed["domain_unit"])["id"]
            mesh.do("MoveProject", project_id=id_, domain_unit_id=unit_id)
        if "description" in changed:
            mesh.do("UpdateProject", project_id=id_, description=changed["description"])


class Members(Section[ProjectSpec]):
    """Who comes into projects, and as what."""

    name, noun, spec, fields = "projects", "project", ProjectSpec, ("members",)
    makes = False

    def current(self, mesh: Remote) -> Iterator[tuple[str, ProjectSpec]]:
        """Read them."""
        for project in mesh.listed("ListProjects"):
            members = {
                mesh.principal_name(one["member_id"]): Designation(one["designation"])
                for one in mesh.listed("ListProjectMemberships", project_id=project["id"])
            }
            yield project["name"], ProjectSpec(members=dict(sorted(members.items())))

    def update(self, mesh: Remote, key: str, before: ProjectSpec, changed: dict[str, Any]) -> None:
        """Take members in, owners first: there is always one."""
        wanted = changed["members"]
        others = [name for name in wanted if name != _own_name(mesh)]
        for name in sorted(others, key=lambda name: wanted[name] != Designation.OWNER):
            self._join(mesh, key, name, before, wanted[name])

    def _join(
        self, mesh: Remote, key: str, name: str, before: ProjectSpec, designation: Designation
    ) -> None:
        if (before.members or {}).get(name) != designation:
            id_ = mesh.id_of("ListProjects", key)
            member = {"member_id": mesh.principal(name), "designation": designation}
            mesh.do("CreateProjectMembership", project_id=id_, **member)


class Leavers(Members):
    """Who leaves projects, and what becomes of who applies the file: last, as `Owners`."""

    def update(self, mesh: Remote, key: str, before: ProjectSpec, changed: dict[str, Any]) -> None:
        """Let them go whom the file does not name."""
        wanted, me = changed["members"], _own_name(mesh)
        gone = (before.members or {}).keys() - wanted.keys()
        for name in sorted(gone, key=lambda name: name == me):
            member = {"member_id": mesh.principal(name)}
            mesh.do("DeleteProjectMembership", project_id=mesh.id_of("ListProjects", key), **member)
        if me in wanted:
            self._join(mesh, key, me, before, wanted[me])


class Delegations(Section[DelegationSpec]):
    """Who decides for projects in place of their owners; whose time is over is left out."""

    name, noun, spec = "delegations", "delegation", DelegationSpec
    shape = "PROJECT/WHO"

    def current(self, mesh: Remote) -> Iterator[tuple[str, DelegationSpec]]:
        """Read them."""
        for project in mesh.listed("ListProjects"):
            for one in mesh.listed("ListDelegations", project_id=project["id"]):
                until = moment(one["until"]) if one["until"] else None
                if until is None or until > datetime.now(UTC):
                    who = mesh.principal_name(one["principal_id"])
                    key = f"{spelled(project['name'])}/{spelled(who)}"
                    yield key, DelegationSpec(until=until)

    def create(self, mesh: Remote, key: str, spec: DelegationSpec) -> None:
        """Let somebody decide."""
        project, who = self.names(key)
        mesh.do(
            "CreateDelegation",
            project_id=mesh.id_of("ListProjects", project),
            principal_id=mesh.principal(who),
            until=microseconds(spec.until) if spec.until else 0,
        )

    def update(
        self, mesh: Remote, key: str, before: DelegationSpec, changed: dict[str, Any]
    ) -> None:
        """Say anew until when."""
        self.create(mesh, key, DelegationSpec(until=changed["until"]))


def _own_name(mesh: Remote) -> str:
    return str(mesh.once("own name", lambda: mesh.get("WhoAmI")["profile"]["name"]))
