"""Tables and times as the command line prints them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from atoll.core.text import printable

_GAP = 2
_LEAST = 12  # characters of a cell that was cut


def table(
    rows: Sequence[Mapping[str, object]],
    *,
    empty: str,
    width: int | None = None,
    whole: Collection[str] = (),
) -> list[str]:
    """Lay rows out as aligned columns under their names.

    Args:
        rows: all with the same names.
        empty: what is said where there are none.
        width: characters of a line; the longest cells are cut until lines fit, or nothing is left
            to cut. None: none are.
        whole: names of columns that are never cut.

    >>> table([{"a": 1, "name": "x"}, {"a": 20, "name": "long"}], empty="none")
    [' a  name', ' 1  x', '20  long']
    >>> table([{"name": "a" * 99, "id": "b"}], empty="none", width=16)[1]
    'aaaaaaaaaaa…  b'
    """
    if not rows:
        return [empty]
    names = list(rows[0])
    columns = [[printable(name), *(printable(str(row[name])) for row in rows)] for name in names]
    is_number = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    widths = [max(map(len, column)) for column in columns]
    if width is not None:
        _fit(widths, width - _GAP * (len(names) - 1), [name in whole for name in names])
    lines = []
    for cells in zip(*columns, strict=True):
        padded = [
            cell.rjust(most) if number else _cut(cell, most).ljust(most)
            for cell, most, number in zip(cells, widths, is_number, strict=True)
        ]
        lines.append((" " * _GAP).join(padded).rstrip())
    return lines


def _fit(widths: list[int], wanted: int, is_whole: Sequence[bool]) -> None:
    """Make the widest columns narrower, one after another, until all together are as wanted."""
    while (excess := sum(widths) - wanted) > 0:
        some = [at for at, width in enumerate(widths) if width > _LEAST and not is_whole[at]]
        if not some:
            return
        widest = max(some, key=widths.__getitem__)
        others = max((widths[at] for at in some if at != widest), default=_LEAST)
        step = max(widths[widest] - others, 1)
        widths[widest] -= min(excess, step, widths[widest] - _LEAST)


def _cut(cell: str, most: int) -> str:
    return cell if len(cell) <= most else f"{cell[: most - 1]}…"


def clock(at: float | None) -> str:
    """Write a time of day, in UTC; "-" where there is none.

    >>> clock(0)
    '1970-01-01 00:00:00'
    """
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
