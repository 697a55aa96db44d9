"""Trains the one index model of a collection, on a sample drawn over all its sources."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.vectors import index, store
from atoll.vectors.distance import unsearchable
from atoll.vectors.model import Blob
from atoll.vectors.planning import Planned
from atoll.vectors.sources.source import Range

SAMPLE_BLOCK_ROWS = 16
MAX_SAMPLE_ROWS = 1 << 18


def index_model(planned: Planned, on_progress: OnProgress) -> tuple[str | None, Blob | None]:
    """Train the index model of a build, or take the one this build trained before.

    Returns:
        The model's hash and where it is; two times None for "flat".
    """
    if planned.spec.index.kind == "flat":
        return None, None
    path = store.build_path(planned.hash, "model.json")
    if not planned.storage.exists(path):
        on_progress(Progress("train", 0, None, "rows"))
        sample = training_sample(planned)
        trained = index.train(
            sample,
            planned.spec.index,
            planned.spec.distance_type,
            planned.options.seed,
            planned.options.device,
        )
        blob = store.put_model(planned.storage, trained)
        # Two creators of one plan train alike but for the last bits: the first model serves both.
        planned.storage.put_new(path, msgspec.json.encode(blob))
        on_progress(Progress("train", len(sample), len(sample), "rows"))
    blob = msgspec.json.decode(planned.storage.get(path), type=Blob)
    return blob.sha256[:32], blob


def training_sample(planned: Planned) -> NDArray[np.float32]:
    """Draw rows over all files, in small blocks; decided by sources and seed alone.

    Returns:
        (n, dim) float32 without rows that cannot be searched.

    Raises:
        InvalidInput: no row can be.
    """
    wanted = min(index.sample_rows(planned.spec.index), MAX_SAMPLE_ROWS)
    sources = [planned.sources[uri] for uri in sorted(planned.sources)]
    ranges = sample_ranges([source.rows for source in sources], wanted, planned.options.seed)
    rows = sum(stop - start for chosen in ranges for start, stop in chosen)
    # Filled as it is read: a part may be a view that keeps a far larger batch alive.
    sample = np.empty((rows, planned.spec.dim), np.float32)
    at = 0
    for source, chosen in zip(sources, ranges, strict=True):
        for part in source.vectors_in(chosen) if chosen else ():
            sample[at : at + len(part)] = part
            at += len(part)
    keep = np.ones(len(sample), np.bool_)
    for bad in unsearchable(sample, planned.spec.distance_type).values():
        keep &= ~bad
    if not keep.any():
        raise InvalidInput(
            f"none of the {len(sample)} rows drawn for training can be searched: all hold NaN, "
            "infinity, only zeros or values out of float32's range; look at the source files"
        )
    return sample[keep]


def sample_ranges(sizes: list[int], wanted: int, seed: int) -> list[list[Range]]:
    """Draw blocks of rows, of all files laid end to end; returns those of each file."""
    total = sum(sizes)
    if wanted >= total:
        return [[(0, rows)] for rows in sizes]
    blocks = -(-total // SAMPLE_BLOCK_ROWS)
    count = min(blocks, -(-wanted // SAMPLE_BLOCK_ROWS))
    chosen = np.random.default_rng(seed).choice(blocks, count, replace=False, shuffle=False)
    starts = np.sort(chosen) * SAMPLE_BLOCK_ROWS
    stops = np.minimum(starts + SAMPLE_BLOCK_ROWS, total)
    ranges = []
    first = 0
    for rows in sizes:
        # A block may reach from one file into the next, or over several.
        mine = slice(np.searchsorted(stops, first, "right"), np.searchsorted(starts, first + rows))
        cut = np.clip((starts[mine], stops[mine]), first, first + rows) - first
        ranges.append([(start, stop) for start, stop in cut.T.tolist()])
        first += rows
    return ranges
