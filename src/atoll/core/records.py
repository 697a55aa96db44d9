"""Records (dataclasses, and all that is made of them) read from JSON, safely from any thread."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_describing = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decoded(data: bytes | bytearray | memoryview | str, kind: type[T]) -> T:
    """Read JSON that must be of a type.

    `msgspec.json.decode` shows a class to other threads before it has described all its fields:
    one that decodes the same class for the first time as well ends the process (SIGSEGV). Here
    one thread at a time describes a type, before anything is decoded.

    Raises:
        msgspec.DecodeError: it is not JSON, or (`msgspec.ValidationError`) not of the type.
    """
    found: T = _decoder(kind).decode(data)
    return found


def converted(value: Any, kind: type[T], *, strict: bool = True) -> T:
    """Make what was read without a type into one; see `decoded`.

    Args:
        value: what was read.
        kind: what it must be.
        strict: False reads numbers and truth from strings, too, as in a query string.

    Raises:
        msgspec.ValidationError: it is not of the type.
    """
    _decoder(kind)
    return msgspec.convert(value, kind, strict=strict)  # noqa: TID251


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    found = _decoders.get(kind)
    if found is None:
        with _describing:
            found = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return found
