"""Files of vectors, read into Arrow batches without a Python object per row.

Read `source.py` for what a source can do, `opening.py` for how files become sources; one module
each for HDF5, Parquet and plain arrays.
"""

from __future__ import annotations

from atoll.vectors.sources.opening import (
    SUFFIXES,
    common_schema,
    open_sources,
    with_columns,
)
from atoll.vectors.sources.source import Source

__all__ = [
    "SUFFIXES",
    "Source",
    "common_schema",
    "open_sources",
    "with_columns",
]
