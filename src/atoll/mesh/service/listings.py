"""Listings: what others find of assets and data products, and how that is published.

    (none) -> ACTIVE <-> INACTIVE      by a change set: PUBLISH, UNPUBLISH

A listing keeps its id for as long as its asset or data product is there. It shows one revision;
a newer draft changes nothing of it but this: what becomes more sensitive is so at once, whichever
revision is shown. What becomes less so is that once it is published again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.text import some_of
from atoll.mesh.model.access import (
    LIVE,
    Subscription,
    SubscriptionRequest,
    SubscriptionRequestStatus,
)
from atoll.mesh.model.catalog import (
    Asset,
    AssetType,
    Basis,
    DataProduct,
    EntityType,
    Listing,
    ListingStatus,
    strictest,
)
from atoll.mesh.model.describing import RuleAction
from atoll.mesh.model.record import moved
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask, Right, operation
from atoll.mesh.service.access import is_within_reach
from atoll.mesh.service.forms import missing_fields
from atoll.mesh.service.history import Number, as_it_was, what_changed
from atoll.mesh.service.reclassification import flagged, reclassified
from atoll.mesh.service.rules import enforced

LISTING_EDGES = {
    ListingStatus.CREATING: (ListingStatus.ACTIVE,),
    ListingStatus.ACTIVE: (ListingStatus.ACTIVE, ListingStatus.INACTIVE),
    ListingStatus.INACTIVE: (ListingStatus.ACTIVE,),
}
OBSTACLES_TOLD = 50
COLUMNS_TOLD = 20


class ListingAction(StrEnum):
    """What a change set does; DataZone's."""

    PUBLISH = "PUBLISH"
    UNPUBLISH = "UNPUBLISH"


class ListingChangeSet(Ask, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        revision: which one to publish; 0: the newest.
    """

    action: ListingAction
    revision: Number = 0


@operation("POST", "/assets/{asset_id}/listing-change-sets", Right.CONTRIBUTE)
def create_listing_change_set(call: Call, asset: Asset, ask: ListingChangeSet) -> Listing:
    """Publish a revision of an asset, or show it to others no longer; who subscribed still reads.

    What keeps it from being published is told all at once.
    """
    return _change_set(call, asset, ask)


@operation("POST", "/data-products/{data_product_id}/listing-change-sets", Right.CONTRIBUTE)
def create_data_product_listing_change_set(
    call: Call, product: DataProduct, ask: ListingChangeSet
) -> Listing:
    """Publish a revision of a data product, or show it to others no longer."""
    return _change_set(call, product, ask)


def published(call: Call, entity: Asset | DataProduct, revision: int = 0) -> Listing:
    """Show a revision of an asset or data product to others.

    Args:
        call: the moment.
        entity: as it is now.
        revision: which one; 0: the newest.

    Raises:
        NotFound: there is no such revision.
        Conflict: it cannot be published; all the reasons are named.
    """
    shown = as_it_was(call, entity, revision)
    if reasons := obstacles(call, shown):
        told = some_of(reasons, OBSTACLES_TOLD, separator="; ")
        raise Conflict(f"'{entity.name}' cannot be published: {told}", why=reasons[:OBSTACLES_TOLD])
    is_asset = isinstance(shown, Asset)
    as_shown = list(_as_shown(call, shown))
    as_they_are = filter(None, (call.find(Asset, id=one.id) for one in as_shown))
    assets = [*as_shown, *as_they_are]
    values: dict[str, Any] = {
        "name": shown.name,
        "description": shown.description,
        "entity_revision": shown.version,
        "classification": strictest(one.classification for one in assets),
        "has_pii": any(one.personal for one in assets),
        "all_terms": _all_terms([shown, *as_shown]),
        "asset_ids": () if isinstance(shown, Asset) else shown.asset_ids,
        "status": ListingStatus.ACTIVE,
    }
    listing = call.find(Listing, entity_id=entity.id)
    if listing is None:
        call.tell(revision=shown.version, classification=values["classification"])
        return call.add(
            Listing,
            entity_type=EntityType.ASSET if is_asset else EntityType.DATA_PRODUCT,
            entity_id=entity.id,
            owning_project_id=entity.owning_project_id,
            **values,
        )
    moved(f"the listing of '{entity.name}'", listing.status, values["status"], LISTING_EDGES)
    changed = _changed(call, listing, **values)
    call.tell(**what_changed(listing, changed))
    return changed


def obstacles(call: Call, entity: Asset | DataProduct) -> list[str]:
    """List what keeps a revision of an asset or data product from being published."""
    if isinstance(entity, Asset):
        return [*_obstacles_of_asset(call, entity), *_obstacles_of_forms(call, entity)]
    found = [] if entity.items else ["it has no assets; add some"]
    for one in entity.items:
        asset = call.find(Asset, id=one.asset_id)
        if asset is None:
            found.append(f"its asset '{one.asset_id}' is gone")
        else:
            reasons = obstacles(call, as_it_was(call, asset, one.revision))
            found += [f"its asset '{asset.name}': {reason}" for reason in reasons]
    return [*found, *_obstacles_of_forms(call, entity)]


def followed(call: Call, before: Asset, asset: Asset) -> None:
    """Make all that shows an asset as sensitive as the asset is now, if it is less so."""
    showing = list(_showing(call, asset))
    for listing in showing:
        _changed(
            call,
            listing,
            classification=strictest([listing.classification, asset.classification]),
            has_pii=listing.has_pii or bool(asset.personal),
        )
    # What a data product had once is read still by who subscribed to it then.
    known = {one.id for one in showing}
    others = [one for one in readers_of(call, asset) if one.listing_id not in known]
    flagged(call, others, before.classification, asset.classification)


def require_unseen(call: Call, entity: Asset | DataProduct) -> Listing | None:
    """Return the listing of what nobody else sees, reads or asks for; None where it has none.

    Raises:
        Conflict: it is published, or there are subscriptions or requests.
    """
    listing = call.find(Listing, entity_id=entity.id)
    if listing and listing.status is ListingStatus.ACTIVE:
        raise Conflict(f"'{entity.name}' is published; unpublish it first", listing=listing.id)
    if listing and _is_used(call, listing):
        raise Conflict(
            f"others have '{entity.name}', or ask for it; revoke and decide first", id=entity.id
        )
    return listing


def readers_of(call: Call, asset: Asset) -> Iterator[Subscription]:
    """Yield the subscriptions by which an asset is read, by itself or in a data product."""
    return call.each(Subscription, columns=asset.id, status=LIVE)


def products_with(call: Call, asset: Asset) -> Iterator[DataProduct]:
    """Yield the data products that an asset is in, in their draft or as others have them."""
    ids = set(call.values(DataProduct, "id", asset_ids=asset.id))
    for listing in call.each(Listing, asset_ids=asset.id):
        if listing.status is ListingStatus.ACTIVE or _is_used(call, listing):
            ids.add(listing.entity_id)
    return call.each(DataProduct, id=ids)


def _change_set(call: Call, entity: Asset | DataProduct, ask: ListingChangeSet) -> Listing:
    call.tell(action=ask.action)
    if ask.action is ListingAction.PUBLISH:
        return published(call, entity, ask.revision)
    return _unpublished(call, entity)


def _changed(call: Call, listing: Listing, **values: Any) -> Listing:
    """Change a listing: the one way, by which its requests and subscriptions are looked at anew."""
    changed = call.change(listing, **values)
    if changed.classification is not listing.classification:
        details = {"before": listing.classification, "after": changed.classification}
        call.note("ReclassifyListing", changed, **details)
        reclassified(call, changed)
    return changed


def _unpublished(call: Call, entity: Asset | DataProduct) -> Listing:
    listing = call.find(Listing, entity_id=entity.id)
    if listing is None:
        raise Conflict(f"'{entity.name}' is not published")
    to = ListingStatus.INACTIVE
    moved(f"the listing of '{entity.name}'", listing.status, to, LISTING_EDGES)
    call.tell(before=listing.status, after=to)
    return _changed(call, listing, status=to)


def _obstacles_of_asset(call: Call, asset: Asset) -> Iterator[str]:
    """Tell what else than its forms is in the way."""
    now = call.find(Asset, id=asset.id)
    if now is None or now.is_archived:
        yield "it is archived; restore it"
    if asset.technical is None:
        yield "its files were not read yet; refresh it"
    if unseen := next((one for one in (asset, now) if one and one.unseen), None):
        yield _unseen(unseen)
    if not is_within_reach(call.reader, asset):
        yield "its storage does not belong to the domain any more; have it associated again"
    if asset.basis is Basis.CONSUMER_BASED and not asset.upstream:
        yield f"it is {Basis.CONSUMER_BASED}, so say of what it is made (upstream)"
    asset_type = call.find(AssetType, name=asset.asset_type)
    filled = {one.form_type for one in asset.forms}
    for name in asset_type.required_forms if asset_type else ():
        if name not in filled:
            yield f"its type '{asset.asset_type}' requires the form '{name}'; fill it in"


def _unseen(asset: Asset) -> str:
    names = some_of([repr(name) for name in asset.unseen], COLUMNS_TOLD)
    return (
        f"{asset.unexamined}; refresh it and publish its newest revision, or flag what may be "
        f"personal (FlagPii), for owners to decide (DecidePii): {names}"
    )


def _obstacles_of_forms(call: Call, entity: Asset | DataProduct) -> Iterator[str]:
    for form in entity.forms:
        if names := missing_fields(call, form):
            yield f"its form '{form.form_type}' lacks {', '.join(names)}"
    try:
        enforced(
            call,
            entity.owning_project_id,
            RuleAction.CREATE_LISTING_CHANGE_SET,
            asset_type=entity.asset_type if isinstance(entity, Asset) else "",
            forms=entity.forms,
            glossary_terms=entity.glossary_terms,
        )
    except InvalidInput as error:
        yield from error.details.get("problems", [error.message])


def _as_shown(call: Call, entity: Asset | DataProduct) -> Iterator[Asset]:
    """Yield the assets that a revision shows, as it shows them."""
    if isinstance(entity, Asset):
        yield entity
        return
    for one in entity.items:
        yield call.past(Asset, one.asset_id, one.revision)


def _all_terms(shown: Iterable[Asset | DataProduct]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(id_ for one in shown for id_ in one.all_terms))


def _showing(call: Call, asset: Asset) -> Iterator[Listing]:
    """Yield the listing of an asset, and those of data products that it is published in."""
    yield from call.each(Listing, entity_id=asset.id)
    yield from call.each(Listing, asset_ids=asset.id)


def _is_used(call: Call, listing: Listing) -> bool:
    pending = {"listing_id": listing.id, "status": SubscriptionRequestStatus.PENDING}
    return bool(
        call.find(Subscription, entity_id=listing.entity_id, status=LIVE)
        or call.find(SubscriptionRequest, **pending)
    )
