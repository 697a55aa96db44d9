"""What people are told, and by which ways."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from atoll.mesh.model.record import Record


class NotificationType(StrEnum):
    """Whether somebody should do something, or only know."""

    TASK = "TASK"
    EVENT = "EVENT"


class NotificationStatus(StrEnum):
    """Of a task: whether it is still to be done; of an event: whether it was read."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification(Record):
    """What one user is told.

    Attributes:
        recipient_id: of a user.
        topic: such as "SUBSCRIPTION_REQUEST_CREATED".
        subject_kind, subject_id: what it is about.
        event: number of the audit event that it tells of; the newest, where there were several.
        is_shown: whether it is in the recipient's list; else it goes by mail or webhook only.
    """

    KIND: ClassVar[str] = "notification"

    recipient_id: str
    type: NotificationType
    topic: str
    subject_kind: str
    subject_id: str
    event: int
    title: str
    message: str = ""
    status: NotificationStatus = NotificationStatus.ACTIVE
    is_shown: bool = True


class Channel(StrEnum):
    """A way to tell somebody."""

    PORTAL = "PORTAL"
    EMAIL = "EMAIL"
    WEBHOOK = "WEBHOOK"


@dataclass(frozen=True)
class Failure:
    """A way by which somebody is not reached at present.

    Attributes:
        error: why the last attempt failed.
        attempts: how many have, one after another.
        since, again_at: when the first failed and when the next is made, microseconds since the
            epoch.
        lost: how many notifications were given up.
    """

    error: str
    attempts: int
    since: int
    again_at: int
    lost: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationSettings(Record):
    """By which ways a user is told of what. The id is the user's.

    Attributes:
        channels: per topic; the topic "" stands for all others.
        webhook_url: where their webhook goes.
        webhook_key: what it is signed with; told once, shown by no operation.
        failing: by channel: what does not reach them.
    """

    KIND: ClassVar[str] = "noticesettings"

    channels: dict[str, tuple[Channel, ...]] = field(default_factory=dict)
    webhook_url: str = ""
    webhook_key: str = field(default="", repr=False)
    failing: dict[Channel, Failure] = field(default_factory=dict)
