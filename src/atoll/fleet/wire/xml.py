"""Writes XML by botocore's shapes: the answers of the query protocol."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from atoll.fleet.wire import instants

# What XML 1.0 cannot say, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Unescaped, a parser makes a line feed of it.
_CARRIAGE_RETURN = {"\r": "&#13;"}


def document(name: str, namespace: str, parts: Iterable[str]) -> bytes:
    """Put a document together of elements that are written already."""
    attribute = f" xmlns={quoteattr(namespace)}" if namespace else ""
    return f"<{name}{attribute}>{''.join(parts)}</{name}>".encode()


def element(name: str, inner: str) -> str:
    """Write one element around what is written already."""
    return f"<{name}>{inner}</{name}>"


def text(value: str) -> str:
    """Write text; characters that XML has no way to say become U+FFFD."""
    return escape(_ILLEGAL.sub("\ufffd", value), _CARRIAGE_RETURN)


def members(value: Mapping[str, Any], shape: Any) -> str:
    """Write the members of a structure, each as an element; it fits the shape."""
    return "".join(_member(shape.members[name], name, member) for name, member in value.items())


def _member(shape: Any, name: str, value: Any) -> str:
    name = shape.serialization.get("name", name)
    if shape.serialization.get("flattened"):
        return _flattened(shape, name, value)
    return element(name, _inner(value, shape))


def _flattened(shape: Any, name: str, value: Any) -> str:
    if shape.type_name == "list":
        name = shape.member.serialization.get("name", name)
        return "".join(element(name, _inner(item, shape.member)) for item in value)
    return "".join(element(name, _entry(key, item, shape)) for key, item in value.items())


def _inner(value: Any, shape: Any) -> str:
    kind = shape.type_name
    if kind == "structure":
        return members(value, shape)
    if kind == "list":
        name = shape.member.serialization.get("name", "member")
        return "".join(element(name, _inner(item, shape.member)) for item in value)
    if kind == "map":
        return "".join(element("entry", _entry(key, item, shape)) for key, item in value.items())
    return text(_scalar(value, shape))


def _entry(key: str, value: Any, shape: Any) -> str:
    names = (shape.key.serialization.get("name"), shape.value.serialization.get("name"))
    written = element(names[0] or "key", _inner(key, shape.key))
    return written + element(names[1] or "value", _inner(value, shape.value))


def _scalar(value: Any, shape: Any) -> str:
    kind = shape.type_name
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        form = shape.serialization.get("timestampFormat", "iso8601")
        return str(instants.in_format(value, form))
    if kind in ("float", "double"):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))
    return str(value)
