"""What every kept thing of the mesh has: an id, a version, and who made and changed it when."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, TypeAlias

from msgspec import Meta

from atoll.core.errors import Conflict

# No 0, o, 1, l: ids are read aloud.
_LETTERS = "23456789abcdefghijkmnpqrstuvwxyz"
_ID_LETTERS = 16  # 80 bits
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# `$` alone lets a newline follow.
Id: TypeAlias = Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9-]+$(?!\n)")]
# One line that a person reads; control characters would steer terminals and logs.
Name: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f]$(?!\n)"
    ),
]
Line: TypeAlias = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)")]
Text: TypeAlias = Annotated[str, Meta(max_length=10_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
# What somebody says of a thing to others; the audit takes it down, so it is shorter.
Remark: TypeAlias = Annotated[str, Meta(max_length=2000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")]
Ids: TypeAlias = Annotated[tuple[Id, ...], Meta(max_length=100)]
ColumnName: TypeAlias = Annotated[str, Meta(max_length=1000)]
# Microseconds since the epoch; JSON's numbers are exact up to here.
Moment: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 53)]
Score: TypeAlias = Annotated[float, Meta(ge=0, le=100)]  # of quality


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One thing that is kept.

    Attributes:
        id: never used again.
        version: 1 at first, one more with each change; the ETag.
        created_at, updated_at: microseconds since the epoch, UTC.
        created_by, updated_by: id of the principal.
    """

    KIND: ClassVar[str]

    id: str
    version: int = 1
    created_at: int
    created_by: str
    updated_at: int
    updated_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay(Record):
    """The answer to a call with an idempotency key: the same call again gets it again.

    Attributes:
        asked: digest of what was asked, with the mesh's key.
        answer: its JSON; empty where it is told once.
    """

    KIND: ClassVar[str] = "replay"

    asked: str
    answer: str


def new_id(prefix: str) -> str:
    """Make an id that tells its kind and nothing else.

    >>> new_id("project").startswith("project-")
    True
    """
    return f"{prefix}-{''.join(secrets.choice(_LETTERS) for _ in range(_ID_LETTERS))}"


def id_pattern(prefix: str) -> str:
    """Write what `new_id` makes of a prefix as a regular expression."""
    return f"{prefix}-[{_LETTERS}]{{{_ID_LETTERS}}}"


def in_order(prefix: str, number: int) -> str:
    """Write a prefix whose ids stand in the order of a number, as lists are read: 16 digits.

    >>> in_order("comment", 7) < in_order("comment", 10)
    True
    """
    return f"{prefix}-{number:016d}"


def moment(at: int) -> datetime:
    """Read microseconds since the epoch.

    >>> moment(1_500_000).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return _EPOCH + timedelta(microseconds=at)


def microseconds(at: datetime) -> int:
    """Write a moment as microseconds since the epoch.

    >>> microseconds(moment(1_500_001))
    1500001
    """
    return (at - _EPOCH) // timedelta(microseconds=1)


def moved(
    what: str, state: str, to: str, edges: Mapping[Any, tuple[str, ...]], *, how: str = ""
) -> str:
    """Return the next state, where the diagram has that edge.

    Args:
        what: the thing as a sentence names it.
        state, to: where it stands, where it shall go.
        edges: the diagram: from each state, where one may go.
        how: what to do instead, as the end of the sentence.

    Raises:
        Conflict: there is no such edge.
    """
    if to in edges[state]:
        return to
    raise Conflict(f"{what} is {state} and cannot become {to}{how}", state=str(state), wanted=to)
