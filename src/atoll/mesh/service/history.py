"""Earlier revisions of records, and what changed from one to another."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from atoll.core.text import shortened
from atoll.mesh.model.record import Record
from atoll.mesh.operations.calls import Call
from atoll.mesh.operations.registry import Ask

R = TypeVar("R", bound=Record)
Number = Annotated[int, Meta(ge=0, lt=1 << 31)]  # of a revision; 0: the newest

_STAMPS = {"version", "updated_at", "updated_by"}
_LETTERS = 120  # of one value: all fields of a record fit into one event


class OneRevision(Ask, frozen=True, kw_only=True):
    """Which revision; 0: the newest."""

    revision: Number = 0


def as_it_was(call: Call, record: R, revision: int) -> R:
    """Return a revision of a record that the caller may look at; 0: the newest.

    Raises:
        NotFound: there is none of that number.
    """
    if revision in (0, record.version):
        return record
    return call.past(type(record), record.id, revision)


def revised(call: Call, record: R, **values: Any) -> R:
    """Change a record, and tell the audit what of it."""
    changed = call.change(record, **values)
    call.tell(**what_changed(record, changed))
    return changed


def changed_fields(before: Record, after: Record) -> list[str]:
    """Name the fields that differ, but for who changed it when."""
    names = [one.name for one in fields(before) if one.name not in _STAMPS]
    return [name for name in names if getattr(before, name) != getattr(after, name)]


def what_changed(before: Record, after: Record) -> dict[str, dict[str, Any]]:
    """Tell the audit what changed; a record with a history holds it whole.

    Returns:
        `before` and `after`, each the values that differ by their fields' names, long ones cut
        short; empty where nothing changed.
    """
    names = changed_fields(before, after)
    both = (("before", before), ("after", after)) if names else ()
    return {when: {name: _short(getattr(one, name)) for name in names} for when, one in both}


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    text = str(value) if isinstance(value, str) else msgspec.json.encode(value).decode()
    return shortened(text, _LETTERS)
