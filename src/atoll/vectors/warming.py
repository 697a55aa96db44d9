"""Reads what searches will want into the disk cache, where it stays for other processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from atoll.core.arrays import IntArray
from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.progress import OnProgress, Progress, silent
from atoll.core.text import sized
from atoll.storage import Storage
from atoll.storage.diskcache import ENTRY_SHARE, LEFT_SHARE, entry_bytes
from atoll.vectors import byteranges
from atoll.vectors.blobs import get_blob
from atoll.vectors.model import Manifest
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.reader import Reader

# Codes read at once: so few ranges that the cache takes them, see `byteranges.MAX_KEPT_PIECES`.
PARTITIONS_AT_ONCE = 256
# Bytes held at once where all there is is read: enough requests side by side for a distant store.
BYTES_AT_ONCE = 128 << 20


def warm(
    reader: Reader,
    manifest: Manifest,
    *,
    codes: bool,
    vectors: bool,
    threads: int,
    on_progress: OnProgress = silent,
) -> None:
    """Read a version's models, recall and layouts; if asked, all codes, or all there is.

    Args:
        reader: of the collection, with a disk cache.
        manifest: the version.
        codes: whether to read them, partition by partition as a search would.
        vectors: whether to read codes, vectors and ids, and have the cache hold them all.
        threads: buckets opened at once.
        on_progress: told as all of it is read.

    Raises:
        InvalidInput: the cache may not hold them all; nothing of them is read then.
        Unavailable: its disk cannot, or somebody else took the room meanwhile.
    """
    for blob in manifest.models.values():
        reader.model(blob)
    if manifest.calibration is not None:
        get_blob(reader.storage, manifest.calibration)
    buckets = [reader.bucket(bucket) for bucket in manifest.buckets]
    reader.run([bucket.open for bucket in buckets], threads)
    if not vectors:
        if codes:
            _read_codes(reader, manifest, buckets)
        return
    everything = [*_blobs(manifest)]
    for bucket in buckets:
        if not bucket.bucket.is_adopted:
            everything += [_codes_of(bucket), _vectors_of(bucket), _ids_of(bucket)]
    _require_room(reader.storage, everything)
    _keep(reader.storage, everything, on_progress)
    _require_kept(reader.storage, everything)


def _read_codes(reader: Reader, manifest: Manifest, buckets: Sequence[OpenBucket]) -> None:
    for bucket in buckets:
        shelf = bucket.alone
        for group in shelf.groups:
            bits = reader.model(manifest.models[group.model]).bits
            count = len(group.stored)
            for start in range(0, count, PARTITIONS_AT_ONCE):
                some = np.arange(start, min(count, start + PARTITIONS_AT_ONCE))
                shelf.codes(group, some, bits, shelf.live)


# -- all there is ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Pieces:
    """What is kept of some objects, each piece by itself: as searches look for it.

    Attributes:
        paths: the objects.
        file, start, length: (n,) pieces, ascending, apart from each other.
    """

    paths: Sequence[str]
    file: IntArray
    start: IntArray
    length: IntArray

    @property
    def lengths(self) -> list[int]:
        found: list[int] = self.length.tolist()
        return found

    def rounds(self) -> Iterator[_Pieces]:
        """Cut them into parts that fit into memory, and are few enough for the cache."""
        number = np.cumsum(self.length) // BYTES_AT_ONCE
        edges = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
        for first, last in pairwise([*edges, len(number)]):
            for start in range(first, last, byteranges.MAX_KEPT_PIECES):
                at = slice(start, min(last, start + byteranges.MAX_KEPT_PIECES))
                yield _Pieces(self.paths, self.file[at], self.start[at], self.length[at])

    def are_kept(self, storage: Storage) -> list[bool]:
        """Tell of each whether it is in the cache, damaged or not."""
        return [
            storage.is_kept(self.paths[file], start, length)
            for file, start, length in zip(
                self.file.tolist(), self.start.tolist(), self.lengths, strict=True
            )
        ]


def _blobs(manifest: Manifest) -> Iterator[_Pieces]:
    """Name what every search reads, each object as a whole."""
    whole = [*manifest.models.values(), manifest.calibration]
    for bucket in manifest.buckets:
        whole += [bucket.layout, bucket.deleted]
    for blob in whole:
        if blob is not None:
            zero, size = np.zeros(1, np.int64), np.array([blob.size_bytes])
            yield _Pieces([blob.path], zero, zero, size)


def _codes_of(bucket: OpenBucket) -> _Pieces:
    """Name the codes of each partition, cut where pages end."""
    layout, pages = bucket.layout, bucket.layout.codes
    if pages is None:
        none = np.empty(0, np.int64)
        return _Pieces(layout.files, none, none, none)
    first, stop, _ = pages.pieces(layout.offsets[:-1], layout.offsets[1:])
    file, start = pages.locate(first)
    return _Pieces(layout.files, file, start, (stop - first) * pages.width)


def _vectors_of(bucket: OpenBucket) -> _Pieces:
    """Name the chunks of the vectors."""
    pages = bucket.layout.vectors
    return _Pieces(bucket.files, *pages.chunks(pages.chunk_rows()))


def _ids_of(bucket: OpenBucket) -> _Pieces:
    """Name the blocks of ids."""
    at, blob = bucket.layout.names, bucket.bucket.names
    file = np.zeros(len(at) - 1, np.int64)
    return _Pieces([blob.path if blob else ""], file, at[:-1], np.diff(at))


def _require_room(storage: Storage, parts: Sequence[_Pieces]) -> None:
    """Make sure that the cache may, and its disk can, hold all of it.

    Raises:
        InvalidInput: it may not, or there is no cache. Unavailable: the disk cannot.
    """
    if storage.cache is None:
        raise InvalidInput(
            f"nothing of {storage} is kept: it lies on this machine, or disk_cache is off"
        )
    folder, limit = storage.cache
    sizes = [entry_bytes(length) for part in parts for length in part.lengths]
    # Room for others is made down to a share of the limit, of which an entry is never too much.
    least = int(max(sum(sizes) / LEFT_SHARE, max(sizes, default=0) / ENTRY_SHARE)) + 1
    if least > limit:
        raise InvalidInput(
            f"what searches of {storage} read takes {sized(sum(sizes))} on disk, for which the "
            f"disk cache must be allowed {sized(least)}, and it is allowed {sized(limit)}; set "
            f"disk_cache_bytes (ATOLL_DISK_CACHE_BYTES) to {least} or more, or keep less with "
            "--codes",
            needed_bytes=least,
            limit_bytes=limit,
        )
    kept = [is_kept for part in parts for is_kept in part.are_kept(storage)]
    missing = sum(size for size, is_kept in zip(sizes, kept, strict=True) if not is_kept)
    if missing > (free := storage.free_bytes()):
        raise Unavailable(
            f"{folder} has {sized(free)} left for {sized(missing)} of {storage}; free some room "
            "(what the folder keeps may be removed at any time), or set disk_cache to a folder on "
            "another disk",
            needed_bytes=missing,
        )


def _keep(storage: Storage, parts: Sequence[_Pieces], on_progress: OnProgress) -> None:
    """Read what is not kept yet, some at a time, whatever this process has in memory."""
    total = sum(sum(part.lengths) for part in parts)
    done = 0
    for some in (some for part in parts for some in part.rounds()):
        byteranges.get_pieces(storage, some.paths, some.file, some.start, some.length)
        _require_kept(storage, [some])
        done += sum(some.lengths)
        on_progress(Progress("warm", done, total, "bytes"))


def _require_kept(storage: Storage, parts: Sequence[_Pieces]) -> None:
    """Make sure that the cache holds all of it.

    Raises:
        Unavailable: it does not.
    """
    if not all(all(part.are_kept(storage)) for part in parts):
        raise Unavailable(
            f"what was read of {storage} is not in the disk cache: others write more than it may "
            "hold, or its disk failed, of which the log tells; mend that, or allow it more by "
            "disk_cache_bytes (ATOLL_DISK_CACHE_BYTES), and run the same again"
        )
