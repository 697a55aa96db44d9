"""The index on disk.

<folder>/search-index.json which index is the live one, and its format; replaced whole
<folder>/index-<32 hex>/   an index of tantivy: the live one, or one in the making
<folder>/writer.lock       held by the one process that writes
<folder>/making.lock       held while the first index is made
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.core.files import reading, whole_file, writing
from atoll.core.records import decoded

# Changes with the schema and with how text becomes words.
FORMAT = 2
CURRENT = "search-index.json"
META = "meta.json"
_PREFIX = "index-"
_OURS = re.compile(rf"{_PREFIX}[0-9a-f]{{32}}")
_LOCKS = ("writer.lock", "making.lock")
_REBUILD = "rebuild it from the catalog"

# Tantivy ends each file with a Footer, its length, and a magic number.
_FOOTER_END_BYTES = 8
_FOOTER_MAGIC = 1337
_MOST_FOOTER_BYTES = 50_000
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Current:
    """What CURRENT says."""

    format: int
    index: str


@dataclass(frozen=True)
class Deletes:
    """Which file says what is deleted of a segment."""

    opstamp: int


@dataclass(frozen=True)
class Segment:
    """A committed segment, as tantivy's META lists it."""

    segment_id: str
    deletes: Deletes | None


@dataclass(frozen=True)
class Meta:
    """What we read of META."""

    segments: list[Segment]


@dataclass(frozen=True)
class Footer:
    """What we read of a file's end."""

    crc: int


def current(folder: Path) -> Path | None:
    """Find the live index; None where there is none yet.

    Raises:
        InvalidInput: the folder holds something else. Corrupt: it names no index of this format.
        Forbidden, Unavailable: it cannot be read.
    """
    with reading(folder):
        try:
            data = (folder / CURRENT).read_bytes()
        except FileNotFoundError:
            _check_new(folder)
            return None
    try:
        found = decoded(data, Current)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(folder, f"{CURRENT} cannot be read") from error
    if found.format != FORMAT:
        raise damaged(folder, f"it has format {found.format}, this version reads {FORMAT}")
    if not _OURS.fullmatch(found.index) or not (folder / found.index).is_dir():
        raise damaged(folder, f"{CURRENT} names an index that is not there")
    return folder / found.index


def _check_new(folder: Path) -> None:
    """Refuse a folder without CURRENT that holds more than what a killed maker leaves."""
    if not folder.exists():
        return
    names = sorted(path.name for path in folder.iterdir() if path.name not in _LOCKS)
    foreign = [name for name in names if not _OURS.fullmatch(name) and CURRENT not in name]
    if foreign:
        raise InvalidInput(
            f"{folder} holds something else than a search index ('{foreign[0]}');"
            " choose an empty folder",
            path=str(folder),
        )


def damaged(folder: Path, what: str) -> Corrupt:
    """Say that an index cannot be used, and how to mend it."""
    return Corrupt(f"search index {folder}: {what}; {_REBUILD}", path=str(folder))


def new(folder: Path) -> Path:
    """Make room for another index, which is nobody's until it is made current."""
    made = folder / f"{_PREFIX}{uuid.uuid4().hex}"
    with writing(folder):
        made.mkdir(parents=True)
    return made


def make_current(index: Path) -> None:
    """Have all who open or read the folder use this index from now on, durably."""
    folder = index.parent
    with whole_file(folder / CURRENT) as file:
        file.write(json.dumps({"format": FORMAT, "index": index.name}).encode())
    with writing(folder):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def sweep(folder: Path, keep: Path) -> None:
    """Remove all other indexes: old ones, and those whose makers died."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _OURS.fullmatch(path.name) and path != keep and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


def stamp(path: Path) -> tuple[int, ...]:
    """Take what differs whenever a file was replaced; nothing where there is none."""
    with reading(path), suppress(FileNotFoundError):
        facts = path.stat()
        return facts.st_ino, facts.st_mtime_ns, facts.st_size
    return ()


def write_lock(folder: Path) -> BinaryIO:
    """Become the one process that writes, until the file is closed.

    Raises:
        Conflict: another one is. InvalidInput, Forbidden, Unavailable: see `writing`.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCKS[0]).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise Conflict(
            f"another process writes the search index {folder}; end it, or let it do the work",
            path=str(folder),
        ) from error
    return file


def making_lock(folder: Path) -> Path:
    """Name the lock under which the first index is made, in a folder that is there."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / _LOCKS[1]


def check_whole(index: Path) -> None:
    """Read all files of an index and compare their checksums, at about 1 GB/s.

    Raises:
        Corrupt: one is damaged or missing.
    """
    with ExitStack() as opened:
        # All of them at once: what a writer removes from now on stays there for us.
        files = []
        for path in _live_files(index):
            try:
                files.append(opened.enter_context(path.open("rb")))
            except OSError as error:
                raise damaged(index.parent, f"{path.name} cannot be read") from error
        for file in files:
            name = Path(file.name).name
            try:
                is_whole = _is_whole(file)
            except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
                raise damaged(index.parent, f"{name} cannot be read") from error
            if not is_whole:
                raise damaged(index.parent, f"{name} is damaged")


def _live_files(index: Path) -> Iterator[Path]:
    """List the files of committed segments; what else lies there is a dead writer's."""
    try:
        meta = decoded((index / META).read_bytes(), Meta)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(index.parent, f"{META} cannot be read") from error
    live = {each.segment_id.replace("-", ""): each.deletes for each in meta.segments}
    for path in sorted(index.iterdir()):
        name, _, suffix = path.name.partition(".")
        deletes = live.get(name)
        is_old = suffix.endswith(".del") and (deletes is None or suffix != f"{deletes.opstamp}.del")
        if name in live and not is_old:
            yield path


def _is_whole(file: BinaryIO) -> bool:
    end = file.seek(-_FOOTER_END_BYTES, os.SEEK_END)
    tail = file.read(_FOOTER_END_BYTES)
    length, magic = (int.from_bytes(part, "little") for part in (tail[:4], tail[4:]))
    if magic != _FOOTER_MAGIC or length > min(_MOST_FOOTER_BYTES, end):
        return False
    body = file.seek(end - length)
    return decoded(file.read(length), Footer).crc == _checksum(file, body)


def _checksum(file: BinaryIO, length: int) -> int:
    file.seek(0)
    crc = 0
    while length:
        chunk = file.read(min(length, _READ_BYTES))
        crc = zlib.crc32(chunk, crc)
        length -= len(chunk)
    return crc
