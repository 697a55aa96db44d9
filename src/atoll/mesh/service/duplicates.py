"""Duplicates: assets that seem to hold the same data, found by what their files have in common."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from atoll.mesh.model.catalog import Asset, Classification
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Page, Right, operation
from atoll.mesh.service.listed import shown_listing


class Duplicate(msgspec.Struct, frozen=True):
    """An asset that seems to hold the same data: a reason to look, no proof.

    Attributes:
        name: of the listing, where that is all you may know of it.
        listing_id: where it is published and you may discover it; else empty.
    """

    id: str
    name: str
    owning_project_id: str
    listing_id: str


@operation("GET", "/assets/{asset_id}/duplicates", Right.VIEW)
def list_duplicates(call: Call, asset: Asset, ask: Page) -> Iterator[Duplicate]:
    """List assets with the same schema and statistics, of those that you may know of."""
    return duplicates(call, asset)


def duplicates(call: Call, asset: Asset) -> Iterator[Duplicate]:
    """Find assets with the same schema and statistics, of those that the caller may know of.

    Of others nothing is said: else one could register tables made up of guesses, and learn from
    the answers what the statistics of hidden ones are. Therefore listings that are CONFIDENTIAL,
    or hold personal data, are named only to those who may view the asset.
    """
    if not asset.content_print:
        return
    prints = {"schema_print": asset.schema_print, "content_print": asset.content_print}
    for other in call.each(Asset, after=call.after, **prints):
        if other.id != asset.id and (found := _told(call, asset, other)):
            yield found


def _told(call: Call, asset: Asset, other: Asset) -> Duplicate | None:
    listing = shown_listing(call, other.id)
    if call.may_see(other):
        listing_id = listing.id if listing else ""
        return Duplicate(other.id, other.name, other.owning_project_id, listing_id)
    if listing is None or listing.has_pii or listing.classification is Classification.CONFIDENTIAL:
        return None
    shown = call.past(Asset, other.id, listing.entity_revision)
    if (shown.schema_print, shown.content_print) != (asset.schema_print, asset.content_print):
        return None
    return Duplicate(other.id, listing.name, other.owning_project_id, listing.id)
