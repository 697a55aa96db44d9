"""Grants: how a subscription is made to hold, one at each target of the project that reads.

    GRANT_PENDING -> GRANT_IN_PROGRESS -> GRANTED | GRANT_FAILED          one asset of a grant
    REVOKE_PENDING -> REVOKE_IN_PROGRESS -> REVOKED | REVOKE_FAILED       its access is to end

A grant as a whole stands where its assets stand: see `overall`. It is INACCESSIBLE where somebody
still has a subscription, but something of it was taken from under them. What the mesh's own doors
do is in `granting`; at other targets somebody outside does it and reports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from atoll.core.errors import Conflict, InvalidInput
from atoll.mesh.audit.access import AccessChange, Kind, change_details
from atoll.mesh.model.access import (
    LIVE,
    AssetGrantStatus,
    GrantedAsset,
    Subscription,
    SubscriptionGrant,
    SubscriptionGrantStatus,
    SubscriptionRequest,
    SubscriptionStatus,
    SubscriptionTarget,
)
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.organisation import Association, Domain, Environment, EnvironmentStatus
from atoll.mesh.model.record import Id, Remark, moved
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import later
from atoll.mesh.operations.registry import Ask, Page, Right, operation
from atoll.mesh.service.access import is_at_the_doors, is_within_reach
from atoll.mesh.service.terms import filters_of

S = AssetGrantStatus
G = SubscriptionGrantStatus
ASSET_EDGES: dict[S, tuple[S, ...]] = {
    S.GRANT_PENDING: (S.GRANT_IN_PROGRESS, S.REVOKE_PENDING),
    S.GRANT_IN_PROGRESS: (S.GRANTED, S.GRANT_FAILED, S.REVOKE_PENDING),
    S.GRANTED: (S.REVOKE_PENDING,),
    S.GRANT_FAILED: (S.GRANT_PENDING, S.GRANT_IN_PROGRESS, S.REVOKE_PENDING),
    S.REVOKE_PENDING: (S.REVOKE_IN_PROGRESS,),
    S.REVOKE_IN_PROGRESS: (S.REVOKED, S.REVOKE_FAILED),
    S.REVOKE_FAILED: (S.REVOKE_PENDING, S.REVOKE_IN_PROGRESS),
    S.REVOKED: (S.GRANT_PENDING,),
}
_FAILED = (G.GRANT_FAILED, G.REVOKE_FAILED, G.GRANT_AND_REVOKE_FAILED)
GRANT_EDGES: dict[G, tuple[G, ...]] = {
    G.PENDING: (G.IN_PROGRESS, G.INACCESSIBLE),
    G.IN_PROGRESS: (G.PENDING, G.COMPLETED, *_FAILED, G.INACCESSIBLE),
    G.COMPLETED: (G.PENDING, G.INACCESSIBLE),
    **dict.fromkeys(_FAILED, (G.PENDING, G.IN_PROGRESS, G.INACCESSIBLE)),
    G.INACCESSIBLE: (G.PENDING, G.IN_PROGRESS, G.COMPLETED, G.REVOKE_FAILED),
}
_REVOKING = (S.REVOKE_PENDING, S.REVOKE_IN_PROGRESS, S.REVOKED, S.REVOKE_FAILED)
_EVENTS: dict[Kind, str] = {
    "GRANTED": "GrantAccess",
    "TERMS_CHANGED": "ChangeAccess",
    "SUSPENDED": "SuspendAccess",
    "RESUMED": "ResumeAccess",
    "REVOKED": "EndAccess",
    "CANCELLED": "EndAccess",
    "EXPIRED": "EndAccess",
}


class SubscriptionGrants(Page, frozen=True, kw_only=True):
    """Which grants."""

    project_id: str = ""
    owning_project_id: str = ""
    subscription_id: str = ""
    target_id: str = ""
    status: SubscriptionGrantStatus | None = None


class GrantReport(Ask, frozen=True, kw_only=True):
    """What somebody outside has done for one asset of a grant.

    Attributes:
        failure_cause: why it failed, where it did; both sides read it.
    """

    asset_id: Id
    status: AssetGrantStatus
    failure_cause: Remark = ""


@operation("GET", "/subscription-grants", Right.BROWSE)
def list_subscription_grants(
    call: Call, domain: Domain, ask: SubscriptionGrants
) -> Iterator[SubscriptionGrant]:
    """List how subscriptions are made to hold, as far as you may look at them."""
    return call.shown(
        SubscriptionGrant,
        project_id=ask.project_id,
        owning_project_id=ask.owning_project_id,
        subscription_id=ask.subscription_id,
        target_id=ask.target_id,
        status=ask.status,
    )


@operation("GET", "/subscription-grants/{subscription_grant_id}", Right.VIEW)
def get_subscription_grant(call: Call, grant: SubscriptionGrant) -> SubscriptionGrant:
    """Show how a subscription is made to hold at one target, and what stands in its way."""
    return grant


@operation("POST", "/subscription-grants/{subscription_grant_id}/retry", Right.CONSUME)
def retry_subscription_grant(call: Call, grant: SubscriptionGrant) -> SubscriptionGrant:
    """Try again, now, what has failed, and what was taken away for a reason that is gone."""
    changed = retried(call, grant)
    if changed is grant:
        raise Conflict(f"nothing of this grant can be tried again; it is {grant.status}")
    call.tell(before=grant.status, after=changed.status)
    return changed


@operation("POST", "/subscription-grants/{subscription_grant_id}/status", Right.CONTRIBUTE)
def update_subscription_grant_status(
    call: Call, grant: SubscriptionGrant, ask: GrantReport
) -> SubscriptionGrant:
    """Report what was done for one asset at a target outside of the mesh."""
    if is_at_the_doors(call.reader, grant):
        raise Conflict("this grant is made to hold by the mesh itself, and needs no report")
    before = next((one for one in grant.assets if one.asset_id == ask.asset_id), None)
    if before is None:
        raise InvalidInput(f"there is no asset '{ask.asset_id}' in this grant", id=ask.asset_id)
    if ask.status in (S.GRANT_PENDING, S.REVOKE_PENDING):
        raise InvalidInput(f"{ask.status} is for the mesh to say; report what was begun or done")
    call.tell(asset=ask.asset_id, before=before.status, after=ask.status)
    steps = {ask.asset_id: (ask.status, ask.failure_cause)}
    return stepped(call, grant, subscription_of(call, grant), steps)


def granted(
    call: Call, subscription: Subscription, target: SubscriptionTarget, assets: Sequence[Asset]
) -> None:
    """Begin a grant at a target, of those assets that the target is for, if it can be reached."""
    wanted = [one.id for one in assets if _is_for(target, one)]
    if not wanted or not _is_reachable(call, target):
        return
    made = call.add(
        SubscriptionGrant,
        subscription_id=subscription.id,
        target_id=target.id,
        project_id=subscription.project_id,
        owning_project_id=subscription.owning_project_id,
        assets=tuple(map(GrantedAsset, wanted)),
    )
    _have_done(call, made)


def revoked(
    call: Call,
    grant: SubscriptionGrant,
    subscription: Subscription,
    asset_ids: Collection[str],
    *,
    why: str = "",
) -> None:
    """Have assets of a grant taken away; who reads notices at once, its states follow."""
    steps = {
        one.asset_id: (S.REVOKE_PENDING, "")
        for one in grant.assets
        if one.asset_id in asset_ids and one.status not in _REVOKING
    }
    # Also without a step: that nobody has the subscription any more changes what it is as a whole.
    _have_done(call, stepped(call, grant, subscription, steps, why=why))


def retried(call: Call, grant: SubscriptionGrant) -> SubscriptionGrant:
    """Have done again what failed, or what was taken away and can be given again, if anything."""
    subscription = subscription_of(call, grant)
    target = call.find(SubscriptionTarget, id=grant.target_id)
    can_hold = subscription.status in LIVE and target is not None and _is_reachable(call, target)
    steps = {}
    for one in grant.assets:
        if one.status is S.REVOKE_FAILED:
            steps[one.asset_id] = (S.REVOKE_PENDING, "")
        elif can_hold and (one.status is S.GRANT_FAILED or _is_back(call, one)):
            steps[one.asset_id] = (S.GRANT_PENDING, "")
    if not steps:
        return grant
    changed = stepped(call, grant, subscription, steps)
    _have_done(call, changed)
    return changed


def inaccessible(call: Call, association: Association) -> None:
    """Take away all access to what lies in a storage that belongs to the domain no longer."""
    # Other projects have assets there in their environments.
    others = call.values(Environment, "project_id", storage_id=association.id)
    owners = {association.project_id, *others}
    for subscription in list(call.each(Subscription, owning_project_id=owners, status=LIVE)):
        lost = {
            id_
            for id_ in subscription.columns
            if (asset := call.find(Asset, id=id_)) and asset.association_id == association.id
        }
        for grant in grants_of(call, subscription) if lost else ():
            revoked(call, grant, subscription, lost, why="its storage is not associated any more")


def emptied(call: Call, target: SubscriptionTarget, *, why: str) -> None:
    """Have all that is granted at a target taken away there."""
    for grant in list(call.each(SubscriptionGrant, target_id=target.id)):
        ids = [one.asset_id for one in grant.assets]
        revoked(call, grant, subscription_of(call, grant), ids, why=why)


def stepped(
    call: Call,
    grant: SubscriptionGrant,
    subscription: Subscription,
    steps: Mapping[str, tuple[AssetGrantStatus, str]],
    *,
    why: str = "",
) -> SubscriptionGrant:
    """Move assets of a grant, and the grant with them; tell the audit who has access from now on.

    Args:
        call: the moment.
        grant: whose assets.
        subscription: as it stands now.
        steps: by the ids of assets: the next state, and the cause of a failure.
        why: access ends by this though the subscription has not ended.

    Raises:
        Conflict: there is no such edge.
    """
    before = held(call, subscription)
    assets = tuple(
        _moved(one, *steps[one.asset_id], now=call.now) if one.asset_id in steps else one
        for one in grant.assets
    )
    status = overall(assets, is_live=subscription.status in LIVE)
    if status is not grant.status:
        moved("the grant", grant.status, status, GRANT_EDGES)
    changed = call.change(grant, assets=assets, status=status)
    after = held(call, subscription)
    note_access(call, "GRANTED", subscription, after - before)
    if subscription.status is SubscriptionStatus.SUSPENDED:
        note_access(call, "SUSPENDED", subscription, after - before)
    if subscription.status in LIVE:  # of one that has ended, whoever ended it has told
        note_access(call, "REVOKED", subscription, before - after, why=why)
    return changed


def overall(assets: Sequence[GrantedAsset], *, is_live: bool) -> SubscriptionGrantStatus:
    """Tell where a grant stands as a whole.

    Args:
        assets: where each of them stands.
        is_live: whether its subscription has not ended.

    >>> one = GrantedAsset("a", S.GRANTED), GrantedAsset("b", S.GRANT_FAILED)
    >>> overall(one, is_live=True).value
    'GRANT_FAILED'
    """
    states = {one.status for one in assets}
    if is_live and states & {*_REVOKING}:
        return G.INACCESSIBLE
    if states & {S.GRANT_IN_PROGRESS, S.REVOKE_IN_PROGRESS}:
        return G.IN_PROGRESS
    if states & {S.GRANT_PENDING, S.REVOKE_PENDING}:
        return G.PENDING
    if {S.GRANT_FAILED, S.REVOKE_FAILED} <= states:
        return G.GRANT_AND_REVOKE_FAILED
    if S.GRANT_FAILED in states:
        return G.GRANT_FAILED
    return G.REVOKE_FAILED if S.REVOKE_FAILED in states else G.COMPLETED


def held(call: Call, subscription: Subscription) -> set[str]:
    """Return the ids of the assets that are granted by a subscription, at one target or more."""
    grants = grants_of(call, subscription)
    return {one.asset_id for grant in grants for one in grant.assets if one.status is S.GRANTED}


def grants_of(call: Call, subscription: Subscription) -> list[SubscriptionGrant]:
    """List the grants of a subscription, one for each target."""
    return list(call.each(SubscriptionGrant, subscription_id=subscription.id))


def subscription_of(call: Call, grant: SubscriptionGrant) -> Subscription:
    """Return what a grant makes hold."""
    found = call.find(Subscription, id=grant.subscription_id)
    assert found is not None  # they are never removed
    return found


def note_access(
    call: Call, kind: Kind, subscription: Subscription, asset_ids: Collection[str], *, why: str = ""
) -> None:
    """Tell the audit what happened to a subscription's access, an event for each asset."""
    terms = subscription.terms
    for asset_id in sorted(asset_ids):
        change = AccessChange(
            kind,
            asset_id,
            subscription.id,
            project=subscription.project_id,
            filters=tuple(one.id for one in filters_of(call, terms, asset_id)),
            unmasked=subscription.unmasked_of(asset_id),
            why=why or _reason(call, subscription, kind),
            until=terms.expires_at or None,
            granted_by=subscription.approved_by if kind == "GRANTED" else "",
        )
        details = change_details(change)
        call.note(_EVENTS[kind], subscription, asset_id=asset_id, **details)


def _moved(one: GrantedAsset, to: AssetGrantStatus, cause: str, *, now: int) -> GrantedAsset:
    moved(f"the grant of asset '{one.asset_id}'", one.status, to, ASSET_EDGES)
    changed = replace(one, status=to)
    match to:
        case S.GRANT_PENDING | S.REVOKE_PENDING:
            return replace(changed, attempts=0, failure_cause="")
        case S.GRANT_IN_PROGRESS | S.REVOKE_IN_PROGRESS:
            return replace(changed, attempts=one.attempts + 1)
        case S.GRANTED:
            return replace(changed, attempts=0, failure_cause="", granted_at=now)
        case S.REVOKED:
            return replace(changed, attempts=0, failure_cause="", revoked_at=now)
        case _:
            return replace(changed, failure_cause=cause)


def _reason(call: Call, subscription: Subscription, kind: Kind) -> str:
    if kind != "GRANTED":
        return subscription.comment
    request = call.find(SubscriptionRequest, id=subscription.request_id)
    return request.request_reason if request else ""


def _have_done(call: Call, grant: SubscriptionGrant) -> None:
    if is_at_the_doors(call.reader, grant):
        later(call, "grant", grant.id)


def _is_for(target: SubscriptionTarget, asset: Asset) -> bool:
    return not target.asset_types or asset.asset_type in target.asset_types


def _is_reachable(call: Call, target: SubscriptionTarget) -> bool:
    if not target.environment_id:
        return True
    found = call.find(Environment, id=target.environment_id)
    return found is not None and found.status is not EnvironmentStatus.INACCESSIBLE


def _is_back(call: Call, one: GrantedAsset) -> bool:
    asset = call.find(Asset, id=one.asset_id)
    return one.status is S.REVOKED and asset is not None and is_within_reach(call.reader, asset)
