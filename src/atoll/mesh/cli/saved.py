"""The sign-in that `atoll mesh login --save` keeps, for its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from atoll.core.errors import InvalidInput
from atoll.core.files import private_text, writing
from atoll.core.records import decoded


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mesh, and a token that is for it."""

    url: str = ""
    token: str = ""


def saved_login(place: Path | None) -> Login:
    """Read the sign-in; an empty one where there is none.

    Raises:
        Forbidden: others may open the file. InvalidInput: it is not what `save_login` writes.
    """
    if place is None or not place.exists():
        return Login()
    try:
        return decoded(private_text(place), Login)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{place} is no sign-in; run `atoll mesh login --save`") from error


def save_login(place: Path, login: Login) -> None:
    """Keep a sign-in in place of the one before."""
    part = place.with_suffix(".part")
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(login))
        part.replace(place)
