"""What lies at a location: files, and what is refused there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, InvalidInput, NotFound
from atoll.core.files import reading
from atoll.mesh.harvest.locations import lies_in, open_location, path_of
from atoll.storage import Storage, StoredObject

MAX_FILES = 250_000


@dataclass(frozen=True)
class Refused:
    """What is not looked at: a symbolic link, a device, a folder that may not be listed.

    Attributes:
        path: below the root of the listing; need not be proper text.
        error: why.
    """

    path: str
    error: AtollError


@dataclass(frozen=True)
class Listing:
    """What lies at a location.

    Attributes:
        storage: its root; of one file, the folder that it is in.
        objects: the files, by path.
        refused: what is not looked at.
        is_file: whether the location is that one file.
        apart: paths of folders in it of which nothing is listed, as they are others'.
    """

    storage: Storage
    objects: tuple[StoredObject, ...]
    refused: tuple[Refused, ...] = ()
    is_file: bool = False
    apart: tuple[str, ...] = ()


def list_location(location: str, options: StorageOptions, apart: Sequence[str] = ()) -> Listing:
    """List a folder or prefix, at any depth, or one file.

    Args:
        location: where.
        options: how to reach the store.
        apart: normalised locations of folders; what lies there is passed over.

    Symbolic links are refused, wherever they lead: a link out of the root would open a neighbour's
    data, one inside it would open an asset under another's grants.

    Raises:
        NotFound: nothing is there. Forbidden: it may not be listed. Unavailable: the store fails.
        InvalidInput: it is no location, or holds more than `MAX_FILES` files.
    """
    storage = open_location(location, options)
    below = tuple(path_of(storage, one) for one in apart if lies_in(one, storage.url))
    if storage.root is not None:
        return _list_local(storage, storage.root, below)
    found = [one for one in storage.list(most=MAX_FILES + 1, apart=below) if one.path]
    _check_count(len(found), storage)
    if found:
        return Listing(storage, tuple(found), apart=below)
    return _single_object(storage)


def check_location(location: str, options: StorageOptions) -> None:
    """See that something lies at a location and may be listed, for the price of one request or two.

    Raises:
        NotFound: nothing is there. Forbidden: it may not be listed. Unavailable: the store fails.
        InvalidInput: it is no location.
    """
    storage = open_location(location, options)
    if storage.root is None:
        if not any(storage.list(most=1)):
            _single_object(storage)
        return
    with reading(storage.root):
        if not storage.root.is_file() and not any(storage.root.iterdir()):
            raise NotFound(f"{storage} is empty; check the location")


def _single_object(storage: Storage) -> Listing:
    parent, _, name = storage.url.rpartition("/")
    try:
        if not parent.endswith("/"):
            folder = Storage(parent, storage.options)
            return Listing(folder, (folder.stat(name),), is_file=True)
    except NotFound:
        pass
    raise NotFound(f"{storage} does not exist or is empty; check the location")


def _list_local(storage: Storage, root: Path, apart: tuple[str, ...]) -> Listing:
    with reading(root):
        status = root.stat()
    if root.is_file():
        folder = Storage(root.parent.as_uri(), storage.options)
        return Listing(folder, (_stored(root.name, status),), is_file=True)
    objects, refused = list[StoredObject](), list[Refused]()
    for found in _walk(root, apart):
        objects.append(found) if isinstance(found, StoredObject) else refused.append(found)
        _check_count(len(objects) + len(refused), storage)
    objects.sort(key=lambda one: one.path)
    return Listing(storage, tuple(objects), tuple(refused), apart=apart)


def _walk(root: Path, apart: Collection[str]) -> Iterator[StoredObject | Refused]:
    # Not the store's own listing: it follows links, and ends at one loop or one odd name.
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with reading(root / folder), os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if path in apart:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif (found := _entry(entry, path)) is not None:
                        yield found
        except AtollError as error:
            if not folder:
                raise
            if not isinstance(error, NotFound):
                yield Refused(folder, error)


def _entry(entry: os.DirEntry[str], path: str) -> StoredObject | Refused | None:
    """Look at what is no folder; None where it is gone."""
    if entry.is_symlink():
        why = (
            "is a symbolic link, which is not followed; register what it leads to at its own place"
        )
        return Refused(path, InvalidInput(f"{entry.name} {why}"))
    if not entry.is_file(follow_symlinks=False):
        return Refused(path, InvalidInput(f"{entry.name} is no regular file; remove it"))
    if not _is_text(path):
        return Refused(path, InvalidInput("its name is not UTF-8; rename it"))
    try:
        return _stored(path, entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None


def _stored(path: str, status: os.stat_result) -> StoredObject:
    return StoredObject(path, status.st_size, f"{status.st_mtime_ns}-{status.st_ino}")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_count(count: int, storage: Storage) -> None:
    if count > MAX_FILES:
        raise InvalidInput(
            f"{storage} holds more than {MAX_FILES:,} files; make a source of each folder in it"
        )
