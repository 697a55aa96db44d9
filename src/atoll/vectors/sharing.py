"""Builds one bucket by many workers: rows to runs, runs to parts, one commit.

    map     some slices each: read, validate, assign, encode, bring into order, write runs
    reduce  a range of stored rows each: read it from all runs, write data files, ids, hashes
    commit  here

What workers hand on lies in a place all of them reach: a scratch folder, or the store, below the
build's folder. Where that outlives a killed command, finished tasks are taken up again. Two
commands may share such a place: files have names of their own, and whoever ends first empties it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import msgspec
import numpy as np

from atoll.compute.port import Executor, Outcome
from atoll.core.errors import AtollError, Conflict, NotFound
from atoll.core.files import scratch_folder
from atoll.core.records import decoded
from atoll.storage import Storage
from atoll.vectors import store
from atoll.vectors.ingest import (
    BucketJob,
    Facts,
    NothingLeft,
    commit,
    facts_of,
    in_order,
    put_report,
    put_rows,
    settled,
    shuffled,
)
from atoll.vectors.model import Bucket
from atoll.vectors.names import BLOCK_ROWS
from atoll.vectors.parts import Part
from atoll.vectors.places import written
from atoll.vectors.rows import JobSlice, Tally, read_rows, refused_rows
from atoll.vectors.runs import RunFile
from atoll.vectors.shuffle import RunRef, total_offsets

T = TypeVar("T")
R = TypeVar("R")

# Tasks are small enough that a lost one costs little, and that all workers end together.
TASKS_PER_WORKER = 3
MAX_TASK_ROWS = 1 << 22
# Stored rows of a part begin at a multiple, so that blocks come out as if one had written all.
PART_ALIGNMENT = BLOCK_ROWS


def build_shared(
    job: BucketJob, executor: Executor, place: Storage, on_rows: Callable[[int], None]
) -> Bucket | None:
    """Carry out a job by all workers; as `build_bucket` otherwise.

    Args:
        job: `memory_bytes` is what each worker may take.
        executor: runs the tasks.
        place: where workers leave what others read; all of them reach it. It is emptied at the end.
        on_rows: told rows as they are done, read or written.
    """

    def write() -> None:
        try:
            _build(job, executor, place, on_rows)
        except (AtollError, OSError) as error:
            # Another command may have built the bucket, and emptied the place under our hands.
            if store.find_table(job.collection, job.name) is None:
                raise
            raise Conflict(f"table {job.name} was committed by another writer") from error

    bucket = settled(job, write, executor)
    if bucket is not None:
        for entry in place.list():
            place.delete(entry.path)
    return bucket


def _build(
    job: BucketJob, executor: Executor, place: Storage, on_rows: Callable[[int], None]
) -> None:
    cut = _cut(job.slices, task_rows(job.rows, executor.workers))
    tasks = [_MapTask(job, tuple(part for _, part in pieces), place) for pieces in cut]
    mapped = _values(_map_rows, tasks, executor, "tasks", lambda task, _: on_rows(task.rows))
    tally = Tally()
    for one in mapped:
        tally.add(one.tally)
    checksums = [b""] * len(job.slices)
    numbers = (number for pieces in cut for number, _ in pieces)
    for number, blocks in zip(numbers, tally.checksums, strict=True):
        checksums[number] += blocks
    with scratch_folder(job.scratch, "report") as folder:
        put_report(job, tally, [one.report for one in mapped], place, folder)
    runs = [RunFile(place, *run) for one in mapped for run in one.runs]
    _merge(job, runs, facts_of(job, tally, checksums), executor, place, on_rows)


def _merge(
    job: BucketJob,
    runs: Sequence[RunRef],
    facts: Facts,
    executor: Executor,
    place: Storage,
    on_rows: Callable[[int], None],
) -> None:
    offsets = total_offsets([run.open() for run in runs])
    total = int(offsets[-1])
    if not total:
        raise NothingLeft(job.name)
    step = -(-task_rows(total, executor.workers) // PART_ALIGNMENT) * PART_ALIGNMENT
    tasks = [
        _ReduceTask(job, tuple(runs), start, min(total, start + step), place)
        for start in range(0, total, step)
    ]
    parts = _values(_reduce_rows, tasks, executor, "parts", lambda _, part: on_rows(part.rows))
    with scratch_folder(job.scratch, "commit") as folder:
        commit(job, parts, offsets, facts, place, folder)


def task_rows(rows: int, workers: int) -> int:
    """Choose how many rows a task takes."""
    return max(BLOCK_ROWS, min(MAX_TASK_ROWS, -(-rows // (TASKS_PER_WORKER * workers))))


def _cut(slices: Sequence[JobSlice], task_rows: int) -> list[list[tuple[int, JobSlice]]]:
    """Share slices out over tasks: pieces, each with the number of the slice it is of.

    They end at whole blocks of their slice, so that checksums can be joined.
    """
    tasks: list[list[tuple[int, JobSlice]]] = [[]]
    left = task_rows
    for number, part in enumerate(slices):
        at = part.start
        while at < part.stop:
            rows = min(part.stop - at, max(BLOCK_ROWS, left // BLOCK_ROWS * BLOCK_ROWS))
            tasks[-1].append((number, _piece(part, at, at + rows)))
            at, left = at + rows, left - rows
            if left < BLOCK_ROWS:
                tasks.append([])
                left = task_rows
    return [task for task in tasks if task]


def _piece(part: JobSlice, start: int, stop: int) -> JobSlice:
    excluded = np.frombuffer(part.excluded, "<i8")
    mine = excluded[slice(*np.searchsorted(excluded, (start, stop)))]
    return replace(part, start=start, stop=stop, excluded=mine.tobytes())


@dataclass(frozen=True)
class _Mapped:
    """What became of some slices: runs as (path, place of the index, its bytes)."""

    tally: Tally
    report: str
    runs: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _MapTask:
    job: BucketJob
    pieces: tuple[JobSlice, ...]
    place: Storage

    @property
    def rows(self) -> int:
        return sum(part.stop - part.start for part in self.pieces)

    @property
    def record(self) -> str:
        """Name what the task leaves when it is done, by what it reads."""
        pieces = [(part.source.uri, part.start, part.stop) for part in self.pieces]
        return f"mapped-{hashlib.sha256(repr(pieces).encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class _ReduceTask:
    job: BucketJob
    runs: tuple[RunRef, ...]
    start: int
    stop: int
    place: Storage


def _map_rows(task: _MapTask) -> _Mapped:
    job, place = task.job, task.place
    if (found := _finished(place, task.record, _Mapped)) is not None:
        return found
    # Names of its own: with less memory another try cuts the same rows into more runs.
    writer = uuid.uuid4().hex
    tally, report_path, model = Tally(), f"report-{writer}", job.index_model()
    assert model is not None
    with (
        scratch_folder(job.scratch, "map") as folder,
        written(place, report_path, folder) as report,
    ):
        rejects = report if job.on_invalid == "skip" else None
        rows = read_rows(task.pieces, job.spec, model, job.batch_rows, rejects, tally, job.device)
        some = replace(job, slices=task.pieces)
        runs = cast(
            "list[RunFile]",
            shuffled(some, model, rows, place, folder, name=f"run-{writer}", in_files=True),
        )
    files = tuple((run.path, run.index_at, run.index_bytes) for run in runs)
    mapped = _Mapped(tally, report_path, files)
    place.put(task.record, msgspec.json.encode(mapped))
    return mapped


def _reduce_rows(task: _ReduceTask) -> Part:
    job, place, done = task.job, task.place, f"part-{task.start}-{task.stop}"
    found = _finished(place, done, Part)
    # A garbage collection that was killed may have taken the data and left the record.
    if found is not None and all(map(job.collection.exists, found.files(job.name))):
        return found
    with scratch_folder(job.scratch, "reduce") as folder:
        runs = [run.open() for run in task.runs]
        rows = in_order(job, runs, task.start, task.stop)
        part = put_rows(job, rows, task.start, place, folder)
    place.put(done, msgspec.json.encode(part))
    return part


def _finished(place: Storage, path: str, kind: type[R]) -> R | None:
    """Read what a task left that ended before, under an executor or a command that was killed."""
    try:
        return decoded(place.get(path), kind)
    except NotFound:
        return None


def _values(
    task: Callable[[T], R],
    items: Sequence[T],
    executor: Executor,
    what: str,
    on_value: Callable[[T, R], None],
) -> list[R]:
    def report(number: int, outcome: Outcome[R]) -> None:
        if outcome.value is not None:
            on_value(items[number], outcome.value)

    names = {id(item): f"{what} {number}" for number, item in enumerate(items)}
    outcomes = executor.map(task, items, name=lambda item: names[id(item)], on_done=report)
    raise_failures([one.error for one in outcomes if one.error is not None], len(items), what)
    return [one.value for one in outcomes if one.value is not None]


def raise_failures(errors: Sequence[Exception], total: int, what: str) -> None:
    """Raise what went wrong in some of `total` tasks as one error; nothing where nothing did."""
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
        note = f" ({len(errors):,} of {total:,} {what} failed"
        note += f", {rows:,} such rows in all)" if rows else ")"
    raise type(first)(f"{first.message}{note}", **{**first.details, "rows": rows})
