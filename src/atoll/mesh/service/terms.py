"""What a listing shows, and on which terms it may be asked for and given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.core.text import duration
from atoll.mesh.filters.views import MAX_FILTERS
from atoll.mesh.model.access import Terms
from atoll.mesh.model.catalog import (
    Asset,
    AssetFilter,
    DataProduct,
    EntityType,
    FilterStatus,
    Listing,
)
from atoll.mesh.model.record import ColumnName, Id, moment
from atoll.mesh.operations.calls import Call
from atoll.mesh.service.guardrails import guardrails_of

MAX_COLUMN_LETTERS = 1000  # of all that are unmasked: the audit takes them down

FilterIds = Annotated[tuple[Id, ...], Meta(max_length=MAX_FILTERS)]
Columns = Annotated[tuple[ColumnName, ...], Meta(max_length=100)]


def listed_assets(call: Call, listing: Listing) -> list[Asset]:
    """List the assets that a listing shows, each as it was when it was published."""
    if listing.entity_type is EntityType.ASSET:
        return [call.past(Asset, listing.entity_id, listing.entity_revision)]
    product = call.past(DataProduct, listing.entity_id, listing.entity_revision)
    return [call.past(Asset, one.asset_id, one.revision) for one in product.items]


def columns_of(asset: Asset) -> tuple[str, ...]:
    """Name the columns of an asset, those in its folders' names among them."""
    return tuple(one.name for one in asset.schema)


def checked(call: Call, listing: Listing, terms: Terms) -> Terms:
    """See that data may be asked for, or given, on these terms.

    Returns:
        The terms, each filter and column named once.

    Raises:
        InvalidInput: a filter is none of the listing's or does not fit its table (any more), a
            column that is to be unmasked holds no personal data in one of its assets, or the end
            has passed or lies further off than the guardrails allow.
    """
    assets = listed_assets(call, listing)
    _check_filters(call, assets, terms.filter_ids)
    _check_unmasked(call, assets, terms.unmasked)
    _check_end(call, listing, terms.expires_at)
    return replace(
        terms,
        filter_ids=tuple(dict.fromkeys(terms.filter_ids)),
        unmasked=tuple(dict.fromkeys(terms.unmasked)),
    )


def latest_end(call: Call, owning_project_id: str) -> int:
    """Return until when access to a project's data may be given, in microseconds; 0: for ever."""
    longest_s = guardrails_of(call, owning_project_id).longest_access_s
    return call.now + longest_s * 1_000_000 if longest_s else 0


def filters_of(call: Call, terms: Terms, asset_id: str) -> list[AssetFilter]:
    """List those of the filters that are of one asset."""
    return [one for one in call.each(AssetFilter, asset_id=asset_id) if one.id in terms.filter_ids]


def _check_filters(call: Call, assets: Sequence[Asset], ids: Sequence[str]) -> None:
    known = {one.id: one for asset in assets for one in call.each(AssetFilter, asset_id=asset.id)}
    for id_ in ids:
        # One of another asset is as good as none: nobody learns that it is there.
        if id_ not in known:
            raise InvalidInput(f"there is no filter '{id_}' of these data", id=id_)
        if known[id_].status is not FilterStatus.VALID:
            raise InvalidInput(
                f"the filter '{known[id_].name}' does not fit its table any more; take another, "
                "or have its owner mend it",
                id=id_,
            )


def _check_unmasked(call: Call, assets: Sequence[Asset], columns: Sequence[str]) -> None:
    if sum(map(len, columns)) > MAX_COLUMN_LETTERS:
        raise InvalidInput(
            f"the names of unmasked columns have at most {MAX_COLUMN_LETTERS:,} letters together; "
            "ask for fewer"
        )
    for name in columns:
        # Not those of the draft: nobody else knows of its columns.
        listed = [asset for asset in assets if name in columns_of(asset)]
        holders = [call.find(Asset, id=one.id) or one for one in listed]
        # In all of them: one that is found to be personal later must not be unmasked already.
        if not holders or any(name not in asset.personal for asset in holders):
            raise InvalidInput(
                f"'{name:.100}' is no column with personal data of all that has such a column; "
                "unmask columns that are masked, and no others",
                column=name[:100],
            )


def _check_end(call: Call, listing: Listing, expires_at: int) -> None:
    if not expires_at:
        return
    if expires_at <= call.now:
        raise InvalidInput(
            f"access would end at {moment(expires_at):%Y-%m-%d %H:%M} UTC, which has passed; "
            "name a later end"
        )
    latest = latest_end(call, listing.owning_project_id)
    if latest and expires_at > latest:
        raise InvalidInput(
            f"access to '{listing.name}' is given for {duration((latest - call.now) / 1e6)} at "
            f"most, until {moment(latest):%Y-%m-%d %H:%M} UTC now; name an earlier end",
            latest=latest,
        )
