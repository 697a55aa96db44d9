"""Finds ids that were met before: in the sources of a build, and in the live buckets."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.core.text import some_of
from atoll.storage import Storage
from atoll.vectors import store
from atoll.vectors.adopted import bucket_table
from atoll.vectors.duplicates import Duplicate, IdChecker, hash_ids
from atoll.vectors.ids import IdIndex
from atoll.vectors.model import Bucket, CollectionSpec, Manifest
from atoll.vectors.planning import Planned

SHOWN_DUPLICATES = 5
IDS_AT_ONCE = 1 << 22


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
        if manifest:
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
            f"{self.count} duplicate ids: {shown}; mend the files, "
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
    """Tells which ids live buckets hold."""

    def __init__(
        self, storage: Storage, spec: CollectionSpec, buckets: Sequence[Bucket], threads: int
    ) -> None:
        """Open their id indexes."""
        self._storage, self._spec = storage, spec
        read = partial(store.get_blob_range, storage)
        self._indexes = [(b, IdIndex(b.ids, b.stored_rows, read)) for b in buckets]
        self._threads = threads

    def find(
        self, hashes: NDArray[np.uint64], ids: pa.Array
    ) -> Iterator[tuple[NDArray[np.int64], str]]:
        """Yield (ascending positions in `ids`, bucket name) of ids that are there."""
        with ThreadPoolExecutor(self._threads * 4) as pool:
            results = pool.map(lambda item: item[1].find(hashes), self._indexes)
            for (bucket, _), (positions, rows) in zip(self._indexes, results, strict=True):
                if len(positions):
                    table = bucket_table(self._storage, bucket, self._spec)
                    column = self._spec.id_column
                    names = table.take(rows.astype(np.int64), [column])[column]
                    same = pa.compute.equal(names.combine_chunks(), ids.take(pa.array(positions)))
                    yield np.sort(positions[np.asarray(same)]), bucket.name
