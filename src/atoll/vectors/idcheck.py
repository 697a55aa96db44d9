"""Finds ids that were met before: in the sources of a build, and in the live buckets."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.storage import Storage
from atoll.vectors import store
from atoll.vectors.duplicates import Duplicate, IdChecker, hash_ids
from atoll.vectors.ids import IdIndex
from atoll.vectors.model import Manifest
from atoll.vectors.planning import Planned
from atoll.vectors.sources import Source

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
    found: dict[str, list[int]] = {}
    messages: list[tuple[str, int, str]] = []
    with IdChecker(settings.scratch, settings.memory_bytes // 4) as checker:
        live = _LiveIds(planned.storage, manifest, settings.threads) if manifest else None
        for uri, row, ids, hashes in _id_chunks(planned, on_progress):
            checker.add_hashes(hashes, uri, row)
            for position, bucket in live.find(hashes, ids) if live else ():
                found.setdefault(uri, []).append(row + position)
                name = ids[position].as_py()
                text = f"{name!r} ({uri} row {row + position}) is in {bucket} already"
                messages.append((uri, row + position, text))
        for duplicate in checker.duplicates(_id_reader(planned.sources)):
            second = duplicate.second
            found.setdefault(second.source, []).append(second.row)
            messages.append((second.source, second.row, _describe(duplicate)))
    count = len(messages)
    if count and planned.options.on_duplicate == "error":
        shown = "; ".join(text for *_, text in heapq.nsmallest(SHOWN_DUPLICATES, messages))
        more = f" and {count - SHOWN_DUPLICATES} more" if count > SHOWN_DUPLICATES else ""
        raise InvalidInput(
            f"{count} duplicate ids: {shown}{more}; mend the files, "
            "or keep the first of each with --on-duplicate skip",
            duplicates=count,
        )
    return {uri: np.unique(np.array(rows, np.int64)) for uri, rows in found.items()}


def _id_chunks(
    planned: Planned, on_progress: OnProgress
) -> Iterator[tuple[str, int, pa.Array, NDArray[np.uint64]]]:
    """Read all ids: (uri, first row, ids, hashes), many at a time since each is looked up once."""
    total = sum(source.rows for source in planned.sources.values())
    done = 0
    for uri in sorted(planned.sources):
        source = planned.sources[uri]
        for start in range(0, source.rows, IDS_AT_ONCE):
            stop = min(source.rows, start + IDS_AT_ONCE)
            ids = pa.concat_arrays(list(source.ids(start, stop, 1 << 16)))
            done += len(ids)
            on_progress(Progress("check ids", done, total, "rows"))
            yield uri, start, ids, hash_ids(ids)


def _describe(duplicate: Duplicate) -> str:
    first, second = duplicate.first, duplicate.second
    return (
        f"{duplicate.id!r} at {first.source} row {first.row} and {second.source} row {second.row}"
    )


def _id_reader(sources: dict[str, Source]) -> Callable[[str, int], str]:
    def read(uri: str, row: int) -> str:
        return str(next(iter(sources[uri].ids(row, row + 1, 1)))[0].as_py())

    return read


class _LiveIds:
    """Tells which ids live buckets hold."""

    def __init__(self, storage: Storage, manifest: Manifest, threads: int) -> None:
        self._storage, self._column = storage, manifest.spec.id_column
        read = partial(store.get_blob_range, storage)
        self._indexes = [(b, IdIndex(b.ids, b.rows, read)) for b in manifest.buckets]
        self._threads = threads

    def find(self, hashes: NDArray[np.uint64], ids: pa.Array) -> list[tuple[int, str]]:
        """Return (position in `ids`, bucket name) of each id that is there."""
        with ThreadPoolExecutor(self._threads * 4) as pool:
            results = pool.map(lambda item: item[1].find(hashes), self._indexes)
            found: list[tuple[int, str]] = []
            for (bucket, _), (positions, rows) in zip(self._indexes, results, strict=True):
                if len(positions):
                    table = store.Table(self._storage, bucket)
                    names = table.take(rows.astype(np.int64), [self._column])[self._column]
                    same = pa.compute.equal(names.combine_chunks(), ids.take(pa.array(positions)))
                    hits = np.asarray(positions)[np.asarray(same)]
                    found.extend((int(position), bucket.name) for position in hits)
        return sorted(found)
