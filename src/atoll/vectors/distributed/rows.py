"""What a bucket answers in the map step, as few bytes, and how answers of several are merged.

A row takes some four bytes: its number in the bucket as the difference to the one before, and its
estimate, byte by byte beside those of the other rows, compressed. The hash of its id, which would
double that, only decides among equal estimates at the very cut: it may be left out and be asked for
by whoever merges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from atoll.core.arrays import FloatArray, IntArray
from atoll.core.errors import Corrupt
from atoll.core.records import converted
from atoll.vectors.scan import Best
from atoll.vectors.work import Work

LEVEL = 3
# No part is larger, whatever its frame says.
MOST_BYTES = 4 << 30


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows found in buckets; parallel arrays ordered by query, then bucket, then row.

    Attributes:
        query: (n,) which query.
        bucket: (n,) the bucket's position in the manifest.
        row: (n,) its number in the bucket.
        estimate: (n,) uint32 that sorts like the estimated distance; None where it is exact.
        hash: (n,) uint32 of the id, which decides among equal estimates; None where not known.
        distance: (n,) float32, exact; None where not computed.
    """

    query: IntArray
    bucket: IntArray
    row: IntArray
    estimate: NDArray[np.uint32] | None = None
    hash: NDArray[np.uint32] | None = None
    distance: FloatArray | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.query)

    def take(self, index: IntArray) -> Rows:
        """Pick some."""
        columns: dict[str, Any] = {}
        for each in fields(self):
            column = getattr(self, each.name)
            columns[each.name] = None if column is None else column[index]
        return Rows(**columns)

    @classmethod
    def none(cls) -> Rows:
        """Return no rows."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty)

    @classmethod
    def of_best(cls, best: Best, bucket: int) -> Rows:
        """Take the best of a bucket, whose rows were numbered from 0."""
        query, key, ref = best.taken()
        row = ref.view(np.int64)
        order = np.lexsort((row, query))
        rows = cls(
            query,
            np.full(len(query), bucket),
            row,
            (key >> np.uint64(32)).astype(np.uint32),
            key.astype(np.uint32),
        )
        return rows.take(order)


def join(parts: Sequence[Rows]) -> Rows:
    """Put rows together that come in order of their buckets; what one part lacks, none has."""
    parts = [part for part in parts if len(part)]
    if len(parts) <= 1:
        return parts[0] if parts else Rows.none()
    columns: dict[str, Any] = {}
    for each in fields(Rows):
        mine = [getattr(part, each.name) for part in parts]
        is_known = all(column is not None for column in mine)
        columns[each.name] = np.concatenate(mine) if is_known else None
    whole = Rows(**columns)
    return whole.take(np.argsort(whole.query, kind="stable"))


def best_of(
    rows: Rows, queries: int, keep: int, hashes_of: Callable[[Rows], NDArray[np.uint32]]
) -> Rows:
    """Keep the best rows of each query by (estimate, hash of the id).

    Args:
        rows: with estimates.
        queries: how many there are.
        keep: rows wanted of each.
        hashes_of: reads hashes; asked only for rows among which they decide.
    """
    if not len(rows):
        return rows
    if rows.hash is None:
        is_tied = _tied_at_cut(rows, _cut(rows, queries, keep), keep)
        hashes = np.zeros(len(rows), np.uint32)
        if is_tied.any():
            hashes[is_tied] = hashes_of(rows.take(np.flatnonzero(is_tied)))
        rows = replace(rows, hash=hashes)
    assert rows.estimate is not None
    assert rows.hash is not None
    key = (rows.estimate.astype(np.uint64) << np.uint64(32)) | rows.hash
    return rows.take(_kept(rows, key, queries, keep))


def folded(rows: Rows, queries: int, keep: int) -> Rows:
    """Drop rows that cannot be among the best of each query; equal estimates at the cut stay."""
    if not len(rows):
        return rows
    assert rows.estimate is not None
    cut = _cut(rows, queries, keep)
    return rows.take(np.flatnonzero(rows.estimate <= cut[rows.query]))


def _cut(rows: Rows, queries: int, keep: int) -> NDArray[np.uint32]:
    """Find the largest estimate among the best of each query; the largest there is without any."""
    assert rows.estimate is not None
    kept = _kept(rows, rows.estimate.astype(np.uint64) << np.uint64(32), queries, keep)
    cut = np.zeros(queries, np.uint32)
    np.maximum.at(cut, rows.query[kept], rows.estimate[kept])
    return cut


def _kept(rows: Rows, key: NDArray[np.uint64], queries: int, keep: int) -> IntArray:
    """Choose the rows of the smallest keys of each query, ascending."""
    best = Best.of(queries, min(keep, len(rows)))
    best.add(rows.query, key, np.arange(len(rows), dtype=np.uint64))
    found: IntArray = np.sort(best.taken()[2]).astype(np.int64)
    return found


def _tied_at_cut(rows: Rows, cut: NDArray[np.uint32], keep: int) -> NDArray[np.bool_]:
    """Mark the rows at the cut of those queries where not all of them can stay."""
    assert rows.estimate is not None
    queries = len(cut)
    is_at_cut = rows.estimate == cut[rows.query]
    at_cut = np.bincount(rows.query[is_at_cut], minlength=queries)
    below = np.bincount(rows.query[rows.estimate < cut[rows.query]], minlength=queries)
    found: NDArray[np.bool_] = is_at_cut & (below + at_cut > keep)[rows.query]
    return found


def places_in(known: Rows, wanted: Rows) -> tuple[IntArray, NDArray[np.bool_]]:
    """Look rows up among others.

    Returns:
        (n,) where each wanted row is among the known ones, and whether it is: where it is not, the
        place says nothing.
    """
    if not len(known):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    # Query, bucket and row as one number each, in the order the rows have.
    rows = 1 + max(int(known.row.max()), int(wanted.row.max(initial=0)))
    buckets = 1 + max(int(known.bucket.max()), int(wanted.bucket.max(initial=0)))
    there, key = (
        (each.query * buckets + each.bucket) * rows + each.row for each in (known, wanted)
    )
    place = np.minimum(np.searchsorted(there, key), len(there) - 1)
    return place, there[place] == key


# -- as bytes -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """What one map step answers, or several merged.

    Attributes:
        estimated: rows by estimate, which compete with those of other buckets to be refined.
        exact: the nearest rows of buckets that are searched exactly, or by an index of Lance's.
        paths: how the rows were found.
        works: what that took, apart from writing this part.
        missing: positions of buckets that did not answer, where several are merged.
        size_bytes: as it was read; 0 before it is written.
    """

    estimated: Rows
    exact: Rows
    paths: tuple[str, ...] = ()
    works: tuple[Work, ...] = ()
    missing: tuple[int, ...] = ()
    size_bytes: int = 0


def pack(part: Part, queries: int) -> bytes:
    """Write a part; `queries` is how many there are."""
    told = {
        "paths": part.paths,
        "works": part.works,
        "missing": part.missing,
        "queries": queries,
        "estimated": _packed(part.estimated, queries),
        "exact": _packed(part.exact, queries),
    }
    return compressed(msgspec.msgpack.encode(told))


def unpack(data: bytes, path: str, queries: int) -> Part:
    """Read a part that `pack` wrote for so many queries; `path` names it in messages.

    Raises:
        Corrupt: it is damaged, or of other queries.
    """
    try:
        found = msgspec.msgpack.decode(decompressed(data, path))
        if found["queries"] != queries:
            raise ValueError(f"it is of {found['queries']} queries")
        return Part(
            _unpacked(found["estimated"], queries),
            _unpacked(found["exact"], queries),
            tuple(found["paths"]),
            tuple(converted(found["works"], list[Work])),
            tuple(found["missing"]),
            len(data),
        )
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def compressed(data: bytes) -> bytes:
    """Compress, with a checksum."""
    return zstandard.ZstdCompressor(LEVEL, write_checksum=True).compress(data)


def decompressed(data: bytes, path: str) -> bytes:
    """Read what `compressed` wrote; `path` names it in messages.

    Raises:
        Corrupt: it is damaged.
    """
    try:
        if zstandard.frame_content_size(data) > MOST_BYTES:
            raise ValueError("it would not fit into memory")
        return zstandard.decompress(data)
    except (zstandard.ZstdError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> Corrupt:
    return Corrupt(f"{path} is damaged ({error}); remove it and run its step again", path=path)


def _packed(rows: Rows, queries: int) -> dict[str, Any]:
    step = np.diff(rows.row, prepend=0)
    is_first = np.diff(rows.query, prepend=-1) != 0
    is_first |= np.diff(rows.bucket, prepend=-1) != 0
    step[is_first] = rows.row[is_first]
    columns: dict[str, Any] = {
        "counts": np.bincount(rows.query, minlength=queries).astype("<u4"),
        "bucket": np.diff(rows.bucket, prepend=0).astype("<i4"),
        "is_first": np.packbits(is_first),
        "row": step.astype("<u4"),
        "estimate": rows.estimate,
        "hash": rows.hash,
        "distance": rows.distance,
    }
    return {name: None if c is None else _planes(c) for name, c in columns.items()}


def _unpacked(columns: dict[str, Any], queries: int) -> Rows:
    counts = _from_planes(columns["counts"], "<u4").astype(np.int64)
    query = np.repeat(np.arange(queries), counts)
    step = _from_planes(columns["row"], "<u4").astype(np.int64)
    is_first = np.unpackbits(_from_planes(columns["is_first"], "u1"), count=len(step)).view(bool)
    running = np.cumsum(step)
    # What had been summed up before the first row of each query and bucket does not count.
    before = (running - step)[is_first]
    row = running - np.repeat(before, np.diff([*np.flatnonzero(is_first), len(step)]))
    optional = {
        name: None if columns[name] is None else _from_planes(columns[name], kind)
        for name, kind in (("estimate", "<u4"), ("hash", "<u4"), ("distance", "<f4"))
    }
    bucket = np.cumsum(_from_planes(columns["bucket"], "<i4"), dtype=np.int64)
    if not len(query) == len(row) == len(bucket):
        raise ValueError("columns of unequal length")
    return Rows(query, bucket, row, **optional)


def _planes(values: NDArray[Any]) -> bytes:
    """Lay the first bytes of all values beside each other, then the second ones, and so on."""
    flat = np.ascontiguousarray(values)
    return flat.view(np.uint8).reshape(len(flat), flat.itemsize).T.tobytes()


def _from_planes(data: bytes, kind: str) -> NDArray[Any]:
    size = np.dtype(kind).itemsize
    bytes_of = np.frombuffer(data, np.uint8).reshape(size, -1).T
    return np.ascontiguousarray(bytes_of).reshape(-1).view(kind)
