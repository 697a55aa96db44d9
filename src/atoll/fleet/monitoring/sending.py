"""Delivers one notification: to a webhook by HTTP, or to a mailbox by SMTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput
from atoll.fleet.monitoring.alarmstore import Notification
from atoll.messages import mail, webhooks

AGENT = "atoll-fleet"
MAIL = "mailto"


@dataclass(frozen=True)
class Sender:
    """Sends notifications.

    Attributes:
        secret: signs what webhooks get; empty: nothing is signed.
        mail: None: mail cannot be sent.
    """

    secret: str = field(default="", repr=False)
    mail: MailServer | None = None

    def check(self, target: str) -> None:
        """Tell whether a target can be notified at all.

        Raises:
            InvalidInput: it is no URL or address, or there is no mail server.
        """
        is_mail = _is_mailbox(target)
        if not (is_mail or webhooks.is_webhook(target)):
            raise InvalidInput(
                f"{target!r} cannot be notified; give https://..., http://... or mailto:..."
            )
        if is_mail and self.mail is None:
            raise InvalidInput(
                f"{target!r} cannot be notified: this host has no mail server; start it with one"
            )

    def send(self, notification: Notification) -> None:
        """Send a notification; it has arrived when this returns.

        Raises:
            Unavailable: it has not.
            InvalidInput: it cannot be: see `check`.
        """
        self.check(notification.target)
        parts = urlsplit(notification.target)
        if parts.scheme == MAIL:
            assert self.mail is not None
            lines = [f"{name}: {value}" for name, value in notification.body.items()]
            mail.send(
                self.mail,
                to=unquote(parts.path),
                subject=notification.subject,
                text="\n".join(lines) + "\n",
                id_=notification.id,
            )
        else:
            body = json.dumps(notification.body).encode()
            webhooks.post(
                notification.target, body, id_=notification.id, agent=AGENT, key=self.secret
            )


def _is_mailbox(target: str) -> bool:
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    # "%0A" is a line of its own once it is unquoted.
    receiver = unquote(parts.path)
    is_plain = target.isprintable() and receiver.isprintable()
    return parts.scheme == MAIL and "@" in receiver.strip("@") and is_plain
