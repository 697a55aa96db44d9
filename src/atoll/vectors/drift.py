"""Says from measured drift whether an index model still fits its collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from atoll.vectors.calibration import Promise
from atoll.vectors.model import Calibration, CalibrationPoint, Drift, IndexSpec

DEFAULT_K, DEFAULT_NPROBES, DEFAULT_REFINE_FACTOR = 10, 20, 5
# Recall of later rows that is lower by more than this, beyond doubt, calls for a new model.
RECALL_LOSS = 0.02
# What codes should let a search find in all partitions with the default refine factor.
RANKED_RECALL = 0.9
# Codes of 4 bits find nearly all where those of 1 bit find half; few need more.
BETTER_BITS, MOST_BITS = 4, 8
# A calibration that saw fewer than this share of the rows is out of date.
SEEN_SHARE = 0.8

Action = Literal["nothing", "calibrate", "retrain"]


@dataclass(frozen=True)
class Advice:
    """What should be done about recall, and why."""

    action: Action
    why: str


def at_defaults(calibration: Calibration) -> CalibrationPoint:
    """Tell what the default settings find, for 10 neighbours or as many as were calibrated."""
    measured = [point.k for point in calibration.points]
    k = max(min(DEFAULT_K, max(measured)), min(measured))
    return Promise(calibration, k).at(DEFAULT_NPROBES, DEFAULT_REFINE_FACTOR)


def wanted_bits(calibration: Calibration, index: IndexSpec) -> int | None:
    """Tell how many bits a dimension codes should have; None where those they have rank well.

    Probing all partitions tells codes that rank roughly from partitions that are missed.
    """
    if index.kind != "rabitq" or index.bits == MOST_BITS:
        return None
    promise = Promise(calibration, at_defaults(calibration).k)
    if promise.at(promise.nprobes[-1], DEFAULT_REFINE_FACTOR).recall >= RANKED_RECALL:
        return None
    return BETTER_BITS if index.bits < BETTER_BITS else MOST_BITS


def advise(calibration: Calibration | None, rows: int, buckets: Sequence[str]) -> Advice:
    """Decide whether to calibrate or retrain.

    Retrain when the rows of a later bucket are found worse than those that were calibrated, by more
    than 0.02 with both intervals granted. Calibrate when nobody has, when a later bucket was not
    measured, or when more than a fifth of the rows came later.

    Args:
        calibration: of the model in use; None where there is none.
        rows: rows there are now.
        buckets: names of the live buckets.
    """
    if calibration is None:
        return Advice("calibrate", "recall was never measured")
    before = at_defaults(calibration)
    worse = [drift for drift in calibration.drift if _is_worse(drift, before)]
    worse = [drift for drift in worse if drift.bucket in buckets]
    if worse:
        worst = min(worse, key=lambda drift: drift.recall)
        return Advice(
            "retrain",
            f"the rows of {worst.bucket} find {worst.recall:.3f} of their neighbours where "
            f"{before.recall:.3f} was calibrated",
        )
    known = {*calibration.buckets, *(drift.bucket for drift in calibration.drift)}
    if unknown := [name for name in buckets if name not in known]:
        return Advice("calibrate", f"bucket {unknown[0]} came later and was not measured")
    if calibration.rows < SEEN_SHARE * rows:
        return Advice("calibrate", f"it saw {calibration.rows:,} of {rows:,} rows")
    if calibration.drift:
        return Advice("nothing", "later rows are found as well as those that were calibrated")
    return Advice("nothing", "no rows came later")


def _is_worse(drift: Drift, before: CalibrationPoint) -> bool:
    return drift.high < before.low - RECALL_LOSS
