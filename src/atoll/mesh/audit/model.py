"""The nouns of the audit record, and what may stand in them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from atoll.core.errors import InvalidInput

Outcome = Literal["ALLOWED", "DENIED", "FAILED"]

MAX_CHARACTERS = 1024
MAX_POLICIES = 100
MAX_DETAILS_BYTES = 16 << 10
MAX_DETAILS_DEPTH = 8
MAX_DETAILS_VALUES = 1000
_OUTCOMES: dict[str, Outcome] = {outcome: outcome for outcome in get_args(Outcome)}
# The operation that `chain.rotation` alone records.
ROTATION = "RotateAuditKey"

# What a word ends with counts: "accesstoken" is one, "tokenizer" is none.
_SECRET = re.compile(
    r"(passw(or)?d|passphrase|pwd|secret|credential|cookie|token|jwt|csrf)s?(_|$)"
    r"|authorization(_|$)|(api|private|access|signing)_?keys?(_|$)"
)
_NO_SECRET = re.compile(r"_(ids?|names?|kinds?|types?|count|at)$")
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Head:
    """Where a chain ends.

    Attributes:
        seq: of the last event; 0 where there is none.
        at: its time, microseconds since the epoch.
        key_id: of the key that must seal the next event; empty where any may.
        hash: of the last event, 64 hexadecimal digits.
    """

    seq: int
    at: int
    key_id: str
    hash: str


GENESIS = Head(0, 0, "", "0" * 64)


class AuditEvent(msgspec.Struct, frozen=True):
    """One thing that somebody did or tried. `new_event` makes it, `chain` seals it.

    It can be kept as one row: text columns as they are, never normalised (no JSONB, no char(n)).

    Attributes:
        seq: its number in the chain, from 1 without gaps; 0 until it is sealed.
        at: when, microseconds since the epoch (UTC); never less than of the event before.
        clock_behind_us: how far the clock stood behind `at`, because it had been set back.
        operation: what was done, as the API names it.
        outcome: whether it was.
        principal: who did it.
        via: the id of the token or session used.
        project: for which project, if for one.
        resource_kind, resource_id: what it was done to.
        asset_id: the asset whose access or contents it concerns, if one's.
        details: a JSON object, its names sorted; as text, because that is what is sealed.
        policies: ids of the policies that decided.
        key_id: of the key that sealed it.
        previous: hash of the event before, `GENESIS.hash` for the first.
        hash: of all of the above with that key, see `chain.canonical`.
    """

    seq: int
    at: int
    clock_behind_us: int
    operation: str
    outcome: Outcome
    principal: str
    via: str
    project: str | None
    resource_kind: str
    resource_id: str
    asset_id: str | None
    details: str
    policies: tuple[str, ...]
    key_id: str
    previous: str
    hash: str


def new_event(
    operation: str,
    outcome: Outcome,
    *,
    principal: str,
    via: str,
    resource_kind: str,
    resource_id: str,
    project: str | None = None,
    asset_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    policies: Sequence[str] = (),
) -> AuditEvent:
    """Make an event that is ready to be sealed: whatever could stop that is refused here.

    Args:
        operation, outcome, principal, via, project, asset_id, policies: see `AuditEvent`.
        resource_kind: of what it was done to.
        resource_id: of it; may be empty where there is no one thing.
        details: what else to know, JSON's types only. No names that users choose: one that looks
            like a secret's is refused.

    Raises:
        InvalidInput: a field is of a wrong type, too long, or holds what not every database keeps
            (zero bytes, broken Unicode); or `details` are too large, too deep, not JSON, or have
            a name like "password".
    """
    if outcome not in _OUTCOMES:
        raise _refused("outcome", f"is none of {', '.join(_OUTCOMES)}")
    if operation == ROTATION:
        raise _refused("operation", f"is {ROTATION}, which only a rotation records")
    if len(policies) > MAX_POLICIES:
        raise _refused("policies", f"are {len(policies):,}, more than {MAX_POLICIES}")
    return AuditEvent(
        seq=0,
        at=0,
        clock_behind_us=0,
        operation=_text("operation", operation),
        outcome=_OUTCOMES[outcome],
        principal=_text("principal", principal),
        via=_text("via", via),
        project=None if project is None else _text("project", project),
        resource_kind=_text("resource_kind", resource_kind),
        resource_id=_text("resource_id", resource_id, may_be_empty=True),
        asset_id=None if asset_id is None else _text("asset_id", asset_id),
        details=_details_text({} if details is None else details),
        policies=tuple(_text("policies", policy) for policy in policies),
        key_id="",
        previous="",
        hash="",
    )


def _text(name: str, text: object, *, may_be_empty: bool = False) -> str:
    if not isinstance(text, str):
        raise _refused(name, f"is {type(text).__name__}, not text")
    if not text and not may_be_empty:
        raise _refused(name, "is empty; say who or what it was")
    if len(text) > MAX_CHARACTERS:
        raise _refused(name, f"has {len(text):,} characters, more than {MAX_CHARACTERS:,}")
    if "\0" in text or not _is_unicode(text):
        raise _refused(name, "holds a zero byte or half a character")
    # Nor one of an enumeration: only plain text can be sealed.
    return str(text)


def _details_text(details: object) -> str:
    if not isinstance(details, dict):
        raise _refused("details", f"is {type(details).__name__}, not an object")
    for number, _ in enumerate(_values("details", details, 0)):
        if number > MAX_DETAILS_VALUES:
            raise _refused("details", f"has more than {MAX_DETAILS_VALUES:,} values")
    try:
        data = msgspec.json.encode(details, order="sorted")
    except UnicodeEncodeError:
        # Not its cause: that quotes the text.
        raise _refused("details", "holds half a character") from None
    if len(data) > MAX_DETAILS_BYTES:
        raise _refused("details", f"takes {len(data):,} bytes, more than {MAX_DETAILS_BYTES:,}")
    return data.decode()


def _values(path: str, value: object, depth: int) -> Iterator[object]:
    """Go through a value and all in it, and refuse what cannot be written or must not."""
    yield value
    if isinstance(value, dict | list | tuple):
        if depth == MAX_DETAILS_DEPTH:
            raise _refused(path, f"is nested deeper than {MAX_DETAILS_DEPTH}")
        if isinstance(value, dict):
            for name in value:
                _check_name(path, name)
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, one in inner:
            yield from _values(f"{path}.{name}", one, depth + 1)
    elif isinstance(value, str):
        if len(value) > MAX_DETAILS_BYTES:
            raise _refused(path, f"has more than {MAX_DETAILS_BYTES:,} characters")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(path, "is not a finite number")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _refused(path, "needs more than 64 bits")
    elif value is not None:
        raise _refused(path, f"is {type(value).__name__}, which JSON does not know")


def _check_name(path: str, name: object) -> None:
    if not isinstance(name, str) or len(name) > MAX_CHARACTERS or not _is_unicode(name):
        raise _refused(path, "has a name that is too long, or no text")
    words = _WORD_BORDER.sub("_", name).lower()
    if _SECRET.search(words) and not _NO_SECRET.search(words):
        raise _refused(f"{path}.{name}", "looks like a secret by its name; leave it out")


def _refused(path: str, wrong: str) -> InvalidInput:
    return InvalidInput(f"{path:.200} of an audit event {wrong}", field=path[:200])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
