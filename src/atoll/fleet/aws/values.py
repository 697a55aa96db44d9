"""Values as the wire takes them: instants, structures without what has no value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
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


_NOTHING: tuple[Any, ...] = (None, "", [], {}, False)
_NONE_USUAL: Mapping[str, Any] = MappingProxyType({})


def refuse(
    request: Mapping[str, Any],
    reasons: Mapping[str, str],
    usual: Mapping[str, Any] = _NONE_USUAL,
) -> None:
    """Refuse members that Atoll does not provide; one that is empty or false asks for nothing.

    Args:
        request: what was asked.
        reasons: by member, why not and what to do instead.
        usual: by member, a value that asks for what is done anyway.

    Raises:
        InvalidInput: the request has some of them; each is named.
    """
    found = [
        f"{name} is not supported by Atoll: {why}"
        for name, why in reasons.items()
        if request.get(name) not in (*_NOTHING, usual.get(name))
    ]
    if found:
        raise InvalidInput("; ".join(sorted(found)))
