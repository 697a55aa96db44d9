"""A folder that keeps what was read from a distant store, shared by processes, bounded in bytes.

Only for what never changes. An entry is one file: a checksum, then the bytes. It appears whole, by
a rename; a damaged one is removed and counts as missing. What was not used for the longest time
goes first. Whatever the folder's disk does, a reader only loses the cache: it is turned off.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

import xxhash

logger = logging.getLogger(__name__)

Data: TypeAlias = bytes | memoryview

# What a file takes on a disk is a multiple of this.
BLOCK_BYTES = 4096
# Of the limit: what one entry may take; what this process writes until it counts again, since
# others write too; what is left after an eviction.
ENTRY_SHARE = 1 / 16
COUNT_SHARE = 1 / 16
LEFT_SHARE = 0.9
# A writer that takes so long was killed.
UNFINISHED_SECONDS = 60
_UNFINISHED = ".part"
_OURS = re.compile(rf"[0-9a-f]{{62}}|[0-9a-f]{{32}}\{_UNFINISHED}")
_CHECKSUM_BYTES = 16


class DiskCache:
    """Keeps bytes by name; for several threads and processes at once."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Touch nothing yet."""
        self._folder, self._limit = folder, limit_bytes
        self._lock = threading.Lock()
        self._is_on = True
        # About what is there; counted by the first `put`.
        self._size_bytes: int | None = None
        self._written = 0

    def get(self, key: str) -> bytes | None:
        """Return what was kept under a key; None where it is not there or damaged."""
        if not self._is_on:
            return None
        path = self._path(key)
        try:
            entry = path.read_bytes()
            if entry[:_CHECKSUM_BYTES] != _checksum(path.name, entry[_CHECKSUM_BYTES:]):
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._turn_off(error)
            return None
        return entry[_CHECKSUM_BYTES:]

    def put(self, key: str, data: Data) -> None:
        """Keep bytes, at the cost of those that were not used for the longest time."""
        size = _on_disk(len(data) + _CHECKSUM_BYTES)
        if not self._is_on or size > self._limit * ENTRY_SHARE:
            return
        try:
            self._write(self._path(key), data)
            with self._lock:
                self._make_room(size)
        except FileNotFoundError:
            pass  # somebody else emptied the folder at this moment
        except OSError as error:
            self._turn_off(error)

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / name[2:]

    def _write(self, path: Path, data: Data) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{uuid.uuid4().hex}{_UNFINISHED}")
        try:
            with part.open("xb", buffering=0) as file:
                for piece in (_checksum(path.name, data), data):
                    if file.write(piece) != len(piece):
                        return  # the disk is nearly full: the next write says so
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, added: int) -> None:
        self._written += added
        if self._size_bytes is not None:
            self._size_bytes += added
            is_due = self._written > self._limit * COUNT_SHARE
            if self._size_bytes <= self._limit and not is_due:
                return
        self._size_bytes, self._written = self._evict(), 0

    def _evict(self) -> int:
        """Sweep what killed writers left and the oldest beyond the limit; count the rest."""
        entries = []
        for path in _files(self._folder):
            try:
                found = path.stat()
                if path.suffix != _UNFINISHED:
                    entries.append((found.st_mtime_ns, _on_disk(found.st_size), path))
                elif found.st_mtime < time.time() - UNFINISHED_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue  # another process evicts, too
        size = sum(entry[1] for entry in entries)
        if size > self._limit:
            for _, entry_bytes, path in sorted(entries):
                if size <= self._limit * LEFT_SHARE:
                    break
                path.unlink(missing_ok=True)
                size -= entry_bytes
        return size

    def _turn_off(self, error: OSError) -> None:
        with self._lock:
            if self._is_on:
                self._is_on = False
                logger.warning("disk cache turned off folder=%s error=%s", self._folder, error)


@cache
def open_cache(folder: Path, limit_bytes: int) -> DiskCache:
    """Return the one cache of this process in a folder."""
    return DiskCache(folder, limit_bytes)


def _files(folder: Path) -> Iterator[Path]:
    """List what is ours, whatever else somebody has put there."""
    for below in folder.iterdir():
        if re.fullmatch("[0-9a-f]{2}", below.name):
            yield from (path for path in below.iterdir() if _OURS.fullmatch(path.name))


def _checksum(name: str, data: Data) -> bytes:
    # With the name: a file in another's place is damaged, too.
    found = xxhash.xxh3_128(name.encode())
    found.update(data)
    return found.digest()


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
