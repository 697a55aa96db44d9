"""Locations: one spelling for each place, and none that carries a secret."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from atoll.core.config import StorageOptions
from atoll.core.errors import InvalidInput
from atoll.core.text import printable, shortened
from atoll.storage import Storage, open_storage, written_path

MAX_LOCATION_CHARACTERS = 2000
_REASON_CHARACTERS = 300
# What the system itself makes there tells of the server, and is nobody's data.
_OF_THE_SYSTEM = ("/proc", "/sys", "/dev")


def open_location(location: str, options: StorageOptions) -> Storage:
    """Open a place under its normalised URL.

    Local paths are absolute, without `..` and symbolic links: whoever compares two locations
    compares places. Nothing is asked of a distant store.

    Raises:
        InvalidInput: it is no location, or carries credentials; the message does not repeat those.
    """
    _check(location)
    if "@" in (options.endpoint or ""):
        raise InvalidInput("the endpoint names a user; give keys as storage options")
    storage = open_storage(location, options)
    if storage.root is None:
        return storage
    try:
        return Storage(storage.root.resolve().as_uri(), options)
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"{storage} is a loop of symbolic links; name a folder") from error


def normalised(location: str) -> str:
    """Return the one URL of a place; see `open_location`.

    >>> normalised("s3://plant/press/")
    's3://plant/press'
    """
    return open_location(location, StorageOptions()).url


def stated(location: str) -> str:
    """Return the URL of a place by its letters alone: the normalised one, where no link leads away.

    Nothing is looked up, so that whoever states a place learns nothing of the server's folders.

    Raises:
        InvalidInput: it is no location, carries credentials, or is no place of data, which is told
            in the same words whatever is there.

    >>> stated("/lake//press/./a b/"), stated("s3://plant/press/")
    ('file:///lake/press/a%20b', 's3://plant/press')
    """
    _check(location)
    path = written_path(location)
    if path is None:
        return open_storage(location).url
    place = Path("/", *path.parts[1:])
    is_of_system = any(place.is_relative_to(one) for one in _OF_THE_SYSTEM)
    if not path.is_absolute() or ".." in path.parts or is_of_system:
        raise InvalidInput(
            "a local place is written in full, from / on, without `~` and `..`, and not in "
            f"{', '.join(_OF_THE_SYSTEM)}"
        )
    return place.as_uri()


def lies_in(location: str, folder: str) -> bool:
    """Tell whether a normalised location is another one, or below it.

    >>> lies_in("s3://plant/a/b", "s3://plant/a"), lies_in("s3://plant/ab", "s3://plant/a")
    (True, False)
    >>> lies_in("file:///lake", "file:///")
    True
    """
    return f"{location}/".startswith(f"{folder.rstrip('/')}/")


def url_of(storage: Storage, path: str) -> str:
    """Return the URL of a path below a storage, also of one that is no proper text."""
    if storage.root is not None:
        return f"{storage.url.rstrip('/')}/{quote(os.fsencode(path))}".rstrip("/")
    return f"{storage.url}/{path}".rstrip("/")


def path_of(storage: Storage, location: str) -> str:
    """Return the path below a storage that a normalised location below it has."""
    path = location[len(storage.url.rstrip("/")) + 1 :]
    return path if storage.root is None else os.fsdecode(unquote_to_bytes(path))


def reason(text: str) -> str:
    """Make one line of what an error says: stored names may hold anything."""
    return shortened(" ".join(printable(text).split()), _REASON_CHARACTERS)


def _check(location: str) -> None:
    scheme, separator, rest = location.partition("://")
    if separator and ("@" in rest.split("/", 1)[0] or "?" in rest):
        raise InvalidInput(
            f"a location of {scheme[:10]!r} names a user or ends in a query; write the bare place,"
            " and give keys as storage options"
        )
    if len(location) > MAX_LOCATION_CHARACTERS or not location.isprintable():
        raise InvalidInput(
            f"a location has at most {MAX_LOCATION_CHARACTERS} characters, all printable"
        )
