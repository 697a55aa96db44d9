"""The file that says how a host notifies: secret of webhooks, mail server."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from atoll.core.config import MailServer
from atoll.core.errors import InvalidInput
from atoll.core.files import reading
from atoll.core.records import converted
from atoll.fleet.monitoring.sending import Sender


def read_sender(path: Path) -> Sender:
    """Read it.

    Raises:
        InvalidInput: it is no TOML, names what does not exist, gives a value of another kind, or
            one that no mail server could be told.
    """
    try:
        with reading(path):
            told = tomllib.loads(path.read_text())
        _refuse_unknown(path, told, Sender)
        if isinstance(mail := told.get("mail"), dict):
            _refuse_unknown(path, mail, MailServer)
        sender = converted(told, Sender)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InvalidInput(f"{path} does not say how to notify: {error}") from error
    if sender.mail is not None and not (sender.mail.user + sender.mail.password).isascii():
        raise InvalidInput(
            f"{path}: SMTP takes users and passwords of ASCII only; set one with the mail server"
        )
    return sender


def _refuse_unknown(path: Path, told: dict[str, Any], kind: type) -> None:
    known = [one.name for one in fields(kind)]
    unknown = sorted(told.keys() - known)
    if unknown:
        raise InvalidInput(
            f"{path}: there is no {unknown[0]!r} here; there are: {', '.join(known)}"
        )
