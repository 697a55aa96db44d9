"""Domain units, projects, members, policy grants: who governs and who works together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from atoll.core.errors import Conflict, Forbidden, InvalidInput
from atoll.mesh.model.access import (
    LIVE,
    CampaignStatus,
    Delegation,
    Guardrails,
    ReviewCampaign,
    ReviewItem,
    Subscription,
    SubscriptionRequest,
    SubscriptionRequestStatus,
    SubscriptionTarget,
)
from atoll.mesh.model.catalog import Asset, AssetType, DataProduct, DataSource
from atoll.mesh.model.describing import FormType, Glossary, Rule
from atoll.mesh.model.organisation import (
    ALL_USERS,
    Association,
    AssociationStatus,
    Designation,
    Domain,
    DomainUnit,
    Environment,
    PolicyGrant,
    PolicyType,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import GroupProfile, UserProfile
from atoll.mesh.model.record import Id, Record
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import (
    OPERATIONS,
    Ask,
    Described,
    Done,
    Named,
    Page,
    Redescribed,
    Right,
    operation,
)
from atoll.mesh.operations.standings import given_by, granted, is_anybody_in, reached_by
from atoll.mesh.service.history import revised

MAX_DEPTH = 16  # of domain units
# What goes with a unit, or with a project.
_OF_UNITS: tuple[tuple[type[Record], str], ...] = (
    (PolicyGrant, "domain_unit_id"),
    (Rule, "domain_unit_id"),
    (Guardrails, "id"),
    (ReviewCampaign, "domain_unit_id"),
)
_OF_PROJECTS: tuple[type[Record], ...] = (ProjectMembership, Delegation, SubscriptionTarget)
# What a project must be rid of before it goes, and by which of its fields it is found.
_OWNED: tuple[tuple[type[Record], str, dict[str, Any]], ...] = (
    (Environment, "project_id", {}),
    (
        Association,
        "project_id",
        {"status": [AssociationStatus.PENDING, AssociationStatus.ACCEPTED]},
    ),
    (Glossary, "owning_project_id", {}),
    (FormType, "owning_project_id", {}),
    (AssetType, "owning_project_id", {}),
    (DataSource, "project_id", {}),
    (Asset, "owning_project_id", {}),
    (DataProduct, "owning_project_id", {}),
    (SubscriptionRequest, "project_id", {"status": SubscriptionRequestStatus.PENDING}),
    (Subscription, "project_id", {"status": LIVE}),
)


class Owners(Ask, frozen=True, kw_only=True):
    """Ids of users and groups."""

    owners: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=100)]


class MoveUnit(Ask, frozen=True, kw_only=True):
    """Below which unit."""

    parent_domain_unit_id: Id


class MoveProject(Ask, frozen=True, kw_only=True):
    """Into which unit."""

    domain_unit_id: Id


class DomainUnits(Named, frozen=True, kw_only=True):
    """Which domain units."""

    parent_domain_unit_id: str = ""


class Projects(Named, frozen=True, kw_only=True):
    """Which projects."""

    domain_unit_id: str = ""


class NewMembership(Ask, frozen=True, kw_only=True):
    """Who is to be what."""

    member_id: Id
    designation: Designation


class Appointed(Ask, frozen=True, kw_only=True):
    """Who is to own it: a user, group or service."""

    member_id: Id


class Leaver(Ask, frozen=True, kw_only=True):
    """Who leaves."""

    member_id: Id


class NewPolicyGrant(Ask, frozen=True, kw_only=True):
    """What is granted to whom.

    Attributes:
        principal_id: a user, a group, a project that you may look at, or `all-users`.
    """

    policy_type: PolicyType
    principal_id: Id
    includes_children: bool = False


@operation("GET", "/domain", Right.BROWSE)
def get_domain(call: Call, domain: Domain) -> Domain:
    """Show the domain."""
    return domain


@operation("PATCH", "/domain", Right.GOVERN)
def update_domain(call: Call, domain: Domain, ask: Redescribed) -> Domain:
    """Rename or describe the domain."""
    return revised(call, domain, **ask.given())


@operation("GET", "/domain-units", Right.BROWSE)
def list_domain_units(call: Call, domain: Domain, ask: DomainUnits) -> Iterator[DomainUnit]:
    """List domain units."""
    return call.shown(DomainUnit, parent_domain_unit_id=ask.parent_domain_unit_id, name=ask.name)


@operation("GET", "/domain-units/{domain_unit_id}", Right.BROWSE)
def get_domain_unit(call: Call, unit: DomainUnit) -> DomainUnit:
    """Show a domain unit."""
    return unit


@operation(
    "POST",
    "/domain-units/{domain_unit_id}/domain-units",
    Right.CREATE,
    grant=PolicyType.CREATE_DOMAIN_UNIT,
)
def create_domain_unit(call: Call, unit: DomainUnit, ask: Described) -> DomainUnit:
    """Make a domain unit below another; who makes it owns it."""
    if len(call.know.above(unit.id)) >= MAX_DEPTH:
        raise InvalidInput(f"domain units are at most {MAX_DEPTH} deep; make it further up")
    return call.add(
        DomainUnit,
        name=ask.name,
        description=ask.description,
        parent_domain_unit_id=unit.id,
        owners=(call.who.id,),
    )


@operation("PATCH", "/domain-units/{domain_unit_id}", Right.GOVERN)
def update_domain_unit(call: Call, unit: DomainUnit, ask: Redescribed) -> DomainUnit:
    """Rename or describe a domain unit."""
    return revised(call, unit, **ask.given())


@operation("POST", "/domain-units/{domain_unit_id}/move", Right.GOVERN)
def move_domain_unit(call: Call, unit: DomainUnit, ask: MoveUnit) -> DomainUnit:
    """Move a domain unit, and all that is in it, below another; ids and links stay.

    That takes an owner of a unit that both are in: nobody gets out of what is set above them.
    """
    parent = call.get(DomainUnit, ask.parent_domain_unit_id)
    if not unit.parent_domain_unit_id:
        raise InvalidInput("the root of the domain cannot be moved")
    _need_above_both(call, unit.parent_domain_unit_id, parent.id)
    above = call.know.above(parent.id)
    if unit.id in above:
        raise InvalidInput(f"'{parent.name}' is '{unit.name}' or below it; a unit is not in itself")
    if len(above) + _height(call, unit) > MAX_DEPTH:
        raise InvalidInput(f"domain units are at most {MAX_DEPTH} deep; move it further up")
    call.tell(before=unit.parent_domain_unit_id, after=parent.id)
    return call.change(unit, parent_domain_unit_id=parent.id)


@operation("DELETE", "/domain-units/{domain_unit_id}", Right.GOVERN)
def delete_domain_unit(call: Call, unit: DomainUnit) -> Done:
    """Remove a domain unit that nothing is in, with what is set there and its closed reviews."""
    if not unit.parent_domain_unit_id:
        raise InvalidInput("the root of the domain cannot be removed")
    for kind, key in ((DomainUnit, "parent_domain_unit_id"), (Project, "domain_unit_id")):
        if call.find(kind, **{key: unit.id}):
            raise Conflict(f"there is a {kind.KIND} in '{unit.name}'; move or remove it first")
    if call.find(ReviewCampaign, domain_unit_id=unit.id, status=CampaignStatus.OPEN):
        raise Conflict(
            f"a review of '{unit.name}' is open; remove it once all is decided, or the time is over"
        )
    for campaign_id in call.values(ReviewCampaign, "id", domain_unit_id=unit.id):
        for item in list(call.each(ReviewItem, campaign_id=campaign_id)):
            call.remove(item)
    for part, part_key in _OF_UNITS:
        for one in list(call.each(part, **{part_key: unit.id})):
            call.remove(one)
    call.remove(unit)
    return Done()


@operation(
    "PUT",
    "/domain-units/{domain_unit_id}/owners",
    Right.GOVERN,
    grant=PolicyType.OVERRIDE_DOMAIN_UNIT_OWNERS,
)
def set_domain_unit_owners(call: Call, unit: DomainUnit, ask: Owners) -> DomainUnit:
    """Say who owns a domain unit: users and groups, one at least."""
    for one in ask.owners:
        _principal(call, one)
    call.tell(before=unit.owners, after=ask.owners)
    changed = call.change(unit, owners=tuple(dict.fromkeys(ask.owners)))
    require_administrator(call)
    return changed


@operation("POST", "/domain-units/{domain_unit_id}/policy-grants", Right.GOVERN)
def add_policy_grant(call: Call, unit: DomainUnit, ask: NewPolicyGrant) -> PolicyGrant:
    """Let somebody do something in a domain unit."""
    project = call.find(Project, id=ask.principal_id)
    is_known = project is not None and call.may_see(project)
    if ask.principal_id != ALL_USERS and not is_known:
        _principal(call, ask.principal_id)
    return call.add(
        PolicyGrant,
        domain_unit_id=unit.id,
        policy_type=ask.policy_type,
        principal_id=ask.principal_id,
        includes_children=ask.includes_children,
    )


@operation("GET", "/domain-units/{domain_unit_id}/policy-grants", Right.GOVERN)
def list_policy_grants(call: Call, unit: DomainUnit, ask: Page) -> Iterator[PolicyGrant]:
    """List what was granted in a domain unit."""
    return call.shown(PolicyGrant, domain_unit_id=unit.id)


@operation("GET", "/policy-grants/{policy_grant_id}", Right.GOVERN)
def get_policy_grant(call: Call, grant: PolicyGrant) -> PolicyGrant:
    """Show what was granted."""
    return grant


@operation("DELETE", "/policy-grants/{policy_grant_id}", Right.GOVERN)
def remove_policy_grant(call: Call, grant: PolicyGrant) -> Done:
    """Take back what was granted; what was made by it stays."""
    call.remove(grant)
    return Done()


@operation(
    "POST",
    "/domain-units/{domain_unit_id}/projects",
    Right.CREATE,
    grant=PolicyType.CREATE_PROJECT,
)
def create_project(call: Call, unit: DomainUnit, ask: Described) -> Project:
    """Make a project in a domain unit; who makes it owns it."""
    made = call.add(Project, name=ask.name, description=ask.description, domain_unit_id=unit.id)
    _join(call, made, call.who.id, Designation.OWNER)
    return made


@operation("GET", "/projects", Right.BROWSE)
def list_projects(call: Call, domain: Domain, ask: Projects) -> Iterator[Project]:
    """List the projects that you may look at."""
    return call.shown(Project, domain_unit_id=ask.domain_unit_id, name=ask.name)


@operation("GET", "/projects/{project_id}", Right.VIEW)
def get_project(call: Call, project: Project) -> Project:
    """Show a project."""
    return project


@operation("PATCH", "/projects/{project_id}", Right.OWN)
def update_project(call: Call, project: Project, ask: Redescribed) -> Project:
    """Rename or describe a project."""
    return revised(call, project, **ask.given())


@operation("POST", "/projects/{project_id}/move", Right.GOVERN)
def move_project(call: Call, project: Project, ask: MoveProject) -> Project:
    """Move a project to another domain unit; that takes an owner of a unit that both are in."""
    unit = call.get(DomainUnit, ask.domain_unit_id)
    _need_above_both(call, project.domain_unit_id, unit.id)
    call.tell(before=project.domain_unit_id, after=unit.id)
    return call.change(project, domain_unit_id=unit.id)


@operation("DELETE", "/projects/{project_id}", Right.OWN)
def delete_project(call: Call, project: Project) -> Done:
    """Remove a project that owns nothing."""
    for kind, key, more in _OWNED:
        if call.find(kind, **{key: project.id}, **more):
            raise Conflict(f"'{project.name}' has a {kind.KIND}; remove it first")
    for part in _OF_PROJECTS:
        for one in list(call.each(part, project_id=project.id)):
            call.remove(one)
    call.remove(project)
    return Done()


@operation("POST", "/projects/{project_id}/memberships", Right.OWN)
def create_project_membership(
    call: Call, project: Project, ask: NewMembership
) -> ProjectMembership:
    """Take a user, group or service into a project, or give them another designation.

    Where `ADD_TO_PROJECT_MEMBER_POOL` was granted in its domain unit, only those whom it was
    granted to are taken in.
    """
    _principal(call, ask.member_id)
    before = call.find(ProjectMembership, project_id=project.id, member_id=ask.member_id)
    if before is None:
        _require_in_pool(call, project, ask.member_id)
        return _join(call, project, ask.member_id, ask.designation)
    if ask.designation is not Designation.OWNER:
        _keeps_an_owner(call, project, before)
    call.tell(before=before.designation, after=ask.designation)
    return call.change(before, designation=ask.designation)


@operation(
    "POST",
    "/projects/{project_id}/owners",
    Right.GOVERN,
    grant=PolicyType.OVERRIDE_PROJECT_OWNERS,
)
def appoint_project_owner(call: Call, project: Project, ask: Appointed) -> ProjectMembership:
    """Give a project an owner whose own are all gone, or unassigned; else they take others in.

    Who was granted `OVERRIDE_PROJECT_OWNERS` in its domain unit need not wait for that. The pool of
    members holds here, too.
    """
    overrides = granted(call.know.above(project.domain_unit_id), PolicyType.OVERRIDE_PROJECT_OWNERS)
    if overrides.isdisjoint(call.who.roles) and is_anybody_in(
        call.reader, (one.member_id for one in _owners(call, project))
    ):
        raise Conflict(
            f"'{project.name}' has an owner, who takes others in; to override that takes a grant "
            f"of {PolicyType.OVERRIDE_PROJECT_OWNERS}"
        )
    _principal(call, ask.member_id)
    before = call.find(ProjectMembership, project_id=project.id, member_id=ask.member_id)
    if before is None:
        _require_in_pool(call, project, ask.member_id)
        return _join(call, project, ask.member_id, Designation.OWNER)
    call.tell(before=before.designation)
    return call.change(before, designation=Designation.OWNER)


@operation("GET", "/projects/{project_id}/memberships", Right.VIEW)
def list_project_memberships(
    call: Call, project: Project, ask: Page
) -> Iterator[ProjectMembership]:
    """List who is in a project, and as what."""
    return call.shown(ProjectMembership, project_id=project.id)


@operation("GET", "/memberships/{membership_id}", Right.VIEW)
def get_project_membership(call: Call, membership: ProjectMembership) -> ProjectMembership:
    """Show what somebody is in a project."""
    return membership


@operation("DELETE", "/projects/{project_id}/memberships/{member_id}", Right.OWN)
def delete_project_membership(call: Call, project: Project, ask: Leaver) -> Done:
    """Let somebody leave a project; one owner stays."""
    found = call.find(ProjectMembership, project_id=project.id, member_id=ask.member_id)
    if found:
        _keeps_an_owner(call, project, found)
        call.remove(found)
    return Done()


def require_administrator(call: Call) -> None:
    """See that somebody can still administer the domain, once something has changed.

    Raises:
        Conflict: nobody who owns it may come in.
    """
    root = call.find(DomainUnit, parent_domain_unit_id="")
    if root and not is_anybody_in(call.reader, root.owners):
        raise Conflict("nobody who may come in would own the domain; let somebody else own it, too")


def _need_above_both(call: Call, one_id: str, other_id: str) -> None:
    above = call.know.above(other_id)
    common_id = next(id_ for id_ in call.know.above(one_id) if id_ in above)
    call.need(OPERATIONS["UpdateDomainUnit"], call.get(DomainUnit, common_id))


def _height(call: Call, unit: DomainUnit) -> int:
    below = list(call.each(DomainUnit, parent_domain_unit_id=unit.id))
    return 1 + max((_height(call, one) for one in below), default=0)


def _principal(call: Call, id_: str) -> None:
    if not is_somebody(call, id_):
        raise InvalidInput(f"there is no user, group or service '{id_}'", id=id_)


def _require_in_pool(call: Call, project: Project, member_id: str) -> None:
    """See that somebody may be taken into a project.

    Raises:
        Forbidden: its unit has a pool of members, and they are not in it.
    """
    units = call.know.above(project.domain_unit_id)
    type_ = PolicyType.ADD_TO_PROJECT_MEMBER_POOL
    pool = {
        one.principal_id
        for one in call.each(PolicyGrant, domain_unit_id=units, policy_type=type_)
        if not granted(units, type_).isdisjoint(given_by(one))
    }
    if pool and pool.isdisjoint(reached_by(call.reader, member_id)):
        raise Forbidden(
            f"'{member_id}' is not in the pool of members; an owner of the unit adds them"
        )


def _join(
    call: Call, project: Project, member_id: str, designation: Designation
) -> ProjectMembership:
    return call.add(
        ProjectMembership,
        project_id=project.id,
        member_id=member_id,
        designation=designation,
    )


def _keeps_an_owner(call: Call, project: Project, leaver: ProjectMembership) -> None:
    if _owners(call, project) == [leaver]:
        raise Conflict(f"'{project.name}' would be without an owner; name another one first")


def _owners(call: Call, project: Project) -> list[ProjectMembership]:
    members = call.each(ProjectMembership, project_id=project.id)
    return [one for one in members if one.designation is Designation.OWNER]


def is_somebody(call: Call, id_: str) -> bool:
    """Tell whether an id is that of a user, a service or a group."""
    return bool(call.find(UserProfile, id=id_) or call.find(GroupProfile, id=id_))
