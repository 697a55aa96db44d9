"""Begins a distributed search: checks what is asked, and writes it down for the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.storage import open_storage
from atoll.vectors.distributed.run import Request, Run, hash_of
from atoll.vectors.distributed.steps import MAX_MERGED_ROWS
from atoll.vectors.options import SearchOptions
from atoll.vectors.queries import as_queries
from atoll.vectors.view import View

# Queries whose hits are one file, at most.
BLOCK_QUERIES = 10_000


def begin(
    view: View,
    place: str | Path,
    queries: Any,
    options: SearchOptions,
    *,
    suffix: str = ".csv",
    is_refined_early: bool = False,
) -> Run:
    """Write down a search; see `Collection.begin_run`."""
    if options.group_by is not None:
        raise InvalidInput(
            "group_by looks further until there are enough groups, which no bucket can do alone; "
            "search with --via local"
        )
    options, recall = view.settled(options)
    batch = as_queries(queries, view.manifest.spec, view.settings)
    manifest = view.manifest
    rows = options.k * (1 if options.exact else options.refine_factor)
    in_all = sum(min(rows, bucket.rows) for bucket in manifest.buckets)
    fitting = min(view.queries_at_once(options), MAX_MERGED_ROWS // max(1, in_all))
    request = Request(
        collection=view.reader.storage.url,
        version=manifest.version,
        options=options,
        recall=recall,
        queries=len(batch),
        block=max(1, min(len(batch), BLOCK_QUERIES, fitting)),
        vectors=hash_of(batch),
        suffix=suffix,
        is_refined_early=is_refined_early,
    )
    run = Run(open_storage(place, view.settings.storage))
    run.begin(request, batch)
    return run
