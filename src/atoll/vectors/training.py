"""Trains the one index model of a collection, on a sample drawn over all its sources."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.progress import OnProgress, Progress
from atoll.vectors import index, store
from atoll.vectors.distance import unsearchable
from atoll.vectors.model import Blob
from atoll.vectors.planning import Planned

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
            sample, planned.spec.index, planned.spec.distance_type, planned.options.seed
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
    sources = [planned.sources[uri] for uri in sorted(planned.sources)]
    wanted = min(index.sample_rows(planned.spec.index), MAX_SAMPLE_ROWS)
    starts = np.concatenate([[0], np.cumsum([source.rows for source in sources])])
    total = int(starts[-1])
    parts = []
    for start, stop in _sample_ranges(total, wanted, planned.options.seed):
        while start < stop:
            at = int(np.searchsorted(starts, start, "right")) - 1
            end = min(stop, int(starts[at + 1]))
            first = start - int(starts[at])
            for batch in sources[at].read(first, first + end - start, 8192, ()):
                parts.append(store.vectors_of(batch["vector"], planned.spec.dim))
            start = end
    sample = np.concatenate(parts).astype(np.float32, copy=False)
    keep = np.ones(len(sample), np.bool_)
    for bad in unsearchable(sample, planned.spec.distance_type).values():
        keep &= ~bad
    if not keep.any():
        raise InvalidInput(
            f"none of the {len(sample)} rows drawn for training can be searched: all hold NaN, "
            "infinity, only zeros or values out of float32's range; look at the source files"
        )
    return sample[keep]


def _sample_ranges(total: int, wanted: int, seed: int) -> Iterator[tuple[int, int]]:
    if wanted >= total:
        yield 0, total
        return
    blocks = -(-total // SAMPLE_BLOCK_ROWS)
    count = min(blocks, -(-wanted // SAMPLE_BLOCK_ROWS))
    chosen = np.random.default_rng(seed).choice(blocks, count, replace=False, shuffle=False)
    for block in np.sort(chosen):
        start = int(block) * SAMPLE_BLOCK_ROWS
        yield start, min(total, start + SAMPLE_BLOCK_ROWS)
