"""CSV files with a header: read whole where they are small, by a sample where they are large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.types as pt

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.text import counted, sized
from atoll.mesh.harvest.content import Content
from atoll.mesh.harvest.dialect import decode, find_delimiter
from atoll.mesh.harvest.model import Fingerprint
from atoll.mesh.harvest.schemas import columns_of
from atoll.mesh.harvest.statistics import digest, fingerprint, statistics_of
from atoll.storage import Storage, StoredObject

WHOLE_BYTES = 16 << 20
SAMPLE_BYTES = 1 << 20
_TAIL_BYTES = 64 << 10
_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
_ZERO_PADDED = r"^[+-]?0\d"


def read_csv(storage: Storage, stored: StoredObject) -> Content:
    """Describe a CSV file with a header.

    An empty field is a missing value, in text as well. Numbers that begin with a needless zero are
    text (material 0010023), and so is what has no value at all.

    Raises:
        InvalidInput: it is no CSV, or its rows have not as many fields as the header.
        NotFound, Forbidden, Unavailable, Corrupt: as the store says.
    """
    is_whole = stored.size_bytes <= WHOLE_BYTES
    length = stored.size_bytes if is_whole else SAMPLE_BYTES
    data = storage.get_range(stored.path, 0, length)
    text, encoding = decode(data, is_whole=is_whole)
    delimiter = find_delimiter(text, is_whole=is_whole)
    kept = text if is_whole else text[: _last_record_end(text)]
    table, decimal_point = _parse(kept, delimiter)
    details = {"encoding": encoding, "delimiter": delimiter, "decimal_point": decimal_point}
    types = dict(zip(table.column_names, table.schema.types, strict=True))
    if is_whole:
        found = fingerprint(types, len(table), statistics_of(table))
        return Content(table.schema, len(table), found, details=details)
    return Content(
        table.schema,
        None,
        Fingerprint(fingerprint(types, None, {}).schema, _of_sample(storage, stored, data)),
        rows_estimate=round(len(table) * stored.size_bytes / len(data) * len(text) / len(kept)),
        details=details,
        remarks=(f"types and the number of rows are those of the first {sized(SAMPLE_BYTES)}",),
    )


def first_rows(
    storage: Storage,
    stored: StoredObject,
    types: Mapping[str, pa.DataType] | None = None,
    details: Mapping[str, str | int] | None = None,
) -> pa.Table:
    """Read the rows in the first MiB of a CSV file.

    Args:
        storage, stored: where it is.
        types: of all of its columns, by their names in order; None: as `read_csv` finds them.
        details: what `read_csv` found else; given together with types.

    Raises:
        Conflict: its columns are others.
        InvalidInput: it is no CSV, or its rows have not as many fields as the header.
        NotFound, Forbidden, Unavailable, Corrupt: as the store says.
    """
    is_whole = stored.size_bytes <= SAMPLE_BYTES
    data = storage.get_range(stored.path, 0, min(stored.size_bytes, SAMPLE_BYTES))
    text, _ = decode(data, is_whole=is_whole)
    kept = text if is_whole else text[: _last_record_end(text)]
    if types is None or details is None:
        return _parse(kept, find_delimiter(text, is_whole=is_whole))[0]
    found = _read(
        pa.py_buffer(kept.encode() + b"\n"),
        str(details["delimiter"]),
        decimal_point=str(details["decimal_point"]),
        types=types,
    )
    if found.column_names != list(types):
        raise Conflict("its columns are others than were harvested; harvest it again")
    return found


def _of_sample(storage: Storage, stored: StoredObject, start: bytes) -> str:
    """Hash size, beginning and end: equal for copies of the file, for nothing else."""
    end = storage.get_range(stored.path, stored.size_bytes - _TAIL_BYTES, _TAIL_BYTES)
    return digest("csv", stored.size_bytes, start.hex(), end.hex())


def _last_record_end(text: str) -> int:
    """Find where the last whole record ends: behind a line break that is in no quotes."""
    quotes = text.count('"')
    end = len(text)
    while (at := text.rfind("\n", 0, end)) >= 0:
        quotes -= text.count('"', at, end)
        if quotes % 2 == 0:
            return at + 1
        end = at
    raise InvalidInput(f"its first {sized(SAMPLE_BYTES)} hold no whole row; is it CSV?")


def _parse(text: str, delimiter: str) -> tuple[pa.Table, str]:
    """Read text as a table; returns it with the decimal point that fits."""
    data = pa.py_buffer(text.encode() + b"\n")
    table = _read(data, delimiter)
    columns_of(table.schema)
    decimal_point = "."
    if not any(pt.is_floating(kind) for kind in table.schema.types) and _has_comma(table):
        decimal_point = ","
        table = _read(data, delimiter, decimal_point=decimal_point)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    whole = [name for name, column in columns.items() if pt.is_integer(column.type)]
    for name, text_column in _as_text(data, delimiter, whole).items():
        if _any_matches(text_column, _ZERO_PADDED):
            columns[name] = text_column
    for name, column in columns.items():
        if pt.is_null(column.type):
            columns[name] = column.cast(pa.string())
    return pa.table(columns), decimal_point


def _as_text(data: pa.Buffer, delimiter: str, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    table = _read(data, delimiter, text_columns=names) if names else pa.table({})
    return dict(zip(table.column_names, table.columns, strict=True))


def _read(
    data: pa.Buffer,
    delimiter: str,
    *,
    decimal_point: str = ".",
    text_columns: Sequence[str] = (),
    types: Mapping[str, pa.DataType] | None = None,
) -> pa.Table:
    ragged: list[pa_csv.InvalidRow] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        return pa_csv.read_csv(
            pa.BufferReader(data),
            # One block: a row may be of any length, and types are those of all rows.
            pa_csv.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse
            ),
            pa_csv.ConvertOptions(
                strings_can_be_null=True,
                decimal_point=decimal_point,
                include_columns=list(text_columns),
                column_types=types or dict.fromkeys(text_columns, pa.string()),
            ),
        )
    except pa.ArrowException as error:
        # Not what Arrow says: it quotes the row.
        raise InvalidInput(_why(ragged)) from error


def _why(ragged: Sequence[pa_csv.InvalidRow]) -> str:
    if not ragged:
        return "it cannot be read as CSV; write it anew"
    row = ragged[0]
    return (
        f"row {row.number} (the header is row 1) has {counted(row.actual_columns, 'field')} where"
        f" the header has {row.expected_columns}; mend the row, or quote its text"
    )


def _has_comma(table: pa.Table) -> bool:
    """Tell whether a column holds nothing but numbers that are written with a comma."""
    texts = [column for column in table.columns if pt.is_string(column.type)]
    return any(
        pc.all(pc.match_substring_regex(column, _DECIMAL_COMMA)).as_py()
        and _any_matches(column, ",")
        for column in texts
    )


def _any_matches(column: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, pattern)).as_py())
