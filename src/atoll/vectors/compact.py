"""Compaction: small buckets, and those with many deleted rows, become fewer whole ones.

Rows of one index model are merged partition by partition, with the codes they have; nothing is
assigned or encoded again, so a search finds the same as before. The old tables stay until `gc`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from atoll.core.config import Settings
from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.core.progress import OnProgress, Progress
from atoll.storage import Storage
from atoll.vectors import blobs, leases, manifests
from atoll.vectors.deletes import carried
from atoll.vectors.ids import MAX_ROWS
from atoll.vectors.ingest import BucketJob, Facts, write_bucket
from atoll.vectors.model import FORMAT_VERSION, Blob, Bucket, Manifest, SourceSlice
from atoll.vectors.options import BuildOptions, CompactOptions
from atoll.vectors.paths import bucket_name
from atoll.vectors.scalarindexes import with_indexes
from atoll.vectors.storedrows import LiveRows
from atoll.vectors.teams import SHUFFLE_SHARE

# A bucket with a larger share of deleted rows is written anew, whatever its size.
MAX_DELETED_SHARE = 0.2


@dataclass(frozen=True)
class Merge:
    """Buckets that become one, in this order."""

    buckets: tuple[Bucket, ...]

    @property
    def rows(self) -> int:
        """Live rows of all of them."""
        return sum(bucket.rows for bucket in self.buckets)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [bucket.name for bucket in self.buckets]


@dataclass(frozen=True)
class CompactReport:
    """What a compaction did, or would do.

    Attributes:
        version: of the collection, now.
        merges: what became one.
    """

    version: int
    merges: tuple[Merge, ...]


def plan_compaction(buckets: Sequence[Bucket], options: CompactOptions) -> list[Merge]:
    """Decide which buckets become one.

    A bucket takes part if it has few rows or many deleted ones, and goes into the first group of
    its model with room for it. So once done, nothing is left to do.

    Args:
        buckets: the live ones.
        options: sizes, or which buckets.

    Raises:
        NotFound: a bucket that is named is not live.
        InvalidInput: no bucket holds so many rows, or a bucket that is named is an adopted table.
    """
    if options.bucket_rows >= MAX_ROWS:
        raise InvalidInput(f"--bucket-rows {options.bucket_rows:,} is above {MAX_ROWS - 1:,}")
    chosen = _chosen(buckets, options)
    groups: list[list[Bucket]] = []
    for bucket in chosen:
        for group in groups:
            rows = sum(member.rows for member in group)
            if group[0].model == bucket.model and rows + bucket.rows <= options.bucket_rows:
                group.append(bucket)
                break
        else:
            groups.append([bucket])
    return [
        Merge(tuple(group))
        for group in groups
        if len(group) > 1 or _is_worn(group[0]) or (options.buckets and group[0].deleted_rows)
    ]


def _chosen(buckets: Sequence[Bucket], options: CompactOptions) -> list[Bucket]:
    if options.buckets:
        live = {bucket.name for bucket in buckets}
        if unknown := [name for name in options.buckets if name not in live]:
            raise NotFound(f"there is no live bucket {unknown[0]!r}; `atoll info` lists them")
        chosen = [bucket for bucket in buckets if bucket.name in options.buckets]
        if adopted := [bucket.name for bucket in chosen if bucket.is_adopted]:
            raise InvalidInput(
                f"{adopted[0]} is an adopted table, which is not merged; `atoll retrain` makes "
                "buckets of such tables"
            )
        return chosen
    # The rows of adopted tables are in no order.
    ours = [bucket for bucket in buckets if not bucket.is_adopted]
    min_rows = options.bucket_rows // 2 if options.min_rows is None else options.min_rows
    return [bucket for bucket in ours if bucket.rows < min_rows or _is_worn(bucket)]


def _is_worn(bucket: Bucket) -> bool:
    return bucket.deleted_rows > MAX_DELETED_SHARE * bucket.stored_rows


def compact(
    storage: Storage,
    manifest: Manifest,
    options: CompactOptions,
    *,
    settings: Settings,
    dry_run: bool,
    on_progress: OnProgress,
) -> tuple[Manifest, CompactReport]:
    """Merge buckets, one manifest commit a merge; killed, the same call goes on where it stopped.

    Raises:
        NotFound: a bucket that is named is not live.
        Conflict: a bucket that is named was replaced meanwhile, or `gc` is running.
    """
    if dry_run:
        merges = plan_compaction(manifest.buckets, options)
        return manifest, CompactReport(manifest.version, tuple(merges))
    done: list[Merge] = []
    with leases.hold(storage, "build") as lease:
        storage.probe_conditional_put()
        while merges := plan_compaction(_of_one_model(storage, manifest), options):
            total, rows = sum(merge.rows for merge in merges), 0
            for merge in merges:
                on_progress(Progress("compact", rows, total, "rows"))
                built = _merged(storage, manifest, merge, settings)
                rows += merge.rows
                following = _commit(storage, manifest, merge, built, lease)
                if following is not None:
                    manifest = following
                    done.append(merge)
                    continue
                # Somebody else replaced a bucket: what is there now decides what is left to do.
                manifest = manifests.latest_manifest(storage, manifest) or manifest
                if options.buckets:
                    raise Conflict(f"one of {', '.join(merge.names)} was replaced meanwhile")
            on_progress(Progress("compact", total, total, "rows"))
            if options.buckets:
                break
    return manifest, CompactReport(manifest.version, tuple(done))


def _of_one_model(storage: Storage, manifest: Manifest) -> tuple[Bucket, ...]:
    """Give the buckets; their codes may be of two widths while a retrain is not finished."""
    if len({bucket.model for bucket in manifest.buckets if not bucket.is_adopted}) > 1:
        raise Conflict(
            f"some buckets of {storage} still have the index model of before a retrain; let "
            "`atoll retrain` finish, then compact"
        )
    return manifest.buckets


def _merged(storage: Storage, manifest: Manifest, merge: Merge, settings: Settings) -> Bucket:
    model = merge.buckets[0].model
    decides = [(b.name, b.version, b.deleted and b.deleted.sha256) for b in merge.buckets]
    what = msgspec.json.encode(("compact", FORMAT_VERSION, model, decides))
    fingerprint = hashlib.sha256(what).hexdigest()[:32]
    job = BucketJob(
        collection=storage,
        plan=fingerprint,
        name=bucket_name(0, fingerprint),
        fingerprint=fingerprint,
        slices=(),
        spec=manifest.spec,
        model=manifest.models[model] if model else None,
        on_invalid="error",
        batch_rows=BuildOptions.batch_rows,
        memory_bytes=int(settings.memory_bytes * SHUFFLE_SHARE),
        scratch=settings.scratch,
    )
    runs = [LiveRows(storage, manifest.spec, bucket) for bucket in merge.buckets]
    built = write_bucket(job, runs, _facts(merge))
    assert built is not None, "buckets without rows are not live"
    return built


def _facts(merge: Merge) -> Facts:
    rows = np.array([bucket.rows for bucket in merge.buckets])
    errors = np.array([bucket.rounding_error for bucket in merge.buckets])
    return Facts(
        sources=tuple(part for bucket in merge.buckets for part in sources_of(bucket)),
        skipped=sum(bucket.skipped for bucket in merge.buckets),
        rounding_error=float(np.average(errors**2, weights=rows) ** 0.5),
    )


def sources_of(bucket: Bucket) -> tuple[SourceSlice, ...]:
    """List where rows came from, with the plan that brought them in, for a bucket of another plan.

    With rows deleted the plan is not what is there any more.
    """
    if bucket.deleted_rows:
        return tuple(replace(part, plan="") for part in bucket.sources)
    return tuple(
        replace(part, plan=bucket.plan if part.plan is None else part.plan)
        for part in bucket.sources
    )


def _commit(
    storage: Storage, manifest: Manifest, merge: Merge, built: Bucket, lease: leases.Held
) -> Manifest | None:
    """Put a merged bucket in the place of the first; None where one of them is not live any more.

    What was deleted meanwhile is deleted from it too.
    """

    def merged(current: Manifest) -> Manifest:
        live = {bucket.name: bucket for bucket in current.buckets}
        new = carried(storage, current.spec, merge.buckets, live, built)
        if new is None:
            return current
        new = with_indexes(storage, current, new)
        buckets = put_in_place(current.buckets, merge.names, new)
        following = manifests.next_manifest(current, "compact", buckets=buckets, plan=current.plan)
        return replace(following, calibration=_calibration(storage, current, merge, built))

    found, is_ours = manifests.commit_next(storage, manifest, merged, lease)
    return found if is_ours else None


def _calibration(storage: Storage, manifest: Manifest, merge: Merge, built: Bucket) -> Blob | None:
    """Tell a calibration that what it knows is in another bucket now."""
    if manifest.calibration is None:
        return None
    known = blobs.get_calibration(storage, manifest.calibration)
    if not set(merge.names) <= set(known.buckets):
        return manifest.calibration
    return blobs.put_calibration(storage, replace(known, buckets=(*known.buckets, built.name)))


def put_in_place(
    buckets: Sequence[Bucket], old: Sequence[str], new: Sequence[Bucket]
) -> list[Bucket]:
    """Replace buckets, by name, where the first of them stands."""
    first = next(at for at, bucket in enumerate(buckets) if bucket.name in old)
    left = [bucket for bucket in buckets if bucket.name not in old]
    return [*left[:first], *new, *left[first:]]
