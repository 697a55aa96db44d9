"""Access reviews: all access to the data of a domain unit is looked at anew.

OPEN -> CLOSED                        a campaign; when all is decided, or at its end
UNDECIDED -> KEEP -> REVOKE           an item; what is revoked is so at once
          -> REVOKE
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.model.access import (
    LIVE,
    CampaignStatus,
    ReviewCampaign,
    ReviewItem,
    Subscription,
    SubscriptionStatus,
    Verdict,
)
from atoll.mesh.model.catalog import Listing
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Domain, DomainUnit, Project
from atoll.mesh.model.record import Moment, Name, Remark, moved
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import REVIEWS, Attendant, job, later
from atoll.mesh.operations.registry import Ask, Page, Right, operation
from atoll.mesh.service.delegations import refuse_own_case
from atoll.mesh.service.subscriptions import ended

MOST_ITEMS = 5_000
_AT_ONCE = 20  # of what is revoked at the end: others change things in between
_NAMED = 100  # of what nobody decided on
_JOB = "close-campaign"
VERDICT_EDGES = {
    Verdict.UNDECIDED: (Verdict.KEEP, Verdict.REVOKE),
    Verdict.KEEP: (Verdict.KEEP, Verdict.REVOKE),
    Verdict.REVOKE: (),
}


class NewReviewCampaign(Ask, frozen=True, kw_only=True):
    """What begins.

    Attributes:
        due_at: when it closes by itself, microseconds since the epoch.
        revokes_undecided: whether what nobody decided on is revoked then.
    """

    name: Name
    due_at: Moment
    revokes_undecided: bool = False


class ReviewCampaigns(Page, frozen=True, kw_only=True):
    """Which campaigns."""

    status: CampaignStatus | None = None


class ReviewItems(Page, frozen=True, kw_only=True):
    """Which items."""

    campaign_id: str = ""
    owning_project_id: str = ""
    verdict: Verdict | None = None


class ReviewDecision(Ask, frozen=True, kw_only=True):
    """What is decided, and why."""

    verdict: Verdict
    comment: Remark = ""


class CampaignProgress(msgspec.Struct, frozen=True):
    """A campaign, and how far it is."""

    campaign: ReviewCampaign
    undecided: int
    kept: int
    revoked: int


class ItemToReview(msgspec.Struct, frozen=True):
    """One access, and what to know to decide on it.

    Attributes:
        due_at: when the campaign closes.
        status: of the subscription now.
        since: when it was given, microseconds since the epoch.
        approved_by: who gave it, "policy" where a policy did.
        last_used_at: 0: never.
    """

    id: str
    campaign_id: str
    campaign_name: str
    due_at: int
    subscription_id: str
    listing_name: str
    project_id: str
    project_name: str
    owning_project_id: str
    status: SubscriptionStatus
    since: int
    approved_by: str
    last_used_at: int
    is_flagged: bool
    verdict: Verdict
    decided_by: str
    comment: str


@operation("POST", "/domain-units/{domain_unit_id}/review-campaigns", Right.GOVERN)
def create_review_campaign(call: Call, unit: DomainUnit, ask: NewReviewCampaign) -> ReviewCampaign:
    """Have all access to the data of a unit, and of those below it, looked at anew.

    Those who approve requests for the data decide. Access that is given later is not in it.
    """
    if ask.due_at <= call.now:
        raise InvalidInput("the campaign would be over already; choose a later end")
    held = list(islice(_access_to(call, unit), MOST_ITEMS + 1))
    if len(held) > MOST_ITEMS:
        raise Conflict(
            f"there are more than {MOST_ITEMS:,} subscriptions to data of '{unit.name}'; review "
            "the units below it one by one"
        )
    made = call.add(ReviewCampaign, domain_unit_id=unit.id, **ask.given())
    for one in held:
        call.add(
            ReviewItem,
            campaign_id=made.id,
            subscription_id=one.id,
            owning_project_id=one.owning_project_id,
        )
    call.tell(items=len(held))
    later(call, _JOB, made.id, due_at=made.due_at if held else call.now)
    return made


@operation("GET", "/domain-units/{domain_unit_id}/review-campaigns", Right.BROWSE)
def list_review_campaigns(
    call: Call, unit: DomainUnit, ask: ReviewCampaigns
) -> Iterator[ReviewCampaign]:
    """List the campaigns of a unit, as far as you govern it."""
    return call.shown(ReviewCampaign, domain_unit_id=unit.id, status=ask.status)


@operation("GET", "/review-campaigns/{review_campaign_id}", Right.VIEW)
def get_review_campaign(call: Call, campaign: ReviewCampaign) -> CampaignProgress:
    """Show a campaign, and how much of it is decided."""
    undecided, kept, revoked = (
        call.count(ReviewItem, campaign_id=campaign.id, verdict=one) for one in Verdict
    )
    return CampaignProgress(campaign, undecided, kept, revoked)


@operation("GET", "/review-items", Right.BROWSE)
def list_review_items(call: Call, domain: Domain, ask: ReviewItems) -> Iterator[ItemToReview]:
    """List what is to be reviewed, and was, as far as you may look at it."""
    found = call.shown(
        ReviewItem,
        campaign_id=ask.campaign_id,
        owning_project_id=ask.owning_project_id,
        verdict=ask.verdict,
    )
    return (_described(call, one) for one in found)


@operation("GET", "/review-items/{review_item_id}", Right.VIEW)
def get_review_item(call: Call, item: ReviewItem) -> ItemToReview:
    """Show what is to be reviewed."""
    return _described(call, item)


@operation("POST", "/review-items/{review_item_id}/decide", Right.REVIEW)
def decide_review_item(call: Call, item: ReviewItem, ask: ReviewDecision) -> ReviewItem:
    """Keep an access, or revoke it; revoked is revoked, and takes a new request."""
    campaign = call.find(ReviewCampaign, id=item.campaign_id)
    if campaign is None or campaign.status is not CampaignStatus.OPEN:
        raise Conflict("the review is closed; revoke the subscription itself, if need be")
    call.tell(before=item.verdict, after=ask.verdict, subscription=item.subscription_id)
    call.tell(comment=ask.comment)
    decided = _decided(call, item, ask.verdict, ask.comment)
    if not call.count(ReviewItem, campaign_id=campaign.id, verdict=Verdict.UNDECIDED):
        later(call, _JOB, campaign.id)
    return decided


@job(_JOB, lane=REVIEWS)
def close_review_campaign(attendant: Attendant, task: Job) -> int | None:
    """Close a campaign that is decided, or over; what is to be revoked then is, some at a time."""
    while attendant.act("RevokeUndecided", _JOB, lambda call: _some_revoked(call, task.subject_id)):
        pass
    attendant.act("CloseReviewCampaign", _JOB, lambda call: _closed(call, task.subject_id))
    with attendant.reading() as reader:
        found = reader.find(ReviewCampaign, task.subject_id)
    # Still open where the clock was set back.
    return found.due_at if found and found.status is CampaignStatus.OPEN else None


def _access_to(call: Call, unit: DomainUnit) -> Iterator[Subscription]:
    for project in call.each(Project, domain_unit_id=unit.id):
        yield from call.each(Subscription, owning_project_id=project.id, status=LIVE)
    for below in call.each(DomainUnit, parent_domain_unit_id=unit.id):
        yield from _access_to(call, below)


def _decided(call: Call, item: ReviewItem, verdict: Verdict, comment: str) -> ReviewItem:
    how = "; a review keeps or revokes, and what is revoked stays so"
    moved("the item", item.verdict, verdict, VERDICT_EDGES, how=how)
    subscription = call.find(Subscription, id=item.subscription_id)
    if verdict is Verdict.KEEP and subscription:
        refuse_own_case(call, subscription)
    if verdict is Verdict.REVOKE and subscription and subscription.status in LIVE:
        ended(call, subscription, SubscriptionStatus.REVOKED, comment or "by an access review")
    return call.change(item, verdict=verdict, decided_by=call.who.id, comment=comment)


def _described(call: Call, item: ReviewItem) -> ItemToReview:
    campaign = call.find(ReviewCampaign, id=item.campaign_id)
    held = call.find(Subscription, id=item.subscription_id)
    listing = call.find(Listing, id=held.listing_id) if held else None
    project = call.find(Project, id=held.project_id) if held else None
    return ItemToReview(
        id=item.id,
        campaign_id=item.campaign_id,
        campaign_name=campaign.name if campaign else "",
        due_at=campaign.due_at if campaign else 0,
        subscription_id=item.subscription_id,
        listing_name=listing.name if listing else "",
        project_id=held.project_id if held else "",
        project_name=project.name if project else "",
        owning_project_id=item.owning_project_id,
        status=held.status if held else SubscriptionStatus.REVOKED,
        since=held.created_at if held else 0,
        approved_by=held.approved_by if held else "",
        last_used_at=held.last_used_at if held else 0,
        is_flagged=held.is_flagged if held else False,
        verdict=item.verdict,
        decided_by=item.decided_by,
        comment=item.comment,
    )


def _due(call: Call, campaign_id: str) -> ReviewCampaign | None:
    """Return the campaign, where it is open and decided or over."""
    found = call.find(ReviewCampaign, id=campaign_id)
    if found is None or found.status is not CampaignStatus.OPEN:
        return None
    undecided = call.count(ReviewItem, campaign_id=campaign_id, verdict=Verdict.UNDECIDED)
    return found if found.due_at <= call.now or not undecided else None


def _some_revoked(call: Call, campaign_id: str) -> ReviewCampaign | None:
    campaign = _due(call, campaign_id)
    if campaign is None or not campaign.revokes_undecided:
        return None
    undecided = call.each(ReviewItem, campaign_id=campaign_id, verdict=Verdict.UNDECIDED)
    some = list(islice(undecided, _AT_ONCE))
    for one in some:
        _decided(call, one, Verdict.REVOKE, f"nobody decided in the review '{campaign.name}'")
    call.tell(subscriptions=[one.subscription_id for one in some])
    return campaign if some else None


def _closed(call: Call, campaign_id: str) -> ReviewCampaign | None:
    campaign = _due(call, campaign_id)
    if campaign is None:
        return None
    left = {"campaign_id": campaign_id, "verdict": Verdict.UNDECIDED}
    named = [one.subscription_id for one in islice(call.each(ReviewItem, **left), _NAMED)]
    call.tell(undecided=call.count(ReviewItem, **left), subscriptions=named)
    return call.change(campaign, status=CampaignStatus.CLOSED)
