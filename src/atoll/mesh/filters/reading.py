"""Values out of JSON that anybody may have written: held against shapes and bounds, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of

MAX_TEXT = 4096  # characters
MAX_QUOTED = 60  # characters

# As JSON says it.
_WORDS: Mapping[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def mapping(
    value: object, at: str, *, required: Sequence[str] = (), optional: Sequence[str] = ()
) -> Mapping[str, object]:
    """Take an object with all of the required keys and no unknown ones.

    Args:
        value: what stands there.
        at: where, for the message.
        required: keys that must be there.
        optional: keys that may be.

    Raises:
        InvalidInput: it is none, a key is missing or unknown.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{at} is {named(value)}; it must be an object")
    known = [*required, *optional]
    for key in value:
        if key not in known:
            raise InvalidInput(f"{at} has the unknown key {named(key)}; known: {', '.join(known)}")
    missing = [key for key in required if key not in value]
    if missing:
        raise InvalidInput(f"{at} lacks {some_of(missing)}")
    return value


def listed(value: object, at: str, *, most: int) -> Sequence[object]:
    """Take a list of 1 to `most` items.

    Raises:
        InvalidInput: it is none, empty or longer.
    """
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{at} is {named(value)}; it must be a list")
    if not 1 <= len(value) <= most:
        raise InvalidInput(f"{at} has {len(value):,} items; it must have 1 to {most:,}")
    return value


def text(value: object, at: str, *, longest: int = MAX_TEXT) -> str:
    """Take a text that every store and every client can hold.

    Raises:
        InvalidInput: it is none, longer than `longest` characters, not UTF-8, or has a NUL.
    """
    if not isinstance(value, str):
        raise InvalidInput(f'{at} is {named(value)}; it must be a string, in quotes: "..."')
    if len(value) > longest:
        raise InvalidInput(f"{at} has {len(value):,} characters; it may have {longest:,}")
    if "\0" in value or not _is_utf8(value):
        raise InvalidInput(f"{at} has a character that cannot be stored: {named(value)}")
    return value


def named(value: object) -> str:
    """Name a value in a message, in few and printable characters.

    >>> named("a\\n"), named("x" * 99)[-5:], named([1, 2])
    ("'a\\\\n'", "x'...", 'a list')
    """
    if isinstance(value, str):
        return ascii(value[:MAX_QUOTED]) + ("..." if len(value) > MAX_QUOTED else "")
    return _WORDS.get(type(value), type(value).__name__)


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which passes as JSON
        return False
    return True
