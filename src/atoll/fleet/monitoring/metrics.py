"""Points of a metric gathered into periods, and a period's statistics. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CARRY_SECONDS = 30.0
"""A value counts for so long after it was written; it is written every 10 s while it stays."""


@dataclass(frozen=True)
class Point:
    """A value that a metric had at a time of day."""

    at: float
    value: float


@dataclass(frozen=True)
class Period:
    """The values of one period.

    Attributes:
        start: when it begins, a multiple of its length; time of day.
        values: in order; not empty.
    """

    start: int
    values: tuple[float, ...]


STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
    "Sum": sum,
    "SampleCount": lambda values: float(len(values)),
}
"""CloudWatch's, by name."""


def first_needed(start: float, seconds: int) -> float:
    """Return from when on points can count for periods of so many seconds, `start`'s the first."""
    return start // seconds * seconds - CARRY_SECONDS


def periods(points: Sequence[Point], start: float, end: float, seconds: int) -> list[Period]:
    """Gather points into periods.

    A period without a point has the last value before it, once, if that was written no more than
    `CARRY_SECONDS` before its end: then the cluster lived. Where the host did not watch, periods
    are missing.

    Args:
        points: in order of time, from `first_needed(start, seconds)` on.
        start: the first period has it.
        end: the last period begins before it; no later than now.
        seconds: length of a period.

    Returns:
        The periods that have values, in order.
    """
    found: list[Period] = []
    rest = iter([*points, Point(float("inf"), 0.0)])
    point, last = next(rest), None
    begin = int(start // seconds * seconds)
    while begin < end:
        values = []
        while point.at < begin + seconds:
            if point.at >= begin:
                values.append(point.value)
            last, point = point, next(rest)
        if not values and last is not None and begin + seconds - last.at <= CARRY_SECONDS:
            values = [last.value]
        if values:
            found.append(Period(begin, tuple(values)))
        begin += seconds
    return found
