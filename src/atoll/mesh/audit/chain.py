"""Puts events into the chain: each is sealed with a key and holds the hash of the one before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import NoneType

import msgspec
from msgspec.structs import replace

from atoll.core.errors import Corrupt, InvalidInput
from atoll.core.records import decoded
from atoll.mesh.audit.keys import Key, message
from atoll.mesh.audit.model import ROTATION, AuditEvent, Head, new_event

_EVENT, _ROTATION = "atoll.audit.event/1", "atoll.audit.rotation/1"
_sealed_fields = attrgetter(
    *("seq", "at", "clock_behind_us", "operation", "outcome", "principal", "via", "project"),
    *("resource_kind", "resource_id", "asset_id", "details", "key_id", "previous"),
)
_PLAIN = {str, int, NoneType}


@dataclass(frozen=True)
class _Rotation:
    """The details of a rotation.

    Attributes:
        next_key_id: of the key that seals from now on.
        handed: that key's signature of the place at which it takes over.
    """

    next_key_id: str
    handed: str


def canonical(event: AuditEvent) -> bytes:
    """Write all of an event but its hash, in the one form that is sealed.

    Version 1 is `keys.message` with the tag "atoll.audit.event/1", then in this order seq, at,
    clock_behind_us, operation, outcome, principal, via, project, resource_kind, resource_id,
    asset_id, details (the text, as a string), key_id, previous, and each of the policies.

    Raises:
        Corrupt: a field is of a type, or holds what, none of an event can.
    """
    values = (_EVENT, *_sealed_fields(event), *event.policies)
    # SQLite keeps bytes in a column of text, and bytes would share their form with some text.
    if not _PLAIN.issuperset(map(type, values)):
        raise Corrupt("an audit event has a field that is neither text nor a whole number")
    try:
        return message(*values)
    except UnicodeEncodeError as error:
        raise Corrupt("an audit event has a text with half a character") from error


def sealed(event: AuditEvent, head: Head, clock_us: int, key: Key) -> AuditEvent:
    """Put an event at the end of a chain.

    Args:
        event: from `new_event`.
        head: where the chain ends.
        clock_us: what the clock says, microseconds since the epoch. Where it was set back, the
            event has the time of the one before and says how far the clock is behind.
        key: the one in force.

    Raises:
        InvalidInput: another key is in force, or the event is in a chain already.
    """
    if head.key_id not in ("", key.id):
        raise InvalidInput(
            f"the audit chain goes on with key {head.key_id} after event {head.seq}, not with "
            f"{key.id}; give that key, or let it hand over to the other",
            key_id=head.key_id,
        )
    if event.seq:
        raise InvalidInput(f"this event is number {event.seq} of a chain already; make a new one")
    at = max(clock_us, head.at)
    placed = replace(
        event,
        seq=head.seq + 1,
        at=at,
        clock_behind_us=at - clock_us,
        key_id=key.id,
        previous=head.hash,
    )
    return replace(placed, hash=key.sign(canonical(placed)))


def is_sealed(event: AuditEvent, key: Key) -> bool:
    """Tell whether an event is as this key sealed it."""
    try:
        return isinstance(event.hash, str) and key.has_signed(canonical(event), event.hash)
    except Corrupt:
        return False


def extend(
    head: Head, events: Iterable[AuditEvent], clock_us: int, key: Key
) -> tuple[list[AuditEvent], Head]:
    """Put events, in their order, at the end of a chain, to be stored in one commit.

    Of two that extend one head the store must refuse the later (`seq` is unique there), which then
    extends the new head.

    Args:
        head, clock_us, key: see `sealed`.
        events: from `new_event`.

    Returns:
        The sealed events, and where the chain ends then.

    Raises:
        InvalidInput: see `sealed`.
    """
    made = []
    for event in events:
        made.append(sealed(event, head, clock_us, key))
        head = head_after(made[-1])
    return made, head


def head_after(event: AuditEvent) -> Head:
    """Return where a chain ends whose last event this is.

    Raises:
        Corrupt: it rotates keys without saying to which.
    """
    return Head(event.seq, event.at, key_after(event), event.hash)


def key_after(event: AuditEvent) -> str:
    """Return the id of the key that must seal the event after this one; see `head_after`."""
    return _rotation(event).next_key_id if event.operation == ROTATION else event.key_id


def rotation(
    head: Head, key: Key, next_key: Key, clock_us: int, *, principal: str, via: str
) -> AuditEvent:
    """Hand the chain over to another key, by an event that both sign.

    Whoever learns the old key later cannot change what lies before this event, because the new key
    has signed where that ends.

    Args:
        head, clock_us: see `sealed`.
        key: the one in force.
        next_key: seals what follows; verifying the chain takes both.
        principal, via: who rotates.

    Raises:
        InvalidInput: see `sealed`; or both are one key.
    """
    if key.id == next_key.id:
        raise InvalidInput(f"key {key.id} cannot hand over to itself; make a new one")
    handed = next_key.sign(_handover(head.hash, key.id, next_key.id))
    event = new_event(
        "rotation",
        "ALLOWED",
        principal=principal,
        via=via,
        resource_kind="audit key",
        resource_id=next_key.id,
        details={"next_key_id": next_key.id, "handed": handed},
    )
    return sealed(replace(event, operation=ROTATION), head, clock_us, key)


def is_handed_over(event: AuditEvent, keys: Mapping[str, Key]) -> bool:
    """Tell whether a rotation is signed by the key that it hands over to, one of these."""
    try:
        told = _rotation(event)
    except Corrupt:
        return False
    next_key = keys.get(told.next_key_id)
    place = _handover(event.previous, event.key_id, told.next_key_id)
    return next_key is not None and next_key.has_signed(place, told.handed)


def _rotation(event: AuditEvent) -> _Rotation:
    try:
        return decoded(event.details, _Rotation)
    except msgspec.DecodeError as error:
        raise Corrupt(f"audit event {event.seq} is no rotation of keys: {error}") from error


def _handover(previous: str, key_id: str, next_key_id: str) -> bytes:
    return message(_ROTATION, previous, key_id, next_key_id)
