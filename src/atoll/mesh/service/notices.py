"""Notifications: what people were told, and by which ways they want to be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of
from atoll.mesh.identity import secret
from atoll.mesh.model.notices import (
    Channel,
    Failure,
    Notification,
    NotificationSettings,
    NotificationStatus,
    NotificationType,
)
from atoll.mesh.model.people import UserProfile
from atoll.mesh.model.record import Id
from atoll.mesh.operations.calls import Call, missing
from atoll.mesh.operations.registry import Ask, Page, Right, ToldOnce, operation
from atoll.mesh.service.deliveries import channels_of
from atoll.mesh.service.topics import TOPICS
from atoll.messages import webhooks

READ_AT_ONCE = 1000  # others wait meanwhile
TopicName = Annotated[str, Meta(max_length=64)]
Channels = Annotated[tuple[Channel, ...], Meta(max_length=len(Channel))]


class Notifications(Page, frozen=True, kw_only=True):
    """Which notifications."""

    type: NotificationType | None = None
    status: NotificationStatus | None = None
    topic: TopicName = ""


class ReadNotifications(Ask, frozen=True, kw_only=True):
    """Which were read; none named: all events, the newest 1,000 of them."""

    ids: Annotated[tuple[Id, ...], Meta(max_length=READ_AT_ONCE)] = ()


class ChangedWays(Ask, frozen=True, kw_only=True):
    """What changes; what is left out stays.

    Attributes:
        channels: by topic, "" for all that are not named; null: as it was at first.
        webhook_url: empty: no webhook any more.
    """

    channels: (
        Annotated[dict[TopicName, Channels | None], Meta(max_length=len(TOPICS) + 1)] | None
    ) = None
    webhook_url: Annotated[str, Meta(max_length=2000)] | None = None


class Unread(msgspec.Struct, frozen=True):
    """How many notifications wait: things to do, and things to know."""

    tasks: int
    events: int


class Ways(msgspec.Struct, frozen=True):
    """By which ways somebody is told, and which do not work.

    Attributes:
        channels: by topic.
        email: where mail goes; empty: nowhere, see `why_no_email`.
        failing: by channel; `lost` were given up, and are in the list only.
    """

    channels: dict[str, tuple[Channel, ...]]
    email: str
    why_no_email: str
    webhook_url: str
    failing: dict[Channel, Failure]


class WaysAndKey(ToldOnce, frozen=True):
    """The ways; with the first webhook the key that signs what it gets, which is told once."""

    ways: Ways
    webhook_key: str = ""


class WebhookKey(ToldOnce, frozen=True):
    """What a webhook's messages are signed with from now on; it is told once."""

    webhook_key: str


@operation("GET", "/user-profiles/{user_profile_id}/notifications", Right.ACT)
def list_notifications(
    call: Call, profile: UserProfile, ask: Notifications
) -> Iterator[Notification]:
    """List what you were told, the newest first."""
    return call.shown(
        Notification,
        recipient_id=profile.id,
        is_shown=True,
        type=ask.type,
        status=ask.status,
        topic=ask.topic,
    )


@operation("GET", "/user-profiles/{user_profile_id}/unread-notifications", Right.ACT)
def count_notifications(call: Call, profile: UserProfile) -> Unread:
    """Count what you have to do, and what you have not read."""
    return _unread(call, profile)


@operation("GET", "/notifications/{notification_id}", Right.ACT)
def get_notification(call: Call, notification: Notification) -> Notification:
    """Show what you were told."""
    return notification


@operation("POST", "/user-profiles/{user_profile_id}/notifications/read", Right.ACT)
def mark_notifications_read(call: Call, profile: UserProfile, ask: ReadNotifications) -> Unread:
    """Say what you have read: all events, or what you name; a named task is put aside.

    Where more events than 1,000 wait the answer says how many are left: call it again.
    """
    active = {"recipient_id": profile.id, "status": NotificationStatus.ACTIVE}
    if ask.ids:
        found = [call.get(Notification, id_) for id_ in dict.fromkeys(ask.ids)]
    else:
        waiting = call.each(Notification, type=NotificationType.EVENT, **active)
        found = list(islice(waiting, READ_AT_ONCE))
    for one in found:
        if one.recipient_id != profile.id:
            raise missing(Notification, one.id)
        call.change(one, status=NotificationStatus.INACTIVE)
    call.tell(notifications=len(found))
    return _unread(call, profile)


@operation("GET", "/user-profiles/{user_profile_id}/notification-settings", Right.ACT)
def get_notification_settings(call: Call, profile: UserProfile) -> Ways:
    """Show by which ways you are told of what, and which of them do not work."""
    return _ways(call, profile, call.find(NotificationSettings, id=profile.id))


@operation("PATCH", "/user-profiles/{user_profile_id}/notification-settings", Right.ACT)
def update_notification_settings(call: Call, profile: UserProfile, ask: ChangedWays) -> WaysAndKey:
    """Choose by which ways you are told of what, and where your webhook is.

    What a webhook gets, and how its signature is checked, stands with the deliveries.
    """
    before = _settings(call, profile)
    changed, key = _with_channels(before.channels, ask.channels or {}), ""
    given: dict[str, object] = {"channels": changed}
    if ask.webhook_url is not None and ask.webhook_url != before.webhook_url:
        _check_url(ask.webhook_url)
        key = "" if before.webhook_key or not ask.webhook_url else secret.new_secret()
        left = {way: one for way, one in before.failing.items() if way is not Channel.WEBHOOK}
        given |= {"webhook_url": ask.webhook_url, "failing": left}
        given |= {"webhook_key": key} if key else {}
    call.tell(topics=sorted(ask.channels or {}), has_webhook=bool(given.get("webhook_url")))
    after = call.change(before, **given)
    return WaysAndKey(_ways(call, profile, after), key)


@operation("POST", "/user-profiles/{user_profile_id}/rotate-webhook-key", Right.ACT)
def rotate_webhook_key(call: Call, profile: UserProfile) -> WebhookKey:
    """Sign what your webhook gets with another key from now on."""
    key = secret.new_secret()
    call.change(_settings(call, profile), webhook_key=key)
    return WebhookKey(key)


def _unread(call: Call, profile: UserProfile) -> Unread:
    waiting = {
        "recipient_id": profile.id,
        "is_shown": True,
        "status": NotificationStatus.ACTIVE,
    }
    return Unread(
        tasks=call.count(Notification, type=NotificationType.TASK, **waiting),
        events=call.count(Notification, type=NotificationType.EVENT, **waiting),
    )


def _settings(call: Call, profile: UserProfile) -> NotificationSettings:
    found = call.find(NotificationSettings, id=profile.id)
    return found or call.add(NotificationSettings, id_=profile.id)


def _with_channels(
    before: dict[str, tuple[Channel, ...]], given: dict[str, tuple[Channel, ...] | None]
) -> dict[str, tuple[Channel, ...]]:
    if unknown := sorted(given.keys() - TOPICS.keys() - {""}):
        raise InvalidInput(
            f"there is no topic '{unknown[0]}'; there are {some_of(sorted(TOPICS), len(TOPICS))}"
        )
    both = {**before, **given}
    return {key: tuple(dict.fromkeys(one)) for key, one in both.items() if one is not None}


def _check_url(url: str) -> None:
    if url and not (webhooks.is_webhook(url) and "@" not in urlsplit(url).netloc):
        raise InvalidInput(
            "webhook_url begins with https:// and names a host, without a user or a password"
        )


def _ways(call: Call, profile: UserProfile, settings: NotificationSettings | None) -> Ways:
    why = ""
    if call.tools.mail is None:
        why = "this server sends no mail; an administrator sets a mail server"
    elif not profile.email:
        why = "your profile has no address"
    return Ways(
        channels={name: channels_of(settings, name) for name in TOPICS},
        email="" if why else profile.email,
        why_no_email=why,
        webhook_url=settings.webhook_url if settings else "",
        failing=settings.failing if settings else {},
    )
