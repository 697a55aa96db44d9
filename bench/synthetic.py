"""Clustered vectors that stand in for protein embeddings where no real ones are at hand.

A common mean, superfamilies around it, clusters around those with power-law sizes, a few directions
of variation within a cluster, a little noise, and lengths that vary. They rank methods; they do not
promise a recall on real embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
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
SLAB_ROWS = 20_000


@dataclass(frozen=True)
class Shape:
    """Where the clusters lie and how they spread."""

    centres: NDArray[np.float32]
    weights: NDArray[np.float64]
    directions: NDArray[np.float32]
    chosen: NDArray[np.int64]
    spread: NDArray[np.float32]


def draw_shape(seed: int = 20_261_122) -> Shape:
    random = np.random.default_rng(seed)
    unit = DIM**-0.5

    def normal(*size: int) -> NDArray[np.float32]:
        return random.standard_normal(size, np.float32)

    parent = random.integers(0, SUPERFAMILIES, CLUSTERS)
    centres = normal(DIM) * unit + 0.55 * unit * normal(SUPERFAMILIES, DIM)[parent]
    centres += 0.38 * unit * normal(CLUSTERS, DIM)
    weights = np.arange(1, CLUSTERS + 1) ** -0.8
    directions = np.ascontiguousarray(np.linalg.qr(normal(DIM, DIRECTIONS))[0].T)
    chosen = random.permuted(np.tile(np.arange(DIRECTIONS), (CLUSTERS, 1)), axis=1)[:, :RANK]
    falling = np.arange(1, RANK + 1, dtype=np.float32) ** -0.6
    spread = random.lognormal(0, 0.35, (CLUSTERS, 1)) * falling * (0.3 / np.linalg.norm(falling))
    return Shape(centres, weights / weights.sum(), directions, chosen, spread.astype(np.float32))


def draw(shape: Shape, rows: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Draw (rows, DIM) float32 vectors."""
    cluster = random.choice(CLUSTERS, rows, p=shape.weights)
    inner = np.zeros((rows, DIRECTIONS), np.float32)
    along = random.standard_normal((rows, RANK), np.float32) * shape.spread[cluster]
    np.put_along_axis(inner, shape.chosen[cluster], along, axis=1)
    vectors = shape.centres[cluster] + inner @ shape.directions
    vectors += random.standard_normal((rows, DIM), np.float32) * np.float32(0.09 * DIM**-0.5)
    vectors *= random.lognormal(1, 0.1, (rows, 1)).astype(np.float32)
    return vectors


def write_files(folder: str, files: int, rows_per_file: int, seed: int = 1) -> list[str]:
    """Write HDF5 files as other people do: `embedding`, and `id` as fixed-width bytes."""
    shape = draw_shape()
    paths = []
    for number in range(files):
        random = np.random.default_rng([seed, number])
        path = Path(folder) / f"vectors-{number:03}.h5"
        with h5py.File(path, "w") as h5:
            table = h5.create_dataset("embedding", (rows_per_file, DIM), np.float32)
            for start in range(0, rows_per_file, SLAB_ROWS):
                stop = min(rows_per_file, start + SLAB_ROWS)
                table[start:stop] = draw(shape, stop - start, random)
            first = number * rows_per_file
            h5["id"] = ids_of(first, first + rows_per_file)
        paths.append(str(path))
    return paths


def ids_of(start: int, stop: int) -> NDArray[Any]:
    return np.array([f"MGYP{number:012d}" for number in range(start, stop)], "S16")
