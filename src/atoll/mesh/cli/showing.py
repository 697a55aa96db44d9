"""Answers as a person reads them: tables that fit, or JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from atoll.core.tables import clock, table
from atoll.core.text import counted, duration, printable, sized
from atoll.mesh.cli.names import ID

_STAMPS = {"at", "since", "until", "timestamp", "again_at"}
_NOT_IN_TABLES = {"version", "created_at", "created_by", "updated_at", "updated_by", "description"}
_COUNTED = {"value", "name", "count"}
_CELL_LETTERS = 40
_DEPTH = 1  # what is nested deeper is told as JSON
_TITLES = ("name", "form_type", "asset_id", "listing_id", "id")


def show(answer: Any, *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    click.echo("\n".join(lines(answer, _width())))


def show_rows(answer: Any) -> None:
    """Print rows of data as a table of their columns."""
    names = [one["name"] for one in answer["columns"]]
    rows = [
        {name: _cell(one) for name, one in zip(names, row, strict=True)} for row in answer["rows"]
    ]
    click.echo("\n".join(table(rows, empty="no rows")))
    if answer["is_cut"]:
        click.echo(f"\n{counted(len(rows), 'row')}; there are more, or may be: --limit", err=True)


def _cell(value: Any) -> str | int | float:
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CELL_LETTERS else f"{text[:_CELL_LETTERS]}..."


def lines(answer: Any, width: int | None = None) -> Iterator[str]:
    """Yield the lines of an answer.

    Args:
        answer: as JSON says it.
        width: characters of a line, as far as that can be kept; None: any.
    """
    if isinstance(answer, list):
        yield from _rows(answer, width)
        return
    told = dict(_told(answer))
    single = [
        {"field": key, "value": one} for key, one in told.items() if not isinstance(one, list)
    ]
    parts = [table(single, empty="done")] if single or not told else []
    for key, one in told.items():
        if isinstance(one, list):
            parts.append([f"{printable(key)}:", *_rows(one, width, is_part=True)])
    for number, part in enumerate(parts):
        yield from ([""] if number else [])
        yield from part


def _rows(items: list[Any], width: int | None, *, is_part: bool = False) -> list[str]:
    """Lay things out; of a table that is all of an answer only what fits beside each other."""
    rows = [_row(one, is_part=is_part) for one in items]
    # What is empty everywhere tells nothing; what one has not, another may.
    names = [
        key
        for key in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(key, "") not in ("", "none") for row in rows)
    ]
    while True:
        ids = [name for name in names if name.endswith("_id")]
        found = table(
            [{name: row.get(name, "") for name in names} for row in rows],
            empty="there is nothing here that you may look at",
            width=width,
            whole={"id", *ids, *filter(_is_moment, names)},
        )
        if width is None or not ids or max(map(len, found)) <= width:
            return found
        names.remove(ids[-1])


def _row(item: Any, *, is_part: bool) -> dict[str, object]:
    if not isinstance(item, Mapping):
        return {"value": _text("", item)}
    return {
        key: _text(key, one)
        for key, one in item.items()
        if is_part or not (key in _NOT_IN_TABLES or isinstance(one, dict) or _are_ids(one))
    }


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and any(ID.match(str(one)) for one in value)


def _told(item: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a thing, and of what is in it, by their paths; tables are lists."""
    for name, one in item.items():
        path = f"{above}{name}"
        if isinstance(one, dict) and path.count("/") < _DEPTH:
            yield from _told(one, f"{path}/")
        elif _is_table(one) and set(one[0]) != _COUNTED:
            yield path, one
        elif one not in ("", None):
            yield path, json.dumps(one) if isinstance(one, dict) else _text(name, one)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _text(key: str, value: Any) -> str | int | float:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() if _is_moment(key):
            return clock(value / 1e6 if value else None)
        case int() if key.endswith("_s"):
            return duration(value)
        case int() if key.endswith("_bytes"):
            return sized(value)
        case int() | float():
            return value
        case list():
            return ", ".join(map(_short, value)) or "none"
        case dict():
            return ", ".join(f"{name}: {_text(name, one)}" for name, one in value.items())
    return str(value)


def _is_moment(key: str) -> bool:
    return key in _STAMPS or key.endswith("_at")


def _short(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if set(value) == _COUNTED:
        return f"{value['name']} ({value['count']:,})"
    return next((str(value[key]) for key in _TITLES if value.get(key)), json.dumps(value))


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
