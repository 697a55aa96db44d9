"""Compiles what searches need when an image is built: a first query need not wait for it.

    NUMBA_CACHE_DIR=folder python -m atoll.deploy.kernels

numba compiles a function for the types it is called with, so small collections of each kind are
made and searched in each way. It takes a minute or two.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from atoll.core.config import Settings
from atoll.vectors.model import DTYPES
from atoll.vectors.options import CODE_BITS, BuildOptions
from atoll.vectors.service import create_collection

ROWS, DIM, QUERIES = 3000, 64, 70


def compile_kernels(scratch: Path) -> None:
    """Make and search a collection of each kind, so that numba keeps what it compiles for them.

    Args:
        scratch: an empty folder for the collections.
    """
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    np.save(scratch / "vectors.npy", vectors)
    options = BuildOptions(workers=1, num_partitions=8)
    for dtype, bits in product(DTYPES, CODE_BITS):
        collection = create_collection(
            scratch / f"{dtype}-{bits}",
            scratch / "vectors.npy",
            options=replace(options, dtype=dtype, bits=bits),
            settings=Settings(threads=1),
        )
        for count in (1, QUERIES):
            collection.search(vectors[:count], k=10)
            collection.search(vectors[:count], k=10, where="id <> '0'")
            collection.search(vectors[:count], k=10, exact=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        compile_kernels(Path(folder))
