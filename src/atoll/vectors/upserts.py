"""Upserts: new buckets whose rows replace those of the same ids, all in one manifest commit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from atoll.compute.port import Executor
from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.core.progress import OnProgress, Progress
from atoll.storage import Storage, count_usage
from atoll.vectors import build
from atoll.vectors.deletes import without
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.idcheck import LiveIds
from atoll.vectors.model import Bucket, Manifest
from atoll.vectors.openbucket import OpenBucket
from atoll.vectors.planning import Planned

IDS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class UpsertReport:
    """What an upsert did.

    Attributes:
        version: of the collection, now.
        rows: rows of the sources that are in it.
        replaced: rows whose place they took.
        requests, size_bytes: what looking up the ids read.
    """

    version: int
    rows: int = 0
    replaced: int = 0
    requests: int = 0
    size_bytes: int = 0

    @property
    def added(self) -> int:
        """Rows whose ids were new."""
        return self.rows - self.replaced


def upsert(
    planned: Planned,
    manifest: Manifest,
    *,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> tuple[Manifest, UpsertReport]:
    """Carry out a plan as new buckets whose rows replace those of the same ids.

    Given again, and with no row of it replaced or deleted since, nothing is changed. Rows that are
    left out as invalid replace nothing.

    Raises:
        InvalidInput: rows that cannot be searched, an id twice in the sources.
    """
    planned = replace(planned, hash=_hash("upsert", planned.hash))
    if _is_live(planned, manifest):
        return manifest, UpsertReport(manifest.version)
    done = UpsertReport(0)

    def replacing(found: Manifest, built: Sequence[Bucket]) -> tuple[Bucket, ...]:
        """Take what the new buckets replace out of those of a version that may be newer."""
        nonlocal done
        with count_usage() as usage:
            rows = _rows_replaced(planned.storage, found, built, settings.threads, on_progress)
        done = UpsertReport(
            found.version + 1,
            sum(bucket.rows for bucket in built),
            sum(map(len, rows.values())),
            usage.reads,
            usage.bytes_read,
        )
        kept = without(planned.storage, found.spec, found.buckets, rows)
        return kept + tuple(_marked(bucket, planned.hash) for bucket in built)

    fresh = replace(planned, hash=_unused_hash(planned.hash, manifest))
    manifest = build.upsert(
        fresh,
        manifest,
        replacing,
        settings=settings,
        executor=executor,
        on_progress=on_progress,
    )
    return manifest, done


def _is_live(planned: Planned, manifest: Manifest) -> bool:
    """Tell whether an upsert was carried out, and nothing of it is gone."""
    untouched = tuple(bucket for bucket in manifest.buckets if not bucket.deleted_rows)
    return not build.missing(replace(manifest, buckets=untouched), planned).buckets.buckets


def _unused_hash(plan: str, manifest: Manifest) -> str:
    """Name this try of an upsert: tables of an earlier one may be live, with rows deleted."""
    used = {bucket.plan for bucket in manifest.buckets}
    tries = (_hash(plan, str(number)) for number in count())
    return next(name for name in tries if name not in used)


def _hash(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]


def _marked(bucket: Bucket, plan: str) -> Bucket:
    return replace(bucket, sources=tuple(replace(part, plan=plan) for part in bucket.sources))


def _rows_replaced(
    storage: Storage,
    manifest: Manifest,
    built: Sequence[Bucket],
    threads: int,
    on_progress: OnProgress,
) -> dict[str, NDArray[np.int64]]:
    """Find the live rows whose ids new buckets hold, by bucket."""
    live = LiveIds(storage, manifest.spec, manifest.buckets, threads)
    found: dict[str, list[NDArray[np.int64]]] = {}
    done, total = 0, sum(bucket.rows for bucket in built)
    for bucket in built:
        opened = OpenBucket(storage, manifest.spec, bucket, ByteCache(0))
        for start in range(0, bucket.rows, IDS_AT_ONCE):
            ids = opened.ids(np.arange(start, min(bucket.rows, start + IDS_AT_ONCE)))
            for _, rows, name in live.rows(hash_ids(ids), ids):
                found.setdefault(name, []).append(rows)
            done += len(ids)
            on_progress(Progress("look up ids", done, total, "rows"))
    return {name: np.concatenate(rows) for name, rows in found.items()}
