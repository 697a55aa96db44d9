"""Trains the one index model of a collection, on a sample drawn over all its sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput, NotFound
from atoll.core.progress import OnProgress, Progress
from atoll.core.records import decoded
from atoll.core.text import counted
from atoll.storage import Storage
from atoll.vectors import blobs, index, indexspec
from atoll.vectors.distance import unsearchable
from atoll.vectors.model import Blob, CollectionSpec, IndexSpec
from atoll.vectors.paths import build_path
from atoll.vectors.planning import Planned
from atoll.vectors.sources.source import Range

SAMPLE_BLOCK_ROWS = 16
MAX_SAMPLE_ROWS = 1 << 18


def index_model(planned: Planned, on_progress: OnProgress) -> Blob | None:
    """Train the index model of a build, or take the one this build trained before.

    Returns:
        Where the model is; None for "flat".
    """
    if planned.spec.index.kind == "flat":
        return None
    sources = [planned.sources[uri] for uri in sorted(planned.sources)]
    return trained(
        planned.storage,
        planned.hash,
        lambda: training_sample(sources, planned.spec, planned.options.seed),
        planned.spec,
        planned.options.seed,
        on_progress,
        planned.options.device,
    )


def model_path(plan: str) -> str:
    """Name the object that says which model a build trained."""
    return build_path(plan, "model.json")


def trained(
    storage: Storage,
    plan: str,
    sample: Callable[[], NDArray[np.float32]],
    spec: CollectionSpec,
    seed: int,
    on_progress: OnProgress,
    device: str = "cpu",
) -> Blob:
    """Train a model, or take the one that the same build trained before.

    Args:
        storage: the collection.
        plan: names the build.
        sample: draws the rows to train on.
        spec: what index, for which distance.
        seed: for the starting centroids and the rotation.
        on_progress: told when it begins and ends.
        device: where.

    Returns:
        Where the model is.
    """
    path = model_path(plan)
    # Not looked for first: another retrain that ends takes it away.
    with suppress(NotFound):
        return decoded(storage.get(path), Blob)
    on_progress(Progress("train", 0, None, "rows"))
    rows = sample()
    blob = blobs.put_model(storage, index.train(rows, spec.index, spec.distance_type, seed, device))
    # Two creators of one plan train alike but for the last bits: the first model serves both.
    if not storage.put_new(path, msgspec.json.encode(blob)):
        blob = decoded(storage.get(path), Blob)
    on_progress(Progress("train", len(rows), len(rows), "rows"))
    return blob


class Sampled(Protocol):
    """Where training rows are drawn from: a source, or a bucket."""

    @property
    def rows(self) -> int:
        """How many it has."""

    def vectors_in(self, ranges: Sequence[Range]) -> Iterator[NDArray[np.float32]]:
        """Stream the vectors of several ranges."""


def training_sample(
    sources: Sequence[Sampled], spec: CollectionSpec, seed: int
) -> NDArray[np.float32]:
    """Draw rows over all sources, in small blocks; decided by sources and seed alone.

    Returns:
        (n, dim) float32 without rows that cannot be searched.

    Raises:
        InvalidInput: no row can be.
    """
    return drawn_rows(sources, spec, training_rows(spec.index), seed)


def training_rows(spec: IndexSpec) -> int:
    """Tell how many rows a model is trained on, where there are as many."""
    return min(indexspec.sample_rows(spec), MAX_SAMPLE_ROWS)


def drawn_rows(
    sources: Sequence[Sampled], spec: CollectionSpec, wanted: int, seed: int
) -> NDArray[np.float32]:
    """Draw about so many rows; see `training_sample`."""
    ranges = sample_ranges([source.rows for source in sources], wanted, seed)
    rows = sum(stop - start for chosen in ranges for start, stop in chosen)
    # Filled as it is read: a part may be a view that keeps a far larger batch alive.
    sample = np.empty((rows, spec.dim), np.float32)
    at = 0
    for source, chosen in zip(sources, ranges, strict=True):
        for part in source.vectors_in(chosen) if chosen else ():
            sample[at : at + len(part)] = part
            at += len(part)
    keep = np.ones(len(sample), np.bool_)
    for bad in unsearchable(sample, spec.distance_type).values():
        keep &= ~bad
    if not keep.any():
        raise InvalidInput(
            f"none of the {counted(len(sample), 'row')} drawn from the sources can be searched: "
            "all hold NaN, infinity, only zeros or values out of float32's range; look at what "
            "wrote them"
        )
    return sample if keep.all() else sample[keep]


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
