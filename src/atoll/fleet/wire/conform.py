"""Holds values against botocore's shapes.

botocore's own validator finds what is missing, unknown or too small. What it lets pass and a
service would not (a boolean for a number, a word that an enumeration lacks, too long a list) is
found here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

_INTEGER_BITS = {"integer": 32, "long": 64}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "blob": (bytes,),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}


def misfits(value: Any, shape: Any) -> list[str]:
    """Name everything in which a value does not fit a shape; an empty list: it fits.

    Args:
        value: by the names of the model; instants are aware datetimes, blobs bytes.
        shape: botocore's; None, an operation without input or output, allows {} only.
    """
    if shape is None:
        return [] if value == {} else [f"{sorted(value)} given where the model has no members"]
    found = list(_misfits(value, shape, ""))
    if found:
        return found
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(value, shape)
    return report.generate_report().split("\n") if report.has_errors() else []


def _misfits(value: Any, shape: Any, at: str) -> Iterator[str]:
    kind = shape.type_name
    if not _is_of(value, kind):
        yield f"Invalid type for parameter {at or 'input'}, value: {_short(value)}, wanted: {kind}"
        return
    yield from _limits(value, shape, at)
    if kind == "structure":
        for name, member in value.items():
            if name in shape.members:
                yield from _misfits(member, shape.members[name], f"{at}.{name}".lstrip("."))
    elif kind == "list":
        for index, member in enumerate(value):
            yield from _misfits(member, shape.member, f"{at}[{index}]")
    elif kind == "map":
        for key, member in value.items():
            yield from _misfits(key, shape.key, f"{at} (key)")
            yield from _misfits(member, shape.value, f"{at}.{key}")


def _is_of(value: Any, kind: str) -> bool:
    # To Python, a boolean is an integer.
    return isinstance(value, _PYTHON_TYPES[kind]) and isinstance(value, bool) <= (kind == "boolean")


def _limits(value: Any, shape: Any, at: str) -> Iterator[str]:
    kind = shape.type_name
    if kind in _INTEGER_BITS:
        bound = 1 << (_INTEGER_BITS[kind] - 1)
        if not -bound <= value < bound:
            yield f"Invalid range for parameter {at}, value: {_short(value)}, wanted: {kind}"
    elif kind == "timestamp" and value.tzinfo is None:
        yield f"Invalid value for parameter {at}, value: {value}, wanted: a time zone with it"
    elif kind == "string" and shape.enum and value not in shape.enum:
        yield (
            f"Value {_short(value)} at '{at}' failed to satisfy constraint: Member must satisfy "
            f"enum value set: [{', '.join(shape.enum)}]"
        )
    most = shape.metadata.get("max")
    if most is not None:
        size = len(value) if isinstance(value, str | bytes | list | dict) else value
        if size > most:
            yield f"Invalid size for parameter {at}: {_short(size)}, valid max value: {most}"


def _short(value: Any) -> str:
    # The value may be what an attacker sent: of any size and depth.
    if isinstance(value, dict | list):
        return f"a {type(value).__name__} of {len(value):,}"
    if isinstance(value, str | bytes):
        value = value[:100]
    return repr(value)
