"""What became of a stack: its events, and so its status, follow from its cluster's record.

Nothing of this is stored, so nothing of it can disagree with the cluster. Reading order: history,
then creation and deletion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from atoll.fleet.aws.stackstore import Deletion, KeptStack
from atoll.fleet.registry import ClusterRecord, Phase

STACK_TYPE = "AWS::CloudFormation::Stack"
CLUSTER_TYPE = "AWS::EMR::Cluster"


class Status(StrEnum):
    """CloudFormation's, of stacks and their resources."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    ROLLBACK_COMPLETE = "ROLLBACK_COMPLETE"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETE = "DELETE_COMPLETE"
    DELETE_FAILED = "DELETE_FAILED"


@dataclass(frozen=True)
class Happening:
    """Something that happened to a stack or its cluster.

    Attributes:
        at: time of day.
        is_stack: the stack itself; else its cluster.
        status: from then on.
        reason: why, for people.
        token: of the request that it came of.
    """

    at: float
    is_stack: bool
    status: Status
    reason: str = ""
    token: str | None = None


def history(
    stack: KeptStack, record: ClusterRecord | None, *, is_begun: bool = True
) -> list[Happening]:
    """Return all that happened: the creation, then each request to delete it.

    Args:
        stack: as it was asked for.
        record: of its cluster; None: the host ended before that was begun.
        is_begun: whether the request to create it was carried out; it may be under way.
    """
    created = [replace(one, token=stack.token) for one in _creation(stack, record, is_begun)]
    return [*created, *_deletions(stack, record)]


def status_of(happenings: list[Happening], *, of_stack: bool = True) -> Happening:
    """Return the last that happened to the stack, or to its cluster."""
    return [one for one in happenings if one.is_stack is of_stack][-1]


def _creation(
    stack: KeptStack, record: ClusterRecord | None, is_begun: bool
) -> Iterator[Happening]:
    at = stack.created_at
    yield Happening(at, True, Status.CREATE_IN_PROGRESS, "User Initiated")
    yield Happening(at, False, Status.CREATE_IN_PROGRESS)
    if record is None:
        if is_begun:
            yield from _failure(stack, at, "the host ended before the cluster was begun", at)
        return
    known = record.known.status
    if known.ready_at is not None or known.state.is_ready:
        ready = known.ready_at or at
        yield Happening(ready, False, Status.CREATE_COMPLETE)
        yield Happening(ready, True, Status.CREATE_COMPLETE)
    elif record.ending is not None and (record.ending.is_failure or stack.deletion is None):
        over_at = known.ended_at if _is_over(record) else None
        yield from _failure(stack, record.ending.at, known.message, over_at)


def _failure(stack: KeptStack, at: float, why: str, over_at: float | None) -> Iterator[Happening]:
    """Tell of a creation that failed; what was begun ends by itself."""
    yield Happening(at, False, Status.CREATE_FAILED, why)
    reason = f"The following resource(s) failed to create: {CLUSTER_TYPE}: {why}"
    if stack.on_failure == "DO_NOTHING":
        yield Happening(at, True, Status.CREATE_FAILED, reason)
        return
    is_rollback = stack.on_failure == "ROLLBACK"
    begun = Status.ROLLBACK_IN_PROGRESS if is_rollback else Status.DELETE_IN_PROGRESS
    done = Status.ROLLBACK_COMPLETE if is_rollback else Status.DELETE_COMPLETE
    yield Happening(at, True, begun, reason)
    if over_at is not None:
        yield Happening(over_at, False, Status.DELETE_COMPLETE)
        yield Happening(over_at, True, done, reason)


def _deletions(stack: KeptStack, record: ClusterRecord | None) -> Iterator[Happening]:
    for asked in stack.deletions:
        for one in _deletion(asked, record):
            yield replace(one, token=asked.token)


def _deletion(asked: Deletion, record: ClusterRecord | None) -> Iterator[Happening]:
    at, why = asked.at, asked.refused
    yield Happening(at, True, Status.DELETE_IN_PROGRESS, "User Initiated")
    if why:
        yield Happening(at, False, Status.DELETE_FAILED, why)
        reason = f"The following resource(s) failed to delete: {CLUSTER_TYPE}: {why}"
        yield Happening(at, True, Status.DELETE_FAILED, reason)
        return
    yield Happening(at, False, Status.DELETE_IN_PROGRESS)
    if record is None or _is_over(record):
        ended = None if record is None else record.known.status.ended_at
        yield Happening(max(at, ended or at), False, Status.DELETE_COMPLETE)
        yield Happening(max(at, ended or at), True, Status.DELETE_COMPLETE)


def _is_over(record: ClusterRecord) -> bool:
    return record.phase is Phase.ENDED
