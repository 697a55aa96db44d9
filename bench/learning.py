"""Learns from a collection how its rows lie, to hold quotes against what was counted.

Nothing of it is needed to run Atoll: quotes suppose the shape they were fitted to, see
`atoll.vectors.pricing.shape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from atoll.vectors.layout import Layout
from atoll.vectors.pricing.searchcost import cold_search
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings

# Rows that nearly all touch, and rows that lie more evenly than chance.
ROW_GAPS_RANGE = (0.1, 2.0)
FIT_ROUNDS, SPREAD_STEPS = 12, 40
# What fits nearly as well as the best: requests and bytes together, relative.
NEAR_ERROR = 0.05


def learned(
    shape: CollectionShape, settings: SearchSettings, gets: float, bytes_in: float
) -> CollectionShape:
    """Learn from counted searches how the rows that are refined lie in a collection.

    Args:
        shape: of the collection.
        settings: that the searches had; "rabitq" only, others do not choose by codes.
        gets, bytes_in: of one by a process that had nothing cached, mean over several.

    Returns:
        The shape with `row_gaps` and `row_spread` at which `cold_search` comes near: of several
        that do, the one with rows spread widest. It holds for these settings. For another k or
        refine factor learn anew where vectors form tight clusters: one spread does not tell how
        clusters lie to each other.
    """
    widest = shape.rows / settings.candidates(shape)
    spreads = [widest ** (step / SPREAD_STEPS) for step in range(SPREAD_STEPS + 1)]
    fits = [_with_row_gaps(replace(shape, row_spread=each), settings, gets) for each in spreads]

    def error(fit: CollectionShape) -> float:
        expected = cold_search(fit, settings)
        return abs(expected.gets / gets - 1) + abs(expected.bytes_in / bytes_in - 1)

    errors = [error(fit) for fit in fits]
    near = [fit for fit, off in zip(fits, errors, strict=True) if off <= min(errors) + NEAR_ERROR]
    return near[-1]


def _with_row_gaps(
    shape: CollectionShape, settings: SearchSettings, gets: float
) -> CollectionShape:
    """Find the shape of gaps that gives so many requests: more, the more even gaps are."""
    low, high = ROW_GAPS_RANGE
    for _ in range(FIT_ROUNDS):
        middle = (low + high) / 2
        expected = cold_search(replace(shape, row_gaps=middle), settings).gets
        low, high = (middle, high) if expected < gets else (low, middle)
    return replace(shape, row_gaps=(low + high) / 2)


def skew_of_layouts(layouts: Sequence[Layout]) -> float:
    """Tell how uneven partitions are: a query falls into one about as likely as a row does.

    Args:
        layouts: of all buckets of one model, or of some.
    """
    sizes = np.sum([np.diff(layout.offsets) for layout in layouts], axis=0).astype(np.float64)
    return float(np.square(sizes).mean() / sizes.mean() ** 2)
