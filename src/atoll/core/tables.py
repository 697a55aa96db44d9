"""Tables and times as the command line prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from atoll.core.text import printable


def table(rows: Sequence[Mapping[str, object]], *, empty: str) -> list[str]:
    """Lay rows out as aligned columns under their names.

    >>> table([{"a": 1, "name": "x"}, {"a": 20, "name": "long"}], empty="none")
    [' a  name', ' 1  x', '20  long']
    """
    if not rows:
        return [empty]
    names = list(rows[0])
    columns = [[printable(name), *(printable(str(row[name])) for row in rows)] for name in names]
    is_number = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(cells, widths, is_number, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def clock(at: float | None) -> str:
    """Write a time of day, in UTC; "-" where there is none.

    >>> clock(0)
    '1970-01-01 00:00:00'
    """
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
