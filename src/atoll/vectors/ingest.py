"""Builds one bucket: rows in, one Lance commit, and the objects beside it.

    build_bucket    from sources: read, assign, encode, bring into partition order, write
    write_bucket    from runs that are in partition order: other buckets, say

A build is a pure function of its job with a deterministic table name. It may run twice, at once or
after a kill: whoever commits the table first wins, and the other adopts it. One worker does it
alone, or many share it (`atoll.vectors.sharing`); the rows come out the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import lance
import msgspec
import numpy as np

from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Executor
from atoll.core.arrays import IntArray
from atoll.core.errors import Conflict, NotFound, Unavailable
from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing
from atoll.core.records import decoded
from atoll.storage import Storage, open_storage
from atoll.vectors import blobs, schemas, store, tablelayout
from atoll.vectors.digest import joined, of_columns
from atoll.vectors.index import IndexModel
from atoll.vectors.ivfpq import IndexTask, build_ivf_pq, has_ivf_pq
from atoll.vectors.layout import Layout, unplaced
from atoll.vectors.model import CODE_COLUMN, Blob, Bucket, CollectionSpec, SourceSlice
from atoll.vectors.nearby import max_rows, nearby_order
from atoll.vectors.options import OnBadRow
from atoll.vectors.parts import Part, append, join_hashes, join_names, write_part
from atoll.vectors.paths import build_path, report_path
from atoll.vectors.places import fetched, written
from atoll.vectors.rows import REPORT_HEAD, JobSlice, Tally, read_rows
from atoll.vectors.runs import RunFile, write_run
from atoll.vectors.shuffle import HeldRun, Ordered, Run, RunRef, Shuffle, merged, total_offsets

ATTEMPTS = 5
# What is brought into order at once.
GROUP_BYTES = 32 << 20
GROUP_SHARE = 1 / 8
REPORT = "report.csv"


@dataclass(frozen=True)
class BucketJob:
    """One row of the plan with all it takes to carry it out.

    Attributes:
        collection: where the table goes.
        plan: hash of the plan.
        name: the table's name.
        fingerprint: must stand in the metadata of a table that is adopted.
        slices: what goes in.
        spec: schema, distance and index.
        model: the index model; None for "flat".
        on_invalid: what to do with rows that cannot be searched.
        batch_rows: rows handled at once.
        memory_bytes: what rows may take before they spill.
        scratch: folder for spill files; None is the system's temporary folder.
        device: where rows are assigned, "cpu" or "cuda".
    """

    collection: Storage
    plan: str
    name: str
    fingerprint: str
    slices: tuple[JobSlice, ...]
    spec: CollectionSpec
    model: Blob | None
    on_invalid: OnBadRow
    batch_rows: int
    memory_bytes: int
    scratch: Path | None
    device: str = "cpu"

    @property
    def rows(self) -> int:
        """Rows to read."""
        return sum(part.stop - part.start for part in self.slices)

    @property
    def group_bytes(self) -> int:
        """What is brought into order at once."""
        return min(GROUP_BYTES, int(self.memory_bytes * GROUP_SHARE))

    def index_model(self) -> IndexModel | None:
        """Read the index model."""
        return blobs.get_model(self.collection, self.model) if self.model else None


@dataclass(frozen=True)
class Facts:
    """What is known of a bucket beside its rows.

    Attributes:
        sources: where its rows came from.
        skipped: source rows left out as invalid or duplicate.
        rounding_error: as `Bucket` has them.
    """

    sources: tuple[SourceSlice, ...]
    skipped: int = 0
    rounding_error: float = 0.0


class NothingLeft(Exception):
    """No row of the bucket can be searched."""


class _Overtaken(Exception):
    """Another writer of the same table was there first."""


def build_bucket(job: BucketJob) -> Bucket | None:
    """Carry out a job in this process, or adopt what an earlier run of it committed.

    Returns:
        None where `on_invalid` is "skip" and leaves no row; nothing but a report is written then.

    Raises:
        InvalidInput: rows that cannot be searched (`details["rows"]` counts them).
        Unavailable, Forbidden: the store or the scratch folder fails.
    """
    return settled(job, lambda: _build_alone(job))


def write_bucket(job: BucketJob, runs: Sequence[RunRef], facts: Facts) -> Bucket | None:
    """Write rows of runs as a bucket, or adopt what an earlier call committed.

    Args:
        job: `slices` is empty; `fingerprint` depends on all that goes in.
        runs: in order: rows of one partition follow each other run by run.
        facts: goes into the bucket's entry.

    Returns:
        None where the runs hold no row; nothing is written then.
    """

    def write() -> None:
        if not any(run.open().offsets[-1] for run in runs):
            raise NothingLeft(job.name)
        with scratch_folder(job.scratch, "bucket") as folder:
            _merge_alone(job, runs, facts, open_storage(folder), folder)

    return settled(job, write)


def settled(
    job: BucketJob, write: Callable[[], None], executor: Executor | None = None
) -> Bucket | None:
    """Return the bucket that all its builders agree on, having called `write` if there is none.

    Args:
        job: names the bucket.
        write: leaves a committed table; raises `NothingLeft` where there is no row for it.
        executor: has workers for an index of Lance's; None builds it here.
    """
    for _ in range(ATTEMPTS):
        try:
            if (found := claimed(job) or _adopt(job, executor or InlineExecutor())) is not None:
                return found
        except _Overtaken:
            continue
        try:
            write()
        except NothingLeft:
            return None
        except Conflict:
            continue  # another process builds the same bucket; go by what is there now
    raise Unavailable(f"table {job.name} changes all the time; wait for the others, then try again")


def _record_path(job: BucketJob, writer: str) -> str:
    return build_path(job.plan, f"{job.name}.{writer}.json")


def _begun_path(job: BucketJob, writer: str) -> str:
    return build_path(job.plan, f"{job.name}.{writer}.layout")


def _claim_path(job: BucketJob) -> str:
    return build_path(job.plan, f"{job.name}.json")


def claimed(job: BucketJob) -> Bucket | None:
    """Read which version of the table all builders of a bucket have agreed on; None if none is."""
    try:
        bucket = decoded(job.collection.get(_claim_path(job)), Bucket)
    except NotFound:
        return None
    try:
        table = store.open_table(job.collection, job.name, bucket.version)
    except NotFound:
        # A garbage collection that was killed took the table and left the claim.
        job.collection.delete(_claim_path(job))
        return None
    _require_ours(job, table)
    store.pin_table(table)
    return bucket


def _adopt(job: BucketJob, executor: Executor) -> Bucket | None:
    """Take up a table that was committed under the job's name, finishing its index if need be.

    Of writers that commit at once Lance may let several succeed, each with a version of its own:
    the claim, made by a create-only put, decides which of them counts.
    """
    table = store.find_table(job.collection, job.name)
    if table is None:
        return None
    metadata = _require_ours(job, table)
    # The record was written before the table, so a committed table always has one.
    record = job.collection.get(_record_path(job, metadata[store.WRITER]))
    bucket = decoded(record, Bucket)
    if job.spec.index.kind == "ivf_pq" and not has_ivf_pq(table):
        table = _indexed(job, bucket, executor)
    layout = blobs.put_layout(job.collection, _layout(job, table, bucket))
    bucket = replace(bucket, version=int(table.version), layout=layout)
    job.collection.put_new(_claim_path(job), msgspec.json.encode(bucket))
    return claimed(job)


def _require_ours(job: BucketJob, table: lance.LanceDataset) -> dict[str, str]:
    metadata = store.table_metadata(table)
    if metadata.get(store.FINGERPRINT) != job.fingerprint:
        raise Conflict(
            f"{job.collection}/{job.name}.lance was not made by this plan; "
            "move it away or choose another place",
            table=job.name,
        )
    return metadata


def _layout(job: BucketJob, table: lance.LanceDataset, bucket: Bucket) -> Layout:
    """Complete the layout that was begun: now the files are there."""
    begun = blobs.get_layout(job.collection, bucket.layout)
    code = CODE_COLUMN if job.spec.index.kind == "rabitq" else None
    return tablelayout.read_layout(
        job.collection,
        job.name,
        table,
        (job.spec.vector_column, code),
        offsets=begun.offsets,
        names=begun.names,
    )


def _indexed(job: BucketJob, bucket: Bucket, executor: Executor) -> lance.LanceDataset:
    assert job.model is not None
    offsets = blobs.get_layout(job.collection, bucket.layout).offsets
    column = job.spec.vector_column
    task = IndexTask(job.collection, job.name, column, job.model, offsets, job.scratch)
    try:
        build_ivf_pq(task, executor)
    except Conflict as error:
        raise _Overtaken from error
    return store.open_table(job.collection, job.name)


def _build_alone(job: BucketJob) -> None:
    tally, model = Tally(), job.index_model()
    with scratch_folder(job.scratch, "bucket") as folder:
        place = open_storage(folder)
        with written(place, REPORT, folder) as file:
            rejects = file if job.on_invalid == "skip" else None
            rows = read_rows(
                job.slices, job.spec, model, job.batch_rows, rejects, tally, job.device
            )
            if model is None:
                part = put_rows(job, rows, 0, place, folder)
            else:
                runs = shuffled(job, model, rows, place, folder, in_files=False)
        put_report(job, tally, [REPORT], place, folder)
        facts = facts_of(job, tally, tally.checksums)
        if model is None:
            commit(job, [part], np.array([0, part.rows]), facts, place, folder)
        else:
            _merge_alone(job, runs, facts, place, folder)


def _merge_alone(
    job: BucketJob, runs: Sequence[RunRef], facts: Facts, place: Storage, folder: Path
) -> None:
    opened = [run.open() for run in runs]
    offsets = total_offsets(opened)
    rows = in_order(job, opened, 0, int(offsets[-1]))
    commit(job, [put_rows(job, rows, 0, place, folder)], offsets, facts, place, folder)


def in_order(job: BucketJob, runs: Sequence[Run], start: int, stop: int) -> Iterator[Ordered]:
    """Read stored rows [start, stop): by partition, near ones close to each other within it."""
    arrange = partial(nearby_order, distance_type=job.spec.distance_type)
    return merged(runs, start, stop, job.group_bytes, arrange, max_rows(job.spec.dim))


def shuffled(
    job: BucketJob,
    model: IndexModel,
    rows: Iterable[Ordered],
    place: Storage,
    folder: Path,
    *,
    name: str = "run",
    in_files: bool,
) -> list[RunRef]:
    """Bring rows into partition order: one run in memory, or several below `place`."""
    numbers = count()

    def spill(held: HeldRun) -> RunFile:
        return write_run(held, place, f"{name}-{next(numbers)}", folder)

    shuffle = Shuffle(len(model.centroids), job.memory_bytes, job.rows, spill)
    for item in rows:
        shuffle.add(item)
    return shuffle.runs(in_files=in_files)


def put_rows(
    job: BucketJob, rows: Iterable[Ordered], first_row: int, place: Storage, folder: Path
) -> Part:
    """Write rows that are in order as a part of the job's table."""
    return write_part(
        job.collection,
        job.name,
        job.spec,
        rows,
        first_row=first_row,
        place=place,
        scratch=folder,
    )


def facts_of(job: BucketJob, tally: Tally, checksums: Sequence[bytes]) -> Facts:
    """Sum up what was read: `checksums` are those of each slice."""
    sources = tuple(
        SourceSlice(p.source.uri, p.source.version, p.start, p.stop, joined([blocks]))
        for p, blocks in zip(job.slices, checksums, strict=True)
    )
    return Facts(sources, tally.skipped + tally.rejected, tally.rounding_error)


def put_report(
    job: BucketJob, tally: Tally, paths: Sequence[str], place: Storage, folder: Path
) -> None:
    """Store the lines about rows left out.

    Raises:
        NothingLeft: all were.
    """
    if tally.rejected or not tally.rows:
        whole = folder / "whole-report"
        with writing(whole, mend=OTHER_SCRATCH), whole.open("wb") as out:
            out.write(REPORT_HEAD)
            append(out, [fetched(place, path, folder) for path in paths])
        target = report_path(job.name)
        # The same command, given again, comes here again and must change nothing.
        if tally.rows or not job.collection.exists(target):
            job.collection.put_file(target, whole)
    if not tally.rows:
        raise NothingLeft(job.name)


def commit(
    job: BucketJob,
    parts: Sequence[Part],
    offsets: IntArray,
    facts: Facts,
    place: Storage,
    folder: Path,
) -> None:
    """Make a table of its parts, having left all that `_adopt` needs to know of it.

    Args:
        job: names the table.
        parts: in the order of their rows.
        offsets: (num_partitions + 1,) first row of each partition.
        facts: what else the bucket's entry says.
        place: where the parts' files are.
        folder: for local files.

    Raises:
        Conflict: another writer was first.
    """
    writer = uuid.uuid4().hex
    names, at = join_names(job.collection, parts, place, folder)
    begun = blobs.put_begun_layout(job.collection, _begun_path(job, writer), unplaced(offsets, at))
    bucket = Bucket(
        name=job.name,
        version=0,
        stored_rows=sum(part.rows for part in parts),
        skipped=facts.skipped,
        digest=of_columns([part.digests for part in parts]),
        plan=job.plan,
        model=job.model.key if job.model else None,
        layout=begun,
        ids=join_hashes(job.collection, parts, place, folder),
        names=names,
        sources=facts.sources,
        rounding_error=facts.rounding_error,
    )
    job.collection.put(_record_path(job, writer), msgspec.json.encode(bucket))
    metadata = {store.FINGERPRINT: job.fingerprint, store.WRITER: writer}
    schema = schemas.decode_schema(job.spec.arrow_schema).with_metadata(metadata)
    fragments = [fragment for part in parts for fragment in part.fragments]
    store.commit_table(job.collection, job.name, schema, fragments)
