"""Retraining: a new index model, then one bucket after the other built anew under it.

Searches go on: while both models are in the manifest, each bucket is searched under its own. A
retrain that was killed goes on with the model it trained and the buckets it has built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.core.progress import OnProgress, Progress
from atoll.core.records import decoded
from atoll.storage import Storage
from atoll.vectors import (
    blobs,
    indexspec,
    leases,
    manifests,
    planning,
    schemas,
    training,
)
from atoll.vectors.compact import put_in_place, sources_of
from atoll.vectors.deletes import carried
from atoll.vectors.ingest import BucketJob, build_bucket
from atoll.vectors.model import CODE_COLUMN, FORMAT_VERSION, Blob, Bucket, CollectionSpec, Manifest
from atoll.vectors.options import BuildOptions, RetrainOptions
from atoll.vectors.paths import bucket_name
from atoll.vectors.rows import JobSlice
from atoll.vectors.scalarindexes import with_indexes
from atoll.vectors.storedrows import StoredRows
from atoll.vectors.teams import SHUFFLE_SHARE


def retrain(
    storage: Storage,
    manifest: Manifest,
    options: RetrainOptions,
    *,
    settings: Settings,
    on_progress: OnProgress,
) -> Manifest:
    """Train a model on the live rows and build each bucket anew under it, as "rabitq".

    Each bucket is replaced by a manifest commit of its own; where the kind of index changes, all
    are by one.

    Returns:
        The manifest in force, with the new model only.

    Raises:
        InvalidInput: there are no rows.
        Conflict: the collection was replaced, or another retrain began, meanwhile; or `gc` is
            running.
    """
    if not manifest.rows:
        raise InvalidInput(f"{storage} has no rows to train on; add some first")
    with leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        work = _begin(storage, manifest, options, settings, on_progress)
        while left := [bucket for bucket in manifest.buckets if bucket.model != work.model]:
            for buckets in [left] if work.is_other_kind else [[bucket] for bucket in left]:
                built: dict[str, Bucket | None] = {}
                for bucket in buckets:
                    _tell(manifest, work, len(built), on_progress)
                    built[bucket.name] = work.rebuilt(bucket)
                manifest = _commit(storage, manifest, work, buckets, built, lease)
        on_progress(Progress("retrain", manifest.rows, manifest.rows, "rows"))
        # A later retrain with the same options trains again.
        storage.delete(training.model_path(work.plan))
    return manifest


@dataclass(frozen=True)
class _Work:
    """What is to be done to each bucket.

    Attributes:
        storage: the collection.
        before, spec: what holds for every bucket, before and after.
        plan: hash of the options; names the folder of the build.
        old_model: the one that new buckets got before.
        blob: the new model.
        settings: memory and scratch folder.
    """

    storage: Storage
    before: CollectionSpec
    spec: CollectionSpec
    plan: str
    old_model: str | None
    blob: Blob
    settings: Settings

    @property
    def model(self) -> str:
        """What manifests call the new model."""
        return self.blob.key

    @property
    def is_other_kind(self) -> bool:
        return self.before.index.kind != self.spec.index.kind

    def rebuilt(self, bucket: Bucket) -> Bucket | None:
        """Build a bucket anew; None where no row of it can be searched."""
        deleted = bucket.deleted.sha256 if bucket.deleted else ""
        decides = " ".join((self.plan, self.model, bucket.name, str(bucket.version), deleted))
        fingerprint = hashlib.sha256(decides.encode()).hexdigest()[:32]
        source = StoredRows(self.storage, self.before, bucket)
        job = BucketJob(
            collection=self.storage,
            plan=self.plan,
            name=bucket_name(0, fingerprint),
            fingerprint=fingerprint,
            slices=(JobSlice(source, 0, source.rows),),
            spec=self.spec,
            model=self.blob,
            # Adopted tables may hold rows that have no distances; a report lists them.
            on_invalid="skip",
            batch_rows=BuildOptions.batch_rows,
            memory_bytes=int(self.settings.memory_bytes * SHUFFLE_SHARE),
            scratch=self.settings.scratch,
        )
        built = build_bucket(job)
        return built and replace(
            built,
            sources=sources_of(bucket),
            skipped=bucket.skipped + built.skipped,
            rounding_error=bucket.rounding_error,
        )


def _begin(
    storage: Storage,
    manifest: Manifest,
    options: RetrainOptions,
    settings: Settings,
    on_progress: OnProgress,
) -> _Work:
    before = manifest.spec
    wanted = indexspec.resolve(
        "rabitq",
        before.dim,
        max(bucket.rows for bucket in manifest.buckets),
        num_partitions=options.num_partitions,
        num_sub_vectors=None,
        bits=options.bits or before.index.bits,
    )
    spec = replace(before, index=wanted)
    # Only what was asked for: what it comes to may change while buckets are added and deleted.
    asked = ("retrain", FORMAT_VERSION, options, before.dim, before.distance_type)
    plan = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:32]
    _forget_unused_model(storage, plan, manifest)
    sources = [StoredRows(storage, before, bucket) for bucket in manifest.buckets]
    blob = training.trained(
        storage,
        plan,
        lambda: training.training_sample(sources, spec, options.seed),
        spec,
        options.seed,
        on_progress,
    )
    partitions = len(blobs.get_model(storage, blob).centroids)
    spec = replace(
        spec,
        index=replace(wanted, num_partitions=partitions),
        arrow_schema=schemas.encode_schema(_with_codes(before, wanted.bits)),
    )
    return _Work(storage, before, spec, plan, manifest.model, blob, settings)


def _forget_unused_model(storage: Storage, plan: str, manifest: Manifest) -> None:
    """Drop what a killed try trained before it committed a bucket: rows may have changed since."""
    path = training.model_path(plan)
    with suppress(NotFound):
        blob = decoded(storage.get(path), Blob)
        if all(known.sha256 != blob.sha256 for known in manifest.models.values()):
            storage.delete(path)


def _with_codes(spec: CollectionSpec, bits: int) -> pa.Schema:
    fields = [
        field for field in schemas.decode_schema(spec.arrow_schema) if field.name != CODE_COLUMN
    ]
    return pa.schema([*fields, planning.code_field(spec.dim, bits)])


def _tell(manifest: Manifest, work: _Work, built: int, on_progress: OnProgress) -> None:
    done = sum(bucket.rows for bucket in manifest.buckets if bucket.model == work.model)
    left = [bucket for bucket in manifest.buckets if bucket.model != work.model]
    done += sum(bucket.rows for bucket in left[:built])
    on_progress(Progress("retrain", done, manifest.rows, "rows"))


def _commit(
    storage: Storage,
    manifest: Manifest,
    work: _Work,
    old: Sequence[Bucket],
    built: Mapping[str, Bucket | None],
    lease: leases.Held,
) -> Manifest:
    """Put rebuilt buckets in the places of the old ones, less what was deleted meanwhile.

    Of those that somebody else replaced nothing is taken; they are built again. Of two retrains to
    different models the one that commits a bucket of its own last goes on: else each would build
    anew, without end, what the other has built.
    """

    def rebuilt(current: Manifest) -> Manifest:
        is_ours = current.model in (work.old_model, work.model)
        if not is_ours or current.spec not in (work.before, work.spec):
            raise Conflict(
                f"{storage} was replaced or trained by somebody else meanwhile; look at "
                "`atoll history`, then run the same command again",
                uri=str(storage),
            )
        live = {bucket.name: bucket for bucket in current.buckets}
        buckets = list(current.buckets)
        for bucket in old:
            new = built[bucket.name]
            left = carried(storage, work.spec, [bucket], live, new) if new else ()
            if bucket.name in live and left is not None:
                left = with_indexes(storage, current, left)
                buckets = put_in_place(buckets, [bucket.name], left)
        # Of one kind all must be: buckets that came meanwhile are built before anything is live.
        is_early = work.is_other_kind and any(b.model != work.model for b in buckets)
        if is_early or buckets == list(current.buckets):
            return current
        return _next(current, work, buckets)

    return manifests.commit_next(storage, manifest, rebuilt, lease)[0]


def _next(manifest: Manifest, work: _Work, buckets: Sequence[Bucket]) -> Manifest:
    models = {**manifest.models, work.model: work.blob}
    used = {work.model, *(bucket.model for bucket in buckets)}
    following = manifests.next_manifest(manifest, "retrain", buckets=buckets, plan=manifest.plan)
    return replace(
        following,
        spec=work.spec,
        model=work.model,
        models={name: blob for name, blob in models.items() if name in used},
        calibration=None,
        partitions=None,
    )
