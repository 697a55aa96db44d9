"""Values as the wire takes them: instants, structures without what has no value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atoll.core.errors import InvalidInput


def given(**members: Any) -> dict[str, Any]:
    """Return a structure of the members that have a value; an empty text or list is one."""
    return {name: value for name, value in members.items() if value is not None}


def instant(at: float | None) -> datetime | None:
    """Return a time of day, in seconds since the epoch, as the wire takes it."""
    return None if at is None else datetime.fromtimestamp(at, UTC)


def tags_of(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def refuse(request: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Refuse members that Atoll does not provide.

    Args:
        request: what was asked.
        reasons: by member, why not and what to do instead.

    Raises:
        InvalidInput: the request has some of them; each is named.
    """
    found = [
        f"{name} is not supported by Atoll: {reasons[name]}" for name in reasons & request.keys()
    ]
    if found:
        raise InvalidInput("; ".join(sorted(found)))
