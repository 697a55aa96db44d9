"""Make the database that tests adopt: python tools/adopt_fixture.py OUT.tar.xz

It is tests/data/lancedb-0.21.1.tar.xz, written by the LanceDB that the post used, in an environment
of its own:

    python3.11 -m venv old && old/bin/pip install lancedb==0.21.1 pylance==0.24.1

Three tables of 700 x 32, each with an IVF_PQ index for cosine as LanceDB makes it:

    kinases     float32
    proteases   float32; a second fragment, added after the index, and deletions in both
    receptors   float16; a further column that the others do not have

The vectors are multiples of 1/16, so that they compress. The trained indexes differ from run to
run.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

ROWS, DIM, LATER_ROWS = 700, 32, 60
PARTITIONS, SUB_VECTORS = 8, 8


def rows_of(name: str, first: int, rows: int, dtype: str, **more: Any) -> pa.Table:
    """Make rows in clumps: ids are the table's name and a number."""
    random = np.random.default_rng([first, *name.encode()])
    centers = np.random.default_rng(1).integers(-40, 41, (12, DIM))
    vectors = centers[random.integers(12, size=rows)] + random.integers(-16, 17, (rows, DIM))
    values = pa.array((vectors / 16).astype(dtype).reshape(-1))
    return pa.table(
        {
            "vector": pa.FixedSizeListArray.from_arrays(values, DIM),
            "id": [f"{name}-{number:04d}" for number in range(first, first + rows)],
            "length": pa.array(random.integers(50, 900, rows), pa.int32()),
            **more,
        }
    )


def write(folder: Path) -> None:
    """Write the three tables."""
    database = lancedb.connect(folder)
    for name, dtype in (("kinases", "f4"), ("proteases", "f4"), ("receptors", "f2")):
        more = {"family": ["GPCR"] * ROWS} if name == "receptors" else {}
        table = database.create_table(name, rows_of(name, 0, ROWS, dtype, **more))
        table.create_index("cosine", num_partitions=PARTITIONS, num_sub_vectors=SUB_VECTORS)
        if name == "proteases":
            table.add(rows_of(name, ROWS, LATER_ROWS, dtype))
            table.delete("id LIKE '%7' OR id IN ('proteases-0000', 'proteases-0759')")


def main(target: Path) -> None:
    """Write the database into an archive."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "database"
        write(folder)
        with tarfile.open(target, "w:xz") as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(path, path.relative_to(folder), recursive=False, filter=_anonymous)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uname = entry.gname = ""
    entry.uid = entry.gid = entry.mtime = 0
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]))
