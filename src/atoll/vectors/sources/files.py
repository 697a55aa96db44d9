"""The files behind sources: found by path, folder, glob or URL, opened for reading in any process.

Remote files are read by ranges: nothing is downloaded to learn how many rows a file has, and a
bucket that takes part of a file fetches that part only.
"""

from __future__ import annotations

import fnmatch
import io
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from atoll.core.config import StorageOptions
from atoll.core.errors import AtollError, InvalidInput, NotFound
from atoll.core.files import read_failure, reading
from atoll.storage import Storage, StoredObject, local_path, open_storage
from atoll.vectors.embed.parts import embedded_shards, stored_shards

T = TypeVar("T")

BLOCK_BYTES = 4 << 20
CACHED_BLOCKS = 8
_GLOB_CHARACTERS = frozenset("*?[")


@dataclass(frozen=True)
class SourceFile:
    """One file, local or remote. Picklable; opened anew by each reader.

    Attributes:
        uri: absolute path of a local file, URL of a remote one.
        size_bytes: its size when it was found.
        version: tells whether its content changed: size, with the time of writing or the ETag.
        options: how to reach a remote one.
    """

    uri: str
    size_bytes: int
    version: str
    options: StorageOptions = StorageOptions()

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.uri.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """Extension in lower case, with its dot."""
        return Path(self.name).suffix.lower()

    @property
    def is_local(self) -> bool:
        """Whether `uri` is a path of this machine."""
        return local_path(self.uri) is not None

    def open(self) -> IO[bytes]:
        """Open for reading at any position.

        Raises:
            NotFound, Forbidden: a local file is gone or may not be read.
            InvalidInput: it was written since it was found.
        """
        if self.is_local:
            self.check_unchanged()
            with reading(self.uri):
                return Path(self.uri).open("rb")
        storage, name = _split(self.uri, self.options)
        raw = RangedFile(lambda start, length: storage.get_range(name, start, length), self)
        return io.BufferedReader(raw, io.DEFAULT_BUFFER_SIZE)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make sure, before and after it is read, that the file is still the one that was found.

        Raises:
            NotFound: it is gone. InvalidInput: it was written since.
        """
        self.check_unchanged()
        yield
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """Make sure that the file is still the one that was found.

        Raises:
            NotFound: it is gone. InvalidInput: it was written since.
        """
        if find_file(self.uri, self.options).version != self.version:
            raise InvalidInput(
                f"{self.uri} was changed since it was planned; let its writer end, then run the"
                " command again",
                file=self.uri,
            )


def cannot_read(file: SourceFile, error: Exception) -> AtollError:
    """Say why a file could not be read: it changed, the system's reason, or that it is damaged."""
    try:
        file.check_unchanged()
    except AtollError as changed:
        return changed
    if isinstance(error, OSError) and error.errno is not None:
        return read_failure(error, file.uri)
    reason = " ".join(str(error).split()) or type(error).__name__
    return InvalidInput(
        f"{file.uri} cannot be read: {reason}; it may be truncated or damaged: write it again",
        file=file.uri,
    )


class RangedFile(io.RawIOBase):
    """A read-only file over ranged reads; small reads share cached blocks, large ones do not."""

    def __init__(self, fetch: Callable[[int, int], bytes], file: SourceFile) -> None:
        """Take `fetch(start, length)` for the file's content."""
        self._fetch = fetch
        self._size = file.size_bytes
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, target: object) -> int:
        """Fill a buffer from the position on; returns how many bytes there were."""
        view = memoryview(target).cast("B")  # type: ignore[arg-type]
        length = max(0, min(len(view), self._size - self._at))
        if length >= BLOCK_BYTES:
            view[:length] = self._fetch(self._at, length)
        elif length:
            number, inside = divmod(self._at, BLOCK_BYTES)
            length = min(length, BLOCK_BYTES - inside)
            view[:length] = self._block(number)[inside : inside + length]
        self._at += length
        return length

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * BLOCK_BYTES
            self._blocks[number] = self._fetch(start, min(BLOCK_BYTES, self._size - start))
            if len(self._blocks) > CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


def find_files(
    specs: Sequence[str | Path], known_suffixes: Sequence[str], options: StorageOptions
) -> list[SourceFile]:
    """Find the files that paths, folders, globs and storage URLs stand for.

    Args:
        specs: what to look for; a file met twice is taken once.
        known_suffixes: which files of a folder count; hidden ones and those whose name starts with
            "_" never do.
        options: how to reach remote ones.

    Returns:
        Files in the order of `specs`, those of one folder or glob sorted by name.

    Raises:
        NotFound: a file does not exist, or a folder or glob yields none. Forbidden: it may not be
            read.
        InvalidInput: `atoll embed` has not finished a folder.
    """
    found: dict[str, SourceFile] = {}
    for spec in specs:
        path = local_path(spec)
        if path is None:
            files = _find_remote(str(spec), known_suffixes, options)
        else:
            files = [_local(each) for each in _find_local(path, known_suffixes)]
        found |= {file.uri: file for file in files}
    return list(found.values())


def find_file(uri: str, options: StorageOptions) -> SourceFile:
    """Find one file by its path or URL.

    Raises:
        NotFound, Forbidden: it is not there or may not be read. InvalidInput: it is a folder.
    """
    path = local_path(uri)
    if path is not None:
        return _local(path)
    folder, name = _split(uri, options)
    return _remote(folder, folder.stat(name))


def _find_local(path: Path, known_suffixes: Sequence[str]) -> list[Path]:
    if path.is_dir():
        if shards := embedded_shards(path):
            return shards
        found = path.iterdir()
    elif _GLOB_CHARACTERS & set(str(path)) and not path.exists():
        found = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    else:
        return [path]
    chosen = [each for each in found if _counts(each.name, known_suffixes)]
    return _some(sorted(chosen), path, known_suffixes)


def _local(path: Path) -> SourceFile:
    with reading(path):
        status = path.stat()
        if path.is_dir():
            raise IsADirectoryError
    return SourceFile(str(path), status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


def _find_remote(
    url: str, known_suffixes: Sequence[str], options: StorageOptions
) -> list[SourceFile]:
    folder, name = _split(url.rstrip("/"), options)
    if _GLOB_CHARACTERS & set(name):
        chosen = [each for each in _inside(folder) if fnmatch.fnmatchcase(each.path, name)]
    elif name and folder.exists(name):
        return [_remote(folder, folder.stat(name))]
    else:
        folder = folder.child(name) if name else folder
        chosen = _inside(folder)
        inside = {each.path: each for each in chosen}
        if shards := stored_shards(folder, inside.keys()):
            return [_remote(folder, inside[shard]) for shard in shards]
    chosen = [each for each in chosen if _counts(each.path, known_suffixes)]
    return [_remote(folder, each) for each in _some(chosen, url, known_suffixes)]


def _remote(folder: Storage, found: StoredObject) -> SourceFile:
    version = f"{found.size_bytes}-{found.version}"
    return SourceFile(f"{folder.url}/{found.path}", found.size_bytes, version, folder.options)


def _inside(folder: Storage) -> list[StoredObject]:
    return [stored for stored in folder.list() if "/" not in stored.path]


def _counts(name: str, known_suffixes: Sequence[str]) -> bool:
    return name[0] not in "._" and Path(name).suffix.lower() in known_suffixes


def _some(found: list[T], where: object, known_suffixes: Sequence[str]) -> list[T]:
    if not found:
        raise NotFound(
            f"{where} does not exist or holds no vector files ({', '.join(known_suffixes)});"
            " check the path",
            file=str(where),
        )
    return found


def _split(url: str, options: StorageOptions) -> tuple[Storage, str]:
    """Split a URL into the storage of its folder and its last name ("" for a bare bucket)."""
    scheme, _, rest = url.partition("://")
    parent, _, name = rest.rpartition("/")
    if not parent:
        return open_storage(url, options), ""
    return open_storage(f"{scheme}://{parent}", options), name
