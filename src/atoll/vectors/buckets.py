"""Which rows of which files go into which bucket: pure packing, decided before any work.

Files stay whole where that costs little and comes out even; otherwise some are cut, each at most
at the ends of a bucket, and the buckets come out equal to within one row:

1. *Best-fit decreasing* puts whole files into as few buckets as it can (at most 11/9 of the optimum
   for whole files, plus 1). A file larger than a bucket is cut first.
2. The same number of buckets is *balanced* by handing the largest file left to the emptiest bucket.
   Where largest / smallest is then at most 1.1, and there are at most 11/9 of the fewest buckets
   possible with cutting, plus 1, this is the plan.
3. Otherwise `ceil(rows / bucket_rows)` buckets, the fewest possible, are filled equally: whole
   files by best fit, then the rest cut to fill each bucket's remaining room.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from atoll.core.errors import InvalidInput
from atoll.vectors.model import Dtype, IndexKind

BUCKET_ROWS = 200_000_000
MAX_RATIO = 1.1
ID_BYTES = 20
ITEM_BYTES: dict[Dtype, int] = {"float32": 4, "float16": 2, "int8": 1}


@dataclass(frozen=True)
class FileSize:
    """A file to pack: where it is and how many rows it holds."""

    uri: str
    rows: int


@dataclass(frozen=True, order=True)
class Slice:
    """Rows `start` to `stop` (exclusive) of one file."""

    uri: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """Number of rows in the slice."""
        return self.stop - self.start


@dataclass(frozen=True)
class PlannedBucket:
    """One bucket to be made.

    Attributes:
        index: position in the plan, from 0.
        slices: what goes in, sorted by uri and start; at least one row each.
    """

    index: int
    slices: tuple[Slice, ...]

    @property
    def rows(self) -> int:
        """Number of rows in the bucket."""
        return sum(piece.rows for piece in self.slices)


@dataclass(frozen=True)
class BucketPlan:
    """All buckets of one create or add.

    Attributes:
        buckets: ordered by their first slice.
        bucket_rows: the capacity that was asked for; no bucket exceeds it.
    """

    buckets: tuple[PlannedBucket, ...]
    bucket_rows: int

    @property
    def rows(self) -> int:
        """Number of rows in all buckets."""
        return sum(bucket.rows for bucket in self.buckets)

    @property
    def ratio(self) -> float:
        """Rows of the largest bucket over rows of the smallest, 1.0 for an empty plan."""
        sizes = [bucket.rows for bucket in self.buckets]
        return max(sizes) / min(sizes) if sizes else 1.0


def pack(files: Sequence[FileSize], *, bucket_rows: int = BUCKET_ROWS) -> BucketPlan:
    """Distribute files over buckets, evenly and deterministically.

    Args:
        files: in any order, which does not matter to the result; files without rows are left out.
        bucket_rows: the most rows a bucket may hold.

    Returns:
        A plan in which each row occurs once, no bucket exceeds `bucket_rows`, and
        largest / smallest is at most 1.1 (or they differ by a single row).

    Raises:
        InvalidInput: `bucket_rows` is below 1, a row count is negative or a file occurs twice.

    Source: best-fit decreasing, Johnson et al. (1974), SIAM J. Comput. 3(4); balancing, Graham
    (1969), SIAM J. Appl. Math. 17(2); cutting at the ends, McNaughton (1959), Manage. Sci. 6(1).

    >>> files = [FileSize("a.h5", 70), FileSize("b.h5", 30), FileSize("c.h5", 95)]
    >>> plan = pack(files, bucket_rows=100)
    >>> [[piece.uri for piece in bucket.slices] for bucket in plan.buckets]
    [['a.h5', 'b.h5'], ['c.h5']]
    """
    _check(files, bucket_rows)
    whole = [
        Slice(file.uri, 0, file.rows)
        for file in sorted(files, key=lambda file: (-file.rows, file.uri))
        if file.rows
    ]
    if not whole:
        return BucketPlan((), bucket_rows)
    fewest = -(-sum(piece.rows for piece in whole) // bucket_rows)
    return _plan(_keep_whole(whole, bucket_rows, fewest) or _fill(whole, fewest), bucket_rows)


def bytes_per_row(dim: int, dtype: Dtype = "float32", *, index: IndexKind = "rabitq") -> int:
    """Estimate what one stored row takes: vector, id and index; further columns come on top.

    Args:
        dim: length of a vector.
        dtype: how vectors are stored.
        index: "rabitq" adds dim / 8 bytes of code, norm, factor and id hash; "ivf_pq" dim / 16
            bytes of code and the row id; "flat" nothing.

    Returns:
        Bytes, with 20 for an id; measured tables of 960 x float32 with ids of 16 characters
        take 3,849 before the index.
    """
    code = {"rabitq": -(-dim // 8) + 12, "ivf_pq": -(-dim // 16) + 8, "flat": 0}[index]
    return dim * ITEM_BYTES[dtype] + ID_BYTES + code


def bucket_rows_for_bytes(
    bucket_bytes: int, dim: int, dtype: Dtype = "float32", *, index: IndexKind = "rabitq"
) -> int:
    """Turn a bucket size in bytes into rows, by `bytes_per_row`.

    Raises:
        InvalidInput: not even one row fits.
    """
    row_bytes = bytes_per_row(dim, dtype, index=index)
    if bucket_bytes < row_bytes:
        raise InvalidInput(
            f"a bucket of {bucket_bytes} bytes holds no row: one of {dim} x {dtype} takes about"
            f" {row_bytes} bytes; give a larger --bucket-bytes",
            bucket_bytes=bucket_bytes,
            row_bytes=row_bytes,
        )
    return bucket_bytes // row_bytes


def _check(files: Sequence[FileSize], bucket_rows: int) -> None:
    if bucket_rows < 1:
        raise InvalidInput(f"a bucket must hold at least 1 row, not {bucket_rows}")
    seen = set()
    for file in files:
        if file.rows < 0:
            raise InvalidInput(f"{file.uri} cannot hold {file.rows} rows", file=file.uri)
        if file.uri in seen:
            raise InvalidInput(f"{file.uri} is given twice; name each file once", file=file.uri)
        seen.add(file.uri)


def _keep_whole(whole: Sequence[Slice], bucket_rows: int, fewest: int) -> list[list[Slice]] | None:
    """Pack without cutting files that fit a bucket; None where that is uneven or takes too many."""
    packed = _best_fit(_cut_oversize(whole, bucket_rows), bucket_rows)
    if len(packed) > fewest * 11 / 9 + 1:
        return None
    even = -(-sum(piece.rows for piece in whole) // len(packed))
    balanced = _emptiest_first(_cut_oversize(whole, bucket_rows, even), len(packed))
    for shares in (balanced, packed):
        sizes = [sum(piece.rows for piece in share) for share in shares]
        if max(sizes) <= min(bucket_rows, MAX_RATIO * min(sizes)):
            return shares
    return None


def _cut_oversize(
    whole: Sequence[Slice], bucket_rows: int, piece_rows: int | None = None
) -> list[Slice]:
    """Cut files larger than a bucket into pieces; the result is ordered by decreasing size."""
    pieces: list[Slice] = []
    for file in whole:
        step = (piece_rows or bucket_rows) if file.rows > bucket_rows else file.rows
        pieces += (
            Slice(file.uri, start, min(start + step, file.stop))
            for start in range(file.start, file.stop, step)
        )
    return sorted(pieces, key=lambda piece: (-piece.rows, piece))


def _best_fit(pieces: Sequence[Slice], capacity: int) -> list[list[Slice]]:
    """Put each piece where it leaves the least room, opening a bucket where none has room."""
    shares: list[list[Slice]] = []
    rooms: list[tuple[int, int]] = []
    for piece in pieces:
        if not _put_tightest(piece, rooms, shares):
            shares.append([piece])
            insort(rooms, (capacity - piece.rows, len(shares) - 1))
    return shares


def _put_tightest(
    piece: Slice, rooms: list[tuple[int, int]], shares: Sequence[list[Slice]]
) -> bool:
    """Put a piece into the share with the least sufficient room; False where none has it."""
    at = bisect_left(rooms, (piece.rows, -1))
    if at == len(rooms):
        return False
    room, share = rooms.pop(at)
    shares[share].append(piece)
    insort(rooms, (room - piece.rows, share))
    return True


def _emptiest_first(pieces: Sequence[Slice], count: int) -> list[list[Slice]]:
    shares: list[list[Slice]] = [[] for _ in range(count)]
    fill = [(0, share) for share in range(count)]
    for piece in pieces:
        rows, share = fill[0]
        shares[share].append(piece)
        heapq.heapreplace(fill, (rows + piece.rows, share))
    return shares


def _fill(whole: Sequence[Slice], count: int) -> list[list[Slice]]:
    """Fill `count` buckets equally, cutting at most `count - 1` times."""
    base, larger = divmod(sum(piece.rows for piece in whole), count)
    shares: list[list[Slice]] = [[] for _ in range(count)]
    rooms = sorted((base + (share < larger), share) for share in range(count))
    left = [piece for piece in whole if not _put_tightest(piece, rooms, shares)]
    open_rooms = iter(reversed(rooms))
    room, share = next(open_rooms)
    for piece in left:
        start = piece.start
        while start < piece.stop:
            if not room:
                room, share = next(open_rooms)
            taken = min(room, piece.stop - start)
            shares[share].append(Slice(piece.uri, start, start + taken))
            start, room = start + taken, room - taken
    return shares


def _plan(shares: Sequence[Sequence[Slice]], bucket_rows: int) -> BucketPlan:
    ordered = sorted(tuple(_joined(share)) for share in shares)
    buckets = tuple(PlannedBucket(index, slices) for index, slices in enumerate(ordered))
    return BucketPlan(buckets, bucket_rows)


def _joined(share: Sequence[Slice]) -> Iterator[Slice]:
    """Sort slices and join those that touch."""
    for uri, group in groupby(sorted(share), key=lambda piece: piece.uri):
        start = stop = None
        for piece in group:
            if start is not None and stop != piece.start:
                yield Slice(uri, start, stop or 0)
                start = None
            start, stop = piece.start if start is None else start, piece.stop
        yield Slice(uri, start or 0, stop or 0)
