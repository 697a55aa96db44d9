"""Columns as every source delivers them: vectors as float32 lists, ids as strings, no loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from atoll.core.errors import InvalidInput
from atoll.core.text import counted

VECTOR = "vector"
ID = "id"


def batch_schema(dim: int, extra: pa.Schema) -> pa.Schema:
    """Return the schema of what `Source.read` yields."""
    return pa.schema(
        [pa.field(VECTOR, pa.list_(pa.float32(), dim)), pa.field(ID, pa.string()), *extra]
    )


def pool_array(shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Make an array, not initialised, in the memory of Arrow's pool.

    For batches on their way to Lance, which asks for them from one thread after another: malloc
    keeps an arena for each, and freed batches in all of them.
    """
    buffer = pa.allocate_buffer(shape[0] * shape[1] * dtype.itemsize)
    return np.frombuffer(buffer, dtype).reshape(shape)


def vector_array(values: NDArray[np.generic]) -> pa.FixedSizeListArray:
    """Wrap a (rows, dim) array, C order, without copying it."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def to_float32(values: NDArray[Any], uri: str, first_row: int) -> NDArray[np.float32]:
    """Convert vectors to float32 in native byte order and C order; float32 itself is not copied.

    Args:
        values: (rows, dim) floats or integers. NaN and infinity pass: they are judged at ingest.
        uri: the file, for messages.
        first_row: row number of `values[0]` in it.

    Raises:
        InvalidInput: a finite float64 has no float32; names the row.
    """
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, dtype=np.float32)
    if values.dtype.itemsize > 4 and not np.isfinite(narrow).all():
        lost = np.flatnonzero((np.isinf(narrow) & np.isfinite(values)).any(axis=1))
        if len(lost):
            raise InvalidInput(
                f"{uri}: row {first_row + int(lost[0])} has a value beyond float32"
                f" (3.4e38), {counted(len(lost), 'row')} of {len(values):,} do; scale the vectors",
                file=uri,
                row=first_row + int(lost[0]),
            )
    return narrow


def ids_from_numpy(values: NDArray[Any], uri: str, first_row: int) -> pa.StringArray:
    """Convert ids as HDF5 or numpy hold them to strings.

    Args:
        values: (rows,) fixed-width bytes (UTF-8, zero-padded), objects (bytes or str) or integers.
        uri: the file, for messages.
        first_row: row number of `values[0]` in it.

    Raises:
        InvalidInput: bytes are not UTF-8; names the row.
    """
    if values.dtype.kind == "S":
        return checked_utf8(_fixed_width(values), uri, first_row)
    if values.dtype.kind == "O":
        return checked_utf8(pa.array(values, pa.binary()), uri, first_row)
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False)).cast(pa.string())


def _fixed_width(values: NDArray[np.bytes_]) -> pa.BinaryArray:
    width = values.dtype.itemsize
    cells = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), width)
    # Padding ends a cell; a zero byte inside one is content.
    used = width - (cells[:, ::-1] != 0).argmax(axis=1)
    used[~cells.any(axis=1)] = 0
    text = cells if (used == width).all() else cells[np.arange(width) < used[:, None]]
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(used, out=offsets[1:])
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(values), [None, pa.py_buffer(offsets), pa.py_buffer(text.tobytes())]
    )


def checked_utf8(values: pa.Array, uri: str, first_row: int, what: str = "id") -> pa.StringArray:
    """Read binary values as UTF-8.

    Raises:
        InvalidInput: a value is not UTF-8; names the row.
    """
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid as error:
        for row, value in enumerate(values, first_row):
            try:
                value.as_buffer().to_pybytes().decode()
            except UnicodeDecodeError:
                shown = value.as_buffer().to_pybytes()[:40]
                raise InvalidInput(
                    f"{uri}: the {what} in row {row} is not UTF-8 ({shown!r}); write it as UTF-8",
                    file=uri,
                    row=row,
                ) from error
        raise


def ids_from_arrow(values: pa.Array, uri: str, column: str, first_row: int) -> pa.StringArray:
    """Convert an id column of any string, binary, integer or dictionary type to strings.

    Raises:
        InvalidInput: an id is null or not UTF-8; names the row.
    """
    if values.null_count:
        row = first_row + null_row(values)
        raise InvalidInput(
            f"{uri}: column '{column}' is null in row {row} ({counted(values.null_count, 'null')}"
            f" in the {counted(len(values), 'row')} from {first_row}); every vector needs an id",
            file=uri,
            row=row,
        )
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return checked_utf8(values, uri, first_row)
    return values.cast(pa.string())


def null_row(values: pa.Array) -> int:
    """Return the position of the first null of an array that has one."""
    return int(pc.index(values.is_null(), pa.scalar(True)).as_py())


def is_id_type(kind: pa.DataType) -> bool:
    """Whether ids may have this type."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (
        pa.types.is_integer,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
    )
    return any(test(value) for test in tests)
