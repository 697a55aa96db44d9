"""Reclassification: when data get more or less secret, requests and subscriptions are reconsidered.

A listing that became stricter flags its live subscriptions, until somebody who approves requests
has looked at them. Open requests follow the listing: what policies now allow is accepted by them,
and the others wait for a reviewer.
"""

from __future__ import annotations

from atoll.mesh.model.access import (
    LIVE,
    Subscription,
    SubscriptionRequest,
    SubscriptionRequestStatus,
)
from atoll.mesh.model.catalog import Listing
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Right, operation
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
        considered(call, call.change(request, classification=listing.classification))
    if listing.classification.is_stricter_than(before):
        for one in list(call.each(Subscription, listing_id=listing.id, status=LIVE)):
            flagged = call.change(one, is_flagged=True)
            call.note("FlagSubscription", flagged, before=before, after=listing.classification)


@operation("POST", "/subscriptions/{subscription_id}/unflag", Right.REVIEW)
def unflag_subscription(call: Call, subscription: Subscription) -> Subscription:
    """Say that a subscription to data that were reclassified may stay as it is."""
    return call.change(subscription, is_flagged=False)
