"""Reminders: who lets requests wait hears of them again, as often as their guardrails say."""

from __future__ import annotations

from functools import partial

from atoll.mesh.model.access import SubscriptionRequest, SubscriptionRequestStatus
from atoll.mesh.model.notices import Job
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import Attendant, job
from atoll.mesh.service.guardrails import guardrails_of

EVERY_S = 60
_JOB = "reminders"


@job(_JOB, is_slow=True, is_standing=True)
def remind_reviewers(attendant: Attendant, task: Job) -> int | None:
    """Remind the reviewers of all requests that have waited for long enough."""
    with attendant.looking(_JOB) as call:
        waiting = call.each(SubscriptionRequest, status=SubscriptionRequestStatus.PENDING)
        due = [one.id for one in waiting if _is_due(call, one)]
        again = call.now + EVERY_S * 1_000_000
    for id_ in due:
        attendant.act("RemindReviewers", _JOB, partial(_reminded, request_id=id_))
    return again


def _reminded(call: Call, request_id: str) -> SubscriptionRequest | None:
    request = call.find(SubscriptionRequest, id=request_id)
    if request is None or not _is_due(call, request):
        return None
    call.tell(before=request.reminded_at, since=request.created_at)
    return call.change(request, reminded_at=call.now)


def _is_due(call: Call, request: SubscriptionRequest) -> bool:
    if request.status is not SubscriptionRequestStatus.PENDING or request.expires_at <= call.now:
        return False
    after_s = guardrails_of(call, request.owning_project_id).remind_after_s
    last = request.reminded_at or request.created_at
    return after_s > 0 and last + after_s * 1_000_000 <= call.now
