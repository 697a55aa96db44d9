"""Finds where the rows of a table lie in Lance's files, and proves it."""

from __future__ import annotations

from collections.abc import Sequence

import lance
import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader
from numpy.typing import NDArray

from atoll.core.errors import Corrupt
from atoll.storage import Storage
from atoll.vectors.byteranges import get_rows
from atoll.vectors.lanceerrors import lance_errors
from atoll.vectors.layout import Layout, Pages

PROVED_PAGES = 16


def read_layout(
    storage: Storage,
    name: str,
    table: lance.LanceDataset,
    columns: tuple[str, str | None],
    *,
    offsets: NDArray[np.int64],
    names: NDArray[np.int64],
) -> Layout:
    """Find out where Lance put the rows of a table that was just written.

    Args:
        storage, name: where the table is.
        table: the table.
        columns: the vector column, and the code column where there is one; both are raw.
        offsets, names: as `Layout` has them.

    Raises:
        Corrupt: the bytes found there are not the rows that Lance returns.
    """
    fragments = table.get_fragments()
    folder = f"{name}.lance/data"
    files = [file.path for fragment in fragments for file in fragment.data_files()]
    vectors, codes = (
        column and _pages(storage, folder, fragments, table, column) for column in columns
    )
    assert vectors
    layout = Layout(
        tuple(f"{folder}/{file}" for file in files), vectors, codes or None, offsets, names
    )
    _prove(storage, layout, table, columns)
    return layout


def _pages(
    storage: Storage,
    folder: str,
    fragments: Sequence[lance.LanceFragment],
    table: lance.LanceDataset,
    column: str,
) -> Pages:
    width = _width(table.schema.field(column).type)
    field = next(f.id() for f in table.lance_schema.fields() if f.name() == column)
    first, number, at = [0], [], []
    for index, fragment in enumerate(fragments):
        (file,) = fragment.data_files()
        with lance_errors(f"reading {folder}/{file.path}"):
            reader = LanceFileReader(
                storage.lance_uri(f"{folder}/{file.path}"), storage.lance_options()
            )
            described = reader.metadata().columns[file.column_indices[file.fields.index(field)]]
        for page in described.pages:
            (buffer,) = page.buffers
            first.append(first[-1] + buffer.size // width)
            number.append(index)
            at.append(buffer.position)
    return Pages(width, *(np.array(values, np.int64) for values in (first, number, at)))


def _width(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size * kind.value_type.bit_width // 8)
    return int(kind.byte_width)


def _prove(
    storage: Storage, layout: Layout, table: lance.LanceDataset, columns: tuple[str, str | None]
) -> None:
    """Compare a few rows, at the borders of pages above all, with what Lance reads."""
    for pages, column in zip((layout.vectors, layout.codes), columns, strict=True):
        if pages is None or column is None:
            continue
        edges = pages.first[:-1]
        some = edges[:: max(1, len(edges) // PROVED_PAGES)]
        rows = np.unique(np.concatenate([some, some[1:] - 1, pages.first[-1:] - 1]))
        with lance_errors("reading back what was written"):
            # Positions count from 0 over all fragments: nothing is deleted from a new table.
            stored = table.take(rows.tolist(), columns=[column])[column].combine_chunks()
        if pages.first[-1] != table.count_rows() or not np.array_equal(
            get_rows(storage, layout.files, pages, rows), _bytes_of(stored, pages.width)
        ):
            raise Corrupt(
                f"Lance keeps column {column!r} in another way than this Atoll reads; install the "
                "version of pylance that it asks for"
            )


def _bytes_of(column: pa.Array, width: int) -> NDArray[np.uint8]:
    values = column.values if pa.types.is_fixed_size_list(column.type) else column
    data = np.frombuffer(values.buffers()[1], np.uint8)
    start = column.offset * width
    return data[start : start + len(column) * width].reshape(-1, width)
