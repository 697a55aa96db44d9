"""Reads parts of immutable objects, such as rows of raw columns: few requests, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from atoll.core.arrays import IntArray
from atoll.storage import Storage, count
from atoll.vectors.blobs import missing_is_corrupt
from atoll.vectors.layout import Pages, Requests, cut, gathered, join_ranges

# Very many pieces at once are a scan: of that nothing is kept.
MAX_KEPT_PIECES = 4096
# A collection is warmed as a whole: where so many chunks in a row are not here, none is.
MAX_CHUNKS_IN_VAIN = 64
# Rows of local files are read one by one: a system call costs less than weighing gaps.
READS_SINGLY = True


def get_range(storage: Storage, path: str, start: int, length: int) -> bytes:
    """Read some bytes of an object; their hash cannot be checked.

    Raises:
        Corrupt: the object is gone or too short.
    """
    data = storage.kept(path, start, length)
    if data is None:
        (data,) = _get(storage, [path], [start], [length])
        storage.keep(path, start, data)
    return data


def get_pieces(
    storage: Storage, paths: Sequence[str], file: IntArray, start: IntArray, length: IntArray
) -> list[bytes | memoryview]:
    """Read pieces of objects: from the disk cache, the others by as few requests as pay.

    Args:
        storage, paths: the objects.
        file, start, length: (n,) pieces, ascending, apart from each other.

    Raises:
        Corrupt: an object is gone or too short.
    """
    if storage.cache is None:
        requests = join_ranges(file, start, length, storage.gap_bytes)
        return [*cut(_fetch(storage, paths, requests), requests, length)]
    asked = [(paths[of], at) for of, at in zip(file.tolist(), start.tolist(), strict=True)]
    found: list[bytes | memoryview | None] = [
        storage.kept(path, at, size)
        for (path, at), size in zip(asked, length.tolist(), strict=True)
    ]
    missing = np.array([n for n, piece in enumerate(found) if piece is None], np.int64)
    distant = replace(storage, cache=None)
    read = get_pieces(distant, paths, file[missing], start[missing], length[missing])
    is_scan = len(missing) > MAX_KEPT_PIECES
    for number, piece in zip(missing.tolist(), read, strict=True):
        found[number] = piece
        if not is_scan:
            path, at = asked[number]
            storage.keep(path, at, piece)
    return [piece for piece in found if piece is not None]


def get_rows(
    storage: Storage, paths: Sequence[str], pages: Pages, rows: IntArray
) -> NDArray[np.uint8]:
    """Read rows of a raw column by byte ranges, those close to each other together.

    Args:
        storage, paths: Lance's data files.
        pages: of the column in them.
        rows: (n,) positions, ascending, each once.

    Returns:
        (n, width) uint8.

    Raises:
        Corrupt: a file is gone or cut off.
    """
    file, at = pages.locate(rows)
    if READS_SINGLY and storage.root is not None:
        return _read_rows(storage, paths, file, at, pages.width)
    if storage.cache is None:
        return _ask_for_rows(storage, paths, file, at, pages.width)
    found, is_kept = kept_rows(storage, paths, pages, rows)
    if not is_kept.all():
        others = np.flatnonzero(~is_kept)
        found[others] = _ask_for_rows(storage, paths, file[others], at[others], pages.width)
    return found


def kept_rows(
    storage: Storage, paths: Sequence[str], pages: Pages, rows: IntArray
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read rows of a raw column from chunks that are kept on this disk; see `warming`.

    Args:
        storage, paths, pages, rows: as for `get_rows`.

    Returns:
        (n, width) uint8, anything where a row is not kept; (n,) whether it is.
    """
    out = np.empty((len(rows), pages.width), np.uint8)
    is_kept = np.zeros(len(rows), np.bool_)
    file, start, length = pages.chunks(rows)
    within = (pages.locate(rows)[1] - start).tolist()
    is_other = (start[1:] != start[:-1]) | (file[1:] != file[:-1])
    edges = [0, *(is_other.nonzero()[0] + 1).tolist(), len(rows)]
    in_vain = 0
    for first, stop in pairwise(edges if len(rows) else []):
        if in_vain == MAX_CHUNKS_IN_VAIN:
            break
        in_vain += 1
        chunk = paths[file[first]], int(start[first]), int(length[first])
        parts = storage.kept_parts(*chunk, [(at, pages.width) for at in within[first:stop]])
        if parts is not None:
            out[first:stop] = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, pages.width)
            is_kept[first:stop] = True
            in_vain = 0
    return out, is_kept


def _ask_for_rows(
    storage: Storage, paths: Sequence[str], file: IntArray, at: IntArray, width: int
) -> NDArray[np.uint8]:
    length = np.full(len(at), width, np.int64)
    if storage.cache is not None and len(at) <= MAX_KEPT_PIECES:
        pieces = get_pieces(storage, paths, file, at, length)
        return np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, width)
    requests = join_ranges(file, at, length, storage.gap_bytes)
    return gathered(_fetch(storage, paths, requests), requests, width)


def _read_rows(
    storage: Storage, paths: Sequence[str], file: IntArray, at: IntArray, width: int
) -> NDArray[np.uint8]:
    """Read rows of local files: a system call for each, with nothing of Python between."""
    from atoll.vectors.kernels.reading import read_rows

    out = np.empty((len(at), width), np.uint8)
    edges = [0, *((file[1:] != file[:-1]).nonzero()[0] + 1).tolist(), len(file)]
    for start, stop in pairwise(edges if len(file) else []):
        path = paths[file[start]]
        with missing_is_corrupt(storage, [path]), storage.file(path) as descriptor:
            start += read_rows(descriptor, at[start:stop], out[start:stop])
            if start < stop:
                # If it is cut off, or the disk fails, this says so.
                left = stop - start
                rest = _get(storage, [path] * left, at[start:stop].tolist(), [width] * left)
                out[start:stop] = np.frombuffer(b"".join(rest), np.uint8).reshape(-1, width)
    count(gets=len(at), bytes_read=out.nbytes)
    return out


def get_spans(
    storage: Storage, paths: Sequence[str], pages: Pages, spans: Sequence[tuple[int, int]]
) -> list[bytes | memoryview]:
    """Read whole ranges of rows of a raw column.

    Args:
        storage, paths, pages: as for `get_rows`.
        spans: (start, stop) positions, ascending.

    Raises:
        Corrupt: a file is gone or cut off.
    """
    ends = np.array(spans, np.int64).reshape(-1, 2)
    first, last, of = pages.pieces(ends[:, 0], ends[:, 1])
    file, start = pages.locate(first)
    found = get_pieces(storage, paths, file, start, (last - first) * pages.width)
    edges = np.searchsorted(of, np.arange(len(spans) + 1)).tolist()
    parts = [found[start:stop] for start, stop in pairwise(edges)]
    return [part[0] if len(part) == 1 else b"".join(part) for part in parts]


def _fetch(storage: Storage, paths: Sequence[str], requests: Requests) -> list[bytes]:
    of = [paths[number] for number in requests.file.tolist()]
    return _get(storage, of, requests.start.tolist(), requests.length.tolist())


def _get(
    storage: Storage, paths: Sequence[str], starts: Sequence[int], lengths: Sequence[int]
) -> list[bytes]:
    with missing_is_corrupt(storage, paths):
        return storage.get_pieces(paths, starts, lengths)
