"""Mail, through an SMTP server."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate

from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput, Unavailable

ANSWER_SECONDS = 10.0


def send(server: MailServer, *, to: str, subject: str, text: str, id_: str) -> None:
    """Send a mail; the server has taken it when this returns.

    Args:
        server: through which.
        to: an address, or several with commas between.
        subject: made one line, without what steers a terminal.
        text: plain.
        id_: the same at each try, so that a receiver can tell a repetition.

    Raises:
        Unavailable: the server did not take it; try again later.
        InvalidInput: it never will.
    """
    try:
        message = _message(server.sender, to, subject, text, id_)
    except (ValueError, MessageError) as error:
        raise InvalidInput("the mail cannot be written: an address is not one") from error
    try:
        _hand_over(server, message)
    except smtplib.SMTPRecipientsRefused as error:
        is_final = all(code // 100 == 5 for code, _ in error.recipients.values())
        told = f"{server.host}:{server.port} does not take mail to {to}: {error}"
        raise (InvalidInput if is_final else Unavailable)(told) from error
    except (OSError, smtplib.SMTPException) as error:
        raise Unavailable(
            f"{server.host}:{server.port} did not take the mail to {to}: {error}"
        ) from error


def mailbox(text: str) -> str:
    """Return a text that is the address of exactly one mailbox.

    Raises:
        InvalidInput: it is none, or more.

    >>> mailbox("ann@example.org")
    'ann@example.org'
    """
    try:
        if Address(addr_spec=text).addr_spec == text and text.isprintable():
            return text
    # The parser falls over some texts in ways of its own.
    except (ValueError, IndexError, MessageError):
        pass
    raise InvalidInput(f"{text!r} is not the address of one mailbox, such as ann@example.org")


def _message(sender: str, to: str, subject: str, text: str, id_: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = sender, to
    message["Subject"] = "".join(one for one in " ".join(subject.split()) if one.isprintable())
    message["Date"], message["Message-ID"] = formatdate(), f"<{id_}@atoll>"
    message.set_content(text)
    return message


def _hand_over(server: MailServer, message: EmailMessage) -> None:
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
