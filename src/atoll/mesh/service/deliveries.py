"""Notifications on their way out: by mail and by webhook, tried again until they arrive.

Each is a job of its own. While a way fails for somebody it is tried at growing intervals, by one
notification at a time, so that a receiver which is down holds up nobody else's. What has not
arrived within a day is given up, and counted in their settings.

What a webhook gets is a POST of JSON:

    {"id", "topic", "type": "TASK" | "EVENT", "title", "message", "subject": {"kind", "id"},
     "created_at": microseconds since the epoch, "link": of the portal}

with the headers X-Atoll-Delivery (the id: the same at each try), X-Atoll-Timestamp and
X-Atoll-Signature, see `atoll.messages.webhooks.signature`. Any status from 200 to 299 says that it
has arrived.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import msgspec

from atoll.core.errors import AtollError, InvalidInput
from atoll.mesh.model.jobs import Job
from atoll.mesh.model.notices import (
    Channel,
    Failure,
    Notification,
    NotificationSettings,
    NotificationType,
)
from atoll.mesh.model.organisation import Domain
from atoll.mesh.model.people import UserProfile
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.jobs import Attendant, job
from atoll.mesh.operations.tools import Tools
from atoll.mesh.service.topics import TOPICS
from atoll.messages import mail, webhooks
from atoll.messages.addresses import public_or, within

logger = logging.getLogger(__name__)

AGENT = "atoll-mesh"
FIRST_WAIT_S = 2
LAST_WAIT_S = 600
GIVEN_UP_AFTER_S = 86_400
JOBS = {Channel.EMAIL: "send-email", Channel.WEBHOOK: "send-webhook"}
DEFAULT = {
    NotificationType.TASK: (Channel.PORTAL, Channel.EMAIL),
    NotificationType.EVENT: (Channel.PORTAL,),
}


@dataclass(frozen=True)
class Delivery:
    """One notification that is to go out, and what to know for it."""

    notification: Notification
    profile: UserProfile
    settings: NotificationSettings | None
    domain: Domain

    @property
    def link(self) -> str:
        """Return where it is in the portal."""
        return f"{self.domain.portal_url}/notifications/{self.notification.id}"


def channels_of(settings: NotificationSettings | None, topic: str) -> tuple[Channel, ...]:
    """Tell by which ways a user wants to be told of a topic."""
    chosen = settings.channels if settings else {}
    return chosen.get(topic, chosen.get("", DEFAULT[TOPICS[topic].type]))


def ways_out(
    tools: Tools, profile: UserProfile, settings: NotificationSettings | None
) -> set[Channel]:
    """Tell which ways lead from here to a user."""
    has_mail = bool(tools.mail and profile.email)
    has_webhook = bool(settings and settings.webhook_url)
    ways = {Channel.EMAIL: has_mail, Channel.WEBHOOK: has_webhook}
    return {channel for channel, leads in ways.items() if leads}


@job(JOBS[Channel.EMAIL], lane="mail")
def send_by_mail(attendant: Attendant, task: Job) -> int | None:
    """Send a notification by mail."""
    return _delivered(attendant, task, Channel.EMAIL, _mail)


@job(JOBS[Channel.WEBHOOK], lane="webhooks")
def send_to_webhook(attendant: Attendant, task: Job) -> int | None:
    """Send a notification to a webhook."""
    return _delivered(attendant, task, Channel.WEBHOOK, _post)


def _mail(tools: Tools, one: Delivery) -> None:
    if tools.mail and one.profile.email:
        said = "".join(f"> {line}\n" for line in one.notification.message.splitlines())
        mail.send(
            tools.mail,
            to=mail.mailbox(one.profile.email),
            subject=one.notification.title,
            text=f"{one.notification.title}\n\n{said}\n{one.link}\n",
            id_=one.notification.id,
        )


def _post(tools: Tools, one: Delivery) -> None:
    if not (one.settings and one.settings.webhook_url):
        return
    told = one.notification
    body = {
        "id": told.id,
        "topic": told.topic,
        "type": told.type,
        "title": told.title,
        "message": told.message,
        "subject": {"kind": told.subject_kind, "id": told.subject_id},
        "created_at": told.created_at,
        "link": one.link,
    }
    url, networks = one.settings.webhook_url, tools.webhook_networks
    is_safe = urlsplit(url).scheme == "https"
    webhooks.post(
        url,
        msgspec.json.encode(body),
        id_=told.id,
        agent=AGENT,
        key=one.settings.webhook_key,
        # Unencrypted only where the administrator said so.
        may_reach=public_or(networks) if is_safe else within(networks),
    )


def _delivered(
    attendant: Attendant, task: Job, channel: Channel, send: Callable[[Tools, Delivery], None]
) -> int | None:
    with attendant.looking(task.kind) as call:
        one = _delivery(call, task.subject_id)
    if one is None:
        return None
    failing = one.settings.failing.get(channel) if one.settings else None
    if failing and call.now < failing.again_at:
        if not _is_late(one, call.now):
            return failing.again_at
        attendant.act("", task.kind, lambda call: _lost(call, one.profile, channel))
        return None
    failure: AtollError | None = None
    try:
        send(attendant.tools, one)
    except AtollError as error:
        failure = error
        # Not its address: the path of a webhook may be a secret.
        logger.warning("a notification did not go out way=%s: %s", channel, error.message)
    again: list[int | None] = [None]
    if failure:
        attendant.act("", task.kind, lambda call: again.append(_fails(call, one, channel, failure)))
    elif failing:
        attendant.act("", task.kind, lambda call: _works(call, one.profile, channel))
    return again[-1]


def _delivery(call: Call, notification_id: str) -> Delivery | None:
    notification = call.find(Notification, id=notification_id)
    if notification is None:
        return None
    profile = call.find(UserProfile, id=notification.recipient_id)
    if profile is None or not profile.status.is_in:
        return None
    settings = call.find(NotificationSettings, id=profile.id)
    return Delivery(notification, profile, settings, call.domain)


def _told(channel: Channel, error: AtollError) -> str:
    """Say why somebody was not reached, without what the server's network has inside."""
    if channel is Channel.EMAIL:
        return (
            "the mail server does not know the address"
            if isinstance(error, InvalidInput)
            else "the mail server did not take it"
        )
    status = error.details.get("status")
    return f"the webhook answered with status {status}" if status else "the webhook did not answer"


def _works(call: Call, profile: UserProfile, channel: Channel) -> None:
    settings = call.find(NotificationSettings, id=profile.id)
    if settings:
        left = {key: one for key, one in settings.failing.items() if key is not channel}
        call.change(settings, failing=left)


def _lost(call: Call, profile: UserProfile, channel: Channel) -> None:
    """Count one that is given up while its way rests: it would never get its turn."""
    settings = call.find(NotificationSettings, id=profile.id)
    if settings and (before := settings.failing.get(channel)):
        changed = replace(before, lost=before.lost + 1)
        call.change(settings, failing={**settings.failing, channel: changed})


def _is_late(one: Delivery, now: int) -> bool:
    return now > one.notification.created_at + GIVEN_UP_AFTER_S * 1_000_000


def _fails(call: Call, one: Delivery, channel: Channel, error: AtollError) -> int | None:
    """Note that somebody was not reached; return when to try again, None where it is given up."""
    settings = call.find(NotificationSettings, id=one.profile.id) or call.add(
        NotificationSettings, id_=one.profile.id
    )
    before = settings.failing.get(channel) or Failure("", 0, call.now, call.now)
    wait_s = min(FIRST_WAIT_S * 2 ** min(before.attempts, 20), LAST_WAIT_S)
    is_lost = _is_late(one, call.now) or isinstance(error, InvalidInput)
    changed = Failure(
        error=_told(channel, error),
        attempts=before.attempts + 1,
        since=before.since,
        again_at=call.now + wait_s * 1_000_000,
        lost=before.lost + is_lost,
    )
    call.change(settings, failing={**settings.failing, channel: changed})
    return None if is_lost else changed.again_at
