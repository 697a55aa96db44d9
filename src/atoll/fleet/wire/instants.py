"""Instants as AWS's protocols write them: seconds since 1970, ISO 8601, RFC 7231."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_CHARS = 64


def from_seconds(seconds: float) -> datetime:
    """Read seconds since 1970, rounded to microseconds.

    Raises:
        ValueError: the calendar does not reach so far.
    """
    try:
        # timedelta rounds the fraction by itself: times a million, a double would lose digits.
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError(f"{seconds} seconds since 1970 is no date") from error


def to_seconds(instant: datetime) -> float:
    """Count seconds since 1970; an int where they are whole."""
    micros = (instant - _EPOCH) // timedelta(microseconds=1)
    return micros // 1_000_000 if micros % 1_000_000 == 0 else micros / 1_000_000


def from_text(text: str) -> datetime:
    """Read ISO 8601 or the date form of HTTP; without a time zone it is UTC.

    Raises:
        ValueError: it is neither.
    """
    if len(text) > _TEXT_CHARS:
        raise ValueError(f"{len(text):,} characters are no date")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = parsedate_to_datetime(text)
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is beyond the calendar") from error


def to_text(instant: datetime) -> str:
    """Write ISO 8601 in UTC, microseconds only where there are any."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def from_format(text: str, name: str) -> datetime:
    """Read an instant in the format that a model names: unixTimestamp, iso8601, rfc822.

    Raises:
        ValueError: it is no instant, or in another format.
    """
    if name.lower() != "unixtimestamp":
        return from_text(text)
    if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", text):
        raise ValueError("no seconds since 1970")
    return from_seconds(float(text))


def in_format(instant: datetime, name: str) -> str | float:
    """Write an instant in the format that a model names: unixTimestamp, iso8601, rfc822."""
    if name.lower() == "unixtimestamp":
        return to_seconds(instant)
    if name.lower() == "rfc822":
        return format_datetime(instant.astimezone(UTC), usegmt=True)
    return to_text(instant)
