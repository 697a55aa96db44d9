"""Data sets of the benches: real where the caller has them, synthetic otherwise, always named."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import synthetic

UNIPROT = "uniprot_mmseqs_examples_20k.fasta.gz"
SCOPE = "scope40_201.fasta.gz"
WINDOW = 150
STEP = 35
EMBED_AT_ONCE = 8192
SLAB_ROWS = 50_000
# Candidates beyond k that get exact distances.
SPARE = 20


def find(data: str | None, name: str) -> Path | None:
    """Return the path of a set in the DATA folder, None where it is not there."""
    path = Path(data, name) if data else None
    return path if path and path.is_file() else None


def shipped_proteins() -> Path | None:
    """Return the UniProt subset that the package ships for its demo."""
    import atoll

    folder = Path(atoll.__file__).parent / "app" / "data"
    return next(iter(sorted(folder.glob("*.fasta*"))), None)


def windows(path: Path) -> Iterator[tuple[str, str]]:
    """Cut every protein into windows of 150 residues every 35: (id, residues)."""
    from atoll.vectors.embed.fasta import read_fasta

    for record in read_fasta(path):
        length = len(record.sequence)
        for start in range(0, max(1, length - WINDOW + STEP), STEP):
            stop = min(length, start + WINDOW)
            yield f"{record.id}/{start + 1}-{stop}", record.sequence[start:stop]


def write_vectors(
    folder: str, data: str | None, files: int, rows: int, queries: int
) -> dict[str, Any]:
    """Write `rows` vectors as HDF5 files, and held-out queries as .npy.

    Returns:
        name of the set, paths of the files, path of the queries.
    """
    wanted = rows + queries
    uniprot = find(data, UNIPROT)
    if uniprot:
        name = f"UniProt windows x randconv, {rows:,} x {synthetic.DIM}"
        ids, vectors = _embedded(uniprot, None if rows >= 100_000 else wanted)
    else:
        name = f"synthetic clusters, {rows:,} x {synthetic.DIM}"
        vectors = synthetic.rows(0, wanted)
        ids = synthetic.ids_of(0, wanted)
    base, held_out = _split(len(ids), rows, queries)
    paths = _write_hdf5(folder, ids, vectors, np.array_split(base, files))
    query_path = Path(folder) / "queries.npy"
    np.save(query_path, vectors[held_out])
    return {"name": name, "paths": paths, "queries": str(query_path), "rows": len(base)}


def _embedded(fasta: Path, limit: int | None) -> tuple[NDArray[Any], NDArray[np.float32]]:
    from atoll.core.resources import available_threads
    from atoll.vectors.embed.models import ModelOptions, load_model

    model = load_model(options=ModelOptions(threads=available_threads()))
    ids, parts = [], []
    cut = islice(windows(fasta), limit)
    while some := list(islice(cut, EMBED_AT_ONCE)):
        ids += [name for name, _ in some]
        parts.append(model.embed([residues for _, residues in some]))
    return np.array([name.encode() for name in ids]), np.concatenate(parts)


def _split(total: int, rows: int, queries: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the rows to leave out; the rest keeps its order, so files hold whole proteins."""
    out = np.random.default_rng(3).permutation(total)[: total - rows]
    return np.setdiff1d(np.arange(total), out), out[:queries]


def _write_hdf5(
    folder: str,
    ids: NDArray[Any],
    vectors: NDArray[np.float32],
    parts: list[NDArray[np.int64]],
) -> list[str]:
    import h5py

    paths = []
    for number, rows in enumerate(parts):
        path = Path(folder) / f"set-{number:03}.h5"
        with h5py.File(path, "w") as h5:
            h5["embedding"], h5["id"] = vectors[rows], ids[rows]
        paths.append(str(path))
    return paths


def write_clustered(folder: str, files: int, rows: int, queries: int) -> dict[str, Any]:
    """Write `rows` synthetic vectors and held-out queries: the answer of `write_vectors`."""
    paths = synthetic.write_files(folder, files, rows // files)
    query_path = Path(folder) / "queries.npy"
    np.save(query_path, synthetic.queries(queries))
    name = f"synthetic clusters, {rows:,} x {synthetic.DIM}"
    return {"name": name, "paths": paths, "queries": str(query_path), "rows": rows}


def truth(paths: list[str], queries: str, k: int, answer: str, most: int | None = None) -> None:
    """Compute exact cosine neighbours by brute force in numpy, with nothing of Atoll's.

    Args:
        paths: HDF5 files of the set.
        queries: .npy of the queries.
        k: neighbours wanted.
        answer: .npz to write: `ids` and `distances` of the k nearest, (queries, k), distances in
            float64. If it is there, its neighbours compete, too: a set may come file by file.
        most: the first so many of the queries only.
    """
    asked = _unit(np.load(queries)[:most])
    best = [np.load(answer)] if Path(answer).exists() else []
    ids = [found["ids"] for found in best]
    distances = [found["distances"] for found in best]
    for names, vectors in _slabs(paths):
        near = _nearest(asked, vectors, min(k + SPARE, len(vectors)))
        ids.append(names[near])
        distances.append(_exact_distances(asked, vectors, near))
        ids, distances = _merged(ids, distances, k)
    np.savez(answer, ids=ids[0], distances=distances[0])


def _slabs(paths: list[str]) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
    import h5py

    for path in paths:
        with h5py.File(path) as h5:
            for start in range(0, len(h5["id"]), SLAB_ROWS):
                stop = start + SLAB_ROWS
                vectors = h5["embedding"][start:stop].astype(np.float32)
                yield h5["id"][start:stop].astype(str), vectors


def _nearest(asked: NDArray[Any], vectors: NDArray[np.float32], keep: int) -> NDArray[np.int64]:
    """Find candidates by one float32 product; its rounding is why more than k are kept."""
    likeness = asked @ _unit(vectors).T
    return np.argpartition(-likeness, keep - 1, axis=1)[:, :keep]


def _exact_distances(
    asked: NDArray[Any], vectors: NDArray[np.float32], near: NDArray[np.int64]
) -> NDArray[np.float64]:
    found = np.empty(near.shape)
    for number, rows in enumerate(near):
        exact = _unit(vectors[rows].astype(np.float64))
        found[number] = 1 - exact @ _unit(asked[number].astype(np.float64))
    return found


def _merged(
    ids: list[NDArray[Any]], distances: list[NDArray[np.float64]], k: int
) -> tuple[list[NDArray[Any]], list[NDArray[np.float64]]]:
    distance, name = np.concatenate(distances, axis=1), np.concatenate(ids, axis=1)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return [np.take_along_axis(name, order, axis=1)], [np.take_along_axis(distance, order, axis=1)]


def _unit(rows: NDArray[Any]) -> NDArray[Any]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
