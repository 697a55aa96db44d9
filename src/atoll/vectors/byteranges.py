"""Bytes out of the middle of objects: from blobs, and rows from Lance's data files.

They come from the disk cache where there is one, else by as few requests as pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atoll.storage import Storage
from atoll.vectors import layout as layouts
from atoll.vectors.blobs import missing_is_corrupt
from atoll.vectors.layout import Layout, Pages

# Of a local file: so few rows are read one by one sooner than their gaps are weighed.
SINGLE_READS = 256
MAX_KEPT_PIECES = 4096


def get_blob_range(storage: Storage, path: str, start: int, length: int) -> bytes:
    """Read one range of an immutable object; see `get_blob_ranges`."""
    data = storage.kept(path, start, length)
    if data is None:
        data = get_blob_ranges(storage, path, [start], [length])[0]
        storage.keep(path, start, data)
    return data


def get_blob_ranges(
    storage: Storage, path: str, starts: Sequence[int], lengths: Sequence[int]
) -> list[bytes]:
    """Read some bytes of an immutable object; their hash cannot be checked.

    Raises:
        Corrupt: the object is gone or too short.
    """
    with missing_is_corrupt(storage, path):
        return storage.get_ranges(path, starts, lengths)


def get_joined_ranges(
    storage: Storage, path: str, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> list[bytes | memoryview]:
    """Read ranges of an immutable object, those close to each other by one request."""
    return _pieces(storage, [path], np.zeros(len(starts), np.int64), starts, lengths)


def _pieces(
    storage: Storage,
    paths: Sequence[str],
    file: NDArray[np.int64],
    start: NDArray[np.int64],
    length: NDArray[np.int64],
) -> list[bytes | memoryview]:
    """Read pieces of immutable objects: from the disk cache, the others by as few requests as pay.

    Args:
        storage, paths: the objects.
        file, start, length: (n,) pieces, ascending, apart from each other.
    """
    if not _is_kept(storage, start):
        requests = layouts.join_ranges(file, start, length, storage.gap_bytes)
        return [*layouts.cut(_fetch(storage, paths, requests), requests, length)]
    asked = [(paths[of], at) for of, at in zip(file.tolist(), start.tolist(), strict=True)]
    found: list[bytes | memoryview | None] = [
        storage.kept(path, at, size)
        for (path, at), size in zip(asked, length.tolist(), strict=True)
    ]
    missing = np.array([n for n, piece in enumerate(found) if piece is None], np.int64)
    distant = replace(storage, cache=None)
    read = _pieces(distant, paths, file[missing], start[missing], length[missing])
    for number, piece in zip(missing.tolist(), read, strict=True):
        found[number] = piece
        path, at = asked[number]
        storage.keep(path, at, piece)
    return [piece for piece in found if piece is not None]


def _is_kept(storage: Storage, pieces: NDArray[np.int64]) -> bool:
    # Very many at once are a scan: of that nothing is kept.
    return storage.cache is not None and len(pieces) <= MAX_KEPT_PIECES


def raw_rows(
    storage: Storage, layout: Layout, pages: Pages, rows: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Read rows of a raw column by byte ranges, those close to each other together.

    Args:
        storage: the collection.
        layout, pages: of the bucket, and of one of its columns.
        rows: (n,) positions, ascending, each once.

    Returns:
        (n, width) uint8.

    Raises:
        Corrupt: a file is gone or cut off.
    """
    file, at = pages.locate(rows)
    length = np.full(len(rows), pages.width, np.int64)
    if storage.root is not None and len(rows) <= SINGLE_READS:
        each = np.arange(len(rows))
        requests = layouts.Requests(file, at, length, each, np.zeros_like(each))
        data = b"".join(_fetch(storage, layout.files, requests))
        return np.frombuffer(data, np.uint8).reshape(-1, pages.width)
    if _is_kept(storage, rows):
        pieces = _pieces(storage, layout.files, file, at, length)
        return np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, pages.width)
    requests = layouts.join_ranges(file, at, length, storage.gap_bytes)
    return layouts.gathered(_fetch(storage, layout.files, requests), requests, pages.width)


def raw_spans(
    storage: Storage, layout: Layout, pages: Pages, spans: Sequence[tuple[int, int]]
) -> list[bytes | memoryview]:
    """Read whole ranges of rows of a raw column.

    Args:
        storage, layout, pages: as for `raw_rows`.
        spans: (start, stop) positions, ascending.

    Raises:
        Corrupt: a file is gone or cut off.
    """
    cut = [list(pages.pieces(start, stop)) for start, stop in spans]
    pieces = np.array([piece for part in cut for piece in part], np.int64).reshape(-1, 2)
    file, start = pages.locate(pieces[:, 0])
    length = (pieces[:, 1] - pieces[:, 0]) * pages.width
    found = _pieces(storage, layout.files, file, start, length)
    joined: list[bytes | memoryview] = []
    at = 0
    for part in cut:
        mine = found[at : at + len(part)]
        at += len(part)
        joined.append(mine[0] if len(mine) == 1 else b"".join(mine))
    return joined


def _fetch(storage: Storage, paths: Sequence[str], requests: layouts.Requests) -> list[bytes]:
    numbers = np.unique(requests.file).tolist() if len(paths) > 1 else [0]
    buffers: list[bytes] = []
    for number in numbers:
        mine = requests.file == number if len(numbers) > 1 else slice(None)
        buffers += get_blob_ranges(
            storage,
            paths[number],
            requests.start[mine].tolist(),
            requests.length[mine].tolist(),
        )
    return buffers
