"""Decides how many partitions a bucket gets, from what was measured with several numbers.

counts_to_try    which numbers, and with how many partitions of a sample each is tried
decide           the number that holds a recall and reads least
facts            what was tried and chosen, for people
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.vectors.calibration import choose
from atoll.vectors.indexspec import MAX_PARTITIONS
from atoll.vectors.model import CalibrationPoint, PartitionChoice, PartitionTrial

# Of the default number.
FACTORS = (1 / 4, 1 / 2, 1, 2, 4)
# With fewer, hardly a partition of the sample has neighbours on all sides.
MIN_SAMPLE_PARTITIONS = 8
# What a number must save, as a share of the default's bytes: other queries give other settings.
LEAST_GAIN = 0.1


def counts_to_try(default: int, share: float) -> list[tuple[int, int]]:
    """List numbers of partitions, each with how many of a sample it is tried with.

    Args:
        default: the number that nobody would have to choose.
        share: of all rows, those in the sample.

    >>> counts_to_try(200, 0.25)
    [(50, 12), (100, 25), (200, 50), (400, 100), (800, 200)]
    >>> counts_to_try(2, 1.0)
    [(1, 1), (2, 2), (4, 4), (8, 8)]
    >>> counts_to_try(10_000, 0.002)
    [(5000, 10), (10000, 20)]
    """
    counts = sorted({int(default * factor) for factor in FACTORS} - {0})
    pairs = [(count, max(1, round(count * share))) for count in counts]
    return [
        (count, sample_partitions)
        for count, sample_partitions in pairs
        if count <= MAX_PARTITIONS and (share == 1 or sample_partitions >= MIN_SAMPLE_PARTITIONS)
    ]


def point_for(trial: PartitionTrial, k: int, recall: float) -> CalibrationPoint | None:
    """Tell at which setting a number of partitions holds recall at least cost; None where none."""
    try:
        return choose(trial.measured, k, recall)
    except InvalidInput:
        return None


def decide(
    trials: Sequence[PartitionTrial], default: int, k: int, recall: float
) -> tuple[int, str]:
    """Pick the number that holds recall with the fewest bytes; the default where that gains little.

    Requests do not count here: nearly all are for rows to refine, as many for each number, and are
    joined where rows lie together; how many are asked for is chance.

    Args:
        trials: by number of partitions.
        default: the number that nobody would have to choose.
        k: hits wanted.
        recall: to be held.

    Returns:
        The number, and why.
    """
    held = f"recall {recall:g} of the {k} nearest"
    sizes = {
        trial.num_partitions: point.bytes
        for trial in trials
        if (point := point_for(trial, k, recall)) is not None
    }
    if not sizes:
        return default, f"the default: none holds {held}"
    best = min(sizes, key=sizes.__getitem__)
    if default in sizes and sizes[best] > (1 - LEAST_GAIN) * sizes[default]:
        return default, f"the default, which holds {held} and reads hardly more than the least"
    return best, f"holds {held} and reads least"


def facts(choice: PartitionChoice) -> dict[str, Any]:
    """Describe a choice, JSON-ready: of each number the setting that holds recall at least cost."""
    found = {name: value for name, value in vars(choice).items() if name != "trials"}
    found["tried"] = []
    for trial in choice.trials:
        point = point_for(trial, choice.k, choice.recall)
        tried = {
            "num_partitions": trial.num_partitions,
            "sample_partitions": trial.sample_partitions,
        }
        found["tried"].append({**tried, "holds": point and vars(point)})
    return found
