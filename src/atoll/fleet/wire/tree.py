"""Shapes against trees: what JSON and CBOR have in common.

Both give a tree of dict, list and scalars; they differ only in how a blob, an instant or a special
float is written. `Leaves` holds that difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from atoll.fleet.wire.errors import InvalidParameters, Malformed

# A third more than any model needs; every level costs the walkers a few frames of the stack.
MAX_DEPTH = 64

# By botocore's name of a type: a shape and a value, what becomes of the value.
Leaves = Mapping[str, Callable[[Any, Any], Any]]


def check_depth(tree: Any) -> None:
    """Refuse a tree that would exhaust the stack of whoever walks it.

    Raises:
        Malformed: it is deeper than MAX_DEPTH.
    """
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise Malformed(f"the body is nested more than {MAX_DEPTH} deep; send it flatter")


def _children(node: Any) -> Any:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def read(tree: Any, shape: Any, leaves: Leaves, at: str = "") -> Any:
    """Make of a tree what a handler gets.

    Members without a value are left out; unknown ones stay, to be named by `conform`.

    Raises:
        InvalidParameters: a leaf is not what its shape says.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(tree, dict):
        return _structure(tree, shape, leaves, at)
    if kind == "list" and isinstance(tree, list):
        return [read(item, shape.member, leaves, f"{at}[{n}]") for n, item in enumerate(tree)]
    if kind == "map" and isinstance(tree, dict):
        return {key: read(item, shape.value, leaves, f"{at}.{key}") for key, item in tree.items()}
    try:
        return leaves.get(kind, _as_it_is)(shape, tree)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidParameters(
            f"Invalid value for parameter {at.lstrip('.')}: it is no {kind}", wanted=kind
        ) from error


def _structure(tree: dict[str, Any], shape: Any, leaves: Leaves, at: str) -> dict[str, Any]:
    names = {_name(member, name): name for name, member in shape.members.items()}
    found = {}
    for key, value in tree.items():
        name = names.get(key)
        if value is not None:
            found[name or key] = (
                read(value, shape.members[name], leaves, f"{at}.{key}") if name else value
            )
    return found


def write(value: Any, shape: Any, leaves: Leaves) -> Any:
    """Make a tree of what a handler returned; it fits the shape."""
    kind = shape.type_name
    if kind == "structure":
        return {
            _name(shape.members[name], name): write(member, shape.members[name], leaves)
            for name, member in value.items()
        }
    if kind == "list":
        return [write(item, shape.member, leaves) for item in value]
    if kind == "map":
        return {key: write(item, shape.value, leaves) for key, item in value.items()}
    return leaves.get(kind, _as_it_is)(shape, value)


def _name(member: Any, name: str) -> str:
    return str(member.serialization.get("name", name))


def _as_it_is(shape: Any, value: Any) -> Any:
    return value
