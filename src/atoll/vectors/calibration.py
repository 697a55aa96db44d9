"""Decides from measured recall: which settings to measure, and which of them keep a promise.

nprobes_grid, candidates_grid    what to measure
interval                         how far a mean over some queries may be off
distance_threshold               up to where neighbours are more than chance
Promise                          recall and cost between measured settings, and between measured k
choose                           the cheapest setting that holds a recall
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.vectors.model import Calibration, CalibrationPoint

REFINE_FACTORS = (1, 2, 5, 10, 20, 50)
# With more neighbours wanted, the largest factor would read most of what is near.
MAX_K_FOR_LARGEST_FACTOR = 10
# So close that recall between two of them follows a straight line over log(nprobes).
NPROBES_STEPS = (1, 1.5, 2, 3, 5, 7)
# Once everything is found up to this, more partitions are not measured.
ENOUGH_RECALL = 0.9995
Z_95 = 1.959964
# What one more request weighs in bytes: 25 ms to its first byte, at 80 MB/s and 16 at a time.
REQUEST_BYTES = 128 << 10


# -- what to measure ------------------------------------------------------------------------------


def nprobes_grid(num_partitions: int) -> list[int]:
    """List numbers of partitions to probe, evenly on a log scale, up to all of them.

    >>> nprobes_grid(40)
    [1, 2, 3, 5, 7, 10, 15, 20, 30, 40]
    """
    scaled = (round(step * 10**power) for power in range(8) for step in NPROBES_STEPS)
    return [*sorted({count for count in scaled if count < num_partitions}), num_partitions]


def candidates_grid(ks: Iterable[int], rows: int) -> list[int]:
    """List numbers of rows to refine: every k with its refine factors, at most all rows.

    >>> candidates_grid([10, 100], 1500)
    [10, 20, 50, 100, 200, 500, 1000, 1500]
    """
    factors = {
        k: REFINE_FACTORS if k <= MAX_K_FOR_LARGEST_FACTOR else REFINE_FACTORS[:-1] for k in ks
    }
    return sorted({min(k * factor, rows) for k in factors for factor in factors[k]})


# -- what a mean is worth -------------------------------------------------------------------------


def interval(shares: NDArray[np.float64]) -> tuple[float, float, float]:
    """Average the recall of single queries and say how sure the average is.

    Wilson's interval with the effective number of trials: as many coin tosses as would scatter
    like the queries do, at least one a query. Unlike mean and deviation alone it does not shrink to
    nothing when every query found everything.

    Args:
        shares: (queries,) 0 to 1.

    Returns:
        Mean, and the ends of its 95 % confidence interval.

    Source: Dean, Pagano (2015), Journal of Survey Statistics and Methodology 3, 484-503.

    >>> mean, low, high = interval(np.ones(400))
    >>> mean, round(low, 4), high
    (1.0, 0.9905, 1.0)
    """
    n = len(shares)
    mean = float(shares.mean())
    variance = float(shares.var(ddof=1)) if n > 1 else 0.0
    trials = max(n, n * mean * (1 - mean) / variance) if variance > 0 else n
    z2 = Z_95**2 / trials
    middle = (mean + z2 / 2) / (1 + z2)
    half = Z_95 / (1 + z2) * math.sqrt(mean * (1 - mean) / trials + z2 / (4 * trials))
    # Where all found everything, or nothing, rounding would leave the mean outside.
    return mean, min(mean, max(0.0, middle - half)), max(mean, min(1.0, middle + half))


def distance_threshold(nearest: float, random: float) -> float:
    """Say up to which distance a neighbour counts as near: half way from the nearest to chance.

    Where vectors spread evenly, most of the ten nearest are hardly nearer than a random row, and
    which of them are found matters little.

    Args:
        nearest: median distance of a query to its nearest neighbour.
        random: median distance of two queries.
    """
    return (nearest + random) / 2


# -- between measured settings --------------------------------------------------------------------


def cost(point: CalibrationPoint) -> float:
    """Weigh what a query reads: bytes, and a fixed price for each request."""
    return point.bytes + REQUEST_BYTES * point.requests


class Surface:
    """Recall and cost for one k, at any setting.

    Recall rises with log(nprobes) and log(candidates) in a curve that bends down; the straight line
    between two measured points lies below it, so what lies between them is promised too little
    rather than too much. Beyond the measured settings nothing more is promised.
    """

    FIELDS = ("recall", "low", "high", "near_recall", "rows", "requests", "bytes")

    def __init__(self, points: Sequence[CalibrationPoint]) -> None:
        """Take the measured points of one k: every nprobes with every number of candidates."""
        self.k = points[0].k
        self.nprobes = sorted({point.nprobes for point in points})
        self._candidates = sorted({point.candidates for point in points})
        known = {(point.nprobes, point.candidates): point for point in points}
        self._values = np.array(
            [
                [[_number(known[n, c], name) for name in self.FIELDS] for c in self._candidates]
                for n in self.nprobes
            ]
        )

    @property
    def max_candidates(self) -> int:
        """The largest number of candidates that was measured."""
        return self._candidates[-1]

    def at(self, nprobes: int, candidates: int) -> CalibrationPoint:
        """Tell recall and cost at a setting."""
        column = self._at_candidates(candidates)
        (found,) = _between(np.array([nprobes]), self.nprobes, column)
        named = dict(zip(self.FIELDS, found.tolist(), strict=True))
        point = CalibrationPoint(self.k, nprobes, candidates, **named)
        return replace(point, near_recall=None) if math.isnan(named["near_recall"]) else point

    def lows(self, nprobes: NDArray[np.int64], candidates: int) -> NDArray[np.float64]:
        """Tell the lower ends of the interval of recall at several nprobes."""
        column = self._at_candidates(candidates)
        return _between(nprobes, self.nprobes, column)[:, self.FIELDS.index("low")]

    def _at_candidates(self, candidates: int) -> NDArray[np.float64]:
        """Interpolate every field at a number of candidates: (nprobes, fields)."""
        by_candidates = self._values.swapaxes(0, 1).reshape(len(self._candidates), -1)
        row = _between(np.array([candidates]), self._candidates, by_candidates)
        return row.reshape(len(self.nprobes), len(self.FIELDS))


def _number(point: CalibrationPoint, name: str) -> float:
    value = getattr(point, name)
    return math.nan if value is None else float(value)


def _between(
    wanted: NDArray[np.int64], measured: Sequence[int], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate rows of (measured, fields) values over the logarithm of where they were taken."""
    at = np.interp(np.log(wanted), np.log(measured), np.arange(len(measured)))
    left = np.floor(at).astype(np.int64)
    right = np.minimum(left + 1, len(measured) - 1)
    part = (at - left)[:, None]
    mixed: NDArray[np.float64] = values[left] * (1 - part) + values[right] * part
    return mixed


class Promise:
    """What is known of k hits, from one measured k or from those around it.

    Between two measured k there are two bounds, and the better one counts. With the same refine
    factor recall lies between that of both. And with the same number of candidates fewer hits are
    found at least as well as more: the nearer a row, the higher its estimate stands.
    """

    def __init__(self, calibration: Calibration, k: int) -> None:
        """Pick what speaks for a k.

        Raises:
            InvalidInput: k is above the largest measured, or below the smallest.
        """
        measured = sorted({point.k for point in calibration.points})
        if not measured[0] <= k <= measured[-1]:
            raise InvalidInput(
                f"recall is calibrated for {measured[0]} to {measured[-1]} neighbours, not {k}; "
                f"run `atoll calibrate` with -k {k}, or search with --exact",
                k=k,
                calibrated_k=measured,
            )
        self.k, self.queries = k, calibration.queries
        above = next(each for each in measured if each >= k)
        below = max((each for each in measured if each <= k), default=above)
        self._around = [
            Surface([point for point in calibration.points if point.k == each])
            for each in sorted({below, above})
        ]
        self._above = self._around[-1]
        self.nprobes = self._above.nprobes

    def factors(self) -> list[int]:
        """List refine factors to choose from: all small ones, of the larger each tenth more."""
        found, last = [], self._above.max_candidates // self.k
        factor = 1
        while factor <= max(1, last):
            if self._holds_by_factor(factor) or self._holds_by_candidates(factor):
                found.append(factor)
            factor += max(1, (factor - REFINE_FACTORS[-1]) // 10)
        return found

    def _holds_by_factor(self, factor: int) -> bool:
        return factor == 1 or all(each.k * factor <= each.max_candidates for each in self._around)

    def _holds_by_candidates(self, factor: int) -> bool:
        return self._above.k <= self.k * factor <= self._above.max_candidates

    def lows(self, nprobes: NDArray[np.int64], factor: int) -> NDArray[np.float64]:
        """Tell the lower ends of the interval of recall at several nprobes."""
        bounds = []
        if self._holds_by_factor(factor):
            lows = [each.lows(nprobes, each.k * factor) for each in self._around]
            bounds.append(np.min(lows, axis=0))
        if self._holds_by_candidates(factor):
            bounds.append(self._above.lows(nprobes, self.k * factor))
        best: NDArray[np.float64] = np.max(bounds, axis=0)
        return best

    def at(self, nprobes: int, factor: int) -> CalibrationPoint:
        """Tell recall and cost at a setting; beyond what was measured, no more than that."""
        bounds = []
        if self._holds_by_candidates(factor):
            bounds.append(self._above.at(nprobes, self.k * factor))
        if self._holds_by_factor(factor) or not bounds:
            found = [each.at(nprobes, each.k * factor) for each in self._around]
            dearest = max(found, key=cost)
            worst = min(found, key=lambda point: point.low)
            of_dearest = {name: getattr(dearest, name) for name in ("rows", "requests", "bytes")}
            bounds.append(replace(worst, **of_dearest))
        best = max(bounds, key=lambda point: point.low)
        return replace(best, k=self.k, candidates=self.k * factor)


# -- the promise ----------------------------------------------------------------------------------


def choose(calibration: Calibration, k: int, recall: float) -> CalibrationPoint:
    """Choose the cheapest setting whose interval of recall lies above what is asked for.

    Args:
        calibration: what was measured.
        k: hits wanted.
        recall: share of the true k nearest wanted, below 1.

    Raises:
        InvalidInput: no setting holds it; the message names the best. Or k is above the largest
            measured.
    """
    promise = Promise(calibration, k)
    found = [
        promise.at(nprobes, factor)
        for factor in promise.factors()
        if (nprobes := _fewest_probes(promise, factor, recall)) is not None
    ]
    if not found:
        raise _out_of_reach(promise, recall)
    return min(found, key=cost)


def _fewest_probes(promise: Promise, factor: int, recall: float) -> int | None:
    before = 0
    for measured in promise.nprobes:
        if promise.lows(np.array([measured]), factor)[0] >= recall:
            between = np.arange(before + 1, measured + 1)
            holds = promise.lows(between, factor) >= recall
            return int(between[np.argmax(holds)])
        before = measured
    return None


def _out_of_reach(promise: Promise, recall: float) -> InvalidInput:
    points = [promise.at(n, factor) for n in promise.nprobes for factor in promise.factors()]
    best = max(points, key=lambda point: (point.low, -cost(point)))
    sure = math.floor(best.low * 1000) / 1000
    more = ""
    if best.recall >= recall:
        more = f", measure it on more than {promise.queries} queries with `atoll calibrate`"
    return InvalidInput(
        f"recall {recall:g} of the {promise.k} nearest is out of reach: the best calibrated is "
        f"{best.recall:.3f} at nprobes {best.nprobes}, refine factor {best.refine_factor}, "
        f"of which {sure:.3f} is sure; ask for that{more}, or search with --exact",
        recall=recall,
        best=best.recall,
        sure=sure,
        nprobes=best.nprobes,
        refine_factor=best.refine_factor,
    )
