"""Carries out a create or an add: buckets built where the executor runs, one manifest commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeAlias

from atoll.compute.port import Executor
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Conflict, InvalidInput
from atoll.core.progress import OnProgress
from atoll.storage import Storage
from atoll.vectors import (
    blobs,
    bucketjobs,
    calibrate,
    garbage,
    leases,
    manifests,
    partitiontrials,
)
from atoll.vectors.idcheck import duplicate_rows
from atoll.vectors.model import Blob, Bucket, Manifest
from atoll.vectors.paths import FOLDER
from atoll.vectors.planning import Planned
from atoll.vectors.reach import require_shared_build
from atoll.vectors.scalarindexes import with_indexes
from atoll.vectors.training import index_model

Made: TypeAlias = tuple[tuple[Bucket, ...], Blob | None]
"""Buckets, and the index model they have."""

Make: TypeAlias = Callable[[Planned, Manifest | None], Made]
"""Makes the buckets of a plan: for a collection, or a new one."""


def create(
    planned: Planned,
    *,
    force: bool,
    settings: Settings,
    executor: Executor | None = None,
    on_progress: OnProgress,
    make: Make | None = None,
) -> Manifest:
    """Carry out a plan as a new collection.

    Args:
        planned: the plan.
        force: whether it may replace a collection.
        settings: threads, memory, scratch folder.
        executor: where buckets are built; None uses processes on this machine.
        on_progress: told as stages go on.
        make: makes the buckets; None builds them where `executor` runs.

    Returns:
        The manifest in force; the one found, where this very plan was carried out before.

    Raises:
        Conflict: something else lives at the place, or another create won.
        InvalidInput: rows that cannot be searched, duplicate ids; places that the executor's
            machines cannot reach.
    """
    calibrate.check_planned(planned)
    require_shared_build(executor, planned)
    storage = planned.storage
    found = manifests.latest_manifest(storage)
    if found is not None and found.plan == planned.hash:
        return found
    if not force:
        refuse_occupied(storage, found)
    make = make or _maker(settings, executor, on_progress)
    with _discarding_refused(planned), leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        planned = partitiontrials.settled(planned, settings, on_progress)
        buckets, model = make(planned, None)
        manifest = Manifest(
            version=found.version + 1 if found else 1,
            created_at=manifests.now(),
            spec=planned.spec,
            models={model.key: model} if model else {},
            model=model.key if model else None,
            buckets=buckets,
            created_by=manifests.created_by(),
            plan=planned.hash,
            partitions=blobs.put_choice(storage, planned.choice) if planned.choice else None,
            action="create",
        )
        manifest = calibrate.with_recall(planned, manifest, settings, on_progress)
        lease.require()
        if manifests.commit_manifest(storage, manifest):
            return manifest
    winner = manifests.latest_manifest(storage)
    if winner is not None and winner.plan == planned.hash:
        return winner
    raise Conflict(
        f"another create of {storage} from other sources or options ended first; what it "
        "made is live, what this one made is not. Use `atoll add`, another place, or --force",
        uri=str(storage),
    )


def add(
    planned: Planned,
    manifest: Manifest,
    *,
    settings: Settings,
    executor: Executor | None = None,
    on_progress: OnProgress,
    make: Make | None = None,
) -> Manifest:
    """Carry out a plan as new buckets of a collection; no old object is touched.

    Args:
        planned: the plan.
        manifest: the collection.
        settings, executor, on_progress, make: as for `create`.

    Returns:
        The manifest in force; the one found, where every row is there already and may be skipped.

    Raises:
        InvalidInput: rows that cannot be searched, ids that are there already.
    """
    calibrate.check_planned(planned)
    require_shared_build(executor, planned)
    storage, model = planned.storage, manifest.model
    make = make or _maker(settings, executor, on_progress)
    with _discarding_refused(planned), leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()

        def more(current: Manifest) -> Manifest:
            # After a lost race once more: somebody else's ids may be among ours.
            left = missing(current, planned)
            if not left.buckets.buckets:
                return current
            _require_same(storage, planned, current, model)
            buckets, _ = make(left, current)
            if not buckets:
                return current
            live = with_indexes(storage, current, current.buckets + buckets)
            following = manifests.next_manifest(current, "add", buckets=live, plan=planned.hash)
            return calibrate.with_recall(planned, following, settings, on_progress)

        return manifests.commit_next(storage, manifest, more, lease)[0]


def _require_same(
    storage: Storage, planned: Planned, manifest: Manifest, model: str | None
) -> None:
    if manifest.spec != planned.spec or manifest.model != model:
        raise Conflict(
            f"{storage} was replaced by another collection, or trained anew, meanwhile; run the "
            "same command again to add to what is there now",
            uri=str(storage),
        )


def upsert(
    planned: Planned,
    manifest: Manifest,
    replacing: Callable[[Manifest, Sequence[Bucket]], tuple[Bucket, ...]],
    *,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> Manifest:
    """Carry out a plan as new buckets whose rows replace those of the same ids.

    Args:
        planned: its hash must be of no live bucket.
        manifest: the collection.
        replacing: from the manifest in force and the new buckets makes those of the next.
        settings, executor, on_progress: as for `add`.

    Raises:
        InvalidInput: rows that cannot be searched, an id twice in the sources.
    """
    calibrate.check_planned(planned)
    require_shared_build(executor, planned)
    storage, model = planned.storage, manifest.model
    with _discarding_refused(planned), leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        excluded = duplicate_rows(planned, None, settings, on_progress)
        make = _maker(settings, executor, on_progress, excluded)
        buckets, _ = make(planned, manifest)

        def replaced(current: Manifest) -> Manifest:
            _require_same(storage, planned, current, model)
            live = with_indexes(storage, current, replacing(current, buckets))
            following = manifests.next_manifest(current, "upsert", buckets=live, plan="")
            return calibrate.with_recall(planned, following, settings, on_progress)

        return manifests.commit_next(storage, manifest, replaced, lease)[0]


@contextmanager
def _discarding_refused(planned: Planned) -> Iterator[None]:
    """Leave nothing of a build whose rows were refused: mended files make another plan."""
    try:
        yield
    except InvalidInput as error:
        if error.details.get("rows"):
            # Another build may be running; what is left then is for `gc`.
            with suppress(AtollError):
                garbage.discard(planned.storage, planned.hash)
        raise


def missing(manifest: Manifest, planned: Planned) -> Planned:
    """Return what is left of a plan without the buckets that are live.

    Some may never be: those none of whose rows may be added.
    """
    live = {
        (part.uri, part.start, part.stop)
        for bucket in manifest.buckets
        for part in bucket.sources
        if (bucket.plan if part.plan is None else part.plan) == planned.hash
    }
    left = tuple(
        bucket
        for bucket in planned.buckets.buckets
        if any((part.uri, part.start, part.stop) not in live for part in bucket.slices)
    )
    return replace(planned, buckets=replace(planned.buckets, buckets=left))


def refuse_occupied(storage: Storage, found: Manifest | None) -> None:
    """Refuse a place that is no empty one, nor one of an unfinished build.

    Raises:
        Conflict: something lives there.
    """
    if found is not None:
        raise Conflict(
            f"{storage} is a collection already ({found.rows:,} rows); add to it with "
            "`atoll add`, choose another place, or replace it with --force",
            uri=str(storage),
        )
    for entry in storage.list():
        if entry.path.startswith(f"{FOLDER}/"):
            return  # an unfinished build of ours
        if not entry.path.startswith(("bucket_", ".")):
            raise Conflict(
                f"{storage} is not empty ({entry.path}); choose another place, or use "
                "--force to create beside what is there",
                uri=str(storage),
            )


def _maker(
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
    excluded: bucketjobs.Excluded | None = None,
) -> Make:
    """Return what builds buckets, without rows whose ids were met before or those given."""

    def make(planned: Planned, manifest: Manifest | None) -> Made:
        rows = excluded
        if rows is None:
            rows = duplicate_rows(planned, manifest, settings, on_progress)
        model = model_for(planned, manifest, on_progress)
        found = bucketjobs.built(planned, rows, model, settings, executor, on_progress)
        return bucketjobs.with_rows(planned, manifest, found), model

    return make


def model_for(planned: Planned, manifest: Manifest | None, on_progress: OnProgress) -> Blob | None:
    """Train the index model of a create, or take that of the collection."""
    if manifest is None:
        return index_model(planned, on_progress)
    return manifest.models[manifest.model] if manifest.model else None
