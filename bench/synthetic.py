"""Clustered vectors that stand in for protein embeddings where no real ones are at hand.

A common mean, superfamilies around it, clusters around those with power-law sizes, a few directions
of variation within a cluster, a little noise, and lengths that vary. They rank methods; they do not
promise a recall on real embeddings.

A row depends on the seed and its number alone: any range can be drawn again, so a set larger than
the disk is written file by file, and never whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

DIM = 960
SUPERFAMILIES = 300
CLUSTERS = 4000
RANK = 24
DIRECTIONS = 512
# Rows are drawn in blocks of this size, each with its own random numbers.
BLOCK_ROWS = 2000
ROWS_SEED, QUERIES_SEED = 1, 2


@dataclass(frozen=True)
class Shape:
    """Where the clusters lie and how they spread."""

    centres: NDArray[np.float32]
    weights: NDArray[np.float64]
    directions: NDArray[np.float32]
    chosen: NDArray[np.int64]
    spread: NDArray[np.float32]


@lru_cache(maxsize=1)
def draw_shape(seed: int = 20_261_122) -> Shape:
    """Draw clusters of falling sizes, gathered in superfamilies, stretched along a few axes."""
    random = np.random.default_rng(seed)
    falling = np.arange(1, DIM + 1, dtype=np.float32) ** -0.5
    axes = np.linalg.qr(random.standard_normal((DIM, DIM), np.float32))[0]

    def cloud(points: int, scale: float) -> NDArray[np.float32]:
        drawn = random.standard_normal((points, DIM), np.float32) * falling
        return (drawn @ axes) * np.float32(scale / np.linalg.norm(falling))

    parent = random.integers(0, SUPERFAMILIES, CLUSTERS)
    mean = random.standard_normal(DIM, np.float32)
    centres = mean / np.linalg.norm(mean) + cloud(SUPERFAMILIES, 0.55)[parent]
    centres += cloud(CLUSTERS, 0.38)
    weights = np.arange(1, CLUSTERS + 1) ** -0.8
    directions = np.linalg.qr(random.standard_normal((DIM, DIRECTIONS), np.float32))[0].T
    chosen = random.permuted(np.tile(np.arange(DIRECTIONS), (CLUSTERS, 1)), axis=1)[:, :RANK]
    along = np.arange(1, RANK + 1, dtype=np.float32) ** -0.6
    spread = random.lognormal(0, 0.35, (CLUSTERS, 1)) * along * (0.3 / np.linalg.norm(along))
    return Shape(
        centres,
        weights / weights.sum(),
        np.ascontiguousarray(directions),
        chosen,
        spread.astype(np.float32),
    )


def blocks(start: int, stop: int, seed: int = ROWS_SEED) -> Iterator[NDArray[np.float32]]:
    """Draw the rows from start to stop, some at a time: (n, DIM) float32."""
    for number in range(start // BLOCK_ROWS, -(-stop // BLOCK_ROWS)):
        first = number * BLOCK_ROWS
        block = _block(seed, number)
        yield block[max(0, start - first) : stop - first]


def rows(start: int, stop: int, seed: int = ROWS_SEED) -> NDArray[np.float32]:
    """Draw the rows from start to stop: (stop - start, DIM) float32."""
    return np.concatenate([*blocks(start, stop, seed)])


def queries(count: int) -> NDArray[np.float32]:
    """Draw rows of the same kind that are in no set."""
    return rows(0, count, QUERIES_SEED)


def _block(seed: int, number: int) -> NDArray[np.float32]:
    shape, random = draw_shape(), np.random.default_rng([seed, number])
    cluster = random.choice(CLUSTERS, BLOCK_ROWS, p=shape.weights)
    inner = np.zeros((BLOCK_ROWS, DIRECTIONS), np.float32)
    along = random.standard_normal((BLOCK_ROWS, RANK), np.float32) * shape.spread[cluster]
    np.put_along_axis(inner, shape.chosen[cluster], along, axis=1)
    vectors = inner @ shape.directions
    vectors += shape.centres[cluster]
    noise = random.standard_normal((BLOCK_ROWS, DIM), np.float32)
    vectors += noise * np.float32(0.09 * DIM**-0.5)
    vectors *= random.lognormal(1, 0.1, (BLOCK_ROWS, 1)).astype(np.float32)
    return vectors


def write_file(path: str, start: int, stop: int, dtype: str = "float32") -> None:
    """Write rows as other people do: HDF5 of `embedding`, and `id` as fixed-width bytes."""
    with h5py.File(path, "w") as h5:
        table = h5.create_dataset("embedding", (stop - start, DIM), np.dtype(dtype))
        at = 0
        for block in blocks(start, stop):
            table[at : at + len(block)] = block
            at += len(block)
        h5["id"] = ids_of(start, stop)


def write_files(
    folder: str, files: int, rows_per_file: int, dtype: str = "float32", start: int = 0
) -> list[str]:
    """Write files of consecutive rows; returns their paths."""
    paths = []
    for number in range(files):
        path = str(Path(folder) / f"vectors-{number:03}.h5")
        first = start + number * rows_per_file
        write_file(path, first, first + rows_per_file, dtype)
        paths.append(path)
    return paths


def ids_of(start: int, stop: int) -> NDArray[Any]:
    return np.array([f"MGYP{number:012d}" for number in range(start, stop)], "S16")
