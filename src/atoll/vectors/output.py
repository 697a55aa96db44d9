"""Writes hits: to a file whole or not at all, or to standard output as suits whoever reads it."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from atoll.core.errors import Conflict, InvalidInput
from atoll.core.files import whole_file, writing
from atoll.core.text import counted, printable

FORMATS = (".csv", ".parquet", ".json")
MAX_WIDTH = 48


def is_csv(output: Path | None, *, as_json: bool = False) -> bool:
    """Tell whether `write_hits` would write CSV."""
    if output is not None:
        return output.suffix.lower() == ".csv"
    return not as_json and not sys.stdout.isatty()


def write_hits(
    hits: pa.Table | Iterable[bytes] | None,
    output: Path | None,
    *,
    force: bool,
    as_json: bool = False,
) -> None:
    """Write a result.

    Args:
        hits: the result, or its CSV in pieces where that is wanted; None only checks that it
            could be written, before the work is done.
        output: a .csv, .parquet or .json file; None prints a table on a terminal, CSV elsewhere.
        force: replace the file.
        as_json: print JSON instead, where there is no file.

    Raises:
        InvalidInput: unknown kind of file, or no folder for it.
        Conflict: the file exists.
        Forbidden, Unavailable: it cannot be written.
    """
    if output is None:
        if hits is not None:
            _print(hits, as_json)
        return
    if output.suffix.lower() not in FORMATS:
        raise InvalidInput(f"{output} is none of {', '.join(FORMATS)}; name the output so")
    with writing(output):
        if output.exists() and not force:
            raise Conflict(f"{output} exists; choose another name or replace it with --force")
        if not output.parent.is_dir():
            raise FileNotFoundError
    if hits is not None:
        with whole_file(output) as file:
            if isinstance(hits, pa.Table):
                _write(hits, file, output.suffix.lower())
            else:
                file.writelines(hits)


def as_bytes(hits: pa.Table, suffix: str) -> bytes:
    """Write a result as the contents of a file of that kind, one of `FORMATS`."""
    out = io.BytesIO()
    _write(hits, out, suffix)
    return out.getvalue()


def describe_search(facts: Mapping[str, Any], hits: int) -> str:
    """Say in one line how a search was made, by what it says of itself, and how many it found."""
    how = facts["index"]
    if facts["paths"] == ["brute force"]:
        how += ", every row compared" if how != "exact" else ""
    else:
        how += f" {' and '.join(facts['paths'])}, nprobes {facts['nprobes']}"
        how += f", refine factor {facts['refine_factor']}"
    if recall := facts["recall"]:
        how += f" for recall {recall['asked']:g}"
        if facts["index"] != "exact":
            how += (
                f": calibrated {recall['measured']:.3f}, "
                f"{recall['low']:.3f} to {recall['high']:.3f}"
            )
        how += "" if recall["holds"] else f", no promise here: {recall['why']}"
    failed = facts["failed_buckets"]
    text = (
        f"{counted(hits, 'hit')}; {how}; {facts['distance_type']} distance; "
        f"version {facts['version']}"
    )
    return text + (f"; WITHOUT failed buckets {', '.join(failed)}" if failed else "")


def write_table(
    table: pa.Table,
    out: TextIO,
    *,
    max_width: int | None = MAX_WIDTH,
    counts: Sequence[str] = (),
) -> None:
    """Print aligned columns.

    Args:
        table: what to print.
        out: where.
        max_width: longer values are cut.
        counts: columns of whole numbers that are written as in sentences, 2,000 for 2000.
    """
    columns = [
        [name, *(_cell(value, max_width, name in counts) for value in table[name].to_pylist())]
        for name in table.column_names
    ]
    widths = [max(map(len, column)) for column in columns]
    right = [not _is_text(table.schema.field(name).type) for name in table.column_names]
    for row in zip(*columns, strict=True):
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        out.write("  ".join(cells).rstrip() + "\n")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _cell(value: object, max_width: int | None, is_count: bool) -> str:
    if is_count:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else printable(str(value))
    if max_width is None or len(text) <= max_width:
        return text
    return text[: max_width - 3] + "..."


def _print(hits: pa.Table | Iterable[bytes], as_json: bool) -> None:
    if not isinstance(hits, pa.Table):
        sys.stdout.flush()
        sys.stdout.buffer.writelines(hits)
    elif as_json:
        sys.stdout.write(_json_text(hits) + "\n")
    elif sys.stdout.isatty():
        write_table(hits, sys.stdout)
    else:
        sys.stdout.flush()
        pa.csv.write_csv(_flat(hits), sys.stdout.buffer)


def _json_text(hits: pa.Table) -> str:
    # One object per line inside a list: readable as a whole, and by line-wise tools.
    lines = map(_as_json, hits.to_pylist())
    return "[\n" + ",\n".join(lines) + "\n]"


def _flat(hits: pa.Table) -> pa.Table:
    """Make all fit into CSV: vectors as numbers with spaces between, other lists as JSON."""
    for index, field in enumerate(hits.schema):
        if pa.types.is_nested(field.type):
            is_vector = pa.types.is_fixed_size_list(field.type)
            texts = [_as_text(row, is_vector) for row in hits[field.name].to_pylist()]
            hits = hits.set_column(index, field.name, pa.array(texts, pa.string()))
    return hits


def _as_text(value: Any, is_vector: bool) -> str | None:
    if value is None:
        return None
    return " ".join(map(repr, value)) if is_vector else _as_json(value)


def _as_json(value: object) -> str:
    return json.dumps(_plain(value), default=str, ensure_ascii=False)


def _plain(value: object) -> object:
    """Replace what JSON has no word for: NaN and infinity become null, bytes become text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _write(hits: pa.Table, file: BinaryIO, suffix: str) -> None:
    if suffix == ".csv":
        pa.csv.write_csv(_flat(hits), file)
    elif suffix == ".parquet":
        pa.parquet.write_table(hits, file)
    else:
        file.write(f"{_json_text(hits)}\n".encode())
