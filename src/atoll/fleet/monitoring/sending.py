"""Delivers one notification: to a webhook by HTTP, or to a mailbox by SMTP."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import smtplib
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import SplitResult, unquote, urlsplit

from atoll.core.errors import InvalidInput, Unavailable
from atoll.fleet.monitoring.alarmstore import Notification

ANSWER_SECONDS = 10.0
MAIL = "mailto"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class MailServer:
    """Through what mail is sent.

    Attributes:
        host, port: of the SMTP server.
        sender: the address it comes from.
        starttls: whether the connection must be encrypted before anything is said.
        user, password: as whom; empty: without.
    """

    host: str
    sender: str
    port: int = 587
    starttls: bool = True
    user: str = ""
    password: str = field(default="", repr=False)


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
        try:
            parts = urlsplit(target)
            is_mail, is_webhook = _is_mailbox(target, parts), _is_webhook(target, parts)
        except ValueError:
            is_mail = is_webhook = False
        if not (is_mail or is_webhook):
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
        if urlsplit(notification.target).scheme == MAIL:
            assert self.mail is not None
            _mail(self.mail, notification)
        else:
            _post(self.secret, notification)


def _is_webhook(target: str, parts: SplitResult) -> bool:
    """Tell whether a target is a URL; `ValueError` where its port is none."""
    is_plain = target.isascii() and target.isprintable() and " " not in target
    return parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0 and is_plain


def _is_mailbox(target: str, parts: SplitResult) -> bool:
    # "%0A" is a line of its own once it is unquoted.
    receiver = unquote(parts.path)
    is_plain = target.isprintable() and receiver.isprintable()
    return parts.scheme == MAIL and "@" in receiver.strip("@") and is_plain


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature that a webhook's receiver holds a body against.

    It covers the time, so that an old notification cannot be played again.
    """
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _post(secret: str, notification: Notification) -> None:
    parts = urlsplit(notification.target)
    body = json.dumps(notification.body).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "atoll-fleet",
        "X-Atoll-Delivery": notification.id,
    }
    if secret:
        timestamp = str(int(time.time()))
        headers["X-Atoll-Timestamp"] = timestamp
        headers["X-Atoll-Signature"] = signature(secret, timestamp, body)
    is_safe = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_safe else http.client.HTTPConnection
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        port = parts.port or _PORTS[parts.scheme]
        connection = kind(str(parts.hostname), port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unavailable(f"webhook {parts.hostname} did not answer: {error}") from error
    if not 200 <= status < 300:
        raise Unavailable(f"webhook {parts.hostname} answered with status {status}", status=status)


def _mail(server: MailServer, notification: Notification) -> None:
    receiver = unquote(urlsplit(notification.target).path)
    message = EmailMessage()
    message["From"], message["To"] = server.sender, receiver
    message["Subject"] = " ".join(notification.subject.split())
    message["Date"], message["Message-ID"] = formatdate(), f"<{notification.id}@atoll>"
    lines = [f"{name}: {value}" for name, value in notification.body.items()]
    message.set_content("\n".join(lines) + "\n")
    try:
        smtp = smtplib.SMTP(server.host, server.port, timeout=ANSWER_SECONDS)
        try:
            if server.starttls:
                smtp.starttls(context=ssl.create_default_context())
            if server.user:
                smtp.login(server.user, server.password)
            smtp.send_message(message)
            # It was taken: however the server says goodbye, it must not be sent again.
            with suppress(OSError, smtplib.SMTPException):
                smtp.quit()
        finally:
            smtp.close()
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(
            f"{server.host}:{server.port} did not take the mail to {receiver}: {error}"
        ) from error
