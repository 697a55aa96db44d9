"""Measures what a build costs on this machine: small real builds, and their parts one by one.

A whole build of clustered vectors is timed stage by stage as it reports them. Its parts (reading,
assignment, ...) are timed by themselves on the same rows; what they leave of the whole is "rest":
checksums, the order of partitions, digests. So the parts add up to what a build really took.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.core.config import Settings
from atoll.core.errors import AtollError
from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing
from atoll.core.progress import OnProgress, Progress, silent
from atoll.storage import Storage, local_path, open_storage
from atoll.vectors import build, index, planning, rabitq, store
from atoll.vectors.distance import unsearchable
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.index import IndexModel
from atoll.vectors.machine import this_machine
from atoll.vectors.model import BuildOptions, Dtype, IndexSpec
from atoll.vectors.rates import Rates, Spread, Stage, Timing

DIMS = (128, 960)
# Partition counts that assignment is timed with; what lies between is read off a line.
PARTITIONS = (16, 512, 16_384)
BUILD_PARTITIONS = 16
# Values a sample holds, so that each measurement takes a few tenths of a second at most.
VALUES = 1 << 22
ASSIGN_FLOP = 4e9
# No fewer, since assignment goes by blocks of so many.
ASSIGN_ROWS = 1024
TRAIN_ROWS, TRAIN_DIM, TRAIN_PARTITIONS = 8192, 128, 512
TINY_ROWS = 64
REPEATS = 3
STORE_BYTES = 32 << 20
LOCAL = "local disk"


def measure(
    settings: Settings,
    *,
    dims: Sequence[int] = (),
    uri: str | None = None,
    on_progress: OnProgress = silent,
) -> Rates:
    """Measure this machine; some ten seconds, in a scratch folder that is removed.

    Args:
        settings: where scratch is, how to reach stores.
        dims: lengths of vectors to measure beside `DIMS`.
        uri: also measure how fast this store takes bytes; what is written below it is removed.
        on_progress: told as it goes on.

    Raises:
        Unavailable, Forbidden, InvalidInput: the scratch folder or the store cannot be written.
    """
    measured = sorted({*DIMS, *dims})
    tell = _Counter(on_progress, len(measured) * (REPEATS + 1) + 2)
    stores = {}
    with scratch_folder(settings.scratch, "bench") as folder:
        ours = replace(settings, scratch=folder)
        start, startup, base_bytes = _startup(folder, ours)
        tell.step()
        timings: list[Timing] = []
        for dim in measured:
            timings += _Bench(folder, ours, dim, startup).timings(tell)
        passes = _training()
        stores[LOCAL] = _store_speed(open_storage(folder))
        if uri is not None:
            storage = open_storage(uri, settings.storage)
            stores[store_of(storage)] = _store_speed(storage)
        tell.step()
    return Rates(
        machine=this_machine(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        timings=tuple(timings),
        start_s=Spread.of([sum(start.cpu_s.values())]),
        bucket_s=Spread.of(sum(run.cpu_s.values()) for run in startup),
        train_passes=passes,
        base_bytes=base_bytes,
        stores=stores,
    )


def store_of(storage: Storage) -> str:
    """Name what decides how fast bytes are taken: the local disk, or the bucket in S3."""
    if storage.url.startswith("file://"):
        return LOCAL
    return "/".join(storage.url.split("/")[:3])


@dataclass
class _Counter:
    on_progress: OnProgress
    total: int
    done: int = 0

    def step(self) -> None:
        self.done += 1
        self.on_progress(Progress("measure", self.done, self.total, "steps"))


@dataclass
class _Run:
    """Seconds of a build, stage by stage as it reported them; or of one part."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    wall_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu_s[stage] = self.cpu_s.get(stage, 0) + time.process_time() - cpu
        self.wall_s[stage] = self.wall_s.get(stage, 0) + time.perf_counter() - wall


# -- whole builds ---------------------------------------------------------------------------------


def _startup(folder: Path, settings: Settings) -> tuple[_Run, list[_Run], int]:
    """Time builds with hardly a row: the first, which loads libraries, and others."""
    source = _write_source(folder, TINY_ROWS, DIMS[0])
    first = _build(folder, source, settings)
    return first, [_build(folder, source, settings) for _ in range(REPEATS)], _resident_bytes()


def _build(folder: Path, source: Path, settings: Settings, dtype: Dtype = "float32") -> _Run:
    """Build a collection in this process, as `create` does with one worker, and throw it away."""
    run = _Run()
    target = folder / f"collection-{time.monotonic_ns()}"
    options = BuildOptions(workers=1, num_partitions=BUILD_PARTITIONS, dtype=dtype)
    planned = planning.plan(target, [source], options=options, settings=settings)
    stamps: list[tuple[str, float, float]] = []

    def stamp(progress: Progress) -> None:
        if not stamps or stamps[-1][0] != progress.stage:
            stamps.append((progress.stage, time.process_time(), time.perf_counter()))

    stamp(Progress("begin", 0, None, ""))
    build.create(planned, force=False, settings=settings, executor=None, on_progress=stamp)
    stamp(Progress("end", 0, None, ""))
    # Ids are reported when they have been read, other stages when they begin.
    names = {"begin": "check ids"}
    for (stage, cpu, wall), (_, next_cpu, next_wall) in pairwise(stamps):
        name = names.get(stage, stage)
        run.cpu_s[name] = run.cpu_s.get(name, 0) + next_cpu - cpu
        run.wall_s[name] = run.wall_s.get(name, 0) + next_wall - wall
    return run


def _write_source(folder: Path, rows: int, dim: int) -> Path:
    path = folder / f"{rows}x{dim}.h5"
    with writing(path, mend=OTHER_SCRATCH), h5py.File(path, "w") as file:
        file["embedding"] = _clustered(rows, dim)
        file["id"] = np.char.mod(b"UniRef50_A%09d", np.arange(rows))
    return path


def _clustered(rows: int, dim: int) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    centres = random.standard_normal((rows // 64 + 1, dim), np.float32)
    spread = random.standard_normal((rows, dim), np.float32)
    return centres[random.integers(len(centres), size=rows)] + spread


def _resident_bytes() -> int:
    """Memory of this process now; its peak where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# -- parts ----------------------------------------------------------------------------------------


class _Bench:
    """All that is measured with vectors of one dimension."""

    def __init__(self, folder: Path, settings: Settings, dim: int, startup: Sequence[_Run]) -> None:
        self.folder, self.settings, self.dim, self.startup = folder, settings, dim, startup

    def timings(self, tell: _Counter) -> list[Timing]:
        """Measure each stage of a build; what no part explains is called the rest."""
        rows = VALUES // self.dim
        source = _write_source(self.folder, rows, self.dim)
        wholes, narrow, parts = [], [], []
        for _ in range(REPEATS):
            wholes.append(_build(self.folder, source, self.settings))
            narrow.append(_build(self.folder, source, self.settings, "float16"))
            parts.append(self._parts(source))
            tell.step()
        assign = [self._assign(count) for count in PARTITIONS]
        tell.step()
        known = [self._timing(stage, 0, parts) for stage in ("read", "encode", "write")]
        ids = self._less(wholes, "check ids", self.startup, rows)
        rest = self._less(wholes, "build buckets", self.startup, rows)
        for part in (*known, assign[0]):
            rest = (_without(rest[0], part.cpu_s), _without(rest[1], part.wall_s))
        narrowing = self._less(narrow, "build buckets", wholes, rows)
        others: tuple[tuple[Stage, tuple[Spread, Spread]], ...] = (
            ("check ids", ids), ("narrow", narrowing), ("rest", rest)
        )  # fmt: skip
        return [*known, *assign, *(Timing(stage, self.dim, 0, *each) for stage, each in others)]

    def _less(
        self, runs: Sequence[_Run], stage: str, without: Sequence[_Run], rows: int
    ) -> tuple[Spread, Spread]:
        """Seconds a row, of processors and by the clock, beyond what others took."""

        def per_row(pick: Callable[[_Run], float]) -> Spread:
            return _without(Spread.of(map(pick, runs)), Spread.of(map(pick, without))).times(
                1 / rows
            )

        return per_row(lambda run: run.cpu_s[stage]), per_row(lambda run: run.wall_s[stage])

    def _timing(self, stage: Stage, partitions: int, runs: Sequence[_Run]) -> Timing:
        cpu = Spread.of(run.cpu_s[stage] for run in runs)
        return Timing(
            stage, self.dim, partitions, cpu, Spread.of(run.wall_s[stage] for run in runs)
        )

    def _parts(self, path: Path) -> _Run:
        """Time the parts of a build on some of its rows: seconds a row."""
        run = _Run()
        rows = VALUES // self.dim
        planned = planning.plan(
            self.folder / "parts",
            [path],
            options=BuildOptions(num_partitions=BUILD_PARTITIONS),
            settings=self.settings,
        )
        source, spec = next(iter(planned.sources.values())), planned.spec
        model = _model(BUILD_PARTITIONS, self.dim)
        batches = []
        for batch in _timed_each(run, "read", source.read(0, rows, BuildOptions.batch_rows)):
            vectors = store.vectors_of(batch["vector"], self.dim).astype(np.float32, copy=False)
            with run.timed("encode"):
                unsearchable(vectors, spec.distance_type)
                unit = index.prepared(vectors, spec.distance_type)
            (partition, _), hashes = model.partition_of(unit), hash_ids(batch["id"])
            with run.timed("encode"):
                codes = rabitq.encode(
                    unit, partition, model.centroids, model.signs, spec.distance_type, hashes
                )
            batches.append(_stored(batch, codes, store.decode_schema(spec.arrow_schema)))
        name = f"part-{time.monotonic_ns()}"
        reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
        with run.timed("write"):
            store.write_fragments(planned.storage, name, reader)
        return _per(run, rows)

    def _assign(self, partitions: int) -> Timing:
        model = _model(partitions, self.dim)
        rows = int(min(VALUES / self.dim, ASSIGN_FLOP / (2 * partitions * self.dim)))
        vectors = _clustered(max(ASSIGN_ROWS, rows), self.dim)
        runs = []
        for _ in range(REPEATS):
            run = _Run()
            with run.timed("assign"):
                model.partition_of(vectors)
            runs.append(_per(run, len(vectors)))
        return self._timing("assign", partitions, runs)


def _without(whole: Spread, part: Spread) -> Spread:
    return Spread(*(max(0.0, each - part.mid) for each in (whole.low, whole.mid, whole.high)))


def _per(run: _Run, rows: int) -> _Run:
    return _Run(
        {stage: seconds / rows for stage, seconds in run.cpu_s.items()},
        {stage: seconds / rows for stage, seconds in run.wall_s.items()},
    )


def _timed_each(
    run: _Run, stage: str, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Pass batches on, timing how long each takes to come."""
    while True:
        with run.timed(stage):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _stored(batch: pa.RecordBatch, codes: NDArray[np.void], schema: pa.Schema) -> pa.RecordBatch:
    """Bring a batch as read into the shape of a table."""
    data = pa.py_buffer(np.ascontiguousarray(codes))
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(codes.dtype.itemsize), len(codes), [None, data]
    )
    return pa.RecordBatch.from_arrays([batch["vector"], batch["id"], packed], schema=schema)


def _model(partitions: int, dim: int) -> IndexModel:
    """Make a model of clustered centroids, not trained: assigning costs the same."""
    tiny = index.train(_clustered(2, dim), IndexSpec("rabitq", 1), "l2", 0)
    return replace(tiny, centroids=_clustered(partitions, dim))


def _training() -> Spread:
    """Measure how many assignments of its sample training costs.

    It stops early on clustered vectors; on those without clusters, as proteins' nearly are, it goes
    on for all its rounds. Half of the measurements are of either kind.
    """
    model = _model(TRAIN_PARTITIONS, TRAIN_DIM)
    even = np.random.default_rng(0).standard_normal((TRAIN_ROWS, TRAIN_DIM), np.float32)
    passes = []
    for sample in (_clustered(TRAIN_ROWS, TRAIN_DIM), even) * 2:
        run = _Run()
        with run.timed("assign"):
            model.partition_of(sample)
        with run.timed("train"):
            index.train(sample, IndexSpec("rabitq", TRAIN_PARTITIONS), "l2", 0)
        passes.append(run.cpu_s["train"] / run.cpu_s["assign"])
    return Spread.of(passes)


def _store_speed(storage: Storage) -> Spread:
    """Time objects of `STORE_BYTES`: seconds a byte, by the clock."""
    data = np.random.default_rng(0).bytes(STORE_BYTES)
    spent = []
    for number in range(REPEATS):
        name = f"atoll-bench-{time.monotonic_ns()}-{number}"
        run = _Run()
        try:
            with run.timed("put"):
                storage.put(name, data)
                _make_durable(storage, name)
        finally:
            with suppress(AtollError):
                storage.delete(name)
        spent.append(run.wall_s["put"] / STORE_BYTES)
    return Spread.of(spent)


def _make_durable(storage: Storage, name: str) -> None:
    """Wait until a local file is on the disk; an object store has stored what it has accepted."""
    folder = local_path(storage.url)
    if folder is not None:
        with writing(folder), (folder / name).open("rb") as file:
            os.fsync(file.fileno())
