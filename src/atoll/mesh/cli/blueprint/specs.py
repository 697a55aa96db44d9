"""What a blueprint says of each thing; what is None stays as it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.mesh.filters import conditions, masks
from atoll.mesh.model.catalog import Basis, Classification, PiiStatus
from atoll.mesh.model.describing import EnabledStatus, FieldType, RuleAction, RuleType
from atoll.mesh.model.organisation import (
    AssociationKind,
    AssociationStatus,
    Designation,
    EnvironmentStatus,
    PolicyType,
)
from atoll.mesh.model.people import ProfileStatus, UserType

Value = str | int | float | bool | tuple[str | int | float | bool, ...]
Forms = dict[str, dict[str, Value]]


class Spec(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One thing, as it should be; its name is its key in the file."""


class DomainSpec(Spec, frozen=True, kw_only=True):
    """The domain."""

    name: str | None = None
    description: str | None = None


class GroupSpec(Spec, frozen=True, kw_only=True):
    """A group; one that is not assigned keeps what it was granted, which is good for nothing."""

    description: str | None = None
    status: ProfileStatus | None = None


class UserSpec(Spec, frozen=True, kw_only=True):
    """A user or service. Only services are made; others must be there, or come in by themselves.

    Attributes:
        status: an export leaves it out of users whom their provider lets in or not.
    """

    type: UserType | None = None
    email: str | None = None
    status: ProfileStatus | None = None
    groups: tuple[str, ...] | None = None


class GrantSpec(Spec, frozen=True, kw_only=True):
    """A policy granted in a domain unit to a user, a group, a project or all-users."""

    policy_type: PolicyType
    to: str
    includes_children: bool = False


class GuardrailsSpec(Spec, frozen=True, kw_only=True):
    """What a domain unit sets; see `model.access.Guardrails`."""

    default_classification: Classification | None = None
    longest_access_s: int | None = None
    request_expires_s: int | None = None
    remind_after_s: int | None = None
    min_score: float | None = None


class UnitSpec(Spec, frozen=True, kw_only=True):
    """A domain unit."""

    description: str | None = None
    guardrails: GuardrailsSpec | None = None
    owners: tuple[str, ...] | None = None
    grants: tuple[GrantSpec, ...] | None = None


class ProjectSpec(Spec, frozen=True, kw_only=True):
    """A project; `members` are users and groups by their designations."""

    domain_unit: str | None = None
    description: str | None = None
    members: dict[str, Designation] | None = None


class DelegationSpec(Spec, frozen=True, kw_only=True):
    """Who decides for a project; `until` is a moment such as 2027-01-31T00:00:00Z."""

    until: Annotated[datetime, Meta(tz=True)] | None = None


class AssociationSpec(Spec, frozen=True, kw_only=True):
    """A storage location or workgroup that joins the domain.

    Attributes:
        status: ACCEPTED or REMOVED; PENDING is as if it were left out: it is offered, and what was
            decided on that stays. An export leaves out what is REMOVED.
    """

    project: str | None = None
    kind: AssociationKind | None = None
    location: str | None = None
    credentials: str | None = None
    limits: dict[str, int] | None = None
    status: AssociationStatus | None = None


class EnvironmentSpec(Spec, frozen=True, kw_only=True):
    """Where a project works.

    Attributes:
        status: ACTIVE or SUSPENDED. An export leaves out what is INACCESSIBLE.
    """

    storage: str | None = None
    workgroup: str | None = None
    description: str | None = None
    quota_bytes: int | None = None
    status: EnvironmentStatus | None = None


class TargetSpec(Spec, frozen=True, kw_only=True):
    """Where a project's subscriptions are made to hold besides the mesh's own doors."""

    environment: str | None = None
    asset_types: tuple[str, ...] | None = None


class GlossarySpec(Spec, frozen=True, kw_only=True):
    """A glossary."""

    project: str | None = None
    description: str | None = None
    status: EnabledStatus | None = None


class TermSpec(Spec, frozen=True, kw_only=True):
    """A term."""

    short_description: str | None = None
    long_description: str | None = None
    synonyms: tuple[str, ...] | None = None
    is_a: tuple[str, ...] | None = None
    classifies: tuple[str, ...] | None = None
    status: EnabledStatus | None = None


class FieldSpec(Spec, frozen=True, kw_only=True):
    """A field of a form; see `model.describing.FormField`."""

    name: str
    type: FieldType = FieldType.STRING
    description: str = ""
    is_list: bool = False
    is_required: bool = False
    is_facet: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


class FormTypeSpec(Spec, frozen=True, kw_only=True):
    """A metadata form; of one that comes with Atoll there is no project."""

    project: str | None = None
    description: str | None = None
    fields: tuple[FieldSpec, ...] | None = None
    status: EnabledStatus | None = None


class AssetTypeSpec(Spec, frozen=True, kw_only=True):
    """A type of assets; of one that comes with Atoll there is no project."""

    project: str | None = None
    description: str | None = None
    form_types: tuple[str, ...] | None = None
    required_forms: tuple[str, ...] | None = None


class RuleSpec(Spec, frozen=True, kw_only=True):
    """What is demanded in a domain unit before something is published, or asked for."""

    rule_type: RuleType | None = None
    action: RuleAction | None = None
    description: str | None = None
    form_types: tuple[str, ...] | None = None
    glossaries: tuple[str, ...] | None = None
    asset_types: tuple[str, ...] | None = None
    includes_children: bool | None = None


class DataSourceSpec(Spec, frozen=True, kw_only=True):
    """Where a project's assets are found.

    Attributes:
        has_run: whether it was looked through and that did not fail; true has it done, once.
    """

    location: str | None = None
    description: str | None = None
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    every_s: int | None = None
    publish_on_import: bool | None = None
    classification: Classification | None = None
    forms: Forms | None = None
    terms: tuple[str, ...] | None = None
    enable_setting: EnabledStatus | None = None
    has_run: bool | None = None


class PiiSpec(Spec, frozen=True, kw_only=True):
    """What a column tells of persons; the kind may be left out where it is flagged already."""

    kind: str | None = None
    status: PiiStatus | None = None


class ColumnSpec(Spec, frozen=True, kw_only=True):
    """What people say of a column."""

    business_name: str | None = None
    description: str | None = None
    terms: tuple[str, ...] | None = None
    pii: PiiSpec | None = None


class FilterSpec(Spec, frozen=True, kw_only=True):
    """Some columns of some rows of an asset.

    Attributes:
        columns: those that are shown; left out of a new one: all that the asset has then.
        masks: of columns; see `filters.masks.parse`.
        rows: which; see `filters.conditions.parse`.
        is_sensitive: whether the values in `rows` are for the owner's eyes only.
    """

    description: str | None = None
    columns: tuple[str, ...] | None = None
    masks: dict[str, dict[str, Any]] | None = None
    rows: dict[str, Any] | None = None
    is_sensitive: bool | None = None

    def __post_init__(self) -> None:
        """Spell masks and conditions as a mesh gives them back.

        Raises:
            InvalidInput: one of them is none, or nothing is said at all.
        """
        if all(getattr(self, field) is None for field in self.__struct_fields__):
            raise InvalidInput("a filter says which columns or rows it shows, or what it is for")
        if self.masks is not None:
            spelled = {
                name: masks.to_json(masks.parse(one, f"the mask of column '{name}'"))
                for name, one in self.masks.items()
            }
            msgspec.structs.force_setattr(self, "masks", spelled)
        if self.rows:
            spelled = conditions.to_json(conditions.parse(self.rows))
            msgspec.structs.force_setattr(self, "rows", spelled)


class AssetSpec(Spec, frozen=True, kw_only=True):
    """An asset: registered where it is not there yet, and described.

    Attributes:
        asset_type: of a new one; left out: what comes with Atoll for what is there.
        upstream: of what it is made, each as "STORAGE/PATH".
        columns, filters: those that are named; others stay as they are.
        published: whether its newest revision is what others see. An export leaves it out where
            that is an older one: only its people know whether the newer one is ready.
    """

    name: str | None = None
    asset_type: str | None = None
    description: str | None = None
    classification: Classification | None = None
    basis: Basis | None = None
    upstream: tuple[str, ...] | None = None
    forms: Forms | None = None
    terms: tuple[str, ...] | None = None
    columns: dict[str, ColumnSpec] | None = None
    filters: dict[str, FilterSpec] | None = None
    published: bool | None = None


class DataProductSpec(Spec, frozen=True, kw_only=True):
    """Assets that are offered together, each in its newest revision."""

    description: str | None = None
    basis: Basis | None = None
    assets: tuple[str, ...] | None = None
    forms: Forms | None = None
    terms: tuple[str, ...] | None = None
    published: bool | None = None
