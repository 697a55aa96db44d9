"""Subscription requests: a project asks for what is listed; a policy or a person decides.

PENDING -> ACCEPTED      by a policy at once, or by who approves requests for the data
        -> REJECTED      by them, or by the clock
        -> (deleted)     by who asked
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta, to_builtins

from atoll.core.errors import Conflict, Forbidden, InvalidInput, Unauthenticated
from atoll.mesh.model.access import (
    LIVE,
    Comment,
    OnLowScore,
    Subscription,
    SubscriptionRequest,
    SubscriptionRequestStatus,
    Terms,
)
from atoll.mesh.model.catalog import Asset, DataProduct, Listing, ListingStatus
from atoll.mesh.model.describing import Form, RuleAction
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Domain, Project
from atoll.mesh.model.record import Id, Moment, Remark, Score, new_id
from atoll.mesh.operations.calls import BY_POLICY, Call
from atoll.mesh.operations.jobs import SYSTEM, Attendant, job, later
from atoll.mesh.operations.registry import Ask, Done, Page, Right, operation
from atoll.mesh.policies.decisions import Action, Decision
from atoll.mesh.service.delegations import refuse_own_case
from atoll.mesh.service.forms import FormInputs, checked_forms
from atoll.mesh.service.guardrails import guardrails_of
from atoll.mesh.service.quality import held_to_terms, require_score
from atoll.mesh.service.rules import enforced
from atoll.mesh.service.subscriptions import given
from atoll.mesh.service.terms import Columns, FilterIds, checked

S = SubscriptionRequestStatus
REQUEST_EDGES: dict[S, tuple[S, ...]] = {
    S.PENDING: (S.ACCEPTED, S.REJECTED),
    S.ACCEPTED: (),
    S.REJECTED: (),
}
_BY_POLICY = Action("ApproveByPolicy", "write")
Reason = Annotated[Remark, Meta(min_length=1)]


class WantedListing(Ask, frozen=True, kw_only=True):
    """One listing that is asked for, and on which terms.

    Attributes:
        filter_ids: filters of its assets through which to read them; none: whole tables.
        unmasked: columns with personal data to see as they are; that takes a reviewer.
        expires_at: until when it is needed, microseconds since the epoch; 0: for as long as the
            guardrails allow.
        min_score: the quality that the data shall have, 0 to 100.
        on_low_score: what happens while they have less.
    """

    listing_id: Id
    filter_ids: FilterIds = ()
    unmasked: Columns = ()
    expires_at: Moment = 0
    min_score: Score = 0.0
    on_low_score: OnLowScore = OnLowScore.WARN


class NewRequests(Ask, frozen=True, kw_only=True):
    """What is asked for, what for, and what the producers want to know of that."""

    listings: Annotated[tuple[WantedListing, ...], Meta(min_length=1, max_length=50)]
    request_reason: Reason
    forms: FormInputs = ()


class Basket(msgspec.Struct, frozen=True):
    """What was asked for in one call; what a policy allows is ACCEPTED already."""

    basket: str
    requests: list[SubscriptionRequest]


class SubscriptionRequests(Page, frozen=True, kw_only=True):
    """Which requests: of a project that asks, or to one that owns the data."""

    project_id: str = ""
    owning_project_id: str = ""
    listing_id: str = ""
    basket: str = ""
    status: SubscriptionRequestStatus | None = None


class ChangedRequest(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays. See `WantedListing`."""

    request_reason: Reason | None = None
    forms: FormInputs | None = None
    filter_ids: FilterIds | None = None
    unmasked: Columns | None = None
    expires_at: Moment | None = None
    min_score: Score | None = None
    on_low_score: OnLowScore | None = None


class Acceptance(Ask, frozen=True, kw_only=True):
    """On which terms it is given; what is left out is as it was asked for, but for `unmasked`.

    Attributes:
        filter_ids: filters through which data are read; none: whole tables.
        unmasked: those of the columns asked for that are shown as they are; none, unless they are
            named here.
        expires_at: microseconds since the epoch; 0: as late as the guardrails allow.
    """

    comment: Remark = ""
    filter_ids: FilterIds | None = None
    unmasked: Columns = ()
    expires_at: Moment | None = None


class Rejection(Ask, frozen=True, kw_only=True):
    """Why not."""

    comment: Remark = ""


@operation("POST", "/projects/{project_id}/subscription-requests", Right.CONSUME)
def create_subscription_requests(call: Call, project: Project, ask: NewRequests) -> Basket:
    """Ask for one listing or several; for all of them, or, where one cannot be, for none."""
    listings = [call.get(Listing, one.listing_id) for one in ask.listings]
    if len({one.id for one in listings}) < len(listings):
        raise InvalidInput("a listing is asked for twice; ask for it once")
    forms = checked_forms(call, ask.forms)
    basket = new_id("basket")
    made = [
        _made(call, project, listing, _terms(one), basket, ask.request_reason, forms)
        for listing, one in zip(listings, ask.listings, strict=True)
    ]
    call.tell(basket=basket, requests=[one.id for one in made], reason=ask.request_reason)
    return Basket(basket, [considered(call, one) for one in made])


@operation("GET", "/subscription-requests", Right.BROWSE)
def list_subscription_requests(
    call: Call, domain: Domain, ask: SubscriptionRequests
) -> Iterator[SubscriptionRequest]:
    """List requests, as far as you may look at them."""
    return call.shown(
        SubscriptionRequest,
        project_id=ask.project_id,
        owning_project_id=ask.owning_project_id,
        listing_id=ask.listing_id,
        basket=ask.basket,
        status=ask.status,
    )


@operation("GET", "/subscription-requests/{subscription_request_id}", Right.VIEW)
def get_subscription_request(call: Call, request: SubscriptionRequest) -> SubscriptionRequest:
    """Show a request."""
    return request


@operation("PATCH", "/subscription-requests/{subscription_request_id}", Right.CONSUME)
def update_subscription_request(
    call: Call, request: SubscriptionRequest, ask: ChangedRequest
) -> SubscriptionRequest:
    """Ask for something else of the same listing, as long as nobody has decided."""
    _require_pending(request)
    listing = call.get(Listing, request.listing_id)
    values = ask.given()
    reason = values.pop("request_reason", request.request_reason)
    changed: dict[str, Any] = {"request_reason": reason}
    if values.pop("forms", None) is not None:
        changed["forms"] = checked_forms(call, ask.forms or (), request.forms)
        _enforce(call, listing, changed["forms"])
    wanted = replace(request.wanted, **values)
    # Else who asks for more in somebody else's name could be their own second person.
    if set(wanted.unmasked) - set(request.wanted.unmasked) and call.who.id != request.created_by:
        raise Forbidden("only who made a request asks for more unmasked columns; make one yourself")
    call.tell(before=to_builtins(request.wanted), after=to_builtins(wanted))
    changed["wanted"] = checked(call, listing, wanted)
    if any(getattr(request, key) != value for key, value in changed.items()):
        changed["changed_at"] = call.now
    return considered(call, call.change(request, **changed))


@operation("DELETE", "/subscription-requests/{subscription_request_id}", Right.CONSUME)
def delete_subscription_request(call: Call, request: SubscriptionRequest) -> Done:
    """Ask no longer for what nobody has decided on."""
    _require_pending(request)
    call.tell(listing=request.listing_id, wanted=to_builtins(request.wanted))
    for comment in list(call.each(Comment, request_id=request.id)):
        call.remove(comment)
    call.remove(request)
    return Done()


@operation("POST", "/subscription-requests/{subscription_request_id}/accept", Right.REVIEW)
def accept_subscription_request(
    call: Call, request: SubscriptionRequest, ask: Acceptance
) -> SubscriptionRequest:
    """Give what is asked for, on terms that you name.

    Once a request was changed, `If-Match` says that the newest version is what you have read.
    """
    _require_pending(request)
    _require_read(call, request)
    refuse_own_case(call, request)
    if ask.unmasked:
        _require_second_person(call, request)
    if more := set(ask.unmasked) - set(request.wanted.unmasked):
        raise InvalidInput(f"nobody asked to see '{min(more):.100}' as it is; leave it out")
    wanted = request.wanted
    terms = replace(
        wanted,
        filter_ids=wanted.filter_ids if ask.filter_ids is None else ask.filter_ids,
        unmasked=ask.unmasked,
        expires_at=wanted.expires_at if ask.expires_at is None else ask.expires_at,
    )
    terms = _still_fit(call, request, terms)
    accepted, subscription = _accepted(call, request, terms, call.who.id, ask.comment)
    call.tell(
        before=S.PENDING,
        after=S.ACCEPTED,
        subscription=subscription.id,
        terms=to_builtins(subscription.terms),
        comment=ask.comment,
    )
    return accepted


@operation("POST", "/subscription-requests/{subscription_request_id}/reject", Right.REVIEW)
def reject_subscription_request(
    call: Call, request: SubscriptionRequest, ask: Rejection
) -> SubscriptionRequest:
    """Refuse what is asked for."""
    call.tell(before=request.status, after=S.REJECTED, comment=ask.comment)
    return _rejected(call, request, call.who.id, ask.comment)


def considered(call: Call, request: SubscriptionRequest) -> SubscriptionRequest:
    """Accept a PENDING request, as it asks, if a policy allows that without any reviewer.

    The policies are asked for whoever made the request, whoever calls. Call this whenever what they
    look at has changed: what is asked for, or the listing's classification.

    Returns:
        The request, ACCEPTED or as it was.
    """
    if request.status is not S.PENDING:
        return request
    decision = _by_policy(call, request)
    if not decision.is_allowed:
        return request
    try:
        terms = _still_fit(call, request, request.wanted)
    except (Conflict, InvalidInput):  # a reviewer may name others
        return request
    accepted, subscription = _accepted(call, request, terms, BY_POLICY, "")
    call.note_by_policy(
        "AcceptSubscriptionRequest",
        accepted,
        decision,
        before=S.PENDING,
        after=S.ACCEPTED,
        subscription=subscription.id,
        terms=to_builtins(subscription.terms),
    )
    return accepted


@job("expire-request")
def expire(attendant: Attendant, task: Job) -> int | None:
    """Reject a request that nobody has decided on in time."""
    id_ = task.subject_id
    attendant.act("ExpireSubscriptionRequest", task.kind, lambda call: _expired(call, id_))
    with attendant.reading() as reader:
        found = reader.find(SubscriptionRequest, id_)
    return found.expires_at if found and found.status is S.PENDING else None


def _expired(call: Call, id_: str) -> SubscriptionRequest | None:
    found = call.find(SubscriptionRequest, id=id_)
    if found is None or found.status is not S.PENDING or call.now < found.expires_at:
        return None
    call.tell(before=found.status, after=S.REJECTED)
    return _rejected(call, found, SYSTEM.id, "nobody decided in time; ask again")


def _terms(one: WantedListing) -> Terms:
    given_terms = one.given()
    del given_terms["listing_id"]
    return Terms(**given_terms)


def _made(
    call: Call,
    project: Project,
    listing: Listing,
    wanted: Terms,
    basket: str,
    reason: str,
    forms: tuple[Form, ...],
) -> SubscriptionRequest:
    if listing.status is not ListingStatus.ACTIVE:
        raise Conflict(f"'{listing.name}' is not published; nobody can ask for it")
    if listing.owning_project_id == project.id:
        raise InvalidInput(f"'{listing.name}' is this project's own; it needs no subscription")
    _refuse_second(call, project, listing)
    _enforce(call, listing, forms)
    require_score(call, listing)
    expires_s = guardrails_of(call, listing.owning_project_id).request_expires_s
    made = call.add(
        SubscriptionRequest,
        basket=basket,
        listing_id=listing.id,
        listing_version=listing.version,
        entity_id=listing.entity_id,
        project_id=project.id,
        owning_project_id=listing.owning_project_id,
        classification=listing.classification,
        request_reason=reason,
        forms=forms,
        wanted=checked(call, listing, wanted),
        expires_at=call.now + expires_s * 1_000_000,
    )
    later(call, "expire-request", made.id, due_at=made.expires_at)
    return made


def _refuse_second(call: Call, project: Project, listing: Listing) -> None:
    keys = {"listing_id": listing.id, "project_id": project.id}
    if request := call.find(SubscriptionRequest, status=S.PENDING, **keys):
        raise Conflict(
            f"'{project.name}' asks for '{listing.name}' already, by '{request.id}'; change that "
            "or delete it",
            request=request.id,
        )
    if subscription := call.find(Subscription, status=LIVE, **keys):
        raise Conflict(
            f"'{project.name}' has '{listing.name}' already, by '{subscription.id}'; to get other "
            "terms, cancel it and ask again",
            subscription=subscription.id,
        )


def _enforce(call: Call, listing: Listing, forms: tuple[Form, ...]) -> None:
    asset = call.find(Asset, id=listing.entity_id)
    entity = asset or call.find(DataProduct, id=listing.entity_id)
    enforced(
        call,
        listing.owning_project_id,
        RuleAction.CREATE_SUBSCRIPTION_REQUEST,
        asset_type=asset.asset_type if asset else "",
        forms=forms,
        glossary_terms=entity.glossary_terms if entity else (),
    )


def _by_policy(call: Call, request: SubscriptionRequest) -> Decision:
    try:
        return call.seen_by(request.created_by).decide(_BY_POLICY, request)
    except Unauthenticated:  # who asked is gone; somebody looks at it
        return Decision(is_allowed=False, policies=())


def _still_fit(call: Call, request: SubscriptionRequest, terms: Terms) -> Terms:
    listing = call.find(Listing, id=request.listing_id)
    if listing is None or listing.status is not ListingStatus.ACTIVE:
        raise Conflict("what is asked for is not published any more; reject the request")
    require_score(call, listing)
    return checked(call, listing, terms)


def _accepted(
    call: Call, request: SubscriptionRequest, terms: Terms, reviewer_id: str, comment: str
) -> tuple[SubscriptionRequest, Subscription]:
    subscription = held_to_terms(call, given(call, request, terms, reviewer_id))
    accepted = call.change(
        request,
        status=S.ACCEPTED,
        decided=subscription.terms,
        reviewer_id=reviewer_id,
        decision_comment=comment,
    )
    return accepted, subscription


def _rejected(
    call: Call, request: SubscriptionRequest, reviewer_id: str, comment: str
) -> SubscriptionRequest:
    _require_pending(request)
    return call.change(
        request, status=S.REJECTED, reviewer_id=reviewer_id, decision_comment=comment
    )


def _require_pending(request: SubscriptionRequest) -> None:
    if request.status is not S.PENDING:
        raise Conflict(
            f"the request was {request.status} by '{request.reviewer_id}'", status=request.status
        )


def _require_read(call: Call, request: SubscriptionRequest) -> None:
    """See that nobody accepts more than what they have read, because it was changed meanwhile."""
    if request.changed_at and not call.version:
        raise Conflict(
            f"the request was changed since it was made; read it, and accept version "
            f"{request.version} by If-Match (--if-match {request.version}); * does not say that",
            version=request.version,
        )


def _require_second_person(call: Call, request: SubscriptionRequest) -> None:
    if call.who.kind != "User":
        raise Forbidden("only a person unmasks personal data; have one of your owners decide")
    if call.who.id == request.created_by:
        raise Forbidden("who asks for unmasked data does not allow it; have somebody else decide")
