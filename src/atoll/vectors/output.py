"""Writes hits: to a file whole or not at all, or to standard output as suits whoever reads it."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from atoll.core.errors import Conflict, Forbidden, InvalidInput, Unavailable

FORMATS = (".csv", ".parquet", ".json")
MAX_WIDTH = 48


def write_hits(
    hits: pa.Table | None, output: Path | None, *, force: bool, as_json: bool = False
) -> None:
    """Write a result.

    Args:
        hits: the result; None only checks that it could be written, before the work is done.
        output: a .csv, .parquet or .json file; None prints a table on a terminal, CSV elsewhere.
        force: replace the file.
        as_json: print JSON instead, where there is no file.

    Raises:
        InvalidInput: unknown kind of file.
        Conflict: the file exists.
        Forbidden, Unavailable: it cannot be written.
    """
    if output is None:
        if hits is not None:
            _print(hits, as_json)
        return
    if output.suffix.lower() not in FORMATS:
        raise InvalidInput(f"{output} is none of {', '.join(FORMATS)}; name the output so")
    try:
        exists = output.exists()
    except OSError as error:
        raise _cannot_write(output, error) from error
    if exists and not force:
        raise Conflict(f"{output} exists; choose another name or replace it with --force")
    if not output.parent.is_dir():
        raise _cannot_write(output, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    if hits is not None:
        with _whole_file(output) as temporary:
            _write(hits, temporary, output.suffix.lower())


def describe_search(hits: pa.Table) -> str:
    """Say in one line how a search was made."""
    facts = json.loads((hits.schema.metadata or {})[b"atoll"])
    how = facts["index"]
    if how not in ("exact", "flat"):
        how += f", nprobes {facts['nprobes']}, refine factor {facts['refine_factor']}"
    failed = facts["failed_buckets"]
    text = (
        f"{counted(len(hits), 'hit')}; {how}; {facts['distance_type']} distance; "
        f"version {facts['version']}"
    )
    return text + (f"; WITHOUT failed buckets {', '.join(failed)}" if failed else "")


def counted(number: int, unit: str) -> str:
    """Write a number with its unit: "1 row", "2,000 rows"."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def write_table(table: pa.Table, out: TextIO, *, max_width: int | None = MAX_WIDTH) -> None:
    """Print aligned columns; values longer than `max_width` are cut."""
    columns = [
        [name, *(_cell(value, max_width) for value in table[name].to_pylist())]
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


def _cell(value: object, max_width: int | None) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else str(value)
    # A stored text must not steer the terminal.
    text = "".join(char if char.isprintable() else " " for char in text)
    if max_width is None or len(text) <= max_width:
        return text
    return text[: max_width - 3] + "..."


def _print(hits: pa.Table, as_json: bool) -> None:
    if as_json:
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


def _write(hits: pa.Table, path: Path, suffix: str) -> None:
    if suffix == ".csv":
        pa.csv.write_csv(_flat(hits), path)
    elif suffix == ".parquet":
        pa.parquet.write_table(hits, path)
    else:
        path.write_text(_json_text(hits) + "\n")


@contextmanager
def _whole_file(output: Path) -> Iterator[Path]:
    """Hand out a temporary name beside `output`, renamed when the block ends well."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(output, error) from error
    try:
        yield Path(name)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(output)
    except OSError as error:
        raise _cannot_write(output, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(output: Path, error: OSError) -> Forbidden | Unavailable | InvalidInput:
    text = f"{output} cannot be written: {error.strerror or error}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Forbidden(f"{text}; choose a folder you may write to")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return InvalidInput(f"{text}; make the folder first")
    return Unavailable(f"{text}; free some room")
