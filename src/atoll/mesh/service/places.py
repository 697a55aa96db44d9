"""Where data lie and where they are computed with: associations, and environments on them.

PENDING -> ACCEPTED -> REMOVED        an association; who owns the domain accepts
        -> REMOVED
ACTIVE <-> SUSPENDED                  an environment, by owners of its project
either  -> INACCESSIBLE               as its storage or its workgroup was removed

What is only offered keeps nobody else from offering the same; what was accepted does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.harvest.locations import lies_in, normalised, stated
from atoll.mesh.model.access import SubscriptionTarget
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.organisation import (
    Association,
    AssociationKind,
    AssociationStatus,
    Domain,
    Environment,
    EnvironmentStatus,
    PolicyType,
    Project,
)
from atoll.mesh.model.record import Id, Name, moved, new_id
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import (
    Ask,
    Described,
    Done,
    Named,
    Page,
    Redescribed,
    Right,
    operation,
)
from atoll.mesh.service.grants import emptied, inaccessible
from atoll.mesh.service.history import revised

ASSOCIATION_EDGES = {
    AssociationStatus.PENDING: (AssociationStatus.ACCEPTED, AssociationStatus.REMOVED),
    AssociationStatus.ACCEPTED: (AssociationStatus.REMOVED,),
    AssociationStatus.REMOVED: (),
}
# The others of DataZone's states are those of stacks that take their time.
ENVIRONMENT_EDGES = {
    EnvironmentStatus.ACTIVE: (EnvironmentStatus.SUSPENDED, EnvironmentStatus.INACCESSIBLE),
    EnvironmentStatus.SUSPENDED: (EnvironmentStatus.ACTIVE, EnvironmentStatus.INACCESSIBLE),
    EnvironmentStatus.INACCESSIBLE: (),
}
Amount = Annotated[int, Meta(ge=1, le=1 << 62)]


class Limits(Ask, frozen=True, kw_only=True):
    """What one query may take; what is left out is not limited."""

    memory_bytes: Amount | None = None
    timeout_s: Amount | None = None
    rows: Amount | None = None
    bytes_scanned: Amount | None = None


class NewAssociation(Ask, frozen=True, kw_only=True):
    """What joins the domain.

    Attributes:
        location: of storage: its URL; everything below it belongs to it.
        credentials: of storage: name of the secret that the server's settings hold; empty: its own.
        limits: of a workgroup.
    """

    name: Name
    kind: AssociationKind
    location: Annotated[str, Meta(max_length=2000)] = ""
    credentials: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    limits: Limits = Limits()


class Associations(Named, frozen=True, kw_only=True):
    """Which associations."""

    kind: AssociationKind | None = None
    status: AssociationStatus | None = None
    project_id: str = ""


class NewEnvironment(Described, frozen=True, kw_only=True):
    """What a project gets to work with.

    Attributes:
        storage_id, workgroup_id: accepted associations of the domain that you may look at.
        quota_bytes: how much may lie below its prefix; 0: no limit.
    """

    storage_id: Id
    workgroup_id: Id
    quota_bytes: Annotated[int, Meta(ge=0, le=1 << 62)] = 0


class ChangedEnvironment(Redescribed, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    quota_bytes: Annotated[int, Meta(ge=0, le=1 << 62)] | None = None
    is_suspended: bool | None = None


@operation("POST", "/projects/{project_id}/associations", Right.OWN)
def associate(call: Call, project: Project, ask: NewAssociation) -> Association:
    """Offer a storage location or a workgroup to the domain, whose owners accept it or not."""
    is_storage = ask.kind is AssociationKind.STORAGE
    if is_storage != bool(ask.location):
        raise InvalidInput("storage takes a location; a workgroup takes limits and no location")
    location = stated(ask.location) if is_storage else ""
    if is_storage:
        _refuse_overlap(call, location)
    return call.add(
        Association,
        name=ask.name,
        kind=ask.kind,
        project_id=project.id,
        location=location,
        credentials=ask.credentials,
        limits=ask.limits.given(),
    )


@operation("GET", "/associations", Right.BROWSE)
def list_associations(call: Call, domain: Domain, ask: Associations) -> Iterator[Association]:
    """List what belongs to the domain, or was offered to it, as far as you may look at it."""
    return call.shown(
        Association, kind=ask.kind, status=ask.status, project_id=ask.project_id, name=ask.name
    )


@operation("GET", "/associations/{association_id}", Right.VIEW)
def get_association(call: Call, association: Association) -> Association:
    """Show an association."""
    return association


@operation("POST", "/associations/{association_id}/accept", Right.GOVERN)
def accept_association(call: Call, association: Association) -> Association:
    """Let what was offered belong to the domain; projects may use it from then on.

    The server reads it with its own credentials, those that are named: look at both.
    """
    if association.kind is AssociationKind.STORAGE:
        _refuse_links(association.location)
        _refuse_overlap(call, association.location)
        _refuse_home(call, association.location)
    return _moved(call, association, AssociationStatus.ACCEPTED)


@operation("DELETE", "/associations/{association_id}", Right.OWN)
def withdraw_association(call: Call, association: Association) -> Association:
    """Take back what your project brought in; see `RemoveAssociation`."""
    return _removed(call, association)


@operation("POST", "/associations/{association_id}/remove", Right.GOVERN)
def remove_association(call: Call, association: Association) -> Association:
    """Let something belong to the domain no longer; what is on it becomes inaccessible."""
    return _removed(call, association)


@operation(
    "POST", "/projects/{project_id}/environments", Right.CREATE, grant=PolicyType.CREATE_ENVIRONMENT
)
def create_environment(call: Call, project: Project, ask: NewEnvironment) -> Environment:
    """Set up a prefix to write to, a workgroup to query with, and a quota, for a project.

    What lies below the prefix is registered by this project only, whosever the storage is.
    """
    storage = _accepted(call, ask.storage_id, AssociationKind.STORAGE)
    workgroup = _accepted(call, ask.workgroup_id, AssociationKind.WORKGROUP)
    id_ = new_id(Environment.KIND)
    prefix = f"{storage.location}/{project.id}/{id_}"
    if call.reader.overlaps(Asset, "external_identifier", prefix):
        raise Conflict(
            f"'{storage.name}' is taken by an asset that holds all that lies there; take another "
            "storage"
        )
    # One whose storage left the domain keeps its place, whoever associates that again.
    if call.reader.overlaps(Environment, "prefix", prefix):
        raise Conflict(
            f"'{storage.name}' lies in another environment; delete that, or take another storage"
        )
    return call.add(
        Environment,
        id_=id_,
        name=ask.name,
        description=ask.description,
        project_id=project.id,
        storage_id=storage.id,
        workgroup_id=workgroup.id,
        prefix=prefix,
        credentials=storage.credentials,
        quota_bytes=ask.quota_bytes,
    )


@operation("GET", "/projects/{project_id}/environments", Right.VIEW)
def list_environments(call: Call, project: Project, ask: Page) -> Iterator[Environment]:
    """List the environments of a project."""
    return call.shown(Environment, project_id=project.id)


@operation("GET", "/environments/{environment_id}", Right.VIEW)
def get_environment(call: Call, environment: Environment) -> Environment:
    """Show an environment."""
    return environment


@operation("PATCH", "/environments/{environment_id}", Right.OWN)
def update_environment(
    call: Call, environment: Environment, ask: ChangedEnvironment
) -> Environment:
    """Rename an environment, give it another quota, suspend it or let it go on."""
    given = ask.given()
    if given.pop("is_suspended", None) is not None:
        to = EnvironmentStatus.SUSPENDED if ask.is_suspended else EnvironmentStatus.ACTIVE
        given["status"] = to
        if to is not environment.status:
            moved(
                f"the environment '{environment.name}'", environment.status, to, ENVIRONMENT_EDGES
            )
    return revised(call, environment, **given)


@operation("DELETE", "/environments/{environment_id}", Right.OWN)
def delete_environment(call: Call, environment: Environment) -> Done:
    """Remove an environment without assets; its files stay, and are the storage's owners'."""
    if call.find(SubscriptionTarget, environment_id=environment.id):
        raise Conflict(f"'{environment.name}' has subscription targets; remove them first")
    assets = call.reader.overlaps(Asset, "external_identifier", environment.prefix)
    if any(lies_in(one, environment.prefix) for one in assets):
        raise Conflict(f"'{environment.name}' holds assets; delete them first")
    call.tell(prefix=environment.prefix)
    call.remove(environment)
    return Done()


def _refuse_links(location: str) -> None:
    # Only now, as who offers a place need not learn where the server's links lead to.
    if normalised(location) != location:
        raise Conflict("the place is reached through a link; have it offered as it is without")


def _refuse_overlap(call: Call, location: str) -> None:
    # Overlapping places would let one project publish what is another's.
    accepted = {"kind": AssociationKind.STORAGE, "status": AssociationStatus.ACCEPTED}
    if any(_overlap(location, one.location) for one in call.each(Association, **accepted)):
        raise Conflict("the place, or a part of it, belongs to another association")


def _refuse_home(call: Call, location: str) -> None:
    if _overlap(location, call.tools.home.resolve().as_uri()):
        raise Conflict("the mesh keeps its own files there, which nobody reads; take another place")


def _overlap(one: str, other: str) -> bool:
    return lies_in(one, other) or lies_in(other, one)


def _accepted(call: Call, id_: str, kind: AssociationKind) -> Association:
    found = call.get(Association, id_)
    if found.kind is not kind or found.status is not AssociationStatus.ACCEPTED:
        raise InvalidInput(
            f"'{id_}' is no accepted {kind.lower()} of the domain; see ListAssociations", id=id_
        )
    return found


def _moved(call: Call, one: Association, to: AssociationStatus) -> Association:
    moved(f"the association '{one.name}'", one.status, to, ASSOCIATION_EDGES)
    return call.change(one, status=to)


def _removed(call: Call, association: Association) -> Association:
    changed = _moved(call, association, AssociationStatus.REMOVED)
    key = "storage_id" if association.kind is AssociationKind.STORAGE else "workgroup_id"
    for one in list(call.each(Environment, **{key: association.id})):
        if one.status is not EnvironmentStatus.INACCESSIBLE:
            to = EnvironmentStatus.INACCESSIBLE
            moved(f"the environment '{one.name}'", one.status, to, ENVIRONMENT_EDGES)
            call.change(one, status=to)
        for target in list(call.each(SubscriptionTarget, environment_id=one.id)):
            emptied(call, target, why="its environment is not accessible any more")
    if association.kind is AssociationKind.STORAGE:
        inaccessible(call, changed)
    return changed
