"""Who may read what, now: the one answer that every door asks for at every query."""

from __future__ import annotations

import time

from atoll.mesh.model.access import (
    AssetGrantStatus,
    Subscription,
    SubscriptionGrant,
    SubscriptionStatus,
    SubscriptionTarget,
    TargetProvider,
)
from atoll.mesh.model.catalog import Asset, AssetFilter, FilterStatus
from atoll.mesh.model.organisation import Association, AssociationStatus, Project
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import OPERATIONS
from atoll.mesh.store.reading import Reader


def reads(seen: Call | Reader, project_id: str, asset_id: str) -> Subscription | None:
    """Tell through which subscription a project may read an asset now, at the mesh's own doors.

    One to the asset itself goes before those to data products that it is in, an older one before a
    newer one. What a project owns needs no subscription: that is not asked here.

    Args:
        seen: the moment; ask anew for each query.
        project_id: who wants to read.
        asset_id: what.

    Returns:
        Its `terms`, `columns[asset_id]` and `unmasked_of(asset_id)` say what of the asset may be
        read, through filters, too. None: nothing may be, because nobody allowed it, or it has ended
        (also where only the clock says so), is suspended or not granted yet, or because the asset,
        the association of its storage or one of the filters is not there any more, or does not fit.
    """
    reader = seen.reader if isinstance(seen, Call) else seen
    asset = reader.find(Asset, asset_id)
    if asset is None or not is_within_reach(reader, asset):
        return None
    keys = {"project_id": project_id, "status": SubscriptionStatus.APPROVED, "columns": asset_id}
    found = [one for one in reader.all(Subscription, **keys) if _holds(reader, one, asset_id)]
    return min(found, key=lambda one: (one.entity_id != asset_id, one.created_at), default=None)


def may_ask_for(seen: Call, project: Project) -> bool:
    """Tell whether somebody may ask for data for a project, and so read what it was given.

    Args:
        seen: from `Call.seen_by`: a token for reading rows need not be one for asking.
        project: which would have the data.
    """
    return seen.decide(OPERATIONS["CreateSubscriptionRequests"].action, project).is_allowed


def is_within_reach(reader: Reader, asset: Asset) -> bool:
    """Tell whether the storage that an asset lies in belongs to the domain."""
    found = reader.find(Association, asset.association_id)
    return found is not None and found.status is AssociationStatus.ACCEPTED


def is_at_the_doors(reader: Reader, grant: SubscriptionGrant) -> bool:
    """Tell whether the mesh itself makes a grant hold, not somebody outside who reports."""
    target = reader.find(SubscriptionTarget, grant.target_id)
    return target is not None and target.provider is TargetProvider.ATOLL


def filters_fit(reader: Reader, subscription: Subscription, asset_id: str) -> bool:
    """Tell whether all filters of a subscription are there, and those of one asset VALID."""
    ids = subscription.terms.filter_ids
    found = list(reader.all(AssetFilter, id=ids)) if ids else []
    # Of a filter that is gone nobody knows which asset it narrowed.
    return len(found) == len(ids) and all(
        one.status is FilterStatus.VALID for one in found if one.asset_id == asset_id
    )


def _holds(reader: Reader, one: Subscription, asset_id: str) -> bool:
    has_ended = 0 < one.terms.expires_at <= time.time_ns() // 1000
    return (
        not has_ended
        and filters_fit(reader, one, asset_id)
        and any(
            is_at_the_doors(reader, grant)
            for grant in reader.all(SubscriptionGrant, subscription_id=one.id)
            for asset in grant.assets
            if asset.asset_id == asset_id and asset.status is AssetGrantStatus.GRANTED
        )
    )
