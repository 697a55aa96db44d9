"""Plan and carry out a create or an add: sources in, live buckets out, in one manifest commit."""

from __future__ import annotations

import hashlib
import heapq
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.compute.inline import InlineExecutor
from atoll.compute.port import Executor, Outcome
from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import AtollError, Conflict, InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.storage import Storage, local_path, open_storage
from atoll.vectors import garbage, index, leases, rabitq, store
from atoll.vectors.buckets import BucketPlan, FileSize, bucket_rows_for_bytes, pack
from atoll.vectors.distance import unsearchable
from atoll.vectors.duplicates import Duplicate, IdChecker, hash_ids
from atoll.vectors.ids import MAX_ROWS, IdIndex
from atoll.vectors.ingest import BucketJob, JobSlice, build_bucket, refused_rows
from atoll.vectors.model import (
    CODE_COLUMN,
    FORMAT_VERSION,
    Blob,
    Bucket,
    BuildOptions,
    CollectionSpec,
    Manifest,
)
from atoll.vectors.sources import Source, common_schema, open_sources

VECTOR_COLUMN, ID_COLUMN = "embedding", "id"
SAMPLE_BLOCK_ROWS = 16
MAX_SAMPLE_ROWS = 1 << 18
SHOWN_DUPLICATES = 5
IDS_AT_ONCE = 1 << 22
_NOT_STORABLE = (
    pa.types.is_map,
    pa.types.is_union,
    pa.types.is_interval,
    pa.types.is_run_end_encoded,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
# Of a worker's memory; the rest is for Lance's writer, batches in flight and the libraries.
SHUFFLE_SHARE = 0.6


@dataclass(frozen=True)
class Planned:
    """A create or add that has been thought through, with nothing written yet.

    Attributes:
        storage: the collection.
        sources: the files, by uri.
        buckets: what goes into which bucket.
        spec: schema, distance, index.
        options: as given.
        hash: of all that decides the result; names the build.
    """

    storage: Storage
    sources: dict[str, Source]
    buckets: BucketPlan
    spec: CollectionSpec
    options: BuildOptions
    hash: str


def plan(
    uri: str | Path,
    sources: Sequence[str | Path],
    *,
    options: BuildOptions,
    settings: Settings,
    into: CollectionSpec | None = None,
) -> Planned:
    """Read the sources' headers and decide what goes where. Writes nothing.

    Args:
        uri: the collection.
        sources: files, folders, globs or URLs.
        options: how to build.
        settings: how to reach stores.
        into: the collection's spec, for an add; its choices then overrule `options`.

    Raises:
        InvalidInput: a source cannot be read, or does not fit the others or the collection.
    """
    storage = open_place(uri, settings)
    opened = open_sources(
        sources,
        vector_column=options.vector_column,
        id_column=options.id_column,
        storage_options=settings.storage,
    )
    rows = {source.uri: source for source in opened}
    first = opened[0]
    capacity = options.bucket_rows
    if options.bucket_bytes is not None:
        kind = into.index.kind if into else options.index
        dtype = into.dtype if into else options.dtype
        fitting = bucket_rows_for_bytes(options.bucket_bytes, first.dim, dtype, index=kind)
        capacity = min(fitting, MAX_ROWS - 1)
    if capacity >= MAX_ROWS:
        raise InvalidInput(f"--bucket-rows {capacity} is above {MAX_ROWS - 1}")
    buckets = pack([FileSize(s.uri, s.rows) for s in opened], bucket_rows=capacity)
    if not buckets.buckets:
        raise InvalidInput("the sources hold no rows; nothing to build")
    if into is None:
        spec = _new_spec(opened, options, max(bucket.rows for bucket in buckets.buckets))
    else:
        spec = into
        _check_fit(opened, spec, str(storage))
    return Planned(storage, rows, buckets, spec, options, _plan_hash(rows, buckets, spec, options))


def open_place(uri: str | Path, settings: Settings) -> Storage:
    """Open where a collection is or will be.

    Raises:
        InvalidInput: no collection can be there.
    """
    storage = open_storage(uri, settings.storage)
    storage.lance_uri()
    path = local_path(uri)
    if path is not None and path.is_file():
        raise InvalidInput(f"{path} is a file; a collection is a folder", uri=str(storage))
    return storage


def scratch_of(settings: Settings) -> Path:
    """Name the folder for spill files and downloads."""
    return settings.scratch or Path(tempfile.gettempdir())


def _new_spec(sources: Sequence[Source], options: BuildOptions, bucket_rows: int) -> CollectionSpec:
    dim, extra = sources[0].dim, _columns(sources)
    vector, name = options.vector_column or VECTOR_COLUMN, options.id_column or ID_COLUMN
    if vector == name or vector in extra.names or name in extra.names:
        raise InvalidInput(
            f"the sources have further columns {', '.join(extra.names)}: "
            f"{vector!r} and {name!r} are taken by the vectors and the ids; choose other names "
            f"with "
            "--vector-column and --id-column"
        )
    spec = index.resolve(
        options.index,
        dim,
        bucket_rows,
        num_partitions=options.num_partitions,
        num_sub_vectors=options.num_sub_vectors,
    )
    item = pa.float32() if options.dtype == "float32" else pa.float16()
    fields = [pa.field(vector, pa.list_(item, dim)), pa.field(name, pa.string()), *extra]
    if spec.kind == "rabitq":
        fields.append(pa.field(CODE_COLUMN, pa.binary(rabitq.code_dtype(dim).itemsize)))
    return CollectionSpec(
        dim=dim,
        dtype=options.dtype,
        distance_type=options.distance_type,
        vector_column=vector,
        id_column=name,
        columns={field.name: str(field.type) for field in extra},
        arrow_schema=store.encode_schema(pa.schema(fields)),
        embedder=next((source.embedder for source in sources if source.embedder), None),
        index=spec,
    )


def _columns(sources: Sequence[Source]) -> pa.Schema:
    """Return the further columns as tables hold them.

    Raises:
        InvalidInput: a column is of a type that tables cannot hold.
    """
    fields = []
    for field in common_schema(sources):
        kind = store.plain_type(field.type)
        if not _is_storable(kind):
            raise InvalidInput(
                f"column {field.name!r} is {kind}, which tables cannot hold; leave it out of the "
                "files, or write it as text",
                column=field.name,
            )
        fields.append(field.with_type(kind))
    return pa.schema(fields)


def _is_storable(kind: pa.DataType) -> bool:
    if store.plain_type(kind) != kind or any(is_kind(kind) for is_kind in _NOT_STORABLE):
        return False
    return all(_is_storable(kind.field(number).type) for number in range(kind.num_fields))


def _check_fit(sources: Sequence[Source], spec: CollectionSpec, url: str) -> None:
    first = sources[0]
    if first.dim != spec.dim:
        raise InvalidInput(
            f"{first.uri} holds vectors of {first.dim} but collection {url} holds vectors of "
            f"{spec.dim}; embed with the model it was made for, or create another collection",
            dim=first.dim,
            collection_dim=spec.dim,
        )
    for source in sources:
        check_embedder(source.embedder, spec, source.uri)
    schema = store.decode_schema(spec.arrow_schema)
    for column in _columns(sources):
        if column.name not in spec.columns:
            raise InvalidInput(
                f"the sources have a column {column.name!r} that collection {url} does not have "
                f"({', '.join(spec.columns) or 'it has no further columns'}); columns are fixed at "
                "create: leave it out of the files, or create another collection",
                column=column.name,
            )
        if (kind := schema.field(column.name).type) != column.type:
            raise InvalidInput(
                f"column {column.name!r} is {column.type} in the sources but {kind} in "
                f"collection {url}"
            )


def check_embedder(embedder: Any, spec: CollectionSpec, what: str) -> None:
    """Refuse vectors made by another model than the collection's, where both are known."""
    if embedder is not None and spec.embedder is not None and embedder != spec.embedder:
        raise InvalidInput(
            f"{what} was embedded with {embedder}, the collection with {spec.embedder}; their "
            f"vectors "
            "cannot be compared: embed with the collection's model",
        )


def _plan_hash(
    sources: dict[str, Source], buckets: BucketPlan, spec: CollectionSpec, options: BuildOptions
) -> str:
    slices = [
        [(part.uri, sources[part.uri].version, part.start, part.stop) for part in bucket.slices]
        for bucket in buckets.buckets
    ]
    decides = (FORMAT_VERSION, spec, slices, options.on_invalid, options.on_duplicate, options.seed)
    return hashlib.sha256(msgspec.json.encode(decides)).hexdigest()[:32]


# -- create and add -------------------------------------------------------------------------------


def create(
    planned: Planned,
    *,
    force: bool,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> Manifest:
    """Carry out a plan as a new collection.

    Returns:
        The manifest in force; the one found, where this very plan was carried out before.

    Raises:
        Conflict: something else lives at the place, or another create won.
        InvalidInput: rows that cannot be searched, duplicate ids.
    """
    storage = planned.storage
    found = store.latest_manifest(storage)
    if found is not None and found.plan == planned.hash:
        return found
    if not force:
        _refuse_occupied(storage, found)
    with _discarding_refused(planned), leases.hold(storage, "build", _holder()) as lease:
        storage.probe_conditional_put()
        buckets, model, blob = _build(planned, None, settings, executor, on_progress)
        manifest = Manifest(
            version=found.version + 1 if found else 1,
            created_at=now(),
            spec=planned.spec,
            models={model: blob} if model and blob else {},
            model=model,
            buckets=buckets,
            created_by=f"atoll {version('atoll')}",
            plan=planned.hash,
        )
        lease.require()
        if store.commit_manifest(storage, manifest):
            return manifest
    winner = store.latest_manifest(storage)
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
    executor: Executor | None,
    on_progress: OnProgress,
) -> Manifest:
    """Carry out a plan as new buckets of a collection; no old object is touched.

    Returns:
        The manifest in force; the one found, where every row is there already and may be skipped.

    Raises:
        InvalidInput: rows that cannot be searched, ids that are there already.
    """
    storage = planned.storage
    with _discarding_refused(planned), leases.hold(storage, "build", _holder()) as lease:
        storage.probe_conditional_put()
        while not _is_added(manifest, planned):
            buckets, _, _ = _build(planned, manifest, settings, executor, on_progress)
            if not buckets:
                break
            following = replace(
                manifest,
                version=manifest.version + 1,
                created_at=now(),
                buckets=manifest.buckets + buckets,
                created_by=f"atoll {version('atoll')}",
                plan=planned.hash,
            )
            lease.require()
            if store.commit_manifest(storage, following):
                return following
            # Somebody else added meanwhile: look again at their ids, then take the next number.
            manifest = store.latest_manifest(storage, manifest) or manifest
    return manifest


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


def _is_added(manifest: Manifest, planned: Planned) -> bool:
    mine = [bucket for bucket in manifest.buckets if bucket.plan == planned.hash]
    return len(mine) == len(planned.buckets.buckets)


def _refuse_occupied(storage: Storage, found: Manifest | None) -> None:
    if found is not None:
        raise Conflict(
            f"{storage} is a collection already ({found.rows:,} rows); add to it with "
            f"`atoll add`, "
            "choose another place, or replace it with --force",
            uri=str(storage),
        )
    for entry in storage.list():
        if entry.path.startswith(f"{store.FOLDER}/"):
            return  # an unfinished build of ours
        if not entry.path.startswith(("bucket_", ".")):
            raise Conflict(
                f"{storage} is not empty ({entry.path}); choose another place, or use "
                f"--force to "
                "create beside what is there",
                uri=str(storage),
            )


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def now() -> str:
    """Tell the time for a manifest: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _build(
    planned: Planned,
    manifest: Manifest | None,
    settings: Settings,
    executor: Executor | None,
    on_progress: OnProgress,
) -> tuple[tuple[Bucket, ...], str | None, Blob | None]:
    excluded = _duplicates(planned, manifest, settings, on_progress)
    if manifest is not None:
        model = manifest.model
        blob = manifest.models[model] if model else None
    else:
        model, blob = _model(planned, on_progress)
    executor = executor or _local_executor(planned, settings)
    jobs = _jobs(planned, excluded, model, blob, settings, executor.workers)
    outcomes = _run(jobs, executor, on_progress)
    _raise_failures([outcome.error for outcome in outcomes if outcome.error is not None], len(jobs))
    return tuple(o.value for o in outcomes if o.value is not None), model, blob


def _local_executor(planned: Planned, settings: Settings) -> Executor:
    wanted = planned.options.workers or settings.threads
    workers = max(1, min(wanted, len(planned.buckets.buckets)))
    if workers == 1:
        return InlineExecutor()
    return ProcessExecutor(workers, threads=settings.threads)


def _jobs(
    planned: Planned,
    excluded: dict[str, NDArray[np.int64]],
    model: str | None,
    blob: Blob | None,
    settings: Settings,
    workers: int,
) -> list[BucketJob]:
    memory = int(settings.memory_bytes * SHUFFLE_SHARE / workers)
    jobs = []
    for bucket in planned.buckets.buckets:
        slices = []
        decides = hashlib.sha256(f"{planned.hash} {model}".encode())
        left = bucket.rows
        for part in bucket.slices:
            rows = excluded.get(part.uri, np.empty(0, np.int64))
            mine = rows[(rows >= part.start) & (rows < part.stop)]
            source = planned.sources[part.uri]
            slices.append(JobSlice(source, part.start, part.stop, tuple(mine.tolist())))
            # What is left out depends on the live buckets, which may change before a second try.
            decides.update(mine.astype("<i8").tobytes())
            left -= len(mine)
        if not left:
            continue
        fingerprint = decides.hexdigest()[:32]
        jobs.append(
            BucketJob(
                collection=planned.storage,
                plan=planned.hash,
                name=f"bucket_{bucket.index:05d}_{fingerprint[:8]}",
                fingerprint=fingerprint,
                slices=tuple(slices),
                spec=planned.spec,
                model_hash=model,
                model=blob,
                on_invalid=planned.options.on_invalid,
                batch_rows=planned.options.batch_rows,
                memory_bytes=memory,
                scratch=scratch_of(settings),
            )
        )
    return jobs


def _run(
    jobs: Sequence[BucketJob], executor: Executor, on_progress: OnProgress
) -> list[Outcome[Bucket]]:
    total = sum(part.stop - part.start for job in jobs for part in job.slices)
    done = 0

    def report(number: int, _: Outcome[Bucket]) -> None:
        nonlocal done
        done += sum(part.stop - part.start for part in jobs[number].slices)
        on_progress(Progress("build buckets", done, total, "rows"))

    on_progress(Progress("build buckets", 0, total, "rows"))
    return executor.map(build_bucket, jobs, name=lambda job: job.name, on_done=report)


def _raise_failures(errors: Sequence[Exception], jobs: int) -> None:
    if not errors:
        return
    first = errors[0]
    if not isinstance(first, AtollError):
        raise first
    known = [
        e.details["first"] for e in errors if isinstance(e, AtollError) and "first" in e.details
    ]
    rows = sum(e.details.get("rows", 0) for e in errors if isinstance(e, AtollError))
    if len(known) == len(errors):
        raise refused_rows([tuple(row) for part in known for row in part], rows)
    note = ""
    if len(errors) > 1:
        note = f" ({len(errors)} of {jobs} buckets failed"
        note += f", {rows} such rows in all)" if rows else ")"
    raise type(first)(f"{first.message}{note}", **{**first.details, "rows": rows})


# -- the model ------------------------------------------------------------------------------------


def _model(planned: Planned, on_progress: OnProgress) -> tuple[str | None, Blob | None]:
    """Train the index model, or take the one this build trained before."""
    if planned.spec.index.kind == "flat":
        return None, None
    path = f"{store.FOLDER}/builds/{planned.hash}/model.json"
    if not planned.storage.exists(path):
        on_progress(Progress("train", 0, None, "rows"))
        sample = training_sample(planned)
        trained = index.train(
            sample, planned.spec.index, planned.spec.distance_type, planned.options.seed
        )
        arrays: dict[str, NDArray[Any]] = {
            "centroids": trained.centroids,
            "signs": trained.signs,
            "codebook": trained.codebook,
        }
        blob = store.put_blob(planned.storage, "models", store.pack_arrays(arrays), ".npz")
        # Two creators of one plan train alike but for the last bits: the first model serves both.
        planned.storage.put_new(path, msgspec.json.encode(blob))
        on_progress(Progress("train", len(sample), len(sample), "rows"))
    blob = msgspec.json.decode(planned.storage.get(path), type=Blob)
    return blob.sha256[:32], blob


def training_sample(planned: Planned) -> NDArray[np.float32]:
    """Draw rows over all files, in small blocks; decided by sources and seed alone.

    Returns:
        (n, dim) float32 without rows that cannot be searched.

    Raises:
        InvalidInput: no row can be.
    """
    sources = [planned.sources[uri] for uri in sorted(planned.sources)]
    wanted = min(index.sample_rows(planned.spec.index), MAX_SAMPLE_ROWS)
    starts = np.concatenate([[0], np.cumsum([source.rows for source in sources])])
    total = int(starts[-1])
    parts = []
    for start, stop in _sample_ranges(total, wanted, planned.options.seed):
        while start < stop:
            at = int(np.searchsorted(starts, start, "right")) - 1
            end = min(stop, int(starts[at + 1]))
            first = start - int(starts[at])
            for batch in sources[at].read(first, first + end - start, 8192, ()):
                parts.append(store.vectors_of(batch["vector"], planned.spec.dim))
            start = end
    sample = np.concatenate(parts).astype(np.float32, copy=False)
    keep = np.ones(len(sample), np.bool_)
    for bad in unsearchable(sample, planned.spec.distance_type).values():
        keep &= ~bad
    if not keep.any():
        raise InvalidInput(
            f"none of the {len(sample)} rows drawn for training can be searched: all hold NaN, "
            "infinity, only zeros or values out of float32's range; look at the source files"
        )
    return sample[keep]


def _sample_ranges(total: int, wanted: int, seed: int) -> Iterator[tuple[int, int]]:
    if wanted >= total:
        yield 0, total
        return
    blocks = -(-total // SAMPLE_BLOCK_ROWS)
    count = min(blocks, -(-wanted // SAMPLE_BLOCK_ROWS))
    chosen = np.random.default_rng(seed).choice(blocks, count, replace=False, shuffle=False)
    for block in np.sort(chosen):
        start = int(block) * SAMPLE_BLOCK_ROWS
        yield start, min(total, start + SAMPLE_BLOCK_ROWS)


# -- duplicate ids --------------------------------------------------------------------------------


def _duplicates(
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
    with IdChecker(scratch_of(settings), settings.memory_bytes // 4) as checker:
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
            f"{count} duplicate ids: {shown}{more}; mend the "
            f"files, or keep the first of "
            "each with --on-duplicate skip",
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
        self._indexes = [(b, IdIndex(b.ids, b.rows, storage.get_range)) for b in manifest.buckets]
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
