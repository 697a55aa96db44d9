"""Small vector files, and a brute-force search in float64 to hold ours against."""

import random

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import atoll
from atoll.core.config import Settings

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
DISTANCE_TYPES = ("cosine", "l2", "dot")


def settings(scratch, **changes):
    return Settings(**{"threads": 2, "memory_bytes": 1 << 28, "scratch": scratch} | changes)


def gaussian(rows, dim, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def clustered(rows, dim, clusters=12, seed=0):
    """Vectors in clumps, as real ones lie."""
    random = np.random.default_rng(seed)
    centers = random.standard_normal((clusters, dim)) * 2
    return (centers[random.integers(clusters, size=rows)] + gaussian(rows, dim, seed)).astype("f4")


def names(rows, first=0):
    return [f"p{number:05d}" for number in range(first, first + rows)]


def write_parquet(path, vectors, ids=None, **columns):
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    table = {
        "embedding": pa.FixedSizeListArray.from_arrays(values, vectors.shape[1]),
        "id": names(len(vectors)) if ids is None else ids,
        **columns,
    }
    pq.write_table(pa.table(table), path)
    return path


def write_h5(path, vectors, ids=None, attributes=(), **columns):
    with h5py.File(path, "w") as file:
        file["embedding"] = vectors
        file["id"] = names(len(vectors)) if ids is None else ids
        for name, column in columns.items():
            file[name] = column
        file.attrs.update(attributes)
    return path


def small_collection(place, scratch, **changes):
    """A hundred vectors of 16 numbers at a place; returns settings that reach it."""
    reach = settings(scratch, **changes)
    source = write_h5(scratch / "small.h5", clustered(100, 16))
    options = {"settings": reach, "workers": 1, "bucket_rows": 60, "calibrate": False}
    atoll.create(place, source, **options)
    return reach


def write_fasta(path, proteins):
    draw = random.Random(5)
    lines = [f">q{i}\n{''.join(draw.choices(RESIDUES, k=40))}\n" for i in range(proteins)]
    path.write_text("".join(lines))
    return path


def stored(vectors, dtype):
    """Vectors as a collection keeps them: in int8 their directions, the largest value at 127."""
    if dtype != "int8":
        return vectors.astype(dtype)
    return np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype("i1")


def distances(queries, rows, distance_type):
    """All distances as LanceDB defines them, (queries, rows), float64 rounded once to float32."""
    queries, rows = queries.astype(np.float64)[:, None], rows.astype(np.float64)[None]
    if distance_type == "l2":
        return ((queries - rows) ** 2).sum(axis=2).astype(np.float32)
    product = (queries * rows).sum(axis=2)
    if distance_type == "dot":
        return (1 - product).astype(np.float32)
    norms = np.sqrt((queries**2).sum(axis=2) * (rows**2).sum(axis=2))
    return np.maximum(0, 1 - product / norms).astype(np.float32)


def nearest(vectors, ids, queries, distance_type, k, allowed=None):
    """The k nearest ids of each query, ties by id."""
    found = []
    for row in distances(queries, vectors, distance_type):
        pairs = zip(row.tolist(), ids, strict=True)
        keep = [pair for i, pair in enumerate(pairs) if allowed is None or allowed[i]]
        found.append([name for _, name in sorted(keep)[:k]])
    return found


def hit_ids(hits):
    """The ids of a search's result, a list per query, in the order returned."""
    found = {}
    for query, name in zip(hits["query_id"].to_pylist(), hits["id"].to_pylist(), strict=True):
        found.setdefault(query, []).append(name)
    return list(found.values())


def recall(found, true):
    same = sum(len(set(mine) & set(best)) for mine, best in zip(found, true, strict=True))
    return same / sum(map(len, true))


def tables_of(folder):
    return sorted(path.name.removesuffix(".lance") for path in folder.glob("*.lance"))


def objects_of(folder):
    """Every file below a folder with its bytes and the time of its last change."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
