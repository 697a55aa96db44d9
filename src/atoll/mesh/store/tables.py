"""The tables: one for each kind of record, made from the record's own fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import sqlalchemy as sa

from atoll.mesh.model.organisation import (
    Association,
    Domain,
    DomainUnit,
    Environment,
    PolicyGrant,
    Project,
    ProjectMembership,
)
from atoll.mesh.model.people import AccessToken, GroupProfile, Proof, UserProfile
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
        many: fields with several values, by each of which records are looked up.
    """

    kind: type[Record]
    keys: Fields
    unique: tuple[Fields, ...] = ()
    indexes: tuple[Fields, ...] = ()
    many: Fields = ()

    def table(self) -> sa.Table:
        """Describe the table."""
        hints = get_type_hints(self.kind)
        assert set(self.keys) <= {one.name for one in fields(self.kind)}
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
    ),
    Shelf(Project, ("domain_unit_id", "name"), unique=(("name",),), indexes=(("domain_unit_id",),)),
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
        ("project_id", "name", "storage_id", "workgroup_id"),
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
    Shelf(Replay, ("created_at",), indexes=(("created_at",),)),
    Shelf(AccessToken, ("principal_id", "name"), indexes=(("principal_id",),)),
    Shelf(Proof, ("owner_id", "token_id", "expires_at"), indexes=(("owner_id",), ("expires_at",))),
)
TABLES = {shelf.kind: shelf.table() for shelf in SHELVES}
VALUES = {shelf.kind: shelf.values() for shelf in SHELVES}
KEYS = {shelf.kind: shelf.keys for shelf in SHELVES}
