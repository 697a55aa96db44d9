"""Subscriptions: who may read what, on which terms, until when.

    APPROVED <-> SUSPENDED                      while data are worse than asked for, or the like
    either   -> REVOKED | CANCELLED | EXPIRED   by who gives, by who reads, by the clock; for good

`given`, `suspended`, `resumed` and `ended` are the only ways. Each takes effect at once, as readers
look at the subscription itself, and tells the audit who has access from then on; grants follow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from msgspec import to_builtins

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.audit.access import Kind
from atoll.mesh.model.access import (
    LIVE,
    Subscription,
    SubscriptionGrantStatus,
    SubscriptionRequest,
    SubscriptionStatus,
    Terms,
)
from atoll.mesh.model.catalog import AssetFilter, Listing
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Domain
from atoll.mesh.model.record import Moment, Remark, moved
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import Attendant, job, later
from atoll.mesh.operations.registry import Ask, Page, Right, operation
from atoll.mesh.service.delegations import refuse_own_case
from atoll.mesh.service.grants import (
    granted,
    grants_of,
    held,
    note_access,
    retried,
    revoked,
)
from atoll.mesh.service.targets import targets_of
from atoll.mesh.service.terms import (
    Columns,
    FilterIds,
    checked,
    columns_of,
    latest_end,
    listed_assets,
)

S = SubscriptionStatus
_ENDS = (S.REVOKED, S.CANCELLED, S.EXPIRED)
SUBSCRIPTION_EDGES: dict[S, tuple[S, ...]] = {
    S.APPROVED: (S.SUSPENDED, *_ENDS),
    S.SUSPENDED: (S.APPROVED, *_ENDS),
    **dict.fromkeys(_ENDS, ()),
}
End = Literal[S.REVOKED, S.CANCELLED, S.EXPIRED]
_KINDS: dict[S, Kind] = {
    S.APPROVED: "RESUMED",
    S.SUSPENDED: "SUSPENDED",
    S.REVOKED: "REVOKED",
    S.CANCELLED: "CANCELLED",
    S.EXPIRED: "EXPIRED",
}


class Subscriptions(Page, frozen=True, kw_only=True):
    """Which subscriptions."""

    project_id: str = ""
    owning_project_id: str = ""
    listing_id: str = ""
    status: SubscriptionStatus | None = None


class Farewell(Ask, frozen=True, kw_only=True):
    """Why it ends."""

    comment: Remark = ""


class ChangedTerms(Ask, frozen=True, kw_only=True):
    """Other terms; what is left out stays.

    Attributes:
        filter_ids: filters through which data are read; none: the whole table.
        unmasked: those of the unmasked columns that stay so; another takes a request.
        expires_at: microseconds since the epoch; 0: never, or as late as the guardrails allow.
        takes_current_columns: whether the columns that are published now are shown, not those
            that were when access was given. An asset that a data product got since then is not.
    """

    filter_ids: FilterIds | None = None
    unmasked: Columns | None = None
    expires_at: Moment | None = None
    takes_current_columns: bool = False
    comment: Remark = ""


@operation("GET", "/subscriptions", Right.BROWSE)
def list_subscriptions(call: Call, domain: Domain, ask: Subscriptions) -> Iterator[Subscription]:
    """List who may read what, as far as you may look at it."""
    return call.shown(
        Subscription,
        project_id=ask.project_id,
        owning_project_id=ask.owning_project_id,
        listing_id=ask.listing_id,
        status=ask.status,
    )


@operation("GET", "/subscriptions/{subscription_id}", Right.VIEW)
def get_subscription(call: Call, subscription: Subscription) -> Subscription:
    """Show a subscription."""
    return subscription


@operation("POST", "/subscriptions/{subscription_id}/revoke", Right.REVOKE)
def revoke_subscription(call: Call, subscription: Subscription, ask: Farewell) -> Subscription:
    """Take access away, at once and for good."""
    call.tell(before=subscription.status, comment=ask.comment)
    return ended(call, subscription, S.REVOKED, ask.comment)


@operation("POST", "/subscriptions/{subscription_id}/cancel", Right.CONSUME)
def cancel_subscription(call: Call, subscription: Subscription, ask: Farewell) -> Subscription:
    """Give access back that your project does not need any more."""
    call.tell(before=subscription.status, comment=ask.comment)
    return ended(call, subscription, S.CANCELLED, ask.comment)


@operation("PATCH", "/subscriptions/{subscription_id}/terms", Right.REVIEW)
def update_subscription_terms(
    call: Call, subscription: Subscription, ask: ChangedTerms
) -> Subscription:
    """Let data be read through other filters, with the columns of now, or until another time."""
    refuse_own_case(call, subscription)
    if subscription.status not in LIVE:
        raise Conflict(f"the subscription is {subscription.status}; its terms are history")
    listing = call.find(Listing, id=subscription.listing_id)
    if listing is None:
        raise Conflict("what is subscribed to is not listed any more; revoke the subscription")
    terms = _changed_terms(call, listing, subscription, ask)
    columns = subscription.columns
    if ask.takes_current_columns:
        now = {one.id: columns_of(one) for one in listed_assets(call, listing)}
        columns = {id_: now.get(id_, names) for id_, names in columns.items()}
        _refuse_unmasked(subscription.columns, columns, terms)
    call.tell(
        before=to_builtins(subscription.terms),
        after=to_builtins(terms),
        takes_current_columns=ask.takes_current_columns,
        comment=ask.comment,
    )
    changed = call.change(subscription, terms=terms, columns=columns)
    note_access(call, "TERMS_CHANGED", changed, held(call, changed), why=ask.comment)
    for grant in grants_of(call, changed):
        if grant.status is SubscriptionGrantStatus.GRANT_FAILED:
            retried(call, grant)
    _end_in_time(call, changed)
    return changed


def given(call: Call, request: SubscriptionRequest, terms: Terms, approved_by: str) -> Subscription:
    """Let the project that asked read what it asked for; grants begin at all its targets.

    Args:
        call: the moment.
        request: what was asked for.
        terms: `checked` ones; without an end they get the latest one that guardrails allow.
        approved_by: who allowed it, `BY_POLICY` where a policy did.
    """
    listing = call.find(Listing, id=request.listing_id)
    if listing is None:
        raise Conflict("what is asked for is not listed any more")
    assets = listed_assets(call, listing)
    end = terms.expires_at or latest_end(call, request.owning_project_id)
    made = call.add(
        Subscription,
        request_id=request.id,
        listing_id=listing.id,
        entity_id=listing.entity_id,
        project_id=request.project_id,
        owning_project_id=request.owning_project_id,
        terms=replace(terms, expires_at=end),
        columns={one.id: columns_of(one) for one in assets},
        approved_by=approved_by,
    )
    for target in targets_of(call, request.project_id):
        granted(call, made, target, assets)
    _end_in_time(call, made)
    return made


def suspended(call: Call, subscription: Subscription, why: str) -> Subscription:
    """Keep a subscription from being read by, until `resumed`.

    Raises:
        Conflict: it is not APPROVED.
    """
    return _moved(call, subscription, S.SUSPENDED, comment=why)


def resumed(call: Call, subscription: Subscription) -> Subscription:
    """Let a suspended subscription be read by again.

    Raises:
        Conflict: it is not SUSPENDED.
    """
    return _moved(call, subscription, S.APPROVED, comment="")


def ended(call: Call, subscription: Subscription, status: End, why: str) -> Subscription:
    """Take access away for good, at once; grants follow.

    Args:
        call: the moment; its caller is who ended it.
        subscription: which.
        status: how it ends.
        why: in words, up to 2,000 characters.

    Raises:
        Conflict: it has ended already.
    """
    changed = _moved(call, subscription, status, comment=why, ended_by=call.who.id)
    for grant in grants_of(call, changed):
        revoked(call, grant, changed, changed.columns.keys())
    return changed


def masked_again(call: Call, asset_id: str, columns: Collection[str]) -> None:
    """Mask columns that are gone, or of another type: one so named may hold something else."""
    for one in list(call.each(Subscription, columns=asset_id, status=LIVE)):
        kept = tuple(name for name in one.terms.unmasked if name not in columns)
        if kept != one.terms.unmasked:
            changed = call.change(one, terms=replace(one.terms, unmasked=kept))
            why = "an unmasked column is not the same any more"
            note_access(call, "TERMS_CHANGED", changed, held(call, changed), why=why)


@job("expire-subscription")
def expire(attendant: Attendant, task: Job) -> int | None:
    """End access whose time is over; it may have been put off, or the clock be set back."""
    id_ = task.subject_id
    attendant.act("ExpireSubscription", task.kind, lambda call: _expired(call, id_))
    with attendant.reading() as reader:
        found = reader.find(Subscription, id_)
    return found.terms.expires_at or None if found and found.status in LIVE else None


def _expired(call: Call, id_: str) -> Subscription | None:
    found = call.find(Subscription, id=id_)
    if found is None or found.status not in LIVE or not 0 < found.terms.expires_at <= call.now:
        return None
    call.tell(before=found.status)
    return ended(call, found, S.EXPIRED, "its time is over")


def _end_in_time(call: Call, subscription: Subscription) -> None:
    if end := subscription.terms.expires_at:
        later(call, "expire-subscription", subscription.id, due_at=end)


def _changed_terms(
    call: Call, listing: Listing, subscription: Subscription, ask: ChangedTerms
) -> Terms:
    before = subscription.terms
    unmasked = before.unmasked if ask.unmasked is None else ask.unmasked
    if more := set(unmasked) - set(before.unmasked):
        raise InvalidInput(
            f"'{min(more):.100}' is masked; to unmask a column takes a request that names it"
        )
    ids = before.filter_ids if ask.filter_ids is None else tuple(dict.fromkeys(ask.filter_ids))
    _refuse_opened(call, listing, subscription, set(before.filter_ids) - set(ids))
    # What stays is not held against what came later: guardrails, other tables, other items.
    new = tuple(one for one in ids if one not in before.filter_ids)
    checked(call, listing, Terms(filter_ids=new, expires_at=ask.expires_at or 0))
    end = before.expires_at
    if ask.expires_at is not None:
        end = ask.expires_at or latest_end(call, listing.owning_project_id)
    return replace(before, filter_ids=ids, unmasked=tuple(dict.fromkeys(unmasked)), expires_at=end)


def _refuse_opened(
    call: Call, listing: Listing, subscription: Subscription, left_out: Collection[str]
) -> None:
    """See that no table is read as a whole because its filter was left out unseen.

    Who decides sees the assets that are listed now; a subscription goes on for those that were
    listed when it was given.
    """
    gone = subscription.columns.keys() - {one.id for one in listed_assets(call, listing)}
    for id_ in sorted(left_out) if gone else ():
        found = call.find(AssetFilter, id=id_)
        if found is None or found.asset_id in gone:
            raise InvalidInput(
                f"the filter '{found.name if found else id_}' narrows what '{listing.name}' does "
                "not show any more and this subscription still reads; name it, too, or revoke the "
                "subscription",
                id=id_,
            )


def _refuse_unmasked(
    before: Mapping[str, tuple[str, ...]], after: Mapping[str, tuple[str, ...]], terms: Terms
) -> None:
    """See that no column is new that would be unmasked by the name of an older one."""
    new = {name for id_, names in after.items() for name in set(names) - set(before[id_])}
    if found := new & set(terms.unmasked):
        raise InvalidInput(
            f"'{min(found):.100}' is unmasked where it was asked for, and is new elsewhere; leave "
            "it out of `unmasked`, or have it asked for anew"
        )


def _moved(
    call: Call, subscription: Subscription, to: SubscriptionStatus, **values: str
) -> Subscription:
    moved("the subscription", subscription.status, to, SUBSCRIPTION_EDGES)
    changed = call.change(subscription, status=to, **values)
    note_access(call, _KINDS[to], changed, held(call, changed))
    return changed
