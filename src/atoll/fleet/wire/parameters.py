"""Reads the parameters of the query protocol: `Fleets.member.1.Name=core` by botocore's shapes."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from atoll.fleet.wire import instants
from atoll.fleet.wire.errors import InvalidParameters, ServiceError
from atoll.fleet.wire.tree import MAX_DEPTH

MAX_FIELDS = 10_000
# A level of a tree takes two parts of a name: a member, and "member.1" or "entry.1.value".
_MAX_PARTS = 2 * MAX_DEPTH
_INDEX = re.compile(r"[1-9][0-9]{0,5}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_BOOLEANS = {"true": True, "false": False}


class MalformedQuery(ServiceError):
    """The body is no form, or its names contradict each other."""

    def __init__(self, message: str) -> None:
        """Keep the message."""
        super().__init__(message, name="MalformedQueryString", http_status=400)

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle how to rebuild it."""
        return type(self), (self.message,)


def parse_form(body: bytes) -> dict[str, Any]:
    """Read a form into a tree that is cut at the dots of the names.

    Raises:
        MalformedQuery: the bytes are no form, or two names contradict each other.
    """
    try:
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise MalformedQuery("the body is no form of at most 10,000 fields in UTF-8") from error
    root: dict[str, Any] = {}
    for name, value in fields:
        parts = name.split(".")
        if len(parts) > _MAX_PARTS:
            raise MalformedQuery(f"a parameter's name has {len(parts)} parts; send it flatter")
        _place(root, parts, value)
    return root


def _place(root: dict[str, Any], parts: list[str], value: str) -> None:
    node = root
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise MalformedQuery(f"parameter {part!r} has both a value and members")
    if parts[-1] in node:
        raise MalformedQuery(f"parameter {'.'.join(parts)!r} is given twice")
    node[parts[-1]] = value


def read(node: Any, shape: Any, at: str = "") -> Any:
    """Make of a form's tree what a handler gets; unknown members stay, to be named by `conform`.

    Raises:
        InvalidParameters: a value is not what its shape says.
    """
    kind = shape.type_name
    if kind == "structure":
        return _structure(node, shape, at)
    if kind == "list":
        return _list(node, shape, at)
    if kind == "map":
        return _map(node, shape, at)
    if isinstance(node, dict):
        raise InvalidParameters(f"Invalid value for parameter {at}: it has members and is a {kind}")
    try:
        if kind == "timestamp":
            return instants.from_format(node, shape.serialization.get("timestampFormat", "iso8601"))
        return _SCALARS[kind](node)
    except (ValueError, OverflowError) as error:
        raise InvalidParameters(f"Invalid value for parameter {at}: it is no {kind}") from error


def _structure(node: Any, shape: Any, at: str) -> dict[str, Any]:
    if node == "":
        return {}
    if not isinstance(node, dict):
        raise InvalidParameters(f"Invalid value for parameter {at}: a structure has members")
    names = {_name(member, name): name for name, member in shape.members.items()}
    found = {}
    for part, value in node.items():
        name = names.get(part)
        found[name or part] = (
            read(value, shape.members[name], f"{at}.{part}".lstrip(".")) if name else value
        )
    return found


def _name(member: Any, name: str) -> str:
    """Spell a member as the form does: a flattened list may go by its member's name."""
    if member.type_name == "list" and member.serialization.get("flattened"):
        name = member.member.serialization.get("name", name)
    return str(member.serialization.get("name", name))


def _list(node: Any, shape: Any, at: str) -> list[Any]:
    if node == "":
        return []
    if not shape.serialization.get("flattened"):
        node = _only(node, shape.member.serialization.get("name", "member"), at)
    items = _numbered(node, at)
    return [read(item, shape.member, f"{at}[{n}]") for n, item in enumerate(items)]


def _map(node: Any, shape: Any, at: str) -> dict[str, Any]:
    if node == "":
        return {}
    if not shape.serialization.get("flattened"):
        node = _only(node, "entry", at)
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found = {}
    for entry in _numbered(node, at):
        if not isinstance(entry, dict) or set(entry) != {key_name, value_name}:
            raise InvalidParameters(f"Invalid entry in {at}: send {key_name} and {value_name}")
        key = read(entry[key_name], shape.key, f"{at}.{key_name}")
        found[key] = read(entry[value_name], shape.value, f"{at}.{key}")
    return found


def _only(node: Any, name: str, at: str) -> Any:
    if not isinstance(node, dict) or set(node) != {name}:
        raise InvalidParameters(f"Invalid value for parameter {at}: send {at}.{name}.1 and so on")
    return node[name]


def _numbered(node: Any, at: str) -> list[Any]:
    """Give items in the order of their numbers, which may have gaps."""
    if not isinstance(node, dict) or not all(map(_INDEX.fullmatch, node)):
        raise InvalidParameters(f"Invalid value for parameter {at}: number its items from 1")
    return [node[index] for index in sorted(node, key=int)]


def _integer(value: str) -> int:
    if not _INTEGER.fullmatch(value):
        raise ValueError("no integer")
    return int(value)


def _float(value: str) -> float:
    special = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    if value in special:
        return special[value]
    found = float(value)
    # Python reads more spellings than AWS, and makes infinity of what is too large.
    if not math.isfinite(found) or not re.fullmatch(r"[0-9eE.+-]+", value):
        raise ValueError("no number")
    return found


def _boolean(value: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise ValueError("neither true nor false")
    return _BOOLEANS[value.lower()]


def _blob(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "boolean": _boolean,
    "blob": _blob,
}
