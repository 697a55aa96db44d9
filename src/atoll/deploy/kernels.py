"""Compiles what searches need when an image is built: a first query need not wait for it.

    NUMBA_CACHE_DIR=folder python -m atoll.deploy.kernels

numba compiles a function for the types it is called with, so small collections of each kind are
made and searched in each way, by the steps that functions and jobs are asked for. It takes a minute
or two.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from atoll.core.config import Settings
from atoll.vectors.distributed import workers
from atoll.vectors.model import DTYPES
from atoll.vectors.options import CODE_BITS, BuildOptions, search_options
from atoll.vectors.service import create_collection

ROWS, DIM, QUERIES = 3000, 64, 70
ASKED: tuple[dict[str, Any], ...] = ({}, {"where": "id <> '0'"}, {"exact": True})


def compile_kernels(scratch: Path) -> None:
    """Make and search a collection of each kind, so that numba keeps what it compiles for them.

    Args:
        scratch: an empty folder for the collections.
    """
    vectors = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)
    np.save(scratch / "vectors.npy", vectors)
    options, settings = BuildOptions(workers=1, num_partitions=8), Settings(threads=1)
    for dtype, bits in product(DTYPES, CODE_BITS):
        collection = create_collection(
            scratch / f"{dtype}-{bits}",
            scratch / "vectors.npy",
            options=replace(options, dtype=dtype, bits=bits),
            settings=settings,
        )
        for number, (asked, count) in enumerate(product(ASKED, (1, QUERIES))):
            run = collection.begin_run(
                scratch / f"{dtype}-{bits}-{number}", vectors[:count], search_options(k=10, **asked)
            )
            workers.search_here(run, settings)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        compile_kernels(Path(folder))
