"""Who somebody is in the organisation: the roles that policies ask for.

A role is a name: `everybody`; `participant`; `unit-x:OWNER`; `project-x:PROJECT_OWNER` and the
other designations; `project-x:APPROVER` for those whom owners let decide on requests;
`unit-x:CREATE_PROJECT` for a policy granted in a unit, and `unit-x:CREATE_PROJECT:below` where the
grant holds in the units below it, too.
"""

from __future__ import annotations

from collections.abc import Iterable

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
TAKES_PART = (Designation.OWNER, Designation.CONTRIBUTOR)


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
    ids = {profile.id}
    if profile.groups:
        ids |= {one.id for one in reader.all(GroupProfile, id=profile.groups) if one.status.is_in}
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
    takes_part = {one.project_id for one in members if one.designation in TAKES_PART}
    for one in reader.all(PolicyGrant, principal_id=[*ids, *takes_part, ALL_USERS]):
        roles.add(granted_in(one.domain_unit_id, one.policy_type))
        if one.includes_children:
            roles.add(granted_below(one.domain_unit_id, one.policy_type))
    kind = "Service" if profile.type is UserType.SERVICE else "User"
    return Standing(kind, profile.id, frozenset(roles), scopes)


def is_anybody_in(reader: Reader, ids: Iterable[str]) -> bool:
    """Tell whether one of these users, or somebody of one of these groups, may come in."""
    known = list(ids)
    groups = [one.id for one in reader.all(GroupProfile, id=known) if one.status.is_in]
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
