"""The baseline: LanceDB as the post uses it, with today's lancedb.

A dict per row, lists of 50,000 of them, `table.add`, `optimize` with nothing kept, then an IVF_PQ
index that each bucket trains for itself: int(sqrt(rows)) partitions, dim / 16 sub-vectors, cosine.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np

from bench.measure import Figures, Meter

BATCH_ROWS = 50_000
SLAB_ROWS = 8192


def dict_batches(paths: list[str], rows: int | None = None) -> Iterator[list[dict[str, Any]]]:
    """Read row by row, as the post does."""
    import h5py

    batch: list[dict[str, Any]] = []
    for path in paths:
        with h5py.File(path) as h5:
            vectors, ids = h5["embedding"], h5["id"]
            for row in range(len(vectors)):
                batch.append({"embedding": vectors[row], "id": ids[row].decode()})
                if len(batch) == BATCH_ROWS:
                    yield batch
                    batch = []
    if batch:
        yield batch


def slabs(paths: list[str]) -> Any:
    """Read slabs of rows into Arrow: what the post could have done."""
    import h5py
    import pyarrow as pa

    schema = _schema(paths)

    def read() -> Iterator[Any]:
        for path in paths:
            with h5py.File(path) as h5:
                for start in range(0, len(h5["id"]), SLAB_ROWS):
                    rows = h5["embedding"][start : start + SLAB_ROWS]
                    ids = pa.array(h5["id"][start : start + SLAB_ROWS].astype("U"), pa.string())
                    flat = pa.array(rows.reshape(-1))
                    column = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
                    yield pa.record_batch([column, ids], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, read())


def _schema(paths: list[str]) -> Any:
    import h5py
    import pyarrow as pa

    with h5py.File(paths[0]) as h5:
        dim = h5["embedding"].shape[1]
    vector = pa.field("embedding", pa.list_(pa.float32(), dim))
    return pa.schema([vector, pa.field("id", pa.string())])


async def _ingest(uri: str, name: str, paths: list[str], *, fast: bool) -> Any:
    import lancedb

    database = await lancedb.connect_async(uri)
    table = await database.create_table(name, schema=_schema(paths))
    if fast:
        await table.add(slabs(paths))
        return table
    for batch in dict_batches(paths):
        await table.add(batch)
    with warnings.catch_warnings():
        # It warns that readers of older versions will fail: the post wants just that.
        warnings.simplefilter("ignore")
        await table.optimize(cleanup_older_than=timedelta(0))
    return table


def ingest(uri: str, paths: list[str], *, fast: bool = False) -> Figures:
    """Measure the ingest of all files into one table."""
    import lancedb  # noqa: F401  # loaded before the clock

    with Meter() as meter:
        table = asyncio.run(_ingest(uri, "bucket", paths, fast=fast))
    rows = asyncio.run(table.count_rows())
    return {"rows": rows, **meter.figures}


def index(
    uri: str, paths: list[str], *, by_snippet: bool = True, num_partitions: int | None = None
) -> Figures:
    """Measure ingest and index of one bucket, the two apart; ingest in both ways, if asked."""
    from lancedb.index import IvfPq

    async def build(name: str, fast: bool) -> tuple[Any, Figures]:
        with Meter() as meter:
            table = await _ingest(uri, name, paths, fast=fast)
        return table, meter.figures

    async def run() -> Figures:
        """Ingest, then train and build the post's index; measure each."""
        found = {}
        if by_snippet:
            _, found["ingest_snippet"] = await build("snippet", False)
        table, found["ingest_reader"] = await build("bucket", True)
        rows = await table.count_rows()
        dim = (await table.schema()).field("embedding").type.list_size
        config = IvfPq(
            distance_type="cosine",
            num_partitions=num_partitions or int(np.sqrt(rows)),
            num_sub_vectors=dim // 16,
        )
        with Meter() as meter:
            await table.create_index("embedding", config=config)
        return {"rows": rows, **found, **meter.figures}

    return asyncio.run(run())
