"""My data: what a project may read now, on which terms, since when and by whose leave."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from atoll.mesh.model.access import Subscription, SubscriptionStatus, Terms
from atoll.mesh.model.catalog import Classification, Listing
from atoll.mesh.model.organisation import Project
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Page, Right, operation
from atoll.mesh.service.access import reads
from atoll.mesh.service.quality import newest
from atoll.mesh.service.terms import listed_assets


class ReadAsset(msgspec.Struct, frozen=True):
    """An asset that a project may read.

    Attributes:
        name: as its listing shows it.
        score, scored_at: its newest quality, 0 to 100, and when that was measured; None and 0:
            nobody has.
    """

    id: str
    name: str
    score: float | None
    scored_at: int


class MyData(msgspec.Struct, frozen=True):
    """What a project may read by one subscription.

    Attributes:
        id: of the subscription.
        listing_name: of what it is to; of a data product there are several `assets`.
        assets: those that can be read now.
        since: when it was given, microseconds since the epoch.
        approved_by: who gave it, "policy" where a policy did.
        last_used_at: 0: never.
    """

    id: str
    listing_id: str
    listing_name: str
    description: str
    classification: Classification
    owning_project_id: str
    assets: tuple[ReadAsset, ...]
    terms: Terms
    since: int
    approved_by: str
    last_used_at: int


@operation("GET", "/projects/{project_id}/data", Right.VIEW)
def list_my_data(call: Call, project: Project, ask: Page) -> Iterator[MyData]:
    """List what a project may read now."""
    approved = {"project_id": project.id, "status": SubscriptionStatus.APPROVED}
    for held in call.each(Subscription, after=call.after, **approved):
        listing = call.find(Listing, id=held.listing_id)
        assets = tuple(_readable(call, held, listing)) if listing else ()
        if listing and assets:
            yield MyData(
                id=held.id,
                listing_id=listing.id,
                listing_name=listing.name,
                description=listing.description,
                classification=listing.classification,
                owning_project_id=listing.owning_project_id,
                assets=assets,
                terms=held.terms,
                since=held.created_at,
                approved_by=held.approved_by,
                last_used_at=held.last_used_at,
            )


def _readable(call: Call, held: Subscription, listing: Listing) -> Iterator[ReadAsset]:
    names = {one.id: one.name for one in listed_assets(call, listing)}
    for asset_id in held.columns:
        found = reads(call, held.project_id, asset_id)
        if found and found.id == held.id:
            point = newest(call, asset_id)
            yield ReadAsset(
                id=asset_id,
                name=names.get(asset_id, ""),
                score=point.score if point else None,
                scored_at=point.timestamp if point else 0,
            )
