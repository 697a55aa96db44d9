"""Who somebody is in the organisation: the roles that policies ask for.

A role is a name: `everybody`; `participant`; `unit-x:OWNER`; `project-x:PROJECT_OWNER` and the
other designations; `project-x:APPROVER` for those whom owners let decide on requests;
`unit-x:CREATE_PROJECT` for a policy granted in a unit, and `unit-x:CREATE_PROJECT:below` where the
grant holds in the units below it, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from atoll.core.errors import Unauthenticated
from atoll.mesh.model.access import Delegation
from atoll.mesh.model.organisation import (
    ALL_USERS,
    Designation,
    DomainUnit,
    PolicyGrant,
    PolicyType,
    ProjectMembership,
)
from atoll.mesh.model.people import GroupProfile, UserProfile, UserType
from atoll.mesh.policies.decisions import Roles, Standing
from atoll.mesh.store.reading import Reader

EVERYBODY = "everybody"
PARTICIPANT = "participant"  # whoever is in any project
_TAKES_PART = (Designation.OWNER, Designation.CONTRIBUTOR)


def standing(reader: Reader, profile_id: str, scopes: frozenset[str], now: int) -> Standing:
    """Find out what somebody is.

    Args:
        reader: the moment.
        profile_id: of a user or service.
        scopes: what they came with is good for.
        now: microseconds since the epoch.

    Raises:
        Unauthenticated: there is nobody of that id, or they were unassigned.
    """
    profile = reader.find(UserProfile, profile_id)
    if profile is None or not profile.status.is_in:
        raise Unauthenticated("you are not assigned to this domain; ask an administrator")
    ids = {profile.id, *_groups_in(reader, profile.groups)}
    roles = {EVERYBODY}
    members = list(reader.all(ProjectMembership, member_id=ids))
    roles |= {role_in(one.project_id, one.designation) for one in members}
    roles |= {PARTICIPANT} if members else set()
    roles |= {
        approver_in(one.project_id)
        for one in reader.all(Delegation, principal_id=ids)
        if not one.until or now < one.until
    }
    roles |= {owner_of(one.id) for one in reader.all(DomainUnit, owners=ids)}
    for one in reader.all(PolicyGrant, principal_id=_with_projects(ids, members)):
        roles |= given_by(one)
    kind = "Service" if profile.type is UserType.SERVICE else "User"
    return Standing(kind, profile.id, frozenset(roles), scopes)


def reached_by(reader: Reader, id_: str) -> set[str]:
    """List the principals of policy grants that are for a user, service or group.

    Themselves, their groups that may come in, the projects that they take part in, and all users.
    """
    profile = reader.find(UserProfile, id_)
    ids = {id_, *_groups_in(reader, profile.groups)} if profile else _groups_in(reader, [id_])
    return _with_projects(ids, reader.all(ProjectMembership, member_id=ids))


def is_anybody_in(reader: Reader, ids: Iterable[str]) -> bool:
    """Tell whether one of these users, or somebody of one of these groups, may come in."""
    known = list(ids)
    groups = _groups_in(reader, known)
    users = [*reader.all(UserProfile, id=known), *reader.all(UserProfile, groups=groups)]
    return any(one.status.is_in for one in users)


def role_in(project_id: str, designation: Designation) -> str:
    """Name the role of members with a designation."""
    return f"{project_id}:{designation}"


def approver_in(project_id: str) -> str:
    """Name the role of those who decide on requests for a project's data in its owners' place."""
    return f"{project_id}:APPROVER"


def owner_of(domain_unit_id: str) -> str:
    """Name the role of a unit's owners."""
    return f"{domain_unit_id}:OWNER"


def granted_in(domain_unit_id: str, policy: PolicyType | str) -> str:
    """Name the role of those who were granted a policy in a unit."""
    return f"{domain_unit_id}:{policy}"


def granted_below(domain_unit_id: str, policy: PolicyType | str) -> str:
    """Name the role of those who were granted a policy in a unit and all below."""
    return f"{domain_unit_id}:{policy}:below"


def given_by(grant: PolicyGrant) -> set[str]:
    """Name the roles that a policy grant gives."""
    here = granted_in(grant.domain_unit_id, grant.policy_type)
    below = granted_below(grant.domain_unit_id, grant.policy_type)
    return {here, below} if grant.includes_children else {here}


def governors(units: list[str]) -> Roles:
    """Name the roles that govern a unit.

    Args:
        units: ids of the unit and of those above it.
    """
    return Roles(owner_of(one) for one in units)


def granted(units: list[str], policy: str) -> Roles:
    """Name the roles that were granted a policy in a unit, or above for all below."""
    if not policy:
        return Roles()
    here = [granted_in(one, policy) for one in units[:1]]
    return Roles([*here, *(granted_below(one, policy) for one in units[1:])])


def _groups_in(reader: Reader, ids: Collection[str]) -> set[str]:
    found = reader.all(GroupProfile, id=ids) if ids else ()
    return {one.id for one in found if one.status.is_in}


def _with_projects(ids: Iterable[str], members: Iterable[ProjectMembership]) -> set[str]:
    projects = {one.project_id for one in members if one.designation in _TAKES_PART}
    return {*ids, *projects, ALL_USERS}
