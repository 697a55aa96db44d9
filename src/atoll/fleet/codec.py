"""Records as JSON and back: what is kept in ZooKeeper, in files and on the wire of our own."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from atoll.core.errors import Corrupt
from atoll.core.records import decoded

T = TypeVar("T")


def encode(record: Any) -> bytes:
    """Write a record (a dataclass of `atoll.fleet`) as JSON."""
    return msgspec.json.encode(record)


def decode(data: bytes | str, kind: type[T], *, what: str) -> T:
    """Read a record.

    Args:
        data: JSON.
        kind: what it must be.
        what: what to call it in the message.

    Raises:
        Corrupt: it is not that.
    """
    try:
        return decoded(data, kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt(
            f"{what} cannot be read: {error}; was it written by another version?"
        ) from error
