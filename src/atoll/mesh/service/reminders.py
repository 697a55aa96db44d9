"""Reminders: who lets requests wait hears of them again, as often as their guardrails say."""

from __future__ import annotations

from functools import cache, partial

from atoll.mesh.model.access import SubscriptionRequest, SubscriptionRequestStatus
from atoll.mesh.model.jobs import Job
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import REVIEWS, Attendant, job
from atoll.mesh.service.guardrails import guardrails_of

EVERY_S = 60
_JOB = "remind-reviewers"


@job(_JOB, lane=REVIEWS, is_standing=True)
def remind_reviewers(attendant: Attendant, task: Job) -> int | None:
    """Remind the reviewers of all requests that have waited for long enough."""
    with attendant.looking(_JOB) as call:
        span_of = cache(partial(_span, call))
        waiting = call.each(SubscriptionRequest, status=SubscriptionRequestStatus.PENDING)
        due = [one.id for one in waiting if _is_due(one, span_of(one.owning_project_id), call.now)]
        again = call.now + EVERY_S * 1_000_000
    for id_ in due:
        attendant.act("RemindReviewers", _JOB, partial(_reminded, request_id=id_))
    return again


def _reminded(call: Call, request_id: str) -> SubscriptionRequest | None:
    request = call.find(SubscriptionRequest, id=request_id)
    if request is None:
        return None
    if not _is_due(request, _span(call, request.owning_project_id), call.now):
        return None
    call.tell(before=request.reminded_at, since=request.created_at)
    return call.change(request, reminded_at=call.now)


def _span(call: Call, owning_project_id: str) -> int:
    """Return how long reviewers of a project are left alone, in microseconds."""
    return guardrails_of(call, owning_project_id).remind_after_s * 1_000_000


def _is_due(request: SubscriptionRequest, span_us: int, now: int) -> bool:
    is_open = request.status is SubscriptionRequestStatus.PENDING and now < request.expires_at
    return is_open and (request.reminded_at or request.created_at) + span_us <= now
