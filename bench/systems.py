"""What is compared: Atoll, Lance's own indexes called directly, and libraries that search in RAM.

A system is a class: `build` makes files in a folder from HDF5 sources and is measured; an instance
is an opened index. `search` takes (n, dim) queries, k and one setting of `settings`, and returns an
answer that `names` turns into ids outside the clock. Those that take many queries at once say so.

What runs in RAM gets its vectors before the clock, normalised, and one thread for a search: several
would spend CPU time waiting for one another.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.measure import Figures, Meter

Setting = tuple[int, ...]
DEFAULT: Setting = (20, 5)
BUILD_THREADS = 2
REFINE = (1, 2, 5, 20)
NPROBES = (1, 2, 3, 5, 10, 20, 50)


def grid(nprobes: tuple[int, ...], refine: tuple[int, ...]) -> list[Setting]:
    return [(probes, factor) for probes in nprobes for factor in refine]


class Atoll:
    """Ours: default index, vectors stored as float16."""

    label = "Atoll"
    kind = "atoll"
    dtype = "float16"
    takes_many = True
    knobs = ("nprobes", "refine")
    settings = grid(NPROBES, (1, 2, 5, 10))

    @classmethod
    def build(cls, paths: list[str], folder: str) -> Figures:
        """Create a collection, uncalibrated; reading, training and encoding are measured."""
        import atoll
        import atoll.vectors.build  # loaded before the clock, as the others' libraries are

        with Meter() as meter:
            collection = atoll.create(
                f"{folder}/collection", paths, dtype=cls.dtype, calibrate=False
            )
        parts = collection.spec.index.num_partitions
        return {"rows": len(collection), "num_partitions": parts, **meter.figures}

    def __init__(self, folder: str) -> None:
        import atoll

        self.collection = atoll.open(f"{folder}/collection")

    def search(self, queries: NDArray[np.float32], k: int, setting: Setting) -> Any:
        nprobes, refine = setting
        return self.collection.search(queries, k, nprobes=nprobes, refine_factor=refine)

    def names(self, answer: Any, count: int) -> list[list[str]]:
        return names_of(answer, count)


class AtollInt8(Atoll):
    """Ours, of each vector the direction stored, as int8."""

    label = "Atoll, int8"
    kind = "atoll_int8"
    dtype = "int8"


def names_of(table: Any, count: int) -> list[list[str]]:
    """Split a table of hits by query."""
    found: list[list[str]] = [[] for _ in range(count)]
    pairs = zip(table["query_id"].to_pylist(), table["id"].to_pylist(), strict=True)
    for query, name in pairs:
        found[int(query)].append(name)
    return found


class LancePq:
    """The post's index: IVF_PQ, int(sqrt(rows)) partitions, dim / 16 sub-vectors, own training.

    Built by lancedb, as documented; queried through pylance, which costs less.
    """

    label = "lance IVF_PQ"
    kind = "lance_pq"
    takes_many = False
    knobs = ("nprobes", "refine")
    settings = grid((5, 10, 20, 50, 100), REFINE[1:])

    @staticmethod
    def build(paths: list[str], folder: str) -> Figures:
        """Make the post's table and index it; only the index is measured."""
        from bench import snippet

        return snippet.index(folder, paths, by_snippet=False)

    def __init__(self, folder: str) -> None:
        import lance

        self.table = lance.dataset(f"{folder}/bucket.lance")

    def search(self, queries: NDArray[np.float32], k: int, setting: Setting) -> Any:
        return [self.nearest(query, k, setting) for query in queries]

    def nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        setting: Setting,
        columns: tuple[str, ...] = ("id", "_distance"),
        table: Any = None,
    ) -> Any:
        """Ask this table, or another."""
        nprobes, refine = setting
        how = {
            "column": "embedding",
            "q": query,
            "k": k,
            "minimum_nprobes": nprobes,
            "maximum_nprobes": nprobes,
            "metric": "cosine",
            "refine_factor": refine,
        }
        return (table or self.table).to_table(nearest=how, columns=list(columns))

    def names(self, answer: Any, count: int) -> list[list[str]]:
        return [part["id"].to_pylist() for part in answer]


class LanceRq(LancePq):
    """Lance's RaBitQ of one bit, as many partitions, own training."""

    label = "lance IVF_RQ"
    kind = "lance_rq"
    settings = grid((1, 2, 5, 10, 20, 50), REFINE[1:3])

    @staticmethod
    def build(paths: list[str], folder: str) -> Figures:
        """Write a table and index it; only the index is measured."""
        import lance

        from bench import snippet

        table = lance.write_dataset(snippet.slabs(paths), f"{folder}/bucket.lance")
        rows = table.count_rows()
        with Meter() as meter:
            table.create_index(
                "embedding",
                "IVF_RQ",
                num_bits=1,
                metric="cosine",
                num_partitions=max(1, math.isqrt(rows)),
            )
        return {"rows": rows, **meter.figures}


class InMemory:
    """A library that answers with row numbers."""

    takes_many = True
    knobs: ClassVar[tuple[str, ...]] = ("ef",)

    def __init__(self, folder: str) -> None:
        self.ids = np.load(f"{folder}/ids.npy")

    def names(self, answer: Any, count: int) -> list[list[str]]:
        return [list(map(str, self.ids[rows[rows >= 0]])) for rows in np.asarray(answer, np.int64)]


def load(paths: list[str], folder: str) -> NDArray[np.float32]:
    """Read a whole set, normalised, and leave its ids beside the index."""
    import h5py

    vectors, ids = [], []
    for path in paths:
        with h5py.File(path) as h5:
            vectors.append(h5["embedding"][:].astype(np.float32))
            ids.append(h5["id"][:].astype(str))
    np.save(f"{folder}/ids.npy", np.concatenate(ids))
    return unit(np.concatenate(vectors))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Faiss(InMemory):
    """faiss IVF-PQ of the post's sizes; candidates refined with the vectors, all in RAM."""

    label = "faiss IVF-PQ + refine"
    kind = "faiss"
    knobs = ("nprobe", "refine")
    settings = grid((1, 2, 5, 10, 20, 50), REFINE[1:])

    @staticmethod
    def build(paths: list[str], folder: str) -> Figures:
        """Train on 60,000 rows at most and add all; only that is measured, in one thread."""
        import faiss

        faiss.omp_set_num_threads(1)
        vectors = load(paths, folder)
        lists, dim = max(1, math.isqrt(len(vectors))), vectors.shape[1]
        sample = vectors[np.random.default_rng(0).permutation(len(vectors))[:60_000]]
        with Meter() as meter:
            # Not by index_factory, which adds polysemous training, for a filter that is not used
            # here: 2,400 rows were not trained after 177 CPU-s, without it built in 3.9.
            cells = faiss.IndexIVFPQ(faiss.IndexFlatL2(dim), dim, lists, dim // 16, 8)
            index = faiss.IndexRefineFlat(cells)
            index.train(sample)
            index.add(vectors)
        faiss.write_index(index, f"{folder}/index")
        return {"rows": len(vectors), **meter.figures}

    def __init__(self, folder: str) -> None:
        import faiss

        super().__init__(folder)
        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(f"{folder}/index")
        self.cells = faiss.extract_index_ivf(self.index)

    def search(self, queries: NDArray[np.float32], k: int, setting: Setting) -> Any:
        self.cells.nprobe, self.index.k_factor = setting
        return self.index.search(unit(queries), k)[1]


class Usearch(InMemory):
    """usearch HNSW of float16."""

    label = "usearch HNSW f16"
    kind = "usearch"
    settings: ClassVar[list[Setting]] = [(16,), (32,), (64,), (128,), (256,)]

    @staticmethod
    def build(paths: list[str], folder: str) -> Figures:
        """Add all vectors to a graph; only that is measured."""
        vectors = load(paths, folder)
        index = Usearch.empty(vectors.shape[1])
        with Meter() as meter:
            index.add(np.arange(len(vectors)), vectors, threads=BUILD_THREADS)
        index.save(f"{folder}/index")
        return {"rows": len(vectors), **meter.figures}

    @staticmethod
    def empty(dim: int) -> Any:
        from usearch.index import Index

        return Index(ndim=dim, metric="cos", dtype="f16", connectivity=16, expansion_add=128)

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        from usearch.index import Index

        self.index = Index.restore(f"{folder}/index")

    def search(self, queries: NDArray[np.float32], k: int, setting: Setting) -> Any:
        (self.index.expansion_search,) = setting
        return self.index.search(queries, k, threads=1).keys.reshape(len(queries), -1)


class Hnswlib(InMemory):
    """hnswlib of float32."""

    label = "hnswlib f32"
    kind = "hnswlib"
    settings: ClassVar[list[Setting]] = [(10,), (16,), (32,), (64,), (128,), (256,)]

    @staticmethod
    def build(paths: list[str], folder: str) -> Figures:
        """Add all vectors to a graph; only that is measured."""
        import hnswlib

        vectors = load(paths, folder)
        index = hnswlib.Index("ip", vectors.shape[1])
        index.init_index(len(vectors), M=16, ef_construction=128)
        with Meter() as meter:
            index.add_items(vectors, num_threads=BUILD_THREADS)
        index.save_index(f"{folder}/index")
        # A saved index does not say how long its vectors are.
        Path(folder, "dim").write_text(str(vectors.shape[1]))
        return {"rows": len(vectors), **meter.figures}

    def __init__(self, folder: str) -> None:
        import hnswlib

        super().__init__(folder)
        self.index = hnswlib.Index("ip", int(Path(folder, "dim").read_text()))
        self.index.load_index(f"{folder}/index")
        self.index.set_num_threads(1)

    def search(self, queries: NDArray[np.float32], k: int, setting: Setting) -> Any:
        self.index.set_ef(max(k, *setting))
        return self.index.knn_query(unit(queries), k)[0]


BY_KIND: dict[str, Any] = {
    system.kind: system for system in (Atoll, AtollInt8, LancePq, LanceRq, Faiss, Usearch, Hnswlib)
}
PACKAGES = {"faiss": "faiss", "usearch": "usearch", "hnswlib": "hnswlib"}
