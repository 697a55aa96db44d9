"""What a build will cost, from rates measured before: pure arithmetic, no clock and no disk.

How many cores share the CPU-seconds is the affair of the place, and of whether workers build each
bucket together (`atoll.vectors.teams`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.vectors import sharing
from atoll.vectors.buckets import bytes_per_row
from atoll.vectors.ids import RUN_ROWS
from atoll.vectors.ingest import GROUP_BYTES, GROUP_SHARE
from atoll.vectors.model import Dtype, IndexKind
from atoll.vectors.rates import NOTHING, STAGES, Rates, Spread, Stage
from atoll.vectors.teams import SHUFFLE_SHARE, Team, team

# The table's hashes and row numbers by which an id is found, see `atoll.vectors.ids`.
ID_INDEX_ROW_BYTES = 12
# While that index is made, of at most so many rows: a process that did nothing else grew by 70 B a
# row at its peak with 200,000 rows, 74 with 1 million; with 4 million by 135 MB and the pages of
# the file it maps, 12 B a row, which the system takes back when it needs them.
ID_INDEX_ROW_MEMORY, ID_INDEX_MAX_ROWS = 75, 2 * RUN_ROWS
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
# Of what is brought into order at once: as read from the runs, joined, in order, at the writer.
GROUP_COPIES = 4
# What Lance's writer and its threads hold, measured.
WRITER_BYTES = 64 << 20
ASSIGN_BLOCK_ROWS = 1024
ID_CHECK_SHARE = 0.25


@dataclass(frozen=True)
class Work:
    """What is to be built, as far as its cost goes.

    Attributes:
        bucket_rows: rows of each bucket; at least one bucket.
        dim, dtype, index, num_partitions: as in the collection's spec.
        sample_rows: rows the model is trained on; 0 where it is there already, or none is needed.
        batch_rows: rows handled at once.
        calibrated_rows: rows among which recall is measured at the end; 0 where it is not.
    """

    bucket_rows: tuple[int, ...]
    dim: int
    dtype: Dtype
    index: IndexKind
    num_partitions: int
    sample_rows: int
    batch_rows: int
    calibrated_rows: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.bucket_rows)

    @property
    def held_row_bytes(self) -> int:
        """What a row takes while it waits for its place in the order of partitions."""
        return bytes_per_row(self.dim, self.dtype, index=self.index) + ORDER_ROW_BYTES

    def team(self, place: Place) -> Team:
        """Tell who builds it there."""
        return team(
            self.bucket_rows,
            self.dim,
            self.dtype,
            self.index,
            workers=place.workers,
            memory_bytes=place.memory_bytes,
        )

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
        workers: processes that build, if there is enough for them to do.
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
        workers: processes that build.
        is_shared: all of them build one bucket after the other; else each builds its own.
        worker_memory: of one worker, at its peak.
        memory: of all processes together, at their peak.
        spill: in the scratch folder, at its fullest.
        written: in the collection's store; further columns come on top.
        read: of the sources.
    """

    workers: int
    is_shared: bool
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


def sizes(work: Work, place: Place, base_bytes: int, library_bytes: int) -> Sizes:
    """Project memory and disk.

    Args:
        work: what is built.
        place: where.
        base_bytes, library_bytes: as `Rates` has them.
    """
    team, rows = work.team(place), max(work.bucket_rows)
    task_rows = sharing.task_rows(rows, team.workers) if team.is_shared else rows
    worker_memory = base_bytes + _worker_memory(work, team, _share(place, team), task_rows)
    id_check = min(work.rows * ID_CHECK_ROW_MEMORY, int(place.memory_bytes * ID_CHECK_SHARE))
    ids_spill = work.rows * ID_CHECK_ROW_SPILL if id_check < work.rows * ID_CHECK_ROW_MEMORY else 0
    training = TRAIN_COPIES * work.sample_rows * work.dim * 4
    first = base_bytes + max(id_check, training, _record_memory(rows))
    # While workers work, the first process waits with hardly more than its libraries.
    waiting = base_bytes if team.workers > 1 else 0
    return Sizes(
        workers=team.workers,
        is_shared=team.is_shared,
        worker_memory=worker_memory,
        memory=library_bytes + max(waiting + team.workers * worker_memory, first),
        spill=max(_spill(work, place, team), ids_spill),
        written=_written(work),
        read=work.rows * work.dim * 4,
    )


def _share(place: Place, team: Team) -> int:
    """Bytes of rows that a worker keeps in memory."""
    return int(place.memory_bytes * SHUFFLE_SHARE / team.workers)


def _spill(work: Work, place: Place, team: Team) -> int:
    """Bytes of rows in files at a time: those that do not fit, and those handed on."""
    held = max(work.bucket_rows) * work.held_row_bytes
    if team.is_shared:
        return held
    return team.workers * held if work.num_partitions and held > _share(place, team) else 0


def _written(work: Work) -> int:
    row = bytes_per_row(work.dim, work.dtype, index=work.index) + ID_INDEX_ROW_BYTES
    offsets = len(work.bucket_rows) * work.num_partitions * 8
    return work.rows * row + work.model_bytes + offsets


def _record_memory(rows: int) -> int:
    return min(rows, ID_INDEX_MAX_ROWS) * ID_INDEX_ROW_MEMORY


def _worker_memory(work: Work, team: Team, share: int, rows: int) -> int:
    """Memory beside the base of one who handles so many rows at a time."""
    batch = min(rows, work.batch_rows) * work.dim * 4
    flow = WRITER_BYTES + READ_COPIES * batch
    if not work.num_partitions:
        return flow + _record_memory(rows)
    inside = min(rows, share // work.held_row_bytes + 1)
    # All but the vectors is joined once more for its order; ids stay as hashes until the end.
    beside = work.held_row_bytes - bytes_per_row(work.dim, work.dtype, index="flat")
    ordering = inside * (work.held_row_bytes + beside + 2 * ORDER_ROW_BYTES) + rows * 8
    product = ASSIGN_BLOCK_ROWS * work.num_partitions * 4
    models = MODEL_COPIES * work.model_bytes
    if team.is_shared:
        # Rows come to order in one task, are written in another.
        writing = WRITER_BYTES + GROUP_COPIES * min(GROUP_BYTES, int(share * GROUP_SHARE))
        reading = (READ_COPIES + ORDER_COPIES) * batch + product + ordering
        return models + max(reading, writing + _record_memory(rows))
    return flow + ORDER_COPIES * batch + product + models + max(ordering, _record_memory(rows))


def times(work: Work, place: Place, rates: Rates) -> Times:
    """Project how long it takes, sources and target being no slower than what was measured.

    One process checks the ids, trains the model on all cores, and measures recall. What lies
    between is shared: evenly where workers build each bucket together; else each builds whole
    buckets, and only the product of assignment spreads over the cores of one worker.
    """
    team = work.team(place)
    cpu = _cpu(work, place, team, rates)
    rounds = -(-len(work.bucket_rows) // team.workers)
    busiest = min(1.0, rounds * max(work.bucket_rows) / work.rows)
    # More workers than cores take turns.
    turns = max(1.0, team.workers / place.cores) / place.speed
    each = turns / team.workers if team.is_shared else turns * busiest
    threads = 1 if team.is_shared else max(1, place.cores // team.workers)
    shared: dict[Stage, float] = {
        "check ids": 1 / place.speed,
        "sample": 1 / place.speed,
        "train": 1 / (place.cores * place.speed),
        "assign": each / threads,
        "calibrate": 1 / place.speed,
    }
    wall = {stage: spent.times(shared.get(stage, each)) for stage, spent in cpu.items()}
    # Workers start at the same time.
    starting = rates.worker_s.times(_starts(work, team) * turns)
    wall["start"] = rates.start_s.times(1 / place.speed) + starting
    return Times(wall, _sum(wall.values()), _sum(cpu.values()))


def _starts(work: Work, team: Team) -> int:
    """Count how often workers start: for each half of each bucket, or once for all."""
    if team.is_shared:
        return 2 * len(work.bucket_rows)
    return int(team.workers > 1)


def _cpu(work: Work, place: Place, team: Team, rates: Rates) -> dict[Stage, Spread]:
    """CPU-seconds of all rows, stage by stage."""
    needed: list[Stage] = ["check ids", "read", "write", "rest"]
    needed += ["narrow"] if work.dtype != "float32" else []
    needed += ["encode"] if work.index == "rabitq" else []
    needed += ["shuffle"] if _spill(work, place, team) else []
    spent = {stage: rates.row_s(stage, work.dim).times(work.rows) for stage in needed}
    started = _starts(work, team) * team.workers
    spent["start"] = rates.start_s + rates.worker_s.times(started)
    spent["rest"] += rates.bucket_s.times(len(work.bucket_rows))
    if work.num_partitions:
        assign = rates.row_s("assign", work.dim, work.num_partitions)
        spent["assign"] = assign.times(work.rows)
        passes = rates.train_passes
        train = Spread(passes.low * assign.low, passes.mid * assign.mid, passes.high * assign.high)
        spent["train"] = train.times(work.sample_rows)
        spent["sample"] = rates.row_s("sample", work.dim).times(work.sample_rows)
    if work.calibrated_rows:
        searched = rates.row_s("calibrate", work.dim).times(work.calibrated_rows)
        spent["calibrate"] = rates.calibrate_s + searched
    return {stage: spent[stage] for stage in STAGES if stage in spent}


def _sum(spreads: Iterable[Spread]) -> Spread:
    return sum(spreads, NOTHING)
