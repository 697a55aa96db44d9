"""The organisation: a domain, its units, the projects under them, and who may do what there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from atoll.mesh.model.record import Record


class DomainStatus(StrEnum):
    """Where a domain stands; one of ours is made whole, so most states are for reading only."""

    CREATING = "CREATING"
    AVAILABLE = "AVAILABLE"
    CREATION_FAILED = "CREATION_FAILED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    DELETION_FAILED = "DELETION_FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain(Record):
    """The whole of one mesh: a company or a plant. A store holds exactly one."""

    KIND: ClassVar[str] = "domain"

    name: str
    description: str = ""
    root_domain_unit_id: str
    status: DomainStatus = DomainStatus.AVAILABLE
    portal_url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DomainUnit(Record):
    """A line of business, or a part of one.

    Attributes:
        parent_domain_unit_id: empty for the root alone.
        owners: ids of users and groups; they own all that is below, too.
    """

    KIND: ClassVar[str] = "unit"

    name: str
    description: str = ""
    parent_domain_unit_id: str = ""
    owners: tuple[str, ...] = ()


class ProjectStatus(StrEnum):
    """Where a project stands."""

    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    UPDATE_FAILED = "UPDATE_FAILED"
    MOVING = "MOVING"
    DELETING = "DELETING"
    DELETE_FAILED = "DELETE_FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Project(Record):
    """A use case: people who produce data, consume them, or both."""

    KIND: ClassVar[str] = "project"

    name: str
    description: str = ""
    domain_unit_id: str
    status: ProjectStatus = ProjectStatus.ACTIVE


class Designation(StrEnum):
    """What a member is in a project."""

    OWNER = "PROJECT_OWNER"
    CONTRIBUTOR = "PROJECT_CONTRIBUTOR"
    STEWARD = "PROJECT_CATALOG_STEWARD"
    CONSUMER = "PROJECT_CATALOG_CONSUMER"
    VIEWER = "PROJECT_CATALOG_VIEWER"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectMembership(Record):
    """One user, group or service in one project. The id is made of both: there is one only."""

    KIND: ClassVar[str] = "membership"

    project_id: str
    member_id: str
    designation: Designation


class PolicyType(StrEnum):
    """What owners of a domain unit may let others do in it; DataZone's managed policy types."""

    CREATE_DOMAIN_UNIT = "CREATE_DOMAIN_UNIT"
    CREATE_PROJECT = "CREATE_PROJECT"
    ADD_TO_PROJECT_MEMBER_POOL = "ADD_TO_PROJECT_MEMBER_POOL"
    OVERRIDE_DOMAIN_UNIT_OWNERS = "OVERRIDE_DOMAIN_UNIT_OWNERS"
    OVERRIDE_PROJECT_OWNERS = "OVERRIDE_PROJECT_OWNERS"
    CREATE_GLOSSARY = "CREATE_GLOSSARY"
    CREATE_FORM_TYPE = "CREATE_FORM_TYPE"
    CREATE_ASSET_TYPE = "CREATE_ASSET_TYPE"
    CREATE_ENVIRONMENT = "CREATE_ENVIRONMENT"
    USE_ASSET_TYPE = "USE_ASSET_TYPE"


ALL_USERS = "all-users"


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyGrant(Record):
    """A right that owners of a domain unit gave.

    Attributes:
        principal_id: a user, a group, a project (its owners and contributors), or `all-users`.
        includes_children: whether it holds in the units below, too.
    """

    KIND: ClassVar[str] = "policygrant"

    domain_unit_id: str
    policy_type: PolicyType
    principal_id: str
    includes_children: bool = False


class AssociationKind(StrEnum):
    """What joins a domain: where producers keep data, or where consumers compute."""

    STORAGE = "STORAGE"
    WORKGROUP = "WORKGROUP"


class AssociationStatus(StrEnum):
    """Where an association stands."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REMOVED = "REMOVED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Association(Record):
    """A storage location with its credentials, or a workgroup, that belongs to the domain.

    Attributes:
        project_id: who brings it in.
        location: storage: URL of the prefix; no two associations overlap.
        credentials: name of a secret that the server's settings hold; never the secret itself.
        limits: a workgroup's quotas: `memory_bytes`, `timeout_s`, `rows`, `bytes_scanned`.
    """

    KIND: ClassVar[str] = "association"

    name: str
    kind: AssociationKind
    project_id: str
    status: AssociationStatus = AssociationStatus.PENDING
    location: str = ""
    credentials: str = ""
    limits: dict[str, int] = field(default_factory=dict)


class EnvironmentStatus(StrEnum):
    """Where an environment stands."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    SUSPENDED = "SUSPENDED"
    DISABLED = "DISABLED"
    EXPIRED = "EXPIRED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    CREATE_FAILED = "CREATE_FAILED"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETE_FAILED = "DELETE_FAILED"
    INACCESSIBLE = "INACCESSIBLE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment(Record):
    """Where a project works: a prefix to write to, a workgroup to query with, a quota.

    Attributes:
        prefix: URL of a place in the storage, below which no other project registers anything.
        credentials: name of the secret that the server's settings hold for it, the storage's.
        quota_bytes: how much may lie below the prefix; 0: no limit.
    """

    KIND: ClassVar[str] = "environment"

    name: str
    description: str = ""
    project_id: str
    status: EnvironmentStatus = EnvironmentStatus.ACTIVE
    storage_id: str
    workgroup_id: str
    prefix: str
    credentials: str = ""
    quota_bytes: int = 0
