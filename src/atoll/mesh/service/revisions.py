"""Revisions: what changed of an asset or a data product, when, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import msgspec

from atoll.mesh.harvest import SchemaChange, schema_diff
from atoll.mesh.model.catalog import Asset, DataProduct
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Page, Right, operation
from atoll.mesh.service.history import Number, changed_fields

_PARTS = {"technical", "columns", "forms"}  # told by their parts


class Revisions(Ask, frozen=True, kw_only=True):
    """Two revisions; 0: the newest, and the one before the other."""

    from_revision: Number = 0
    to_revision: Number = 0


class RevisionMade(msgspec.Struct, frozen=True):
    """A revision, and what it changed.

    Attributes:
        id: its number, in ten digits.
        made_at: microseconds since the epoch.
        made_by: id of the principal.
        changed: names of the fields that differ from the revision before.
    """

    id: str
    revision: int
    made_at: int
    made_by: str
    changed: list[str]


class ValueChange(msgspec.Struct, frozen=True):
    """One value that differs.

    Attributes:
        path: such as "description", "columns/NAME/description", "forms/FORM/FIELD".
        before, after: None where there was none.
    """

    path: str
    before: Any
    after: Any


class RevisionDiff(msgspec.Struct, frozen=True):
    """What differs between two revisions of an asset.

    Attributes:
        schema: of columns and partitions.
        sentence: `schema` in words.
        is_breaking: whether a reader of the old schema may fail.
        values: all else.
    """

    from_revision: int
    to_revision: int
    schema: SchemaChange
    sentence: str
    is_breaking: bool
    values: list[ValueChange]


@operation("GET", "/assets/{asset_id}/revisions", Right.VIEW)
def list_asset_revisions(call: Call, asset: Asset, ask: Page) -> Iterator[RevisionMade]:
    """List the revisions of an asset, the first one first."""
    return _made(call, asset)


@operation("GET", "/data-products/{data_product_id}/revisions", Right.VIEW)
def list_data_product_revisions(
    call: Call, product: DataProduct, ask: Page
) -> Iterator[RevisionMade]:
    """List the revisions of a data product, the first one first."""
    return _made(call, product)


@operation("GET", "/assets/{asset_id}/diff", Right.VIEW)
def diff_asset_revisions(call: Call, asset: Asset, ask: Revisions) -> RevisionDiff:
    """Show what differs between two revisions of an asset."""
    to = ask.to_revision or asset.version
    from_ = ask.from_revision or max(to - 1, 1)
    before, after = call.past(Asset, asset.id, from_), call.past(Asset, asset.id, to)
    schema = schema_diff(before.schema, after.schema)
    old, new = dict(_values(before)), dict(_values(after))
    return RevisionDiff(
        from_revision=from_,
        to_revision=to,
        schema=schema,
        sentence=schema.sentence(),
        is_breaking=schema.is_breaking,
        values=[
            ValueChange(path, old.get(path), new.get(path))
            for path in dict.fromkeys([*old, *new])
            if old.get(path) != new.get(path)
        ],
    )


def _made(call: Call, record: Asset | DataProduct) -> Iterator[RevisionMade]:
    number = call.after[:10]
    after = int(number) if number.isascii() and number.isdigit() else 0
    before = None
    for one in call.history(type(record), record.id, since=after):
        if one.version > after:
            yield RevisionMade(
                id=f"{one.version:010}",
                revision=one.version,
                made_at=one.updated_at,
                made_by=one.updated_by,
                changed=changed_fields(before, one) if before else [],
            )
        before = one


def _values(asset: Asset) -> Iterator[tuple[str, Any]]:
    """Yield what a revision says but its schema, by paths as proposals have them."""
    for one in fields(Asset):
        if one.name not in {*_PARTS, "id", "version", "updated_at", "updated_by"}:
            yield one.name, getattr(asset, one.name)
    if technical := asset.technical:
        for key in ("format", "rows", "rows_estimate", "size_bytes", "files"):
            yield f"technical/{key}", getattr(technical, key)
    for column in asset.columns:
        for key in ("business_name", "description", "glossary_terms", "pii"):
            if said := getattr(column, key):
                yield f"columns/{column.name}/{key}", said
    for form in asset.forms:
        for key, value in form.content.items():
            yield f"forms/{form.form_type}/{key}", value
