"""The catalog: assets and data products, what is listed of them, where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from atoll.mesh.harvest.model import Column, Technical
from atoll.mesh.model.describing import EnabledStatus, Form, terms_of, types_of
from atoll.mesh.model.record import Record


class Classification(StrEnum):
    """How far data may go: the least first."""

    PUBLIC = "PUBLIC"
    INTERNAL = "INTERNAL"
    CONFIDENTIAL = "CONFIDENTIAL"

    def is_stricter_than(self, other: Classification) -> bool:
        """Whether data may go less far than by another."""
        order = list(Classification)
        return order.index(self) > order.index(other)


def strictest(classifications: Iterable[Classification]) -> Classification:
    """Return the one that lets data go least far."""
    return max(classifications, key=list(Classification).index)


class Basis(StrEnum):
    """What data are: as their source has them, or made of others for their consumers."""

    SOURCE_BASED = "SOURCE_BASED"
    CONSUMER_BASED = "CONSUMER_BASED"


@dataclass(frozen=True, kw_only=True, slots=True)
class AssetType(Record):
    """What kind of thing an asset is. `version` is its revision.

    Attributes:
        name: those that come with Atoll are Table, VectorCollection, View, FileSet.
        form_types: names of the forms that its assets have; those in `required_forms` must be
            complete before one is published.
        owning_project_id: empty of those that come with Atoll.
    """

    KIND: ClassVar[str] = "assettype"

    name: str
    description: str = ""
    owning_project_id: str = ""
    form_types: tuple[str, ...] = ()
    required_forms: tuple[str, ...] = ()


class PiiStatus(StrEnum):
    """Whether a column holds personal data; it is treated so until its owner refuses that."""

    PROPOSED = "PROPOSED"
    CONFIRMED = "CONFIRMED"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class PiiFlag:
    """What a column may tell of a person.

    Attributes:
        kind: of `pii.model.Kind`, or another word.
        evidence: why; no values of the data.
    """

    kind: str
    status: PiiStatus
    evidence: str = ""

    @property
    def is_personal(self) -> bool:
        """Whether the column is masked by default."""
        return self.status is not PiiStatus.REFUSED


@dataclass(frozen=True)
class ColumnMetadata:
    """What people say of a column; its type stands in `Technical`."""

    name: str
    business_name: str = ""
    description: str = ""
    glossary_terms: tuple[str, ...] = ()
    pii: PiiFlag | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset(Record):
    """Data that a project owns. `version` is its revision; earlier ones are kept.

    It is inventory, seen by its project only, until a `Listing` shows a revision to others.

    Attributes:
        asset_type: name of its type.
        external_identifier: normalised URL of where it is; no two assets have the same.
        association_id: the accepted storage that it lies in.
        data_source_id: what brought it in; empty: somebody did by hand.
        upstream: ids of the assets that a CONSUMER_BASED one is made of.
        technical: what its files say; None before they were read.
        unexamined: why no look was taken at its values for personal data; empty: one was.
        columns: what people say of columns, of those that anybody has described. That one holds
            personal data is still said while it is gone: it may come back.
        is_archived: its project does not want it any more; no run brings it back.
    """

    KIND: ClassVar[str] = "asset"

    name: str
    description: str = ""
    asset_type: str
    external_identifier: str
    owning_project_id: str
    association_id: str
    data_source_id: str = ""
    classification: Classification = Classification.CONFIDENTIAL
    basis: Basis = Basis.SOURCE_BASED
    upstream: tuple[str, ...] = ()
    technical: Technical | None = None
    unexamined: str = ""
    columns: tuple[ColumnMetadata, ...] = ()
    forms: tuple[Form, ...] = ()
    glossary_terms: tuple[str, ...] = ()
    is_archived: bool = False

    @property
    def schema(self) -> tuple[Column, ...]:
        """Columns and partitions; none before its files were read."""
        return self.technical.schema if self.technical else ()

    @property
    def schema_print(self) -> str:
        """What tells tables of the same columns, or an empty text."""
        return (self.technical.fingerprint.schema or "") if self.technical else ""

    @property
    def content_print(self) -> str:
        """What finds copies of the same contents, or an empty text."""
        return (self.technical.fingerprint.content or "") if self.technical else ""

    @property
    def own_terms(self) -> tuple[str, ...]:
        """Ids of the glossary terms that it and its columns carry."""
        of_columns = (term for one in self.columns for term in one.glossary_terms)
        return tuple(dict.fromkeys([*self.glossary_terms, *of_columns]))

    @property
    def all_terms(self) -> tuple[str, ...]:
        """Ids of the glossary terms that it, its columns and its forms carry."""
        return tuple(dict.fromkeys([*self.own_terms, *terms_of(self.forms)]))

    @property
    def personal(self) -> frozenset[str]:
        """Names of the columns that are masked by default, of those that the files have."""
        flagged = {one.name for one in self.columns if one.pii and one.pii.is_personal}
        if self.technical is None:
            return frozenset(flagged)
        return frozenset(flagged & {one.name for one in self.schema})

    @property
    def unseen(self) -> tuple[str, ...]:
        """Names of the columns that nobody has looked at: neither examined nor flagged."""
        flagged = {one.name for one in self.columns if one.pii}
        names = (one.name for one in self.schema if self.unexamined)
        return tuple(name for name in names if name not in flagged)

    @property
    def form_types(self) -> tuple[str, ...]:
        """Names of the types of its forms."""
        return types_of(self.forms)


@dataclass(frozen=True)
class DataProductItem:
    """An asset in a data product."""

    asset_id: str
    revision: int


class DataProductStatus(StrEnum):
    """Where a data product stands."""

    CREATED = "CREATED"
    CREATING = "CREATING"
    CREATE_FAILED = "CREATE_FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataProduct(Record):
    """Assets of one project that are offered together. `version` is its revision."""

    KIND: ClassVar[str] = "product"

    name: str
    description: str = ""
    owning_project_id: str
    status: DataProductStatus = DataProductStatus.CREATED
    basis: Basis = Basis.CONSUMER_BASED
    items: tuple[DataProductItem, ...] = ()
    forms: tuple[Form, ...] = ()
    glossary_terms: tuple[str, ...] = ()

    @property
    def all_terms(self) -> tuple[str, ...]:
        """Ids of the glossary terms that it and its forms carry."""
        return tuple(dict.fromkeys([*self.glossary_terms, *terms_of(self.forms)]))

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """Ids of the assets in it."""
        return tuple(one.asset_id for one in self.items)

    @property
    def form_types(self) -> tuple[str, ...]:
        """Names of the types of its forms."""
        return types_of(self.forms)


class ListingStatus(StrEnum):
    """Where a listing stands."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


class EntityType(StrEnum):
    """What can be listed."""

    ASSET = "ASSET"
    DATA_PRODUCT = "DATA_PRODUCT"


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing(Record):
    """A revision of an asset or data product that others find and ask for.

    Attributes:
        name, description, classification: of that revision; of a data product the strictest of
            its assets' classifications.
        has_pii: whether a column of it is masked by default.
        all_terms: glossary terms of that revision, those of its columns and forms among them; of a
            data product those of the assets that it shows, too.
        asset_ids: of a data product, the assets in that revision.
        entity_id, entity_revision: what is shown; its people may have a newer draft.
    """

    KIND: ClassVar[str] = "listing"

    name: str
    description: str = ""
    entity_type: EntityType
    entity_id: str
    entity_revision: int
    owning_project_id: str
    classification: Classification
    has_pii: bool = False
    all_terms: tuple[str, ...] = ()
    asset_ids: tuple[str, ...] = ()
    status: ListingStatus = ListingStatus.ACTIVE


class FilterStatus(StrEnum):
    """Whether a filter fits its table."""

    VALID = "VALID"
    INVALID = "INVALID"


@dataclass(frozen=True, kw_only=True, slots=True)
class AssetFilter(Record):
    """Some columns of some rows of an asset, under a name. `version` is its revision.

    Attributes:
        definition: what `filters.views.from_json` reads.
        error_message: why it is INVALID, for its owners.
    """

    KIND: ClassVar[str] = "filter"

    asset_id: str
    owning_project_id: str
    name: str
    description: str = ""
    definition: dict[str, Any] = field(default_factory=dict)
    status: FilterStatus = FilterStatus.VALID
    error_message: str = ""


class DataSourceStatus(StrEnum):
    """Where a data source stands."""

    CREATING = "CREATING"
    FAILED_CREATION = "FAILED_CREATION"
    READY = "READY"
    UPDATING = "UPDATING"
    FAILED_UPDATE = "FAILED_UPDATE"
    RUNNING = "RUNNING"
    DELETING = "DELETING"
    FAILED_DELETION = "FAILED_DELETION"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource(Record):
    """Where a project's assets are found, and how often that is looked through.

    Attributes:
        association_id: the accepted storage that it lies in.
        location: normalised URL within it.
        include, exclude: patterns of paths, as `harvest.Source` has them.
        every_s: a run begins so long after the one before, in seconds; 0: only when asked for.
        publish_on_import: whether new assets are listed at once, where all rules allow it.
        classification, forms, glossary_terms: what new assets begin with.
        classified_under: what the guardrails said when `classification` was chosen.
        last_run_id: of its newest run.
    """

    KIND: ClassVar[str] = "source"

    name: str
    description: str = ""
    project_id: str
    association_id: str
    location: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    every_s: int = 0
    publish_on_import: bool = False
    classification: Classification | None = None
    classified_under: Classification | None = None
    forms: tuple[Form, ...] = ()
    glossary_terms: tuple[str, ...] = ()
    enable_setting: EnabledStatus = EnabledStatus.ENABLED
    status: DataSourceStatus = DataSourceStatus.READY
    last_run_id: str = ""

    @property
    def form_types(self) -> tuple[str, ...]:
        """Names of the types of its forms."""
        return types_of(self.forms)


class DataSourceRunStatus(StrEnum):
    """Where a run stands."""

    REQUESTED = "REQUESTED"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    SUCCESS = "SUCCESS"


class RunType(StrEnum):
    """What began a run: somebody, or the schedule."""

    PRIORITIZED = "PRIORITIZED"
    SCHEDULED = "SCHEDULED"


class AssetRunStatus(StrEnum):
    """What a run did with one asset."""

    FAILED = "FAILED"
    PUBLISHING_FAILED = "PUBLISHING_FAILED"
    SUCCEEDED_CREATED = "SUCCEEDED_CREATED"
    SUCCEEDED_UPDATED = "SUCCEEDED_UPDATED"
    SKIPPED_ALREADY_IMPORTED = "SKIPPED_ALREADY_IMPORTED"
    SKIPPED_ARCHIVED = "SKIPPED_ARCHIVED"
    SKIPPED_NO_ACCESS = "SKIPPED_NO_ACCESS"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSourceRun(Record):
    """One look through a data source.

    Attributes:
        statistics: how many assets ended in each `AssetRunStatus`.
        started_at, stopped_at: microseconds since the epoch; 0: not yet.
        error_message: why it FAILED as a whole.
    """

    KIND: ClassVar[str] = "run"

    data_source_id: str
    project_id: str
    type: RunType
    status: DataSourceRunStatus = DataSourceRunStatus.REQUESTED
    statistics: dict[str, int] = field(default_factory=dict)
    started_at: int = 0
    stopped_at: int = 0
    error_message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSourceRunActivity(Record):
    """What a run did with one asset.

    Attributes:
        asset_id: empty where there is none.
        message: why, what changed in its schema, or which other asset it seems to be a copy of.
    """

    KIND: ClassVar[str] = "activity"

    run_id: str
    project_id: str
    location: str
    asset_id: str = ""
    status: AssetRunStatus
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSeriesDataPoint(Record):
    """A score, or something else that is measured of an asset again and again.

    Attributes:
        form_name: of which series, such as "quality".
        timestamp: when it was measured, microseconds since the epoch.
        score: 0 to 100, of a quality series; None of others.
        content: what else was measured: the rules that were checked, rows, a link to the result.
    """

    KIND: ClassVar[str] = "datapoint"

    asset_id: str
    owning_project_id: str
    form_name: str
    timestamp: int
    score: float | None = None
    content: dict[str, Any] = field(default_factory=dict)
