"""Where the rows of a bucket lie in Lance's data files, to be read by byte ranges.

Lance 2.1 keeps a column that is marked with `RAW_COLUMN` as plain rows, page after page. So a
search needs no table: one request fetches the codes of a partition, and rows that lie close to each
other come together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from atoll.core.arrays import IntArray

# Metadata of a field: rows as they are, without compression.
RAW_COLUMN = {
    "lance-encoding:structural-encoding": "fullzip",
    "lance-encoding:compression": "none",
}
# No single request fetches more; several go on at once.
MAX_RANGE_BYTES = 32 << 20
DEAR_PIECES = 32
_FAR = 1 << 40
# Rows that are kept for searches on this disk go by so many bytes: few files, and each is one
# request to an object store.
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, eq=False)
class Pages:
    """The pages of one column over all files of a bucket, in row order.

    Attributes:
        width: bytes of a row.
        first: (pages + 1,) first row of each page, and the row count at the end.
        file: (pages,) which file.
        at: (pages,) first byte in it.
    """

    width: int
    first: IntArray
    file: IntArray
    at: IntArray

    def locate(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Find rows: which file each is in, and its first byte there."""
        page = np.searchsorted(self.first, rows, "right") - 1
        return self.file[page], self.at[page] + (rows - self.first[page]) * self.width

    def chunk_rows(self) -> IntArray:
        """Find the first row of each chunk, into which pages are cut to be kept: ascending."""
        step = self._rows_of_a_chunk
        edges = zip(self.first[:-1].tolist(), self.first[1:].tolist(), strict=True)
        return np.concatenate([np.empty(0, np.int64), *(np.arange(*edge, step) for edge in edges)])

    def chunks(self, rows: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Find the chunk that each row lies in: which file, its first byte there, its bytes."""
        page = np.searchsorted(self.first, rows, "right") - 1
        step = self._rows_of_a_chunk
        first = (rows - self.first[page]) // step * step
        count = np.minimum(step, self.first[page + 1] - self.first[page] - first)
        return self.file[page], self.at[page] + first * self.width, count * self.width

    @property
    def _rows_of_a_chunk(self) -> int:
        return max(1, CHUNK_BYTES // self.width)

    def pieces(self, start: IntArray, stop: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """Cut spans of rows at the ends of pages.

        Args:
            start, stop: (n,) of each span, ascending.

        Returns:
            (pieces,) start and stop of each piece, and the span it is of; none of an empty one.
        """
        page = np.searchsorted(self.first, start, "right") - 1
        count = np.maximum(np.searchsorted(self.first, stop, "left") - page, 0)
        of = np.repeat(np.arange(len(start)), count)
        at = page[of] + np.arange(len(of)) - (np.cumsum(count) - count)[of]
        first = np.maximum(start[of], self.first[at])
        last = np.minimum(stop[of], self.first[at + 1])
        is_piece = first < last
        return first[is_piece], last[is_piece], of[is_piece]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where everything of a bucket is.

    Attributes:
        files: Lance's data files, paths below the collection.
        vectors, codes: their columns; no codes where the index has none.
        offsets: (num_partitions + 1,) first row of each partition, and the row count at the end.
        names: (blocks + 1,) first byte of each block of ids in the bucket's `names` object.
    """

    files: tuple[str, ...]
    vectors: Pages
    codes: Pages | None
    offsets: IntArray
    names: IntArray


def unplaced(offsets: IntArray, names: IntArray) -> Layout:
    """Return what is known of a layout before the table is written."""
    none = np.empty(0, np.int64)
    return Layout((), Pages(0, np.zeros(1, np.int64), none, none), None, offsets, names)


def pack(layout: Layout) -> bytes:
    """Write a layout: a zstd frame around MessagePack, numbers as differences.

    A collection may have thousands of buckets, and an .npz takes 2 ms longer to read.
    """
    fields: dict[str, Any] = {
        "files": layout.files,
        "offsets": _steps(layout.offsets),
        "names": _steps(layout.names),
        "vectors": _packed(layout.vectors),
        "codes": None if layout.codes is None else _packed(layout.codes),
    }
    return zstandard.compress(msgspec.msgpack.encode(fields))


def unpack(data: bytes) -> Layout:
    """Read a layout that `pack` wrote."""
    fields = msgspec.msgpack.decode(zstandard.decompress(data))
    return Layout(
        tuple(fields["files"]),
        _pages(fields["vectors"]),
        None if fields["codes"] is None else _pages(fields["codes"]),
        _sums(fields["offsets"]),
        _sums(fields["names"]),
    )


def _packed(pages: Pages) -> tuple[int, bytes, bytes, bytes]:
    return pages.width, _steps(pages.first), _steps(pages.file), _steps(pages.at)


def _pages(packed: Sequence[Any]) -> Pages:
    width, first, file, at = packed
    return Pages(width, _sums(first), _sums(file), _sums(at))


def _steps(values: IntArray) -> bytes:
    # Regular steps compress to nearly nothing.
    return np.diff(values, prepend=np.int64(0)).astype("<i8").tobytes()


def _sums(steps: bytes) -> IntArray:
    found: IntArray = np.cumsum(np.frombuffer(steps, "<i8"), dtype=np.int64)
    return found


@dataclass(frozen=True, eq=False)
class Requests:
    """Ranges to ask for, and where each wanted piece lies in them.

    Attributes:
        file: (requests,) which file.
        start, length: (requests,) bytes of it.
        of_piece: (pieces,) the request that holds a piece.
        within: (pieces,) its first byte there.
    """

    file: IntArray
    start: IntArray
    length: IntArray
    of_piece: IntArray
    within: IntArray


def join_ranges(file: IntArray, start: IntArray, length: IntArray, gap_bytes: int) -> Requests:
    """Join pieces that lie close to each other.

    The smallest gaps are closed first, as long as what is read in vain stays below `gap_bytes` for
    each of the first pieces, and a small part of it for each further one: where many pieces are
    wanted, requests go on side by side and bytes decide.

    Args:
        file, start, length: (n,) pieces, ascending, apart from each other.
        gap_bytes: what a request is worth.
    """
    if not len(start):
        return Requests(file, start, length, start, start)
    stop = start + length
    is_first = np.ones(len(start), np.bool_)
    is_first[1:] = ~_is_closed(_gaps(file, start, stop), gap_bytes)
    first = np.flatnonzero(is_first)
    number = np.cumsum(is_first) - 1
    long = (start - start[first][number]) // MAX_RANGE_BYTES
    if long.any():
        is_first[1:] |= np.diff(long) != 0
        first, number = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    last = np.append(first[1:], len(start)) - 1
    return Requests(
        file[first], start[first], stop[last] - start[first], number, start - start[first][number]
    )


def count_ranges(
    file: IntArray, start: IntArray, length: IntArray, gap_bytes: int
) -> tuple[int, int]:
    """Count the requests that `join_ranges` makes of pieces, and their bytes."""
    ascending = np.sort(_gaps(file, start, start + length))
    closed, in_vain = _closed(ascending, gap_bytes)
    size = int(length.sum()) + in_vain
    if size > MAX_RANGE_BYTES:
        return len(join_ranges(file, start, length, gap_bytes).start), size
    return len(start) - closed, size


def _gaps(file: IntArray, start: IntArray, stop: IntArray) -> IntArray:
    return np.where(file[1:] == file[:-1], start[1:] - stop[:-1], _FAR)


def _closed(ascending: IntArray, gap_bytes: int) -> tuple[int, int]:
    """Count the gaps that are closed, and the bytes in them."""
    pieces = len(ascending) + 1
    dear = min(pieces, DEAR_PIECES)
    allowance = gap_bytes * dear + gap_bytes * (pieces - dear) // DEAR_PIECES
    spent = np.cumsum(ascending)
    closed = int(np.searchsorted(spent, allowance, "right"))
    return closed, int(spent[closed - 1]) if closed else 0


def _is_closed(gap: IntArray, gap_bytes: int) -> NDArray[np.bool_]:
    # Sorting places instead of sizes would take several times as long.
    ascending = np.sort(gap)
    closed, _ = _closed(ascending, gap_bytes)
    if closed == len(gap):
        return np.ones(len(gap), np.bool_)
    least_open = ascending[closed]
    found: NDArray[np.bool_] = gap < least_open
    # Of equal gaps the first ones.
    equal = closed - int(np.searchsorted(ascending, least_open))
    found[np.flatnonzero(gap == least_open)[:equal]] = True
    return found


def cut(buffers: Sequence[bytes], requests: Requests, length: IntArray) -> list[memoryview]:
    """Cut the pieces out of what was read, without a copy."""
    return [
        memoryview(buffers[of])[within : within + size]
        for of, within, size in zip(
            requests.of_piece.tolist(), requests.within.tolist(), length.tolist(), strict=True
        )
    ]


def gathered(buffers: Sequence[bytes], requests: Requests, width: int) -> NDArray[np.uint8]:
    """Copy rows out of what was read: (pieces, width) uint8."""
    data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
    at = (np.cumsum(requests.length) - requests.length)[requests.of_piece] + requests.within
    row, rest = np.divmod(at, width)
    if rest.any():
        # A request went on from one page into another, which begins wherever it may.
        return np.stack([np.frombuffer(data, np.uint8, width, start) for start in at.tolist()])
    rows = np.frombuffer(data, np.uint8, len(data) // width * width)
    return rows.reshape(-1, width)[row]
