"""A folder that keeps what was read from a distant store, shared by processes, bounded in bytes.

Only for what never changes. An entry is one file: a checksum of each slice of it, then the bytes,
so that a part of a large one is read and checked without the rest. It appears whole, by a rename; a
damaged one is removed and counts as missing. What was not used for the longest time goes first.
Whatever the folder's disk does, a reader only loses the cache: it is turned off.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeAlias

import xxhash

logger = logging.getLogger(__name__)

Data: TypeAlias = bytes | memoryview

# What a file takes on a disk is a multiple of this.
BLOCK_BYTES = 4096
# What is read at least of a large entry.
SLICE_BYTES = 16 << 10
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
        self._place = str(folder)
        self._lock = threading.Lock()
        self._is_on = True
        # About what is there; counted by the first `put`.
        self._size_bytes: int | None = None
        self._written = 0

    def get(self, key: str) -> bytes | None:
        """Return what was kept under a key; None where it is not there or damaged."""
        found = self._read(key, None)
        return None if found is None else bytes(found[0])

    def get_parts(self, key: str, parts: Sequence[tuple[int, int]]) -> list[memoryview] | None:
        """Return parts of what was kept under a key.

        Args:
            key: of the entry.
            parts: (first byte, bytes) of each, ascending.

        Returns:
            None where the entry is not there, damaged at one of them, or shorter.
        """
        return self._read(key, parts)

    def has(self, key: str) -> bool:
        """Tell whether something is kept under a key, damaged or not."""
        return self._is_on and self._path(key).exists()

    def free_bytes(self) -> int:
        """Tell how much more the folder's disk can hold, whatever the limit."""
        folder = self._folder.absolute()
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        return shutil.disk_usage(there).free

    def put(self, key: str, data: Data) -> None:
        """Keep bytes, at the cost of those that were not used for the longest time."""
        size = entry_bytes(len(data))
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
        return Path(self._file(_named(key)))

    def _file(self, name: str) -> str:
        return f"{self._place}/{name[:2]}/{name[2:]}"

    def _read(self, key: str, parts: Sequence[tuple[int, int]] | None) -> list[memoryview] | None:
        """Read parts of an entry, or all of it."""
        if not self._is_on:
            return None
        name = _named(key)
        path = self._file(name)
        try:
            # Plain system calls: a search reads dozens of entries.
            with _opened(path) as descriptor:
                found = _checked_parts(descriptor, _seed(name), parts)
                if found is None:
                    Path(path).unlink(missing_ok=True)
                else:
                    os.utime(descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._turn_off(error)
            return None
        return found

    def _write(self, path: Path, data: Data) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f"{uuid.uuid4().hex}{_UNFINISHED}")
        seed, view = _seed(path.parent.name + path.name), memoryview(data)
        starts = range(0, _slices(len(data)) * SLICE_BYTES, SLICE_BYTES)
        sums = b"".join(
            _checksum(seed, start, view[start : start + SLICE_BYTES]) for start in starts
        )
        try:
            with part.open("xb", buffering=0) as file:
                for piece in (sums, data):
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


def entry_bytes(size_bytes: int) -> int:
    """Tell what so many bytes take on disk once they are kept."""
    return _on_disk(size_bytes + _slices(size_bytes) * _CHECKSUM_BYTES)


def _on_disk(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def _slices(size_bytes: int) -> int:
    return max(1, -(-size_bytes // SLICE_BYTES))


def _named(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _seed(name: str) -> int:
    return int(name[-15:], 16)


def _checksum(seed: int, start: int, data: Data) -> bytes:
    # By name and place: a file or a slice in another's place is damaged, too.
    return xxhash.xxh3_128_digest(data, seed + start)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _checked_parts(
    descriptor: int, seed: int, parts: Sequence[tuple[int, int]] | None
) -> list[memoryview] | None:
    """Read parts of an open entry, or all of it; None where it is damaged or too short."""
    size = os.fstat(descriptor).st_size
    head = max(1, -(-size // (SLICE_BYTES + _CHECKSUM_BYTES))) * _CHECKSUM_BYTES
    length = size - head
    parts = [(0, length)] if parts is None else parts
    if length < 0 or any(start + wanted > length for start, wanted in parts):
        return None
    sums = os.pread(descriptor, head, 0)
    found: list[memoryview] = []
    for run in _runs(parts):
        first = run[0][0] // SLICE_BYTES * SLICE_BYTES
        stop = min(length, -(-sum(run[-1]) // SLICE_BYTES) * SLICE_BYTES)
        data = memoryview(os.pread(descriptor, stop - first, head + first))
        for start in range(first, max(stop, first + 1), SLICE_BYTES):
            at = start // SLICE_BYTES * _CHECKSUM_BYTES
            part = data[start - first : start - first + SLICE_BYTES]
            if sums[at : at + _CHECKSUM_BYTES] != _checksum(seed, start, part):
                return None
        found += [data[start - first : start - first + wanted] for start, wanted in run]
    return found


def _runs(parts: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Put parts together whose slices are the same ones or follow each other."""
    run: list[tuple[int, int]] = []
    for part in parts:
        if run and part[0] // SLICE_BYTES > -(-sum(run[-1]) // SLICE_BYTES):
            yield run
            run = []
        run.append(part)
    if run:
        yield run
