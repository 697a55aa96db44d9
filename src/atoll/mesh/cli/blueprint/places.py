"""Where data lie, and where they are computed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.cli.blueprint.remote import Remote, spelled
from atoll.mesh.cli.blueprint.section import Section, given
from atoll.mesh.cli.blueprint.specs import AssociationSpec, EnvironmentSpec, Spec, TargetSpec
from atoll.mesh.model.access import TargetProvider
from atoll.mesh.model.organisation import AssociationStatus, EnvironmentStatus

_UNDECIDED = ("status", AssociationStatus.PENDING)
_SAID = (EnvironmentStatus.ACTIVE, EnvironmentStatus.SUSPENDED)


class Associations(Section[AssociationSpec]):
    """Storage and workgroups of the domain."""

    name, noun, spec = "associations", "association", AssociationSpec
    needs = ("project", "kind")
    fixed = ("project", "kind", "location", "credentials", "limits")

    def told(self, spec: Spec) -> dict[str, Any]:
        """Say nothing of what nobody has decided on: that it is offered, it says by being there."""
        told = super().told(spec)
        return {key: one for key, one in told.items() if (key, one) != _UNDECIDED}

    def is_absent(self, spec: AssociationSpec) -> bool:
        """Leave out what was removed: for good, so that its name is all that is left of it."""
        return spec.status == AssociationStatus.REMOVED

    def current(self, mesh: Remote) -> Iterator[tuple[str, AssociationSpec]]:
        """Read those that one may look at."""
        for one in mesh.listed("ListAssociations"):
            yield (
                one["name"],
                AssociationSpec(
                    project=mesh.name_of("ListProjects", one["project_id"]),
                    **{key: one[key] for key in ("kind", "location", "credentials", "limits")},
                    status=one["status"],
                ),
            )

    def create(self, mesh: Remote, key: str, spec: AssociationSpec) -> None:
        """Offer one to the domain."""
        id_ = mesh.id_of("ListProjects", spec.project or "")
        described = given(spec, "kind", "location", "credentials", "limits")
        mesh.do("Associate", project_id=id_, name=key, **described)

    def update(
        self, mesh: Remote, key: str, before: AssociationSpec, changed: dict[str, Any]
    ) -> None:
        """Accept or remove it."""
        if before.status == AssociationStatus.REMOVED:
            raise Conflict("it was removed for good; associate the place under another name")
        accepts = changed["status"] is AssociationStatus.ACCEPTED
        id_ = mesh.id_of("ListAssociations", key)
        mesh.do("AcceptAssociation" if accepts else "RemoveAssociation", association_id=id_)


class Removed(Associations):
    """Which are removed: first, so that others may take their places."""

    fields, makes = ("status",), False

    def told(self, spec: Spec) -> dict[str, Any]:
        """Say of the others nothing."""
        told = super().told(spec)
        return told if told.get("status") == AssociationStatus.REMOVED else {}


class Environments(Section[EnvironmentSpec]):
    """Environments of projects."""

    name, noun, spec = "environments", "environment", EnvironmentSpec
    shape = "PROJECT/NAME"
    needs = fixed = ("storage", "workgroup")
    waits: ClassVar[Mapping[str, Any]] = {"status": EnvironmentStatus.SUSPENDED}

    def is_absent(self, spec: EnvironmentSpec) -> bool:
        """Leave out what went with its storage or its workgroup."""
        return spec.status == EnvironmentStatus.INACCESSIBLE

    def current(self, mesh: Remote) -> Iterator[tuple[str, EnvironmentSpec]]:
        """Read those of the projects that one may look at."""
        for project in mesh.listed("ListProjects"):
            for one in mesh.listed("ListEnvironments", project_id=project["id"]):
                yield (
                    f"{spelled(project['name'])}/{spelled(one['name'])}",
                    EnvironmentSpec(
                        storage=mesh.name_of("ListAssociations", one["storage_id"]),
                        workgroup=mesh.name_of("ListAssociations", one["workgroup_id"]),
                        description=one["description"],
                        quota_bytes=one["quota_bytes"],
                        status=one["status"],
                    ),
                )

    def create(self, mesh: Remote, key: str, spec: EnvironmentSpec) -> None:
        """Set one up."""
        project, name = self.names(key)
        mesh.do(
            "CreateEnvironment",
            project_id=mesh.id_of("ListProjects", project),
            name=name,
            storage_id=mesh.id_of("ListAssociations", spec.storage or ""),
            workgroup_id=mesh.id_of("ListAssociations", spec.workgroup or ""),
            **given(spec, "description", "quota_bytes"),
        )

    def update(
        self, mesh: Remote, key: str, before: EnvironmentSpec, changed: dict[str, Any]
    ) -> None:
        """Describe it, give it another quota, suspend it or let it go on."""
        id_ = _environment_id(mesh, *self.names(key))
        if status := changed.pop("status", None):
            if status not in _SAID:
                raise InvalidInput(f"a blueprint makes it {' or '.join(_SAID)}, not {status}")
            changed["is_suspended"] = status is EnvironmentStatus.SUSPENDED
        mesh.do("UpdateEnvironment", environment_id=id_, **changed)


class Suspended(Environments):
    """Which environments are suspended: once all that is in them is there."""

    fields, makes = ("status",), False


class Targets(Section[TargetSpec]):
    """Where projects' subscriptions are made to hold, besides the mesh's own doors."""

    name, noun, spec = "subscription_targets", "subscription target", TargetSpec
    shape = "PROJECT/NAME"
    needs = fixed = ("environment",)

    def current(self, mesh: Remote) -> Iterator[tuple[str, TargetSpec]]:
        """Read those of the projects that one may look at, where they are good for something."""
        for key, one in self._targets(mesh).items():
            for each in mesh.listed("ListEnvironments", project_id=one["project_id"]):
                is_there = each["status"] != EnvironmentStatus.INACCESSIBLE
                if is_there and each["id"] == one["environment_id"]:
                    types = tuple(one["asset_types"])
                    yield key, TargetSpec(environment=each["name"], asset_types=types)

    def create(self, mesh: Remote, key: str, spec: TargetSpec) -> None:
        """Add one."""
        project, name = self.names(key)
        mesh.do(
            "CreateSubscriptionTarget",
            project_id=mesh.id_of("ListProjects", project),
            name=name,
            environment_id=_environment_id(mesh, project, spec.environment or ""),
            **given(spec, "asset_types"),
        )

    def update(self, mesh: Remote, key: str, before: TargetSpec, changed: dict[str, Any]) -> None:
        """Have it for other types of assets."""
        id_ = self._targets(mesh)[key]["id"]
        mesh.do("UpdateSubscriptionTarget", subscription_target_id=id_, **changed)

    def _targets(self, mesh: Remote) -> dict[str, Any]:
        return {
            f"{spelled(project['name'])}/{spelled(one['name'])}": one
            for project in mesh.listed("ListProjects")
            for one in mesh.listed("ListSubscriptionTargets", project_id=project["id"])
            if one["provider"] != TargetProvider.ATOLL
        }


def _environment_id(mesh: Remote, project: str, name: str) -> str:
    project_id = mesh.id_of("ListProjects", project)
    return mesh.id_of("ListEnvironments", name, project_id=project_id)
