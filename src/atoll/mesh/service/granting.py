"""What the mesh's own doors do for a grant: see that what it promises can be read.

Nothing is copied, and no rights are given in any store: the doors ask `access.reads` at every
query. So to grant is to look whether a query would go well, and to revoke takes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from atoll.compute.deadlines import in_time
from atoll.core.errors import AtollError, Forbidden, InvalidInput, NotFound, Unavailable
from atoll.mesh.filters.views import combined, from_json
from atoll.mesh.harvest.arrowtypes import arrow_schema
from atoll.mesh.harvest.listing import check_location
from atoll.mesh.model.access import (
    AssetGrantStatus,
    Subscription,
    SubscriptionGrant,
)
from atoll.mesh.model.catalog import Asset
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.organisation import Association
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import GRANTS, GRANTS_AGAIN, Attendant, job, later
from atoll.mesh.operations.tools import Tools
from atoll.mesh.service.access import filters_fit, is_within_reach
from atoll.mesh.service.grants import stepped, subscription_of
from atoll.mesh.service.terms import filters_of
from atoll.mesh.store.reading import Reader

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 3600
MAX_ATTEMPTS = 36  # over a day, with these waits; then somebody must ask for it again
STORE_S = 5.0  # other grants wait so long for a store that does not answer
CHECK_S = 30.0  # a mount that hangs has no such limit of its own
MOST_UNANSWERED = 4  # looks into a storage that have not come back: each is a thread
FAILURES_TOLD = 50
S = AssetGrantStatus
_BEGINS = {
    S.GRANT_PENDING: S.GRANT_IN_PROGRESS,
    S.GRANT_FAILED: S.GRANT_IN_PROGRESS,
    S.REVOKE_PENDING: S.REVOKE_IN_PROGRESS,
    S.REVOKE_FAILED: S.REVOKE_IN_PROGRESS,
}


@job("grant", lane=GRANTS)
def settle(attendant: Attendant, task: Job) -> None:
    """Make a grant hold, or end."""
    attendant.act("BeginSubscriptionGrant", task.kind, lambda call: _begun(call, task))
    with attendant.reading() as reader:
        places = list(_places(reader, task.subject_id))
    troubles = _troubles(attendant.tools, places)
    attendant.act("SettleSubscriptionGrant", task.kind, lambda call: _settled(call, task, troubles))


@job("grant-again", lane=GRANTS_AGAIN)
def settle_again(attendant: Attendant, task: Job) -> None:
    """Try once more where a store did not let us in; others do not wait for that one again."""
    settle(attendant, task)


def _begun(call: Call, task: Job) -> SubscriptionGrant | None:
    grant = call.find(SubscriptionGrant, id=task.subject_id)
    steps = {
        one.asset_id: (_BEGINS[one.status], "")
        for one in (grant.assets if grant else ())
        if one.status in _BEGINS
    }
    if grant is None or not steps:
        return None
    return _told(call, grant, stepped(call, grant, subscription_of(call, grant), steps))


def _places(reader: Reader, grant_id: str) -> Iterator[tuple[Asset, Association]]:
    grant = reader.find(SubscriptionGrant, grant_id)
    for one in grant.assets if grant else ():
        asset = reader.find(Asset, one.asset_id)
        storage = reader.find(Association, asset.association_id) if asset else None
        if one.status is S.GRANT_IN_PROGRESS and asset and storage:
            yield asset, storage


def _troubles(tools: Tools, places: Sequence[tuple[Asset, Association]]) -> dict[str, str]:
    """Say, by the ids of assets, why their files cannot be read; of those that can, nothing."""
    found, silent = dict[str, str](), dict[str, str]()
    for asset, storage in places:
        try:
            if storage.id not in silent:
                _check(tools, asset, storage)
            else:
                found[asset.id] = silent[storage.id]
        except AtollError as error:
            logger.warning("an asset cannot be granted asset=%s: %s", asset.id, error.message)
            found[asset.id] = _told_of(error)
            if isinstance(error, Unavailable):  # the next one would be waited for as long
                silent[storage.id] = found[asset.id]
    return found


def _check(tools: Tools, asset: Asset, storage: Association) -> None:
    options = replace(
        tools.options_of(storage), timeout_s=STORE_S, connect_timeout_s=STORE_S, retries=0
    )
    place = asset.external_identifier
    if tools.unanswered.count(storage.id) >= MOST_UNANSWERED:
        raise Unavailable(f"{place} was asked for before, and has not answered yet")
    tools.unanswered.append(storage.id)

    def check() -> None:
        try:
            check_location(place, options)
        finally:
            tools.unanswered.remove(storage.id)

    in_time(check, CHECK_S, place)


def _told_of(error: AtollError) -> str:
    """Say what both sides may read: nothing of where data are."""
    if isinstance(error, NotFound):
        return "nothing lies where its data should be"
    if isinstance(error, Forbidden):
        return "its storage does not let the mesh in"
    return "its storage does not answer, or cannot be reached"


def _settled(call: Call, task: Job, troubles: Mapping[str, str]) -> SubscriptionGrant | None:
    grant = call.find(SubscriptionGrant, id=task.subject_id)
    if grant is None:
        return None
    subscription = subscription_of(call, grant)
    steps = dict(_ends(call, grant, subscription, troubles))
    if not steps:
        return None
    changed = stepped(call, grant, subscription, steps)
    failed = [one for one in changed.assets if one.asset_id in steps and one.failure_cause]
    known = {one.asset_id: one.failure_cause for one in grant.assets}
    if new := [one for one in failed if one.failure_cause != known[one.asset_id]]:
        told = [{"asset": one.asset_id, "cause": one.failure_cause} for one in new]
        call.note("FailSubscriptionGrant", grant, failures=len(told), failed=told[:FAILURES_TOLD])
    attempts = [one.attempts for one in failed if one.asset_id in troubles]
    if attempts and min(attempts) < MAX_ATTEMPTS:
        wait_s = min(2 ** (min(attempts) - 1), LONGEST_WAIT_S)
        later(call, "grant-again", grant.id, due_at=call.now + wait_s * 1_000_000)
    return _told(call, grant, changed)


def _ends(
    call: Call, grant: SubscriptionGrant, subscription: Subscription, troubles: Mapping[str, str]
) -> Iterator[tuple[str, tuple[AssetGrantStatus, str]]]:
    for one in grant.assets:
        if one.status is S.REVOKE_IN_PROGRESS:
            yield one.asset_id, (S.REVOKED, "")
        elif one.status is S.GRANT_IN_PROGRESS:
            cause = _obstacle(call, subscription, one.asset_id) or troubles.get(one.asset_id, "")
            yield one.asset_id, (S.GRANT_FAILED if cause else S.GRANTED, cause)


def _obstacle(call: Call, subscription: Subscription, asset_id: str) -> str:
    """Say what the catalog holds against reading an asset; empty: nothing."""
    asset = call.find(Asset, id=asset_id)
    if asset is None:
        return "the asset is not there any more"
    if not is_within_reach(call.reader, asset):
        return "its storage is not associated with the domain any more"
    if not filters_fit(call.reader, subscription, asset_id):
        return "a filter through which it would be read does not fit its table any more"
    filters = filters_of(call, subscription.terms, asset_id)
    try:
        if filters:
            combined([from_json(one.definition) for one in filters], arrow_schema(asset.technical))
    except InvalidInput as error:  # it may name columns that only the owner knows of
        logger.warning("an asset cannot be granted asset=%s: %s", asset_id, error.message)
        return "the filters through which it would be read do not fit its table, or each other"
    return ""


def _told(call: Call, before: SubscriptionGrant, after: SubscriptionGrant) -> SubscriptionGrant:
    call.tell(before=before.status, after=after.status)
    return after
