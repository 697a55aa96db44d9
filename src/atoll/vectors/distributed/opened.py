"""What a step searches with: the collection, opened once for all steps of a process."""

from __future__ import annotations

from collections.abc import Mapping

from atoll.core.cache import ByteCache
from atoll.core.config import Settings
from atoll.storage import Storage, open_storage
from atoll.vectors.distributed.model import Target
from atoll.vectors.distributed.run import Run
from atoll.vectors.mapreduce import MapReduce
from atoll.vectors.model import Bucket, CollectionSpec
from atoll.vectors.reader import Reader


def searching(
    run: Run,
    reader: Reader,
    target: Target,
    live: Mapping[int, Bucket],
    block: int,
    settings: Settings,
) -> MapReduce:
    """Make what searches some buckets for a block of queries."""
    batch = run.batch(block)
    return MapReduce(reader, target.models, live, batch, run.request.options, settings.threads)


_last: list[tuple[Storage, CollectionSpec, Reader]] = []


def opened_reader(
    run: Run, spec: CollectionSpec, settings: Settings, copy: Storage | None = None
) -> Reader:
    """Open the collection; what the last step of this process had open is still open."""
    storage = copy or open_storage(run.request.collection, settings.storage).cached(
        settings.disk_cache, settings.disk_cache_bytes
    )
    if not _last or _last[0][:2] != (storage, spec):
        _last[:] = [(storage, spec, Reader(storage, spec, ByteCache(settings.cache_bytes)))]
    return _last[0][2]
