"""The tables: one for each kind of record, made from the record's own fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import sqlalchemy as sa

from atoll.mesh.model.access import (
    Comment,
    Delegation,
    Guardrails,
    ReviewCampaign,
    ReviewItem,
    Subscription,
    SubscriptionGrant,
    SubscriptionRequest,
    SubscriptionTarget,
)
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    AssetType,
    DataProduct,
    DataSource,
    DataSourceRun,
    DataSourceRunActivity,
    Listing,
    TimeSeriesDataPoint,
)
from atoll.mesh.model.describing import FormType, Glossary, GlossaryTerm, Proposal, Rule
from atoll.mesh.model.jobs import Cursor, Job
from atoll.mesh.model.notices import Notification, NotificationSettings
from atoll.mesh.model.organisation import (
    Association,
    Domain,
    DomainUnit,
    Environment,
    PolicyGrant,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import (
    AccessToken,
    GroupProfile,
    PendingSignIn,
    Proof,
    UserProfile,
)
from atoll.mesh.model.record import Record, Replay

METADATA = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)
Fields = tuple[str, ...]


@dataclass(frozen=True)
class Shelf:
    """How one kind of record is kept: its JSON whole, and columns for what is looked up.

    Attributes:
        keys: fields with a column of their own.
        unique: sets of keys that no two records share.
        indexes: sets of keys that are looked up often.
        many: fields with several values (of a dict its keys), by each of which records are looked
            up.
        keeps_history: whether earlier versions stay.
        is_followed: whether `changes` tells when each was last changed.
    """

    kind: type[Record]
    keys: Fields
    unique: tuple[Fields, ...] = ()
    indexes: tuple[Fields, ...] = ()
    many: Fields = ()
    keeps_history: bool = False
    is_followed: bool = False

    def table(self) -> sa.Table:
        """Describe the table."""
        hints = {"schema_print": str, "content_print": str, **get_type_hints(self.kind)}
        columns = [sa.Column(key, _type_of(hints[key]), nullable=False) for key in self.keys]
        made = sa.Table(
            self.kind.KIND,
            METADATA,
            sa.Column("id", sa.String(64), primary_key=True),
            sa.Column("version", sa.Integer, nullable=False),
            *columns,
            sa.Column("body", sa.Text, nullable=False),
        )
        for keys, is_unique in ((self.unique, True), (self.indexes, False)):
            for together in keys:
                sa.Index(
                    f"{'uq' if is_unique else 'ix'}_{made.name}_{'_'.join(together)}",
                    *(made.c[key] for key in together),
                    unique=is_unique,
                )
        return made

    def values(self) -> dict[str, sa.Table]:
        """Describe the tables of fields with several values: a row for each of them."""
        return {
            key: sa.Table(
                f"{self.kind.KIND}_{key}",
                METADATA,
                sa.Column("value", sa.Text, primary_key=True),
                sa.Column("id", sa.String(64), primary_key=True, index=True),
            )
            for key in self.many
        }


def _type_of(hint: object) -> sa.types.TypeEngine[Any]:
    if hint is bool:
        return sa.Boolean()
    if hint is int:
        return sa.BigInteger()
    return sa.Text()


SHELVES: Sequence[Shelf] = (
    Shelf(Domain, ("name",)),
    Shelf(
        DomainUnit,
        ("parent_domain_unit_id", "name"),
        unique=(("parent_domain_unit_id", "name"),),
        many=("owners",),
        is_followed=True,
    ),
    Shelf(
        Project,
        ("domain_unit_id", "name"),
        unique=(("name",),),
        indexes=(("domain_unit_id",),),
        is_followed=True,
    ),
    Shelf(
        ProjectMembership,
        ("project_id", "member_id"),
        unique=(("project_id", "member_id"),),
        indexes=(("member_id",),),
    ),
    Shelf(
        PolicyGrant,
        ("domain_unit_id", "policy_type", "principal_id"),
        unique=(("domain_unit_id", "policy_type", "principal_id"),),
        indexes=(("principal_id",),),
    ),
    Shelf(Association, ("name", "kind", "project_id", "status"), unique=(("name",),)),
    Shelf(
        Environment,
        ("project_id", "name", "storage_id", "workgroup_id", "prefix"),
        unique=(("project_id", "name"),),
    ),
    Shelf(
        UserProfile,
        ("name", "type", "status", "issuer", "subject"),
        unique=(("name",),),
        indexes=(("issuer", "subject"),),
        many=("groups",),
    ),
    Shelf(GroupProfile, ("name",), unique=(("name",),)),
    Shelf(
        Glossary,
        ("name", "owning_project_id"),
        unique=(("name",),),
        indexes=(("owning_project_id",),),
        keeps_history=True,
    ),
    Shelf(
        GlossaryTerm,
        ("name", "glossary_id"),
        unique=(("glossary_id", "name"),),
        many=("is_a", "classifies"),
        keeps_history=True,
        is_followed=True,
    ),
    Shelf(
        FormType,
        ("name", "owning_project_id"),
        unique=(("name",),),
        indexes=(("owning_project_id",),),
        keeps_history=True,
    ),
    Shelf(
        AssetType,
        ("name", "owning_project_id"),
        unique=(("name",),),
        indexes=(("owning_project_id",),),
        keeps_history=True,
    ),
    Shelf(Rule, ("domain_unit_id", "name"), unique=(("domain_unit_id", "name"),)),
    Shelf(Guardrails, ()),
    Shelf(
        Proposal,
        ("subject_id", "owning_project_id", "status", "created_by"),
        indexes=(("subject_id",), ("owning_project_id", "status"), ("created_by",)),
    ),
    Shelf(
        Asset,
        (
            "name",
            "external_identifier",
            "owning_project_id",
            "association_id",
            "data_source_id",
            "asset_type",
            "schema_print",
            "content_print",
        ),
        unique=(("external_identifier",),),
        indexes=(
            ("owning_project_id",),
            ("association_id",),
            ("data_source_id",),
            ("asset_type",),
            ("schema_print", "content_print"),
        ),
        many=("all_terms", "upstream", "form_types"),
        keeps_history=True,
        is_followed=True,
    ),
    Shelf(
        DataProduct,
        ("name", "owning_project_id"),
        indexes=(("owning_project_id",),),
        many=("all_terms", "asset_ids", "form_types"),
        keeps_history=True,
        is_followed=True,
    ),
    Shelf(
        Listing,
        ("name", "entity_id", "entity_type", "owning_project_id", "status"),
        unique=(("entity_id",),),
        indexes=(("name",), ("owning_project_id",)),
        many=("all_terms", "asset_ids"),
        keeps_history=True,
        is_followed=True,
    ),
    Shelf(
        AssetFilter,
        ("asset_id", "owning_project_id", "name"),
        unique=(("asset_id", "name"),),
        indexes=(("owning_project_id",),),
        keeps_history=True,
    ),
    Shelf(
        DataSource,
        ("name", "project_id", "association_id"),
        unique=(("project_id", "name"),),
        indexes=(("association_id",),),
        many=("form_types",),
    ),
    Shelf(
        DataSourceRun,
        ("data_source_id", "status"),
        indexes=(("data_source_id",), ("status",)),
    ),
    Shelf(DataSourceRunActivity, ("run_id", "status"), indexes=(("run_id",),)),
    Shelf(
        TimeSeriesDataPoint,
        ("asset_id", "form_name", "timestamp"),
        unique=(("asset_id", "form_name", "timestamp"),),
        is_followed=True,
    ),
    Shelf(
        SubscriptionRequest,
        ("basket", "listing_id", "project_id", "owning_project_id", "status"),
        indexes=(
            ("basket",),
            ("listing_id",),
            ("project_id",),
            ("owning_project_id", "status"),
            ("status",),
        ),
        many=("form_types",),
        keeps_history=True,
    ),
    Shelf(
        Subscription,
        ("request_id", "listing_id", "entity_id", "project_id", "owning_project_id", "status"),
        indexes=(
            ("request_id",),
            ("listing_id",),
            ("entity_id",),
            ("project_id",),
            ("owning_project_id",),
            ("status",),
        ),
        many=("columns",),
        keeps_history=True,
    ),
    Shelf(
        SubscriptionGrant,
        ("subscription_id", "target_id", "project_id", "owning_project_id", "status"),
        unique=(("subscription_id", "target_id"),),
        indexes=(("project_id",), ("owning_project_id",), ("target_id",)),
        keeps_history=True,
    ),
    Shelf(
        SubscriptionTarget,
        ("name", "project_id", "environment_id"),
        unique=(("project_id", "name"),),
        indexes=(("environment_id",),),
    ),
    Shelf(
        Delegation,
        ("project_id", "principal_id"),
        unique=(("project_id", "principal_id"),),
        indexes=(("principal_id",),),
    ),
    Shelf(Comment, ("request_id",), indexes=(("request_id",),)),
    Shelf(ReviewCampaign, ("domain_unit_id", "status"), indexes=(("domain_unit_id",),)),
    Shelf(
        ReviewItem,
        ("campaign_id", "subscription_id", "owning_project_id", "verdict"),
        unique=(("campaign_id", "subscription_id"),),
        indexes=(("subscription_id",), ("owning_project_id", "verdict")),
    ),
    Shelf(
        Notification,
        ("recipient_id", "type", "status", "topic", "subject_id", "is_shown", "created_at"),
        indexes=(
            ("recipient_id", "status"),
            ("subject_id", "topic", "recipient_id"),
            ("created_at",),
        ),
    ),
    Shelf(NotificationSettings, ()),
    Shelf(Cursor, ()),
    Shelf(
        Job,
        ("kind", "subject_id", "due_at"),
        unique=(("kind", "subject_id"),),
        indexes=(("due_at",),),
    ),
    Shelf(Replay, ("created_at",), indexes=(("created_at",),)),
    Shelf(
        AccessToken,
        ("principal_id", "name", "expires_at"),
        indexes=(("principal_id",), ("expires_at",)),
    ),
    Shelf(
        Proof,
        ("owner_id", "type", "token_id", "expires_at"),
        indexes=(("owner_id",), ("expires_at",)),
    ),
    Shelf(PendingSignIn, ("expires_at",), indexes=(("expires_at",),)),
)
TABLES = {shelf.kind: shelf.table() for shelf in SHELVES}
VALUES = {shelf.kind: shelf.values() for shelf in SHELVES}
KEYS = {shelf.kind: shelf.keys for shelf in SHELVES}
PAST = sa.Table(
    "past",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
KEEPING_HISTORY = frozenset(shelf.kind for shelf in SHELVES if shelf.keeps_history)
# When each record was last changed: the search index follows by it.
CHANGES = sa.Table(
    "change",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Index("ix_change_kind_number", "kind", "number"),
)
# Kinds of which no two have the same name, or not at the same place.
NAMED = frozenset(shelf.kind for shelf in SHELVES if any("name" in keys for keys in shelf.unique))
FOLLOWED = frozenset(shelf.kind for shelf in SHELVES if shelf.is_followed)
