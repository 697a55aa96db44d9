"""The table that is seen through a view: rows, then masks, then columns.

Conditions see the stored values, of hidden columns too; whatever the user asks of the result sees
the masked ones. Nothing else of the table comes along: each column is gathered anew from the
visible rows, because filtered dictionaries, and values under NULLs, stay in Arrow's buffers and so
in every stream made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.core.errors import Conflict, Corrupt, InvalidInput
from atoll.mesh.filters.columntypes import Kind, is_view, kind_of, plain_values
from atoll.mesh.filters.evaluation import Checked, checked, expression, passing
from atoll.mesh.filters.masks import KEY_BYTES, Mask, Null
from atoll.mesh.filters.views import AssetFilter, View, problems_of, shown_schema

BATCH_ROWS = 65_536

Rows = NDArray[np.bool_]


def visible(
    data: pa.Table | pa.RecordBatchReader, view: View, key: bytes, *, batch_rows: int = BATCH_ROWS
) -> pa.RecordBatchReader:
    """Show a table through a view.

    Args:
        data: the table or its stored batches, with at least `view.columns_read`; rows that
            `row_filter` keeps out may be missing.
        view: made by `combined`.
        key: the subscriber's own, for hashes; 32 bytes or more, secret, the same for all tables.
        batch_rows: how many rows a batch has, 1 or more.

    Returns:
        The visible rows in their order. Each batch but the last is full, wherever hidden rows lie.

    Raises:
        Conflict: the view does not fit the table (any more).
        Corrupt: a stored text is not UTF-8; while the batches are read.
        InvalidInput: the key is too short, or batch_rows is below 1.
    """
    if len(key) < KEY_BYTES:
        raise InvalidInput(f"the subscriber's key has {len(key)} bytes; it needs {KEY_BYTES}")
    if batch_rows < 1:
        raise InvalidInput(f"batch_rows is {batch_rows}; it must be 1 or more")
    reader = data.to_reader() if isinstance(data, pa.Table) else data
    eye = _Eye(view, reader.schema, key)
    pieces = (
        batch.slice(start, BATCH_ROWS)
        for batch in reader
        for start in range(0, batch.num_rows, BATCH_ROWS)
    )
    return pa.RecordBatchReader.from_batches(eye.schema, _full(map(eye.seen, pieces), batch_rows))


def row_filter(view: View, schema: pa.Schema) -> pc.Expression | None:
    """Return what a scan of `view.columns_read` may skip rows by: all that is visible passes.

    Returns:
        None where no row may be skipped, or Arrow cannot: it has no way to filter view columns.

    Raises:
        Conflict: the view does not fit the table.
    """
    conditions = _checked(view, schema)
    kept = [expression(one) for one in conditions if one is not None]
    if len(kept) < len(conditions) or any(
        is_view(schema.field(name).type) for name in view.columns_read(schema)
    ):
        return None
    return reduce(pc.or_kleene, kept)


class _Eye:
    """A view made ready for the batches of one table."""

    def __init__(self, view: View, schema: pa.Schema, key: bytes) -> None:
        self.filters = view.filters
        self.conditions = _checked(view, schema)
        self.schema = shown_schema(view, schema)
        self.texts = [
            name
            for name in view.columns_read(schema)
            if kind_of(schema.field(name).type) is Kind.TEXT
        ]
        self.key = key

    def seen(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.check_texts(batch)
        passes = [_passes(condition, batch) for condition in self.conditions]
        rows = np.flatnonzero(reduce(np.logical_or, passes))
        passes = [one[rows] for one in passes]
        columns = [self.column(batch, field, rows, passes) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def column(
        self, batch: pa.RecordBatch, field: pa.Field, rows: NDArray[np.int64], passes: list[Rows]
    ) -> pa.Array:
        shown = _shown(self.filters, field.name, passes)
        if not shown:
            return pa.nulls(len(rows), field.type)
        values = plain_values(batch.column(field.name)).take(pa.array(rows))
        masks = [*dict.fromkeys(mask for mask, _ in shown)]
        ways = [mask.applied(values, self.key) if mask else values for mask in masks]
        return _chosen(ways, [(masks.index(mask), passed) for mask, passed in shown])

    def check_texts(self, batch: pa.RecordBatch) -> None:
        """Refuse texts that patterns would not match, and `notLike` so would let through."""
        try:
            for name in self.texts:
                plain_values(batch.column(name)).validate(full=True)
        except pa.ArrowInvalid:
            raise Corrupt(
                "the table has text that is not UTF-8; its owner has to write it anew"
            ) from None


def _full(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Cut batches anew: their sizes would tell how many rows are hidden, and where."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting += [batch] if batch.num_rows else []
        if sum(one.num_rows for one in waiting) >= rows:
            joined = pa.concat_batches(waiting)
            end = joined.num_rows // rows * rows
            yield from (joined.slice(start, rows) for start in range(0, end, rows))
            waiting = [joined.slice(end)]
    if waiting:
        yield pa.concat_batches(waiting)


def _checked(view: View, schema: pa.Schema) -> list[Checked | None]:
    # Problems name columns and values that the reader may not know of.
    if any(problems_of(one, schema) for one in view.filters):
        raise Conflict(
            "the table is no longer as it was when access to it was granted; its owner sees in the "
            "status of its filters what to mend"
        )
    return [
        None if one.condition is None else checked(one.condition, schema) for one in view.filters
    ]


def _passes(condition: Checked | None, batch: pa.RecordBatch) -> Rows:
    if condition is None:
        return np.ones(batch.num_rows, np.bool_)
    passed: Rows = passing(condition, batch).to_numpy(zero_copy_only=False)
    return passed


def _shown(
    filters: tuple[AssetFilter, ...], column: str, passes: list[Rows]
) -> list[tuple[Mask | None, Rows]]:
    """Tell by which masks a column is shown, and in which rows; unmasked first."""
    masks = [one.columns.get(column, Null()) for one in filters]
    shown = [pair for pair in zip(masks, passes, strict=True) if not isinstance(pair[0], Null)]
    return sorted(shown, key=lambda pair: pair[0] is not None)


def _chosen(ways: list[pa.Array], shown: list[tuple[int, Rows]]) -> pa.Array:
    """Take each row as the first that shows it does, in one of the ways; NULL where none does."""
    if len(ways) == 1 and reduce(np.logical_or, (rows for _, rows in shown)).all():
        return ways[0]
    count = len(shown[0][1])
    origin = np.full(count, -1)
    for way, rows in reversed(shown):
        origin[rows] = np.flatnonzero(rows) + way * count
    return pa.concat_arrays(ways).take(pa.array(origin, mask=origin < 0))
