"""Measures what a build costs on this machine: small real builds, and their parts one by one.

A whole build of clustered vectors by one worker is timed stage by stage as it reports them. Its
parts (reading, assignment, ...) are timed by themselves on the same rows; what they leave of the
whole is "rest": checksums, near rows brought together, digests. So the parts add up to what a build
really took. What several workers need beside that, processes that start and rows that go through
files ("shuffle"), and measuring recall are timed by themselves, too.
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
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atoll.compute.processes import ProcessExecutor
from atoll.core.config import Settings
from atoll.core.errors import AtollError
from atoll.core.files import OTHER_SCRATCH, scratch_folder, writing
from atoll.core.progress import OnProgress, Progress, silent
from atoll.storage import Storage, local_path, open_storage
from atoll.vectors import build, calibrate, index, planning, rabitq, schemas, store
from atoll.vectors.calibrate import AT_CREATE
from atoll.vectors.distance import unsearchable
from atoll.vectors.duplicates import hash_ids
from atoll.vectors.index import IndexModel
from atoll.vectors.ingest import GROUP_BYTES
from atoll.vectors.machine import LOCAL, store_of, this_machine
from atoll.vectors.model import CollectionSpec, Dtype, IndexSpec
from atoll.vectors.options import BuildOptions, SearchOptions
from atoll.vectors.rates import Rates, Spread, Stage, Timing
from atoll.vectors.runs import write_run
from atoll.vectors.shuffle import Ordered, Shuffle, merged
from atoll.vectors.sources import Source
from atoll.vectors.training import training_sample

DIMS = (128, 960)
# Partition counts that assignment is timed with; what lies between is read off a line.
PARTITIONS = (16, 512, 16_384)
# Values a sample holds, so that each measurement takes a few tenths of a second at most.
VALUES = 1 << 22
ASSIGN_FLOP = 4e9
# No fewer, since assignment goes by blocks of so many.
ASSIGN_ROWS = 1024
TRAIN_ROWS, TRAIN_DIM, TRAIN_PARTITIONS = 8192, 128, 512
TINY_ROWS = 64
REPEATS = 3
STORE_BYTES = 32 << 20


def measure(
    settings: Settings,
    *,
    dims: Sequence[int] = (),
    uri: str | None = None,
    on_progress: OnProgress = silent,
) -> Rates:
    """Measure this machine; half a minute of a processor, in a scratch folder that is removed.

    Args:
        settings: where scratch is, how to reach stores.
        dims: lengths of vectors to measure beside `DIMS`.
        uri: also measure how fast this store takes bytes; what is written below it is removed.
        on_progress: told as it goes on.

    Raises:
        Unavailable, Forbidden, InvalidInput: the scratch folder or the store cannot be written.
    """
    lengths = sorted({*DIMS, *dims})
    tell = _Counter(on_progress, len(lengths) * (REPEATS + 1) + 2)
    stores = {}
    with scratch_folder(settings.scratch, "bench") as folder:
        ours = replace(settings, scratch=folder)
        tiny = _Builder(ours, _write_source(folder, TINY_ROWS, DIMS[0]), PARTITIONS[0])
        startup = [tiny.build() for _ in range(1 + REPEATS)][1:]
        start = _start(tiny)
        tell.step()
        timings: list[Timing] = []
        for dim in lengths:
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
        start_s=Spread.of([start.cpu_s]),
        worker_s=Spread.of([start.worker_s]),
        bucket_s=Spread.of(run.cpu_s["build buckets"] for run in startup),
        calibrate_s=Spread.of(run.cpu_s["calibrate"] for run in startup),
        train_passes=passes,
        base_bytes=start.own_bytes,
        library_bytes=start.shared_bytes,
        stores=stores,
    )


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
        self.add(stage, time.process_time() - cpu, time.perf_counter() - wall)

    def add(self, stage: str, cpu_s: float, wall_s: float) -> None:
        self.cpu_s[stage] = self.cpu_s.get(stage, 0) + cpu_s
        self.wall_s[stage] = self.wall_s.get(stage, 0) + wall_s


# -- whole builds ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Builder:
    """Builds a collection of one source, time and again; picklable."""

    settings: Settings
    source: Path
    num_partitions: int | None = None

    def build(self, dtype: Dtype = "float32") -> _Run:
        """Build in this process, as `create` does with one worker, and throw it away."""
        target = self.source.parent / f"collection-{time.monotonic_ns()}"
        options = BuildOptions(
            workers=1, num_partitions=self.num_partitions, dtype=dtype, calibrate=False
        )
        planned = planning.plan(target, [self.source], options=options, settings=self.settings)
        # Ids are reported when they have been read, other stages when they begin.
        stages = _Stages("check ids")
        manifest = build.create(
            planned, force=False, settings=self.settings, executor=None, on_progress=stages
        )
        view = calibrate.opened(planned.storage, self.settings, manifest, AT_CREATE)
        stages.begin("calibrate")
        calibrate.measure(view, manifest, None, "", AT_CREATE, silent)
        stages.begin("search")
        view.search(
            calibrate.stored_rows(view, AT_CREATE.queries, 0), SearchOptions(k=10, exact=True)
        )
        stages.begin("")
        return stages.run


class _Stages:
    """Times one stage after the other."""

    def __init__(self, first: str) -> None:
        self.run, self._name = _Run(), first
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self._name:
            self.begin(progress.stage)

    def begin(self, stage: str) -> None:
        self.run.add(self._name, time.process_time() - self._cpu, time.perf_counter() - self._wall)
        self._name = stage
        self._cpu, self._wall = time.process_time(), time.perf_counter()


@dataclass(frozen=True)
class _Start:
    """What a process takes that has built something small.

    Attributes:
        cpu_s: CPU-seconds from its start.
        worker_s: the same without what only the first process of a build does.
        own_bytes: its memory, less
        shared_bytes: what other such processes use, too.
    """

    cpu_s: float
    worker_s: float
    own_bytes: int
    shared_bytes: int


def _start(tiny: _Builder) -> _Start:
    """Start a process as builds do; what it compiles was compiled before."""
    (outcome,) = ProcessExecutor(1).map(_started, [tiny])
    if outcome.error is not None:
        raise outcome.error
    assert outcome.value is not None
    return outcome.value


def _started(tiny: _Builder) -> _Start:
    run = tiny.build()
    cpu_s = time.process_time()
    others = sum(spent for stage, spent in run.cpu_s.items() if stage != "build buckets")
    return _Start(cpu_s, cpu_s - others, *_resident_bytes())


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


def _resident_bytes() -> tuple[int, int]:
    """Tell the memory of this process, and of files that others map, too: libraries.

    Its peak where the system does not tell, and nothing shared.
    """
    try:
        _, resident, shared = Path("/proc/self/statm").read_text().split()[:3]
        page = os.sysconf("SC_PAGE_SIZE")
        return (int(resident) - int(shared)) * page, int(shared) * page
    except (OSError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, 0


# -- parts ----------------------------------------------------------------------------------------


class _Bench:
    """All that is measured with vectors of one dimension."""

    def __init__(self, folder: Path, settings: Settings, dim: int, startup: Sequence[_Run]) -> None:
        self.folder, self.settings, self.dim, self.startup = folder, settings, dim, startup

    def timings(self, tell: _Counter) -> list[Timing]:
        """Measure each stage of a build; what no part explains is called the rest."""
        rows = VALUES // self.dim
        builder = _Builder(self.settings, _write_source(self.folder, rows, self.dim))
        wholes, narrow, parts = [], [], []
        for _ in range(REPEATS):
            wholes.append(builder.build())
            narrow.append(builder.build("float16"))
            parts.append(self._parts(builder.source))
            tell.step()
        assign = [self._assign(count) for count in PARTITIONS]
        tell.step()
        known = [
            self._timing(stage, 0, parts)
            for stage in ("read", "encode", "write", "shuffle", "sample")
        ]
        ids = self._less(wholes, "check ids", self.startup, rows)
        rest = self._less(wholes, "build buckets", self.startup, rows)
        for part in (*known[:3], assign[0]):
            rest = (_without(rest[0], part.cpu_s), _without(rest[1], part.wall_s))
        narrowing = self._less(narrow, "build buckets", wholes, rows)
        recall = self._less(wholes, "search", self.startup, rows)
        others: tuple[tuple[Stage, tuple[Spread, Spread]], ...] = (
            ("check ids", ids), ("narrow", narrowing), ("rest", rest), ("calibrate", recall)
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
        run, rows = _Run(), VALUES // self.dim
        planned = planning.plan(
            self.folder / "parts", [path], options=BuildOptions(), settings=self.settings
        )
        source, spec = next(iter(planned.sources.values())), planned.spec
        model = _model(spec.index.num_partitions, self.dim)
        batches = [
            self._ordered(run, batch, spec, model)
            for batch in _timed_each(run, "read", source.read(0, rows, BuildOptions.batch_rows))
        ]
        self._shuffle(run, batches, len(model.centroids))
        self._sample(run, source, spec)
        name, schema = f"part-{time.monotonic_ns()}", schemas.decode_schema(spec.arrow_schema)
        reader = pa.RecordBatchReader.from_batches(
            schema, [_stored(batch, schema) for batch in batches]
        )
        with run.timed("write"):
            store.write_fragments(planned.storage, name, reader)
        return _per(run, rows)

    def _ordered(
        self, run: _Run, batch: pa.RecordBatch, spec: CollectionSpec, model: IndexModel
    ) -> Ordered:
        """Assign and encode a batch; what encoding takes is timed."""
        vectors = schemas.vectors_of(batch["vector"], self.dim).astype(np.float32, copy=False)
        with run.timed("encode"):
            unsearchable(vectors, spec.distance_type)
            unit = index.prepared(vectors, spec.distance_type)
        (partition, _), hashes = model.partition_of(unit), hash_ids(batch["id"])
        with run.timed("encode"):
            codes = rabitq.encode(
                unit, partition, model.centroids, model.signs, spec.distance_type, hashes
            )
        packed = codes.view(np.uint8).reshape(len(codes), -1)
        return Ordered(vectors, batch.drop_columns(["vector"]), hashes, packed, partition)

    def _sample(self, run: _Run, source: Source, spec: CollectionSpec) -> None:
        """Read rows to train on, here and there: as if there were so many as are in the source."""
        read = _Run()
        with read.timed("sample"):
            sample = training_sample([source], spec, seed=0)
        share = VALUES // self.dim / len(sample)
        run.cpu_s["sample"] = read.cpu_s["sample"] * share
        run.wall_s["sample"] = read.wall_s["sample"] * share

    def _shuffle(self, run: _Run, batches: Sequence[Ordered], partitions: int) -> None:
        """Write rows to a run in a file, and read them in order, as workers hand them on."""
        rows, place = sum(map(len, batches)), open_storage(self.folder)
        name = f"run-{time.monotonic_ns()}"
        shuffle = Shuffle(
            partitions, 1 << 40, rows, lambda held: write_run(held, place, name, self.folder)
        )
        for batch in batches:
            shuffle.add(batch)
        with run.timed("shuffle"):
            runs = [ref.open() for ref in shuffle.runs(in_files=True)]
            for _ in merged(runs, 0, rows, GROUP_BYTES):
                pass
        place.delete(name)

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


def _stored(rows: Ordered, schema: pa.Schema) -> pa.RecordBatch:
    """Bring rows into the shape of a table."""
    assert rows.codes is not None
    vectors = pa.FixedSizeListArray.from_arrays(
        pa.array(rows.vectors.reshape(-1)), rows.vectors.shape[1]
    )
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(rows.codes.shape[1]), len(rows), [None, pa.py_buffer(rows.codes)]
    )
    return pa.RecordBatch.from_arrays([vectors, rows.rest["id"], packed], schema=schema)


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
