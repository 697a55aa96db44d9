"""What a build will cost, from rates measured before: pure arithmetic, no clock and no disk.

A build goes through the stages of `STAGES`. What a row costs in each was measured at a few
dimensions (and numbers of partitions, for "assign"); between and beyond them a straight line is
drawn. Times are CPU-seconds of one core: how many cores share them is the place's affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from atoll.vectors.buckets import bytes_per_row
from atoll.vectors.model import Dtype, IndexKind

Stage = Literal["check ids", "train", "read", "assign", "encode", "narrow", "write", "rest"]
STAGES: tuple[Stage, ...] = get_args(Stage)

# The table's hashes and row numbers by which an id is found, see `atoll.vectors.ids`.
ID_INDEX_ROW_BYTES = 12
# While that index is made: hashes twice, sorted once more, their order, and what is written.
ID_INDEX_ROW_MEMORY = 60
# In the search for duplicate ids, see `atoll.vectors.duplicates`.
ID_CHECK_ROW_MEMORY = 40
ID_CHECK_ROW_SPILL = 16
# Partition number and id hash of a row that waits for its order.
ORDER_ROW_BYTES = 12
# The sample, its rows of unit length, both in order of partitions, sums in float64: measured 5.9.
TRAIN_COPIES = 6
# Centroids as read, turned, rotated.
MODEL_COPIES = 3
# Copies of a batch: as read, of unit length; and with an index, in order, on its way to Lance.
READ_COPIES, ORDER_COPIES = 4, 8
# What Lance's writer and its threads hold, measured.
WRITER_BYTES = 64 << 20
ASSIGN_BLOCK_ROWS = 1024
# Of the memory a build may use: what a worker's rows may take before they spill.
SHUFFLE_SHARE = 0.6
ID_CHECK_SHARE = 0.25


@dataclass(frozen=True)
class Spread:
    """The smallest, the middle and the largest of several measurements, or what follows from them.

    >>> Spread.of([3.0, 1.0, 2.0]) + Spread(1, 1, 1)
    Spread(low=2.0, mid=3.0, high=4.0)
    """

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Sum up measurements: their minimum, median and maximum."""
        ordered = sorted(values)
        return cls(ordered[0], ordered[len(ordered) // 2], ordered[-1])

    def __add__(self, other: Spread) -> Spread:
        """Add what is spent one after the other."""
        return Spread(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def times(self, factor: float) -> Spread:
        """Scale by a number that is known."""
        return Spread(self.low * factor, self.mid * factor, self.high * factor)


NOTHING = Spread(0, 0, 0)


@dataclass(frozen=True)
class Timing:
    """What one row costs in a stage.

    Attributes:
        stage: which.
        dim: length of the vectors it was measured with.
        partitions: how many; 0 where they do not matter.
        cpu_s, wall_s: seconds a row, of processors and by the clock.
    """

    stage: Stage
    dim: int
    partitions: int
    cpu_s: Spread
    wall_s: Spread


@dataclass(frozen=True)
class Rates:
    """All that was measured on one machine.

    Attributes:
        machine: processor and libraries, as `atoll.vectors.machine` names them.
        measured_at: UTC, ISO 8601.
        timings: by stage.
        start_s: CPU-seconds of a process until all it needs is loaded.
        bucket_s: CPU-seconds of a bucket with hardly a row.
        train_passes: training costs so many assignments of its sample: fewest on clustered vectors.
        base_bytes: memory of a process that has built something small.
        stores: seconds to write a byte, durably; by store.
    """

    machine: str
    measured_at: str
    timings: tuple[Timing, ...]
    start_s: Spread
    bucket_s: Spread
    train_passes: Spread
    base_bytes: int
    stores: dict[str, Spread]

    def row_s(self, stage: Stage, dim: int, partitions: int = 0) -> Spread:
        """Tell what a row of `dim` values costs: CPU-seconds."""
        mine = [timing for timing in self.timings if timing.stage == stage]
        by_partitions = []
        for count in sorted({timing.partitions for timing in mine}):
            points = [(each.dim, each.cpu_s) for each in mine if each.partitions == count]
            by_partitions.append((count, _on_line(sorted(points, key=lambda p: p[0]), dim)))
        return _on_line(by_partitions, partitions)


def _on_line(points: Sequence[tuple[int, Spread]], at: int) -> Spread:
    """Read a value off the line through the two points nearest to `at`; never below 0."""
    if len(points) == 1:
        return points[0][1]
    right = next((i for i, (x, _) in enumerate(points) if x >= at), len(points) - 1)
    (x0, one), (x1, two) = points[max(0, right - 1)], points[max(1, right)]
    share = (at - x0) / (x1 - x0)
    values = (
        max(0.0, a + (b - a) * share)
        for a, b in ((one.low, two.low), (one.mid, two.mid), (one.high, two.high))
    )
    # Beyond the points the three lines may cross.
    return Spread(*sorted(values))


@dataclass(frozen=True)
class Work:
    """What is to be built, as far as its cost goes.

    Attributes:
        bucket_rows: rows of each bucket; at least one bucket.
        dim, dtype, index, num_partitions: as in the collection's spec.
        sample_rows: rows the model is trained on; 0 where it is there already, or none is needed.
        batch_rows: rows handled at once.
    """

    bucket_rows: tuple[int, ...]
    dim: int
    dtype: Dtype
    index: IndexKind
    num_partitions: int
    sample_rows: int
    batch_rows: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.bucket_rows)

    @property
    def held_row_bytes(self) -> int:
        """What a row takes while it waits for its place in the order of partitions."""
        return bytes_per_row(self.dim, self.dtype, index=self.index) + ORDER_ROW_BYTES

    @property
    def model_bytes(self) -> int:
        """What the centroids take in float32."""
        return self.num_partitions * self.dim * 4


@dataclass(frozen=True)
class Place:
    """Where the build may run.

    Attributes:
        name: for people.
        cores: processors.
        speed: what one of them does, as a share of one that was measured.
        workers: buckets built at once, if there are so many.
        memory_bytes: what the build may use in all.
    """

    name: str
    cores: int
    speed: float
    workers: int
    memory_bytes: int


@dataclass(frozen=True)
class Sizes:
    """What a build takes of memory and disk, in bytes.

    Attributes:
        workers: buckets built at once.
        worker_memory: of one worker, at its peak.
        memory: of all processes together, at their peak.
        spill: in the scratch folder, at its fullest.
        written: in the collection's store; further columns come on top.
        read: of the sources.
    """

    workers: int
    worker_memory: int
    memory: int
    spill: int
    written: int
    read: int


@dataclass(frozen=True)
class Times:
    """What a build takes of time.

    Attributes:
        wall_s: by the clock, stage by stage; they follow one another.
        total_s: their sum.
        cpu_s: CPU-seconds of a core as measured.
    """

    wall_s: dict[Stage, Spread]
    total_s: Spread
    cpu_s: Spread


def sizes(work: Work, place: Place, base_bytes: int) -> Sizes:
    """Project memory and disk.

    Args:
        work: what is built.
        place: where.
        base_bytes: memory of a process that holds no rows yet.
    """
    workers = min(place.workers, len(work.bucket_rows))
    largest = max(work.bucket_rows)
    worker_memory, spill = _worker(work, place, workers, largest)
    worker_memory += base_bytes
    id_check = min(work.rows * ID_CHECK_ROW_MEMORY, int(place.memory_bytes * ID_CHECK_SHARE))
    ids_spill = work.rows * ID_CHECK_ROW_SPILL if id_check < work.rows * ID_CHECK_ROW_MEMORY else 0
    training = TRAIN_COPIES * work.sample_rows * work.dim * 4
    together = workers * worker_memory + (base_bytes if workers > 1 else 0)
    written = work.rows * (
        bytes_per_row(work.dim, work.dtype, index=work.index) + ID_INDEX_ROW_BYTES
    )
    written += work.model_bytes + len(work.bucket_rows) * work.num_partitions * 8
    return Sizes(
        workers=workers,
        worker_memory=worker_memory,
        memory=max(together, base_bytes + max(id_check, training)),
        spill=max(workers * spill, ids_spill),
        written=written,
        read=work.rows * work.dim * 4,
    )


def _worker(work: Work, place: Place, workers: int, rows: int) -> tuple[int, int]:
    """Memory beside the base, and spilled bytes, of one who builds a bucket of so many rows."""
    batch = min(rows, work.batch_rows) * work.dim * 4
    flow = WRITER_BYTES + READ_COPIES * batch
    record = rows * ID_INDEX_ROW_MEMORY
    if not work.num_partitions:
        return flow + record, 0
    share = int(place.memory_bytes * SHUFFLE_SHARE / workers)
    held = rows * work.held_row_bytes
    inside = min(rows, share // work.held_row_bytes + 1)
    # All but the vectors is joined once more for its order; ids stay as hashes until the end.
    beside = work.held_row_bytes - bytes_per_row(work.dim, work.dtype, index="flat")
    ordering = inside * (work.held_row_bytes + beside + 2 * ORDER_ROW_BYTES) + rows * 8
    product = ASSIGN_BLOCK_ROWS * work.num_partitions * 4
    memory = (
        flow
        + ORDER_COPIES * batch
        + product
        + MODEL_COPIES * work.model_bytes
        + max(ordering, record)
    )
    return memory, held if held > share else 0


def times(work: Work, place: Place, rates: Rates) -> Times:
    """Project how long it takes, sources and target being no slower than what was measured.

    Ids are checked by one process and the model is trained by one, on all cores; then each worker
    builds whole buckets, and only the product of assignment spreads over the cores of one worker.
    """
    workers = min(place.workers, len(work.bucket_rows))
    cpu = _cpu(work, workers, rates)
    rounds = -(-len(work.bucket_rows) // workers)
    busiest = min(1.0, rounds * max(work.bucket_rows) / work.rows)
    # More workers than cores take turns.
    alone = busiest * max(1.0, workers / place.cores) / place.speed
    threads = max(1, place.cores // workers)
    shared: dict[Stage, float] = {
        "check ids": 1 / place.speed,
        "train": 1 / (place.cores * place.speed),
        "assign": alone / threads,
    }
    wall = {stage: spent.times(shared.get(stage, alone)) for stage, spent in cpu.items()}
    return Times(wall, _sum(wall.values()), _sum(cpu.values()))


def _cpu(work: Work, workers: int, rates: Rates) -> dict[Stage, Spread]:
    """CPU-seconds of all rows, stage by stage."""
    needed: list[Stage] = ["check ids", "read", "write", "rest"]
    needed += ["narrow"] if work.dtype != "float32" else []
    needed += ["encode"] if work.index == "rabitq" else []
    spent = {stage: rates.row_s(stage, work.dim).times(work.rows) for stage in needed}
    fixed = rates.start_s.times(workers) + rates.bucket_s.times(len(work.bucket_rows))
    spent["rest"] += fixed
    if work.num_partitions:
        assign = rates.row_s("assign", work.dim, work.num_partitions)
        spent["assign"] = assign.times(work.rows)
        passes = rates.train_passes
        train = Spread(passes.low * assign.low, passes.mid * assign.mid, passes.high * assign.high)
        spent["train"] = train.times(work.sample_rows)
    return {stage: spent[stage] for stage in STAGES if stage in spent}


def _sum(spreads: Iterable[Spread]) -> Spread:
    return sum(spreads, NOTHING)
