"""How many requests are left once pieces that lie close together are read as one.

`layout.join_ranges` closes the smallest gaps first, as long as what is read in vain stays within an
allowance. How many gaps that closes depends on how unevenly the pieces lie; here some touch, and
the gaps of the others follow a Weibull distribution, whose shape says so: 1 where they lie at
random, less where they cluster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from atoll.vectors.layout import DEAR_PIECES, MAX_RANGE_BYTES

# Gaps of so many pieces are looked at one by one; of more, evenly chosen ones stand for all.
_QUANTILES = 1 << 14


@dataclass(frozen=True)
class Ranges:
    """What is asked for.

    Attributes:
        requests: how many.
        bytes: what comes back, gaps included.
    """

    requests: float
    bytes: float

    def times(self, count: float) -> Ranges:
        """Ask so often."""
        return Ranges(self.requests * count, self.bytes * count)


NOTHING = Ranges(0, 0)


def joined(
    pieces: float,
    piece_bytes: float,
    *,
    stretch_bytes: float,
    shape: float,
    unit_bytes: float,
    gap_bytes: int,
    touching: float = 0.0,
    files: int = 1,
) -> Ranges:
    """Expect the requests for pieces spread over a stretch of an object, or of several.

    Args:
        pieces: how many; each at least once read whole.
        piece_bytes: of one, mean.
        stretch_bytes: of all objects in which they lie, pieces included.
        shape: of the distribution of gaps.
        unit_bytes: gaps are whole multiples of it.
        gap_bytes: what a request is worth.
        touching: share of neighbours with nothing between them.
        files: objects they lie in, none of which is joined with another.
    """
    if pieces <= 0:
        return NOTHING
    wanted = pieces * piece_bytes
    neighbours = max(0, math.ceil(pieces) - min(files, math.ceil(pieces)))
    gaps = math.ceil(neighbours * (1 - touching))
    closed, in_vain = _closed(
        gaps,
        max(0.0, stretch_bytes - wanted) / pieces / (1 - touching),
        shape,
        unit_bytes,
        _allowance(math.ceil(pieces), gap_bytes),
    )
    closed += neighbours - gaps
    size = wanted + in_vain
    return Ranges(max(pieces - closed, size / MAX_RANGE_BYTES, min(files, pieces)), size)


def _allowance(pieces: int, gap_bytes: int) -> int:
    """Bytes that may be read in vain; as `layout.join_ranges` has it."""
    dear = min(pieces, DEAR_PIECES)
    return gap_bytes * dear + gap_bytes * (pieces - dear) // DEAR_PIECES


def _closed(
    gaps: int, mean_bytes: float, shape: float, unit_bytes: float, allowance: float
) -> tuple[float, float]:
    """Count the gaps that are closed, the smallest first, and the bytes in them."""
    if not gaps:
        return 0, 0
    points = min(gaps, _QUANTILES)
    at = (np.arange(points) + 0.5) / points
    sizes = (-np.log1p(-at)) ** (1 / shape)
    # However uneven, together they are all that lies between.
    sizes *= mean_bytes / sizes.mean()
    sizes = np.floor(sizes / unit_bytes + 0.5) * unit_bytes
    spent = np.cumsum(sizes) * (gaps / points)
    closed = int(np.searchsorted(spent, allowance, "right"))
    if closed == points:
        return gaps, float(spent[-1])
    # Of those that stand for many, some fit.
    before = float(spent[closed - 1]) if closed else 0.0
    share = 0.0 if points == gaps else (allowance - before) / (float(spent[closed]) - before)
    return (closed + share) * gaps / points, before + share * (float(spent[closed]) - before)
