"""The first rows of a table, as JSON has them: read where foreign files may be, in bounds."""

from __future__ import annotations

import base64
import logging
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from atoll.compute.deadlines import in_worker
from atoll.compute.port import Executor
from atoll.core.errors import AtollError, Conflict, Unavailable
from atoll.core.text import sized
from atoll.mesh.harvest.csvfiles import SAMPLE_BYTES
from atoll.mesh.harvest.sampling import Wanted, rows_of

logger = logging.getLogger(__name__)

SECONDS = 20
# Of the rows, as Arrow has them, and as JSON does.
ANSWER_BYTES = 8 << 20
_LABEL = "reading rows"
_TOO_MUCH = "reading takes too long or too much memory; ask for fewer columns"


@dataclass(frozen=True)
class FirstRows:
    """Some rows.

    Attributes:
        columns: names and Arrow's texts for their types.
        rows: values that JSON knows.
        size_bytes: of the rows as JSON.
        is_cut: whether there are, or may be, more.
    """

    columns: tuple[tuple[str, str], ...]
    rows: list[list[Any]]
    size_bytes: int
    is_cut: bool


@dataclass(frozen=True)
class Unshown:
    """Rows were read and cannot be shown.

    Attributes:
        why: for whoever asked; tells nothing of what the rows hold.
    """

    why: str


def read(executor: Executor, wanted: Wanted) -> FirstRows | Unshown:
    """Read rows in another process.

    Args:
        executor: where; processes whose memory is bounded.
        wanted: which, and at most how many; fewer come where they are large.

    Raises:
        Conflict: what lies there is not what was harvested, or is damaged.
        Unavailable: the store does not answer, or reading takes too long or too much memory.
    """
    [outcome] = executor.map(_read, [wanted], name=lambda _: _LABEL)
    if outcome.value is not None:
        return outcome.value
    error = outcome.error
    # Not what it says: that names places, and may quote values.
    logger.warning("rows not read at=%s why=%r", wanted.table.location, error)
    is_lost = isinstance(error, Unavailable) and "task" in error.details
    if is_lost or isinstance(error, MemoryError):
        raise Unavailable(_TOO_MUCH)
    if isinstance(error, AtollError) and error.code in ("unavailable", "forbidden"):
        raise Unavailable("the store that the data lie in does not answer; try again")
    raise Conflict(
        "what lies there now is not what was published; its owners refresh it and publish it anew"
    )


def _read(wanted: Wanted) -> FirstRows | Unshown:
    return in_worker(lambda: _first(wanted), SECONDS, _LABEL)


def _first(wanted: Wanted) -> FirstRows | Unshown:
    found = shown(rows_of(replace(wanted, most=wanted.most + 1)), wanted.most)
    is_sampled = wanted.table.format == "csv" and wanted.table.size_bytes > SAMPLE_BYTES
    return replace(found, is_cut=True) if is_sampled and isinstance(found, FirstRows) else found


def shown(table: pa.Table, most: int) -> FirstRows | Unshown:
    """Make of a table what JSON can carry: so many rows at most, and so many bytes.

    Text that is no UTF-8 gets replacement characters, bytes are base64, decimals text, times and
    dates ISO 8601 (an instant in UTC), maps lists of pairs; what is no finite number is null.
    """
    kept = table.slice(0, most)
    rows = range(1, len(kept) + 1)
    kept = kept.slice(0, bisect_right(rows, ANSWER_BYTES, key=lambda n: kept.slice(0, n).nbytes))
    columns = tuple((one.name, str(one.type)) for one in table.schema)
    found, size = list[list[Any]](), 0
    try:
        values = [list(_of_chunks(column)) for column in kept.columns]
    except (pa.ArrowException, ValueError, OverflowError):
        return Unshown("a column holds values that JSON cannot carry; leave it out")
    for number in range(len(kept)):
        row = [column[number] for column in values]
        row_bytes = len(msgspec.json.encode(row))
        if size + row_bytes > ANSWER_BYTES:
            break
        size += row_bytes
        found.append(row)
    if len(table) and not found:
        return Unshown(f"one row takes more than {sized(ANSWER_BYTES)}; ask for fewer columns")
    return FirstRows(columns, found, size, is_cut=len(found) < len(table))


def _of_chunks(column: pa.ChunkedArray) -> Iterator[Any]:
    for chunk in column.chunks:
        yield from _values(chunk)


def _values(array: pa.Array) -> list[Any]:
    """Return the values of an array as JSON has them."""
    kind = array.type
    if pt.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if isinstance(array, pa.ExtensionArray):
        return _values(array.storage)
    if pt.is_floating(kind):
        values = array.to_pylist()
        return [one if one is None or math.isfinite(one) else None for one in values]
    if pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_null(kind):
        return list(array.to_pylist())
    if pt.is_timestamp(kind):
        instant = "Z" if kind.tz else ""
        plain = array.cast(pa.int64()).cast(pa.timestamp(kind.unit))
        return [one and one.replace(" ", "T") + instant for one in _iso(plain)]
    if pt.is_date(kind) or pt.is_time(kind):
        return _iso(array)
    if pt.is_duration(kind):
        return list(array.cast(pa.int64()).to_pylist())
    if _is_text(kind):
        texts = array.cast(pa.large_binary()).to_pylist()
        return [None if one is None else one.decode(errors="replace") for one in texts]
    if _is_bytes(kind):
        data = array.cast(pa.large_binary()).to_pylist()
        return [None if one is None else base64.b64encode(one).decode() for one in data]
    if pt.is_struct(kind):
        return _structs(array)
    if _is_list(kind):
        lengths = pc.list_value_length(array).to_pylist()
        inner = iter(_values(array.flatten()))
        return [None if one is None else list(islice(inner, one)) for one in lengths]
    return [_plain(one) for one in array.to_pylist()]


def _structs(array: pa.Array) -> list[Any]:
    names = [one.name for one in array.type]
    parts = [_values(one) for one in array.flatten()]
    found = zip(*parts, strict=True) if parts else [()] * len(array)
    return [
        dict(zip(names, one, strict=True)) if is_there else None
        for one, is_there in zip(found, array.is_valid().to_pylist(), strict=True)
    ]


def _iso(array: pa.Array) -> list[str | None]:
    # Arrow writes those that no calendar has in angle brackets.
    texts: Sequence[str | None] = array.cast(pa.string()).to_pylist()
    return [None if one is None or one.startswith("<") else one for one in texts]


def _plain(value: Any) -> Any:
    """Make JSON of what has no kernel of its own: maps, unions, decimals and the like."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple():
            return [_plain(one) for one in value]
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
    return str(value)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    is_plain = pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind)
    return bool(is_plain or pt.is_fixed_size_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    is_plain = pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind)
    return bool(is_plain or pt.is_list_view(kind) or pt.is_large_list_view(kind))
