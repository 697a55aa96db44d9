"""What a row costs in each stage of a build, as it was measured on a machine.

Measured at a few dimensions (and numbers of partitions, for "assign"); between and beyond them a
straight line is drawn. Times are CPU-seconds of one core.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Stage = Literal[
    "start", "check ids", "sample", "train", "read", "assign", "encode",
    "narrow", "shuffle", "write", "rest", "calibrate",
]  # fmt: skip
STAGES: tuple[Stage, ...] = get_args(Stage)


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
        start_s: CPU-seconds of a process until all that a build needs is loaded.
        worker_s: CPU-seconds of one that neither trains nor measures recall, until it can work.
        bucket_s: CPU-seconds of a bucket with hardly a row.
        calibrate_s: CPU-seconds of measuring recall among hardly a row.
        train_passes: training costs so many assignments of its sample: fewest on clustered vectors.
        base_bytes: memory of a process that has built something small, less what others use too.
        library_bytes: what such processes have in common, in memory once.
        stores: seconds to write a byte, durably; by store.
    """

    machine: str
    measured_at: str
    timings: tuple[Timing, ...]
    start_s: Spread
    worker_s: Spread
    bucket_s: Spread
    calibrate_s: Spread
    train_passes: Spread
    base_bytes: int
    library_bytes: int
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
