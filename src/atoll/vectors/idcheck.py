"""Finds ids that were met before: in the sources of a build, and in the live buckets."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import counted, some_of
from atoll.storage import Storage, Threads
from atoll.vectors.duplicates import Duplicate, IdChecker, hash_ids
from atoll.vectors.ids import IdIndex
from atoll.vectors.model import Bucket, CollectionSpec, Manifest
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.planning import Planned
from atoll.vectors.reader import Reader

SHOWN_DUPLICATES = 5
IDS_AT_ONCE = 1 << 22
ID_CACHE_BYTES = 16 << 20


def duplicate_rows(
    planned: Planned, manifest: Manifest | None, settings: Settings, on_progress: OnProgress
) -> dict[str, NDArray[np.int64]]:
    """Find ids met before, in the sources and in the live buckets.

    Returns:
        Rows to leave out, by source (`on_duplicate="skip"`).

    Raises:
        InvalidInput: there are some, and they are an error.
    """
    found = _Found()
    with IdChecker(settings.scratch, settings.memory_bytes // 4) as checker:
        live = None
        if manifest is not None:
            live = LiveIds(planned.storage, manifest.spec, manifest.buckets, settings.threads)
        for uri, row, ids, hashes in _id_chunks(planned, on_progress):
            checker.add_hashes(hashes, uri, row)
            for positions, bucket in live.find(hashes, ids) if live else ():
                found.add(uri, row + positions, partial(_describe_live, uri, row, ids, bucket))
        for duplicate in checker.duplicates(lambda uri, rows: planned.sources[uri].ids_at(rows)):
            second = duplicate.second
            found.add(second.source, np.array([second.row]), partial(_describe, duplicate))
    if found.count and planned.options.on_duplicate == "error":
        raise found.refusal()
    return found.rows()


class _Found:
    """Rows whose ids were met before: how many, where, and the first few in words."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: dict[str, array[int]] = {}
        self._shown: list[tuple[str, int, str]] = []

    def add(self, uri: str, rows: NDArray[np.int64], describe: Callable[[int], str]) -> None:
        """Take rows of a source, ascending; `describe(row)` says what is amiss with one."""
        self.count += len(rows)
        self._rows.setdefault(uri, array("q")).frombytes(rows.astype(np.int64).tobytes())
        for row in rows[:SHOWN_DUPLICATES].tolist():
            if len(self._shown) < SHOWN_DUPLICATES or (uri, row) < self._shown[-1][:2]:
                self._shown = sorted([*self._shown, (uri, row, describe(row))])[:SHOWN_DUPLICATES]

    def rows(self) -> dict[str, NDArray[np.int64]]:
        return {uri: np.unique(np.frombuffer(rows, np.int64)) for uri, rows in self._rows.items()}

    def refusal(self) -> InvalidInput:
        shown = some_of([text for *_, text in self._shown], total=self.count, separator="; ")
        return InvalidInput(
            f"{counted(self.count, 'duplicate id')}: {shown}; mend the files, "
            "or keep the first of each with --on-duplicate skip",
            duplicates=self.count,
        )


def _id_chunks(
    planned: Planned, on_progress: OnProgress
) -> Iterator[tuple[str, int, pa.Array, NDArray[np.uint64]]]:
    """Read all ids: (uri, first row, ids, hashes), many at a time since each is looked up once."""
    done = 0
    for part in sorted(part for bucket in planned.buckets.buckets for part in bucket.slices):
        for start in range(part.start, part.stop, IDS_AT_ONCE):
            stop = min(part.stop, start + IDS_AT_ONCE)
            ids = pa.concat_arrays(list(planned.sources[part.uri].ids(start, stop, 1 << 16)))
            done += len(ids)
            on_progress(Progress("check ids", done, planned.buckets.rows, "rows"))
            yield part.uri, start, ids, hash_ids(ids)


def _describe_live(uri: str, first: int, ids: pa.Array, bucket: str, row: int) -> str:
    return f"{ids[row - first].as_py()!r} ({uri} row {row}) is in {bucket} already"


def _describe(duplicate: Duplicate, row: int) -> str:
    first, second = duplicate.first, duplicate.second
    return f"{duplicate.id!r} at {first.source} row {first.row} and {second.source} row {row}"


class LiveIds:
    """Tells which ids live buckets hold; deleted rows are not there."""

    def __init__(
        self, storage: Storage, spec: CollectionSpec, buckets: Sequence[Bucket], threads: int
    ) -> None:
        """Open their id indexes; nothing is read yet."""
        reader = Reader(storage, spec, ByteCache(ID_CACHE_BYTES))
        self._opened = [(reader.bucket(bucket), reader.id_index(bucket)) for bucket in buckets]
        self._threads = threads

    def find(
        self, hashes: NDArray[np.uint64], ids: pa.Array
    ) -> Iterator[tuple[NDArray[np.int64], str]]:
        """Yield (ascending positions in `ids`, bucket name) of ids that are there."""
        for positions, _, bucket in self.rows(hashes, ids):
            yield np.sort(positions), bucket

    def rows(
        self, hashes: NDArray[np.uint64], ids: pa.Array
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], str]]:
        """Yield (positions in `ids`, their rows, bucket name) for each bucket that holds some.

        Args:
            hashes: of the ids.
            ids: none twice.
        """

        def look(opened: tuple[OpenBucket, IdIndex]) -> tuple[NDArray[np.int64], ...]:
            bucket, index = opened
            positions, found = index.find(hashes)
            return matching(bucket, found.astype(np.int64), positions, ids)

        with Threads(self._threads * 4) as pool:
            results = pool.map(look, self._opened)
            for (bucket, _), (positions, found) in zip(self._opened, results, strict=True):
                if len(positions):
                    yield positions, found, bucket.bucket.name


def matching(
    bucket: OpenBucket, rows: NDArray[np.int64], positions: NDArray[np.int64], ids: pa.Array
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the rows that are live and whose id is the one looked for, not only of equal hash.

    Args:
        bucket: where they are.
        rows: (n,) as the id index found them.
        positions: (n,) of the ids they were found for.
        ids: what was looked for.

    Returns:
        (m,) positions and (m,) rows.
    """
    if bucket.live is not None and len(rows):
        keep = bucket.live[rows]
        rows, positions = rows[keep], positions[keep]
    if not len(rows):
        return positions, rows
    same = np.asarray(pa.compute.equal(bucket.ids(rows), ids.take(pa.array(positions))))
    return positions[same], rows[same]
