"""The id index of a bucket: from an id to its row with two ranged reads.

The object holds, little-endian: a directory of 2**bits + 1 uint64 (how many rows lie below each
prefix of a hash), the 32 bits that follow the prefix, sorted by hash, and the uint32 row of each.
Hashes are spread evenly, so a prefix holds about `ROWS_PER_SLOT` of them. A hash is a candidate
only: whoever looks up compares the id.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import Corrupt
from atoll.vectors.model import Blob

ReadRange = Callable[[str, int, int], bytes]

ROWS_PER_SLOT = 4096
MAX_ROWS = 1 << 32
MAX_GAP_SLOTS = 4
MAX_SPAN_SLOTS = 512
# Sorting takes about 50 bytes a row.
RUN_ROWS = 1 << 20

HashRun: TypeAlias = tuple[NDArray[np.uint64], NDArray[np.uint32]]
"""Hashes, sorted, and the row of each."""


def slot_bits(rows: int) -> int:
    """Choose the prefix length for so many rows."""
    return max(0, (rows // ROWS_PER_SLOT).bit_length())


class HashWriter:
    """Sorts hashes and their rows into runs of a file, one after the other."""

    def __init__(self, file: BinaryIO, first_row: int) -> None:
        """Start empty; `first_row` is the row of the first hash that is added."""
        self._file, self._next = file, first_row
        self._held: list[NDArray[np.uint64]] = []
        self._rows = 0
        self._runs: list[int] = []

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Take the hashes of some more rows."""
        self._held.append(hashes)
        self._rows += len(hashes)
        if self._rows >= RUN_ROWS:
            self._flush()

    def finish(self) -> list[int]:
        """Write the last run; return the rows of each."""
        if self._rows:
            self._flush()
        return self._runs

    def _flush(self) -> None:
        hashes = np.concatenate(self._held)
        order = np.argsort(hashes, kind="stable")
        self._file.write(hashes[order].astype("<u8", copy=False).data)
        self._file.write((self._next + order).astype("<u4").data)
        self._file.write(bytes(_size(len(hashes)) - 12 * len(hashes)))
        self._runs.append(len(hashes))
        self._next += len(hashes)
        self._held, self._rows = [], 0


def _size(rows: int) -> int:
    # Filled up to whole words: numpy copies what is not aligned.
    return (12 * rows + 7) // 8 * 8


def open_runs(path: Path, rows: Sequence[int]) -> list[HashRun]:
    """Map the runs that a `HashWriter` wrote."""
    whole = np.memmap(path, np.uint8, "r") if rows else np.empty(0, np.uint8)
    found, at = [], 0
    for count in rows:
        hashes = whole[at : at + 8 * count].view("<u8")
        found.append((hashes, whole[at + 8 * count : at + 12 * count].view("<u4")))
        at += _size(count)
    return found


def write_index(runs: Sequence[HashRun], file: BinaryIO) -> None:
    """Merge runs, in the order of their rows, into the index of a bucket: some slots at once."""
    total = sum(len(hashes) for hashes, _ in runs)
    bits = slot_bits(total)
    slots = 1 << bits
    base = (slots + 1) * 8
    directory = np.zeros(slots + 1, "<u8")
    starts, at = [0] * len(runs), 0
    step = max(1, slots * RUN_ROWS // max(total, 1))
    for first in range(0, slots, step):
        last = min(slots, first + step)
        ends = [_below(hashes, last, bits) for hashes, _ in runs]
        cuts = [slice(*cut) for cut in zip(starts, ends, strict=True)]
        hashes = np.concatenate([run[0][cut] for run, cut in zip(runs, cuts, strict=True)])
        rows = np.concatenate([run[1][cut] for run, cut in zip(runs, cuts, strict=True)])
        order = np.argsort(hashes, kind="stable")
        slot, remainder = _cut(hashes[order], bits)
        counts = np.bincount(slot - first, minlength=last - first)
        directory[first + 1 : last + 1] = at + np.cumsum(counts)
        file.seek(base + 4 * at)
        file.write(remainder.data)
        file.seek(base + 4 * (total + at))
        file.write(rows[order].data)
        at, starts = at + len(rows), ends
    file.seek(0)
    file.write(directory.data)


def pack(hashes: NDArray[np.uint64]) -> bytes:
    """Write the index of a bucket whose row i has the id hash `hashes[i]`, all in memory."""
    order = np.argsort(hashes, kind="stable")
    out = io.BytesIO()
    write_index([(hashes[order], order.astype("<u4"))], out)
    return out.getvalue()


def _below(hashes: NDArray[np.uint64], slot: int, bits: int) -> int:
    """Count the hashes that lie in slots below this one."""
    if slot >= 1 << bits:
        return len(hashes)
    return int(np.searchsorted(hashes, np.uint64(slot << (64 - bits))))


def _cut(hashes: NDArray[np.uint64], bits: int) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Cut hashes into the slot and the 32 bits after it."""
    slot = hashes >> np.uint64(64 - bits) if bits else np.zeros_like(hashes)
    remainder = (hashes << np.uint64(bits)) >> np.uint64(32)
    return slot.astype(np.int64), remainder.astype("<u4")


class IdIndex:
    """Looks hashes up in the object of one bucket, reading only the slots they fall in."""

    def __init__(self, blob: Blob, rows: int, read: ReadRange) -> None:
        """Open it; `read(path, start, length)` fetches bytes of the object."""
        self._path, self._rows, self._read = blob.path, rows, read
        self._bits = slot_bits(rows)
        self._slots = (1 << self._bits) + 1
        self._directory: NDArray[np.uint64] | None = None

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Find rows whose id may have one of these hashes.

        Args:
            hashes: (n,) uint64, in any order.

        Returns:
            (m,) positions in `hashes` and (m,) rows of the bucket, pair by pair.
        """
        if self._directory is None:
            directory = np.frombuffer(self._read(self._path, 0, self._slots * 8), "<u8")
            if directory[-1] != self._rows or (directory[1:] < directory[:-1]).any():
                raise self._damaged()
            self._directory = directory
        slot, remainder = _cut(hashes, self._bits)
        wanted = _key(slot, remainder)
        order = np.argsort(slot, kind="stable")
        found_at, found_rows = [], []
        for group in _spans(slot[order], order):
            stored, rows = self._read_slots(int(slot[group[0]]), int(slot[group[-1]]) + 1)
            left = np.searchsorted(stored, wanted[group], "left")
            count = np.searchsorted(stored, wanted[group], "right") - left
            found_at.append(np.repeat(group, count))
            within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            found_rows.append(rows[np.repeat(left, count) + within])
        if not found_at:
            return np.empty(0, np.int64), np.empty(0, np.uint32)
        return np.concatenate(found_at), np.concatenate(found_rows)

    def _read_slots(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Read the keys and the rows of slots, sorted by key."""
        assert self._directory is not None
        ends = self._directory[first : last + 1].astype(np.int64)
        start, count = int(ends[0]), int(ends[-1] - ends[0])
        if not count:
            return np.empty(0, np.uint64), np.empty(0, np.uint32)
        base = self._slots * 8
        remainder = self._read(self._path, base + start * 4, count * 4)
        rows = self._read(self._path, base + (self._rows + start) * 4, count * 4)
        found = np.frombuffer(rows, "<u4")
        if (found >= self._rows).any():
            raise self._damaged()
        slot = np.repeat(np.arange(first, last), np.diff(ends))
        return _key(slot, np.frombuffer(remainder, "<u4")), found

    def _damaged(self) -> Corrupt:
        return Corrupt(
            f"{self._path} has changed since it was written; run `atoll verify`", path=self._path
        )


def _key(slot: NDArray[np.int64], remainder: NDArray[np.uint32]) -> NDArray[np.uint64]:
    key: NDArray[np.uint64] = (slot.astype(np.uint64) << np.uint64(32)) | remainder
    return key


def _spans(slots: NDArray[np.int64], order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Group positions whose slots lie close enough to be fetched by one read."""
    far = np.diff(slots) > MAX_GAP_SLOTS
    far |= np.diff(slots // MAX_SPAN_SLOTS) > 0
    yield from np.split(order, np.flatnonzero(far) + 1) if len(order) else ()
