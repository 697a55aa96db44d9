"""What options take: moments, spans of time, secrets, JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec import inspect

from atoll.mesh.model.record import microseconds

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d+) ?(s|min|h|d|w)")


class Moment(click.ParamType[int]):
    """A moment, in microseconds since the epoch."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a time such as 2026-11-26T08:30Z, or one from now on: +30d, -12h."""
        if isinstance(value, int) or value.isdigit():
            return int(value)
        if (span := _SPAN.fullmatch(value[1:])) and value[0] in "+-":
            seconds = int(span[1]) * _SECONDS[span[2]]
            return time.time_ns() // 1000 + seconds * (1_000_000 if value[0] == "+" else -1_000_000)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            told = f"{value!r} is no time; write one like 2026-11-26T08:30Z, +30d or -12h"
            return self.fail(told, param, ctx)
        return microseconds(found if found.tzinfo else found.replace(tzinfo=UTC))


class Span(click.ParamType[int]):
    """A span of time, in seconds."""

    name = "SPAN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a span such as 90min, 12h or 30d; a bare number is of seconds."""
        if isinstance(value, int) or value.isdigit():
            return int(value)
        if found := _SPAN.fullmatch(value):
            return int(found[1]) * _SECONDS[found[2]]
        return self.fail(f"{value!r} is no span; write one like 90min, 12h or 30d", param, ctx)


class Secret(click.ParamType[str]):
    """A password; others see what stands on a command line."""

    name = "SECRET"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a secret from @FILE, from standard input where it is -, or as it is."""
        try:
            if value == "-":
                return sys.stdin.readline().rstrip("\r\n")
            if value.startswith("@"):
                return Path(value[1:]).read_text().partition("\n")[0].rstrip("\r")
        except (OSError, ValueError) as error:
            return self.fail(f"the secret cannot be read: {error}", param, ctx)
        return str(value)


class Json(click.ParamType[Any]):
    """A nested value."""

    def __init__(self, *, or_text: bool = False) -> None:
        """Take JSON, or else text."""
        self._or_text = or_text
        self.name = "JSON, @FILE or text" if or_text else "JSON or @FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read JSON, from @FILE or as it is."""
        if not isinstance(value, str):
            return value
        try:
            text = Path(value[1:]).read_text() if value.startswith("@") else value
            return json.loads(text, parse_constant=_no_number)
        except (OSError, ValueError, RecursionError) as error:
            if self._or_text and not value.startswith("@"):
                return value
            return self.fail(f"{value!r} is neither JSON nor @FILE of it: {error}", param, ctx)


def example(kind: inspect.Type) -> Any:
    """Make a value of a type, as JSON shows it: of structures what must be there, or else all.

    >>> example(inspect.type_info(dict[str, int]))
    {'...': 0}
    """
    match kind:
        case inspect.UnionType(types=types):
            return example(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.StructType(fields=fields):
            shown = [one for one in fields if one.required] or fields
            return {one.encode_name: example(one.type) for one in shown}
        case inspect.DictType(value_type=value):
            return {"...": example(value)}
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return [example(item)]
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return 0
        case _:
            return "..."


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")
