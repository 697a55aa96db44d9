"""A text in JSON or YAML, read into plain values: mappings, lists, texts, truth values, null.

Numbers stay as they are written ("7.10" is not 7.1); whoever reads a value knows what it must be.
Aliases are taken, as long as what they stand for stays small; duplicate keys are not.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.spec.reader import shown

LARGEST_BYTES = 1_000_000
"""The most a CloudFormation template may have."""
DEEPEST = 40
MOST_VALUES = 10_000

_NULL = "tag:yaml.org,2002:null"
_PLAIN = "tag:yaml.org,2002:"
_MERGE = "tag:yaml.org,2002:merge"


def read_document(text: str | bytes, origin: str, *, functions: bool = False) -> object:
    """Read a document; one that starts with "{" is JSON, any other YAML.

    Args:
        text: the document; bytes are UTF-8.
        origin: what to call it in messages.
        functions: take CloudFormation's short forms (`!Ref x`), as the long ones.

    Raises:
        InvalidInput: it is neither, is too large or too deep, or has a key twice (the message has
            line and column), or PyYAML is not installed.
    """
    said = _decoded(text, origin)
    if said.lstrip().startswith("{"):
        value = _read_json(said, origin)
        _measure(value, origin)
        return value
    return _read_yaml(said, origin, functions=functions)


def _decoded(text: str | bytes, origin: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "replace"))
    if size > LARGEST_BYTES:
        raise InvalidInput(
            f"{origin} has {size:,} bytes; {LARGEST_BYTES:,} are the most", size_bytes=size
        )
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{origin} is not UTF-8 (byte {error.start}); save it as UTF-8", file=origin
        ) from error


def _read_json(text: str, origin: str) -> object:
    try:
        return json.loads(
            text,
            parse_int=str,
            parse_float=str,
            parse_constant=_no_constant,
            object_pairs_hook=_without_twice,
        )
    except json.JSONDecodeError as error:
        raise _at(origin, error.lineno, error.colno, f"is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise _too_deep(origin) from error
    except _Twice as error:
        raise InvalidInput(f"{origin}: {error}; keep one", file=origin) from error


class _Twice(Exception):
    """A key, or a word, that must not be there."""


def _without_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise _Twice(f"the key {shown(twice)} is there twice")
    return found


def _no_constant(word: str) -> str:
    raise _Twice(f"{word} is no number")


def _measure(value: object, origin: str) -> None:
    level, deep, count = [value], 0, 0
    while level:
        deep, count = deep + 1, count + len(level)
        if deep > DEEPEST:
            raise _too_deep(origin)
        if count > MOST_VALUES:
            raise _too_many(origin)
        level = [inner for one in level for inner in _inside(one)]


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _read_yaml(text: str, origin: str, *, functions: bool) -> object:
    try:
        import yaml
    except ImportError as error:
        raise InvalidInput("this reads YAML with PyYAML: install atoll[fleet]") from error
    try:
        # The parser is a loop; what builds nodes of its events recurses, so the depth comes first.
        _measure_events(yaml.parse(text, Loader=yaml.SafeLoader), origin)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        raise InvalidInput(
            f"{origin} is not YAML: a character that is not allowed at position "
            f"{error.position}; take it out",
            file=origin,
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _at(origin, line, column, f"is not YAML: {error.problem}") from error
    except (ValueError, OverflowError) as error:  # an escape that stands for no character
        raise InvalidInput(
            f"{origin} is not YAML: {error}; mend the escape", file=origin
        ) from error
    if node is None:
        raise InvalidInput(f"{origin} is empty", file=origin)
    return _Nodes(origin, functions).value(node, 1)


def _measure_events(events: Any, origin: str) -> None:
    deep = 0
    for count, event in enumerate(events):
        name = type(event).__name__
        deep += name.endswith("StartEvent") - name.endswith("EndEvent")
        # Stream and document are levels, too.
        if deep > DEEPEST + 2:
            raise _too_deep(origin)
        if count > MOST_VALUES:
            raise _too_many(origin)


class _Nodes:
    """Turns nodes of YAML into values; an alias counts as often as it stands for something."""

    def __init__(self, origin: str, functions: bool) -> None:
        self._origin = origin
        self._functions = functions
        self._count = 0

    def value(self, node: Any, deep: int) -> object:
        self._count += 1
        if deep > DEEPEST:
            raise _too_deep(self._origin)
        if self._count > MOST_VALUES:
            raise _too_many(self._origin)
        if node.tag.startswith("!"):
            return self._function(node, deep)
        if not node.tag.startswith(_PLAIN) or "/" in node.tag:
            raise self._wrong(node, f"the tag {shown(node.tag)} is not taken; leave it out")
        return self._content(node, deep)

    def _content(self, node: Any, deep: int) -> object:
        if node.id == "mapping":
            return self._mapping(node, deep)
        if node.id == "sequence":
            return [self.value(one, deep + 1) for one in node.value]
        return None if node.tag == _NULL else node.value

    def _mapping(self, node: Any, deep: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in node.value:
            if key.id != "scalar" or key.tag == _MERGE:
                raise self._wrong(key, "this key is no text (merge keys are not taken)")
            if key.value in found:
                raise self._wrong(key, f"the key {shown(key.value)} is there twice; keep one")
            found[key.value] = self.value(value, deep + 1)
        return found

    def _function(self, node: Any, deep: int) -> object:
        name = node.tag[1:]
        if not self._functions or not name:
            raise self._wrong(node, f"the tag {shown(node.tag)} is not taken here")
        content = self._content(node, deep)
        if name == "GetAtt" and isinstance(content, str):
            content = content.split(".", 1)
        return {name if name in ("Ref", "Condition") else f"Fn::{name}": content}

    def _wrong(self, node: Any, message: str) -> InvalidInput:
        return _at(self._origin, node.start_mark.line + 1, node.start_mark.column + 1, message)


def _at(origin: str, line: int, column: int, message: str) -> InvalidInput:
    where = f"{origin}, line {line}, column {column}"
    return InvalidInput(f"{where}: {message}", file=origin, line=line, column=column)


def _too_deep(origin: str) -> InvalidInput:
    return InvalidInput(f"{origin} is nested deeper than {DEEPEST} levels", file=origin)


def _too_many(origin: str) -> InvalidInput:
    return InvalidInput(
        f"{origin} stands for more than {MOST_VALUES:,} values, aliases counted", file=origin
    )
