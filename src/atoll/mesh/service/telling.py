"""From what the audit says to what people are told: in order, nothing twice, nothing left out.

The events after a cursor are looked through as one moment shows the mesh; what follows from them is
then kept, a few at a time, the last together with the moved cursor. Whoever dies in between begins
again, and finds what was told by its id; of two servers the second finds the cursor moved.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from string import Formatter
from typing import Any

from msgspec import MsgspecError

from atoll.core.errors import NotFound, Unauthenticated
from atoll.core.groups import in_groups
from atoll.core.records import decoded
from atoll.mesh.audit.model import AuditEvent
from atoll.mesh.model.access import ReviewCampaign, ReviewItem
from atoll.mesh.model.catalog import Asset, DataSource, Listing
from atoll.mesh.model.jobs import Cursor
from atoll.mesh.model.notices import (
    Channel,
    Notification,
    NotificationSettings,
    NotificationStatus,
    NotificationType,
)
from atoll.mesh.model.organisation import Project
from atoll.mesh.model.people import UserProfile
from atoll.mesh.model.record import Record, in_order
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import Attendant, later
from atoll.mesh.service.deliveries import JOBS, channels_of, ways_out
from atoll.mesh.service.topics import TOPICS, Topic

logger = logging.getLogger(__name__)

CURSOR = "notices"
EVENTS_AT_ONCE = 100
STEPS_AT_ONCE = 200
KEPT_AT_ONCE = 100  # others change things in between
FAR = 1000  # events that concern nobody are looked through again after a restart, so many at most
MOST_RECIPIENTS = 1000
MESSAGE_LETTERS = 1000
_LAST_EVENT = 10**15  # ids count down from here: a list begins with the newest
# Details of events that list ids; in others stands what people wrote.
_LISTS = ("proposals", "requests", "subscriptions")
_WITHOUT_PROFILE = {"system": "Atoll", "policy": "A policy"}
# The words in titles that stand for the name of something: its kind, and the field with its id.
_NAMED: dict[str, tuple[type[Any], str]] = {
    "listing": (Listing, "listing_id"),
    "project": (Project, "project_id"),
    "producer": (Project, "owning_project_id"),
    "source": (DataSource, "data_source_id"),
    "asset": (Asset, "asset_id"),
}


@dataclass(frozen=True)
class Notice:
    """What one user is to be told.

    Attributes:
        channels: by which ways, besides their list.
        again_s: see `Topic`.
        values: fields of the notification.
    """

    channels: frozenset[Channel]
    again_s: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Over:
    """A task that is done."""

    topic: str
    subject_id: str


def tell(attendant: Attendant, after: int) -> int:
    """Tell what the next events are about.

    Args:
        attendant: of the mesh.
        after: number of an event; those up to it were looked through.

    Returns:
        The number of the last event that was looked through, `after` where there was none; less
        where the chain has lost its end.
    """
    steps: list[Notice | Over] = []
    with attendant.looking(CURSOR) as call:
        done, head = _position(call), call.reader.event_head().seq
        # Where the chain's end was cut off, what comes now has the same numbers.
        last = min(done if after > head else max(after, done), head)
        for event in islice(call.events(after=last), EVENTS_AT_ONCE):
            steps += _steps(call, event)
            last = event.seq
            if len(steps) >= STEPS_AT_ONCE:
                break
    if not steps and 0 <= last - done < FAR:
        return last
    *first, rest = list(in_groups(steps, KEPT_AT_ONCE)) or [[]]
    for some in first:
        if (reached := _moved(attendant, some, done, done)) != done:
            return reached
    return _moved(attendant, rest, done, last)


def rewind(call: Call) -> None:
    """Have people told of what is written from now on, though the chain was longer once."""
    cursor, head = call.find(Cursor, id=CURSOR), call.reader.event_head().seq
    if cursor and cursor.position > head:
        call.change(cursor, position=head)


def _moved(attendant: Attendant, steps: Sequence[Notice | Over], done: int, last: int) -> int:
    """Keep steps in one transaction; see `_kept`."""
    reached: list[int] = []
    attendant.act("", CURSOR, lambda call: reached.append(_kept(call, steps, done, last)))
    return reached[0]


def _position(call: Call) -> int:
    cursor = call.find(Cursor, id=CURSOR)
    return cursor.position if cursor else 0


def _steps(call: Call, event: AuditEvent) -> list[Notice | Over]:
    if event.outcome != "ALLOWED":
        return []
    try:
        return [*_over(call, event), *_notices(call, event)]
    # One that cannot be told must not keep all later ones back.
    except (AttributeError, LookupError, TypeError, ValueError, MsgspecError):
        logger.exception("an event was not told seq=%d operation=%s", event.seq, event.operation)
        return []


def _over(call: Call, event: AuditEvent) -> Iterator[Over]:
    """Find the tasks that an event may have done away with, and that are not to be done now."""
    ids = {*_ids(event), event.project or ""} - {""}
    if event.resource_kind == ReviewCampaign.KIND:
        items = call.each(ReviewItem, campaign_id=event.resource_id)
        ids |= {one.owning_project_id for one in items}
    active = {"type": NotificationType.TASK, "status": NotificationStatus.ACTIVE}
    tasks = call.each(Notification, subject_id=ids, **active)
    for name, id_ in sorted({(one.topic, one.subject_id) for one in tasks}):
        topic = TOPICS.get(name)
        about = topic.about(call, id_) if topic else ()
        if not any(record.id == id_ for record, _ in about):
            yield Over(name, id_)


def _notices(call: Call, event: AuditEvent) -> Iterator[Notice]:
    for topic in TOPICS.values():
        for id_ in _ids(event) if event.operation in topic.of else ():
            for record, said in topic.about(call, id_):
                yield from _notices_of(call, topic, event, record, said)


def _ids(event: AuditEvent) -> list[str]:
    """List the ids that an event names: of what it is about, and of what else was done there."""
    details = decoded(event.details, dict[str, Any])
    named = [id_ for key in _LISTS for id_ in details.get(key, [])]
    return list(dict.fromkeys([event.resource_id, *named]))


def _notices_of(
    call: Call, topic: Topic, event: AuditEvent, record: Record, said: str
) -> Iterator[Notice]:
    if topic.detail:
        said = str(decoded(event.details, dict[str, Any]).get(topic.detail, ""))
    concerned = _users(call, topic.concerns(call, record))
    told = [one for one in concerned if one.id != event.principal]
    if len(told) > MOST_RECIPIENTS:
        logger.warning("too many to tell topic=%s users=%d", topic.name, len(told))
    for profile in told[:MOST_RECIPIENTS]:
        settings = call.find(NotificationSettings, id=profile.id)
        wanted = channels_of(settings, topic.name)
        channels = frozenset(wanted) & ways_out(call.tools, profile, settings)
        seen = _seen_by(call, profile, record) if wanted else None
        if seen:
            values = {
                "recipient_id": profile.id,
                "type": topic.type,
                "topic": topic.name,
                "subject_kind": record.KIND,
                "subject_id": record.id,
                "event": event.seq,
                "title": _title(seen, topic.title, event, record),
                "message": said[:MESSAGE_LETTERS],
                "is_shown": Channel.PORTAL in wanted or not channels,
            }
            yield Notice(channels, topic.again_s, values)


def _users(call: Call, ids: Iterable[str]) -> list[UserProfile]:
    """Find the users of these ids, and those in the groups of these ids, each once."""
    found: dict[str, UserProfile] = {}
    for id_ in dict.fromkeys(ids):
        profile = call.find(UserProfile, id=id_)
        members = [profile] if profile else call.each(UserProfile, groups=id_)
        found |= {one.id: one for one in members}
    return list(found.values())


def _seen_by(call: Call, profile: UserProfile, record: Record) -> Call | None:
    """Return the moment as a user sees it, where they may look at a record."""
    try:
        seen = call.seen_by(profile.id)
    except Unauthenticated:
        return None
    return seen if seen.may_see(record) else None


def _title(seen: Call, title: str, event: AuditEvent, record: Record) -> str:
    words = {word for _, word, _, _ in Formatter().parse(title) if word}
    return title.format(**{word: _word(seen, word, event, record) for word in words})


def _word(seen: Call, word: str, event: AuditEvent, record: Record) -> str:
    """Say what a word in a title stands for, to somebody who may look at the record."""
    if word == "who":
        profile = seen.find(UserProfile, id=event.principal)
        return profile.name if profile else _WITHOUT_PROFILE.get(event.principal, "Somebody")
    if word not in _NAMED:
        told = str(getattr(record, word))
        return f"'{told}'" if word == "name" else told
    kind, field = _NAMED[word]
    try:
        return f"'{seen.get(kind, getattr(record, field)).name}'"
    except NotFound:
        return f"{'an' if kind is Asset else 'a'} {kind.KIND}"


def _kept(call: Call, steps: Iterable[Notice | Over], done: int, last: int) -> int:
    """Keep what follows from events; return up to which all are told, `last` or further."""
    cursor = call.find(Cursor, id=CURSOR)
    if cursor and cursor.position != done:
        return cursor.position  # by another server, meanwhile
    for one in steps:
        if isinstance(one, Notice):
            _told(call, one)
        else:
            _end(call, topic=one.topic, subject_id=one.subject_id)
    if cursor:
        call.change(cursor, position=last)
    else:
        call.add(Cursor, id_=CURSOR, position=last)
    return last


def _told(call: Call, notice: Notice) -> None:
    values = notice.values
    id_ = _id(values)
    if call.find(Notification, id=id_):
        return  # by whoever died before the cursor was moved
    same = {key: values[key] for key in ("recipient_id", "topic", "subject_id")}
    before = call.find(Notification, status=NotificationStatus.ACTIVE, **same)
    if before and call.now < before.created_at + notice.again_s * 1_000_000:
        call.change(before, **{key: values[key] for key in ("event", "title", "message")})
        return
    _end(call, **same)
    made = call.add(Notification, id_=id_, **values)
    for channel in sorted(notice.channels):
        later(call, JOBS[channel], made.id)


def _id(values: Mapping[str, Any]) -> str:
    who = f"{values['recipient_id']} {values['topic']} {values['subject_id']}"
    made = hashlib.sha256(who.encode()).hexdigest()[:16]
    return f"{in_order(Notification.KIND, _LAST_EVENT - values['event'])}-{made}"


def _end(call: Call, **keys: Any) -> None:
    for one in list(call.each(Notification, status=NotificationStatus.ACTIVE, **keys)):
        call.change(one, status=NotificationStatus.INACTIVE)
