"""Makes, opens and plans collections: what the command line and Python call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from atoll.compute.port import Executor
from atoll.core.config import Settings
from atoll.core.errors import NotFound
from atoll.core.progress import OnProgress, silent
from atoll.storage import Storage
from atoll.vectors import (
    adopt,
    build,
    buildsteps,
    garbage,
    history,
    manifests,
    partitiontrials,
    planning,
    schemas,
)
from atoll.vectors.collection import Collection
from atoll.vectors.fitting import AdoptOptions
from atoll.vectors.options import BuildOptions, BuildStep
from atoll.vectors.paths import FOLDER
from atoll.vectors.queries import QueryBatch


def open_collection(
    uri: str | Path, settings: Settings, version: int | None = None, *, is_strangers: bool = False
) -> Collection:
    """Open a collection; see `atoll.open`.

    Args:
        uri, settings, version: as there.
        is_strangers: whether it may be of somebody who must not have us read what is not theirs:
            no rows are read of tables that refer to files outside their folders.

    Raises:
        NotFound: there is none, or no such version.
        Forbidden, Unavailable: the store does not let us in, or does not answer.
    """
    storage = planning.open_collection_storage(uri, settings)
    kept = storage.cached(settings.disk_cache, settings.disk_cache_bytes)
    began = monotonic()
    manifest = manifests.latest_manifest(kept)
    if manifest is None:
        raise _no_collection(storage, uri)
    if version is not None:
        manifest = history.open_version(storage, manifest, version)
    return Collection(
        storage,
        manifest,
        settings,
        is_fixed=version is not None,
        is_strangers=is_strangers,
        looked_at=began,
    )


def _no_collection(storage: Storage, uri: str | Path) -> NotFound:
    return NotFound(
        f"{storage} is no collection; make one with `atoll create {uri} SOURCE...`",
        uri=str(storage),
    )


def collect_garbage(
    uri: str | Path, settings: Settings, *, keep_versions: int = 1, dry_run: bool
) -> garbage.GcReport:
    """Do `Collection.gc`, also where a killed build is all there is.

    Raises:
        NotFound: nothing of ours is there.
        Conflict: a build is running.
    """
    storage = planning.open_collection_storage(uri, settings)
    if next(storage.list(FOLDER), None) is None:
        raise _no_collection(storage, uri)
    return garbage.collect(storage, keep_versions=keep_versions, dry_run=dry_run)


def create_collection(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    options: BuildOptions,
    settings: Settings,
    force: bool = False,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> Collection:
    """Build a collection; see `atoll.create`."""
    planned = planning.plan(uri, sources, options=options, settings=settings)
    manifest = build.create(
        planned,
        force=force,
        settings=settings,
        executor=executor,
        on_progress=on_progress,
    )
    return Collection(planned.storage, manifest, settings)


def create_step(
    step: BuildStep,
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    index: int | None = None,
    options: BuildOptions,
    settings: Settings,
    force: bool = False,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> dict[str, Any] | Collection:
    """Do one step of `create_collection`, for processes that share nothing but the store.

    Args:
        step: "plan", once; "build", for each bucket; "commit", once.
        uri, sources, options, force: the same for all steps.
        index: of the bucket to build, from 0.
        settings, executor, on_progress: as for `create_collection`.

    Returns:
        What the step did; the collection, of a commit.

    Raises:
        InvalidInput: as `create_collection`.
        NotFound: a step before it was not carried out.
        Conflict: the sources are not what was planned, or something else lives at the place.
    """
    planned = planning.plan(uri, sources, options=options, settings=settings)
    found = buildsteps.carry_out(
        step,
        planned,
        None,
        index=index,
        force=force,
        settings=settings,
        executor=executor,
        on_progress=on_progress,
    )
    return found if isinstance(found, dict) else Collection(planned.storage, found, settings)


def count_buckets(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    options: BuildOptions,
    settings: Settings,
) -> int:
    """Tell how many buckets `create_collection` would make."""
    return len(planning.plan(uri, sources, options=options, settings=settings).buckets.buckets)


def adopt_collection(
    uri: str | Path,
    *,
    options: AdoptOptions,
    settings: Settings,
    on_progress: OnProgress = silent,
) -> Collection:
    """Make a collection of the tables of a LanceDB database; see `atoll.adopt`."""
    storage = planning.open_collection_storage(uri, settings)
    manifest = adopt.adopt(storage, options, settings, on_progress)
    return Collection(storage, manifest, settings)


def stored_queries(collection: Collection, ids: Sequence[str]) -> QueryBatch:
    """Take vectors of the collection itself as queries, named by their ids.

    Raises:
        NotFound: an id is not there.
    """
    spec = collection.spec
    found = collection.get(ids, [spec.vector_column])
    vectors = schemas.vectors_of(found[spec.vector_column], spec.dim).astype(np.float32)
    return QueryBatch(list(ids), vectors, spec.embedder)


def plan_collection(
    uri: str | Path,
    sources: Sequence[str | Path] | str | Path,
    *,
    options: BuildOptions,
    settings: Settings,
    on_progress: OnProgress = silent,
) -> planning.Planned:
    """Say what `create_collection` would do; nothing is written."""
    planned = planning.plan(uri, sources, options=options, settings=settings)
    if not partitiontrials.is_open(planned):
        return planned
    choice = partitiontrials.choose_count(planned, settings, on_progress)
    return partitiontrials.with_choice(planned, choice)
