"""Files of vectors, read into Arrow batches without a Python object per row.

Read `source.py` for what a source can do, `opening.py` for how files become sources; one module
each for HDF5, Parquet and plain arrays.
"""

from __future__ import annotations

from atoll.vectors.sources.names import RESERVED_NAMES
from atoll.vectors.sources.opening import (
    SUFFIXES,
    Vectors,
    common_schema,
    open_sources,
    read_whole,
    with_columns,
)
from atoll.vectors.sources.source import Source

__all__ = [
    "RESERVED_NAMES",
    "SUFFIXES",
    "Source",
    "Vectors",
    "common_schema",
    "open_sources",
    "read_whole",
    "with_columns",
]
