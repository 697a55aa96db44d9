"""Reclassification: when data get more or less secret, requests and subscriptions are reconsidered.

A listing that became stricter flags its live subscriptions, until somebody who approves requests
has looked at them. Open requests follow the listing: what policies now allow is accepted by them,
and the others wait for a reviewer.
"""

from __future__ import annotations

from collections.abc import Iterable

from atoll.mesh.model.access import (
    LIVE,
    Subscription,
    SubscriptionRequest,
    SubscriptionRequestStatus,
)
from atoll.mesh.model.catalog import Classification, Listing
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Right, operation
from atoll.mesh.service.delegations import refuse_own_case
from atoll.mesh.service.requests import considered


def reclassified(call: Call, listing: Listing) -> None:
    """Look anew at what is asked for and given of a listing, whose classification has changed.

    Args:
        call: the moment.
        listing: as it was just changed.
    """
    before = call.past(Listing, listing.id, listing.version - 1).classification
    open_ones = {"listing_id": listing.id, "status": SubscriptionRequestStatus.PENDING}
    for request in list(call.each(SubscriptionRequest, **open_ones)):
        changed = {"classification": listing.classification, "changed_at": call.now}
        considered(call, call.change(request, **changed))
    held = list(call.each(Subscription, listing_id=listing.id, status=LIVE))
    flagged(call, held, before, listing.classification)


def flagged(
    call: Call,
    subscriptions: Iterable[Subscription],
    before: Classification,
    after: Classification,
) -> None:
    """Flag subscriptions to data that became stricter."""
    if not after.is_stricter_than(before):
        return
    for one in subscriptions:
        call.note("FlagSubscription", call.change(one, is_flagged=True), before=before, after=after)


@operation("POST", "/subscriptions/{subscription_id}/unflag", Right.REVIEW)
def unflag_subscription(call: Call, subscription: Subscription) -> Subscription:
    """Say that a subscription to data that were reclassified may stay as it is."""
    refuse_own_case(call, subscription)
    return call.change(subscription, is_flagged=False)
