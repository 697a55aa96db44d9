"""Asset filters: which rows and columns of an asset its owners give away, under names.

VALID <-> INVALID        by whether it fits the asset's columns; nobody reads through an INVALID one
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from atoll.core.errors import Conflict
from atoll.core.groups import in_groups
from atoll.core.text import some_of
from atoll.mesh.filters import conditions, views
from atoll.mesh.filters.conditions import comparisons
from atoll.mesh.harvest.arrowtypes import arrow_schema
from atoll.mesh.model.access import LIVE, Subscription
from atoll.mesh.model.catalog import Asset, AssetFilter, FilterStatus, Listing
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.record import Remark
from atoll.mesh.operations.calls import WHY_LETTERS, Call
from atoll.mesh.operations.registry import Ask, Done, Page, Right, operation
from atoll.mesh.service.history import revised
from atoll.mesh.service.terms import listed_assets

READERS_NAMED = 100  # in one event of the audit
MOST_OF_ASSET = views.MAX_FILTERS
FilterName = Annotated[str, Meta(pattern=r"^[\w -]{1,64}$(?!\n)")]
Configuration = dict[str, Any]  # DataZone's AssetFilterConfiguration; `views.asset_filter` reads it


class NewAssetFilter(Ask, frozen=True, kw_only=True):
    """Some columns of some rows.

    Attributes:
        configuration: DataZone's AssetFilterConfiguration, of which both parts may be there:
            `{"columnConfiguration": {"includedColumnNames": [...]}, "rowConfiguration":
            {"rowFilter": ..., "sensitive": true}}`; beside them `{"columnMasks": {column: mask}}`.
            Without a list of columns: all that the asset has now.
    """

    name: FilterName
    description: Remark = ""
    configuration: Configuration = msgspec.field(default_factory=dict)


class ChangedAssetFilter(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays."""

    name: FilterName | None = None
    description: Remark | None = None
    configuration: Configuration | None = None


class AssetFilters(Page, frozen=True, kw_only=True):
    """Which filters."""

    status: FilterStatus | None = None


class ListedFilter(msgspec.Struct, frozen=True):
    """A filter, as those see it who may ask for data through it.

    Attributes:
        columns: what it shows, in the table's order.
        masks: of some of them, the kinds of their masks.
        row_filter: which rows, in DataZone's form; None: all, or it is not for others to know.
        has_row_filter: whether it leaves rows out.
    """

    id: str
    asset_id: str
    name: str
    description: str
    columns: tuple[str, ...]
    masks: dict[str, str]
    row_filter: dict[str, Any] | None
    has_row_filter: bool


@operation("POST", "/assets/{asset_id}/filters", Right.OWN)
def create_asset_filter(call: Call, asset: Asset, ask: NewAssetFilter) -> AssetFilter:
    """Name some columns of some rows of an asset, through which its data can be given away."""
    if call.count(AssetFilter, asset_id=asset.id) >= MOST_OF_ASSET:
        raise Conflict(f"'{asset.name}' has {MOST_OF_ASSET} filters; remove one first")
    return call.add(
        AssetFilter,
        asset_id=asset.id,
        owning_project_id=asset.owning_project_id,
        name=ask.name,
        description=ask.description,
        definition=_definition(asset, ask.name, ask.description, ask.configuration),
    )


@operation("GET", "/assets/{asset_id}/filters", Right.VIEW)
def list_asset_filters(call: Call, asset: Asset, ask: AssetFilters) -> Iterator[AssetFilter]:
    """List the filters of an asset."""
    found = call.shown(AssetFilter, asset_id=asset.id)
    return (one for one in found if ask.status in (None, one.status))


@operation("GET", "/projects/{project_id}/asset-filters", Right.VIEW)
def list_project_asset_filters(call: Call, project: Project, ask: Page) -> Iterator[AssetFilter]:
    """List the filters of all assets of a project."""
    return call.shown(AssetFilter, owning_project_id=project.id)


@operation("GET", "/asset-filters/{asset_filter_id}", Right.VIEW)
def get_asset_filter(call: Call, one: AssetFilter) -> AssetFilter:
    """Show a filter."""
    return one


@operation("PATCH", "/asset-filters/{asset_filter_id}", Right.OWN)
def update_asset_filter(call: Call, one: AssetFilter, ask: ChangedAssetFilter) -> AssetFilter:
    """Change a filter; whoever reads through it sees what it shows now, from now on."""
    name = one.name if ask.name is None else ask.name
    description = one.description if ask.description is None else ask.description
    values: dict[str, Any] = {"name": name, "description": description}
    if ask.configuration is None:
        values["definition"] = one.definition | values
    else:
        asset = call.get(Asset, one.asset_id)
        values["definition"] = _definition(asset, name, description, ask.configuration)
        values |= {"status": FilterStatus.VALID, "error_message": ""}
    return revised(call, one, **values)


@operation("DELETE", "/asset-filters/{asset_filter_id}", Right.OWN)
def delete_asset_filter(call: Call, one: AssetFilter) -> Done:
    """Remove a filter that nobody reads through."""
    if used := len(_readers(call, one)):
        raise Conflict(
            f"{used} subscriptions read through '{one.name}'; give them other terms or end them",
            subscriptions=used,
        )
    call.remove(one)
    return Done()


@operation("GET", "/listings/{listing_id}/filters", Right.DISCOVER)
def list_listing_filters(call: Call, listing: Listing, ask: Page) -> Iterator[ListedFilter]:
    """List the filters through which a listing's data can be asked for.

    Those are left out that do not fit the revision that is listed, and what rows one keeps where
    it is sensitive or compares a column with personal data.
    """
    assets = {one.id: one for one in listed_assets(call, listing)}
    for one in call.each(AssetFilter, after=call.after, asset_id=list(assets)):
        asset, read = assets[one.asset_id], views.from_json(one.definition)
        fits = not views.problems_of(read, arrow_schema(asset.technical))
        if fits and one.status is FilterStatus.VALID:
            now = call.find(Asset, id=asset.id) or asset
            yield _listed(one, read, asset.personal | now.personal)


def revalidated(call: Call, asset: Asset) -> None:
    """Hold the filters of an asset against its columns, which have changed.

    One that does not fit becomes INVALID, and nobody reads through it any more; one that fits
    again becomes VALID. The audit tells of each, and names who reads through it.
    """
    schema = arrow_schema(asset.technical)
    for one in list(call.each(AssetFilter, asset_id=asset.id)):
        status, problems = views.status(views.from_json(one.definition), schema)
        to = FilterStatus(status)
        changed = call.change(one, status=to, error_message=some_of(problems, separator="; "))
        if to is not one.status:
            is_invalid = to is FilterStatus.INVALID
            readers = _readers(call, one)
            for some in list(in_groups(readers, READERS_NAMED)) or [[]]:
                call.note(
                    "InvalidateAssetFilter" if is_invalid else "RevalidateAssetFilter",
                    changed,
                    asset_id=asset.id,
                    why=changed.error_message[:WHY_LETTERS],
                    readers=len(readers),
                    subscriptions=[held.id for held in some],
                )


def _definition(asset: Asset, name: str, description: str, configuration: Any) -> dict[str, Any]:
    if asset.technical is None:
        raise Conflict(f"the columns of '{asset.name}' were not read yet; run its data source")
    schema = arrow_schema(asset.technical)
    return views.to_json(views.asset_filter(name, configuration, schema, description=description))


def _readers(call: Call, one: AssetFilter) -> list[Subscription]:
    held = call.each(Subscription, columns=one.asset_id, status=LIVE)
    return [each for each in held if one.id in each.terms.filter_ids]


def _listed(one: AssetFilter, read: views.AssetFilter, personal: frozenset[str]) -> ListedFilter:
    compared = {each.column for each in comparisons(read.condition)} if read.condition else set()
    is_open = read.condition and not read.is_sensitive and not compared & personal
    return ListedFilter(
        id=one.id,
        asset_id=one.asset_id,
        name=one.name,
        description=one.description,
        columns=tuple(read.columns),
        masks={name: mask.kind for name, mask in read.columns.items() if mask},
        row_filter=conditions.to_json(read.condition) if read.condition and is_open else None,
        has_row_filter=read.condition is not None,
    )
