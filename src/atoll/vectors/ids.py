"""The id index of a bucket: from an id to its row with two ranged reads.

The object holds, little-endian: a directory of 2**bits + 1 uint64 (how many hashes lie below each
prefix), the sorted 64-bit hashes, and the uint32 row of each. Hashes are spread evenly, so a prefix
holds about `ROWS_PER_SLOT` of them. A hash is a candidate only: whoever looks up compares the id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import Corrupt
from atoll.vectors.model import Blob

ReadRange = Callable[[str, int, int], bytes]

ROWS_PER_SLOT = 4096
MAX_ROWS = 1 << 32
MAX_GAP_SLOTS = 4
MAX_SPAN_SLOTS = 512


def slot_bits(rows: int) -> int:
    """Choose the prefix length for so many rows."""
    return max(0, (rows // ROWS_PER_SLOT).bit_length())


def pack(hashes: NDArray[np.uint64]) -> bytes:
    """Write the index of a bucket whose row i has the id hash `hashes[i]`."""
    order = np.argsort(hashes, kind="stable").astype("<u4")
    ordered = hashes[order].astype("<u8", copy=False)
    bits = slot_bits(len(hashes))
    edges = np.arange(1, 1 << bits, dtype=np.uint64) << np.uint64(64 - bits) if bits else ()
    inner = np.searchsorted(ordered, np.asarray(edges, np.uint64))
    directory = np.concatenate([[0], inner, [len(hashes)]]).astype("<u8")
    return b"".join((directory.data, ordered.data, order.data))


class IdIndex:
    """Looks hashes up in the object of one bucket, reading only the slots they fall in."""

    def __init__(self, blob: Blob, rows: int, read: ReadRange) -> None:
        """Open it; `read(path, start, length)` fetches bytes of the object."""
        self._path, self._rows, self._read = blob.path, rows, read
        self._bits = slot_bits(rows)
        self._slots = (1 << self._bits) + 1
        self._directory: NDArray[np.uint64] | None = None

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """Find rows whose id has one of these hashes.

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
        slot = hashes >> np.uint64(64 - self._bits) if self._bits else np.zeros_like(hashes)
        order = np.argsort(slot, kind="stable")
        found_at, found_rows = [], []
        for group in _spans(slot[order].astype(np.int64), order):
            stored, rows = self._read_slots(int(slot[group[0]]), int(slot[group[-1]]) + 1)
            left = np.searchsorted(stored, hashes[group], "left")
            count = np.searchsorted(stored, hashes[group], "right") - left
            found_at.append(np.repeat(group, count))
            within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            found_rows.append(rows[np.repeat(left, count) + within])
        if not found_at:
            return np.empty(0, np.int64), np.empty(0, np.uint32)
        return np.concatenate(found_at), np.concatenate(found_rows)

    def _read_slots(self, first: int, last: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        assert self._directory is not None
        start, stop = int(self._directory[first]), int(self._directory[last])
        if start == stop:
            return np.empty(0, np.uint64), np.empty(0, np.uint32)
        base = self._slots * 8
        hashes = self._read(self._path, base + start * 8, (stop - start) * 8)
        rows = self._read(self._path, base + self._rows * 8 + start * 4, (stop - start) * 4)
        found = np.frombuffer(rows, "<u4")
        if (found >= self._rows).any():
            raise self._damaged()
        return np.frombuffer(hashes, "<u8"), found

    def _damaged(self) -> Corrupt:
        return Corrupt(
            f"{self._path} has changed since it was written; run `atoll verify`", path=self._path
        )


def _spans(slots: NDArray[np.int64], order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Group positions whose slots lie close enough to be fetched by one read."""
    far = np.diff(slots) > MAX_GAP_SLOTS
    far |= np.diff(slots // MAX_SPAN_SLOTS) > 0
    yield from np.split(order, np.flatnonzero(far) + 1) if len(order) else ()
