"""Who may read an asset at a moment, told from the events that gave and took access.

An event changes access if it was ALLOWED and its details hold `change_details(change)`; all others
are passed over. An index over `change_of` finds those of an asset or of a project.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.records import decoded
from atoll.mesh.audit.model import AuditEvent

Kind = Literal[
    "GRANTED", "TERMS_CHANGED", "SUSPENDED", "RESUMED", "REVOKED", "CANCELLED", "EXPIRED"
]


@dataclass(frozen=True)
class AccessChange:
    """What an event did to one subscription's access to one asset.

    Attributes:
        kind: what. GRANTED begins anew, whatever was before; the last three end it.
        asset_id: access to what.
        subscription: by which.
        project, principal: whose, one of them.
        filters: ids of the asset's filters through which it is read; of GRANTED, TERMS_CHANGED.
        unmasked: columns with personal data that are shown as they are; of the same.
        why: the reason of the grant, or of its end, in words.
        until: from when on it is no more, microseconds since the epoch; None where it stays; of
            GRANTED, TERMS_CHANGED.
        granted_by: of GRANTED: who allowed it, "policy" where a policy did; empty: the event's
            principal.
    """

    kind: Kind
    asset_id: str
    subscription: str
    project: str | None = None
    principal: str | None = None
    filters: tuple[str, ...] = ()
    unmasked: tuple[str, ...] = ()
    why: str = ""
    until: int | None = None
    granted_by: str = ""


@dataclass(frozen=True)
class Access:
    """Somebody's access to an asset at a moment.

    Attributes:
        asset_id: to what.
        subscription: by which.
        project, principal: who, one of them.
        filters: ids of the filters through which it is read.
        unmasked: columns with personal data that are shown as they are.
        since: when it was granted, microseconds since the epoch.
        granted_by: who allowed it.
        why: the reason, in words.
        until: when it ends by itself, microseconds since the epoch; None if never.
    """

    asset_id: str
    subscription: str
    project: str | None
    principal: str | None
    filters: tuple[str, ...]
    unmasked: tuple[str, ...]
    since: int
    granted_by: str
    why: str
    until: int | None


@dataclass(frozen=True)
class _Details:
    access: AccessChange | None = None


def change_details(change: AccessChange) -> dict[str, Any]:
    """Write a change for the details of the event that makes it; more may stand beside it.

    Raises:
        InvalidInput: it is nobody's access, or both a project's and a principal's.
    """
    if (change.project is None) == (change.principal is None):
        raise InvalidInput(
            f"access by subscription {change.subscription} is a project's or a principal's, not "
            "of both or none; name one"
        )
    found: dict[str, Any] = msgspec.to_builtins(_Details(change))
    return found


def change_of(event: AuditEvent) -> AccessChange | None:
    """Read what an event did to somebody's access; None where it did nothing.

    Raises:
        Corrupt: its details cannot be read.
    """
    if event.outcome != "ALLOWED":
        return None
    try:
        return decoded(event.details, _Details).access
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt(
            f"the details of audit event {event.seq} cannot be read: {error}; verify the chain",
            seq=event.seq,
        ) from error


def who(events: Iterable[AuditEvent], at: int) -> list[Access]:
    """Tell who has access to what at a moment, the longest first.

    What several events did in one microsecond counts together; who is suspended has no access.

    Args:
        events: the changes to one asset to learn who reads it, or of one project to learn what it
            reads; in the order of the chain, others and later ones do no harm.
        at: microseconds since the epoch.

    Raises:
        Corrupt: an event's details cannot be read.
    """
    held: dict[tuple[str, str], Access] = {}
    suspended: set[tuple[str, str]] = set()
    for event in events:
        if event.at > at:
            break
        change = change_of(event)
        if change is None:
            continue
        place = change.asset_id, change.subscription
        match change.kind:
            case "GRANTED":
                held[place] = _granted(event, change)
                suspended.discard(place)
            case "TERMS_CHANGED":
                if place in held:
                    held[place] = replace(held[place], **_terms(change))
            case "SUSPENDED":
                suspended.add(place)
            case "RESUMED":
                suspended.discard(place)
            case _:
                held.pop(place, None)
    found = [
        access
        for place, access in held.items()
        if place not in suspended and (access.until is None or at < access.until)
    ]
    return sorted(found, key=lambda access: (access.since, access.asset_id, access.subscription))


def _granted(event: AuditEvent, change: AccessChange) -> Access:
    return Access(
        asset_id=change.asset_id,
        subscription=change.subscription,
        project=change.project,
        principal=change.principal,
        since=event.at,
        granted_by=change.granted_by or event.principal,
        why=change.why,
        **_terms(change),
    )


def _terms(change: AccessChange) -> dict[str, Any]:
    return {"filters": change.filters, "unmasked": change.unmasked, "until": change.until}
