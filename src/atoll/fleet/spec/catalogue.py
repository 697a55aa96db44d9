"""The instance types Atoll knows by itself: one file with a date.

A host takes an edited copy of it where its folder has one.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.core.files import reading
from atoll.core.text import some_of

FILE = "catalogue.toml"
_TEXTS = ("region", "date", "ebs_source")
_NUMBERS = ("vcpus", "memory_gib", "instance_store_gib", "ebs_gib", "hour")
_MAY_BE_ZERO = ("instance_store_gib", "ebs_gib")


@dataclass(frozen=True)
class InstanceType:
    """What one kind of machine is made of.

    Attributes:
        name: as EC2 names it.
        architecture: "x86_64" or "arm64".
        vcpus: processors.
        memory_gib: in 2^30 bytes.
        network_gbps: the most that its page states.
        instance_store_gib: local disks; 0: none.
        ebs_gib: network disks that EMR attaches unless told otherwise.
        price_hour: US dollars for an hour on demand.
    """

    name: str
    architecture: str
    vcpus: int
    memory_gib: float
    network_gbps: float
    instance_store_gib: int
    ebs_gib: int
    price_hour: float

    @property
    def disk_gib(self) -> int:
        """The disk an instance has when nobody asks for another."""
        return self.instance_store_gib or self.ebs_gib


@dataclass(frozen=True)
class Catalogue:
    """Instance types, and where their figures are from.

    Attributes:
        origin: the file they are from.
        region, date: where and when the prices hold.
        types: by name.
    """

    origin: str
    region: str
    date: str
    types: Mapping[str, InstanceType]


def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read a catalogue.

    Args:
        path: the user's; None takes the one that comes with Atoll.

    Raises:
        InvalidInput: the file is no TOML, lacks a key, has an unknown one, or one is no amount.
        NotFound, Forbidden, Unavailable: it cannot be read.
    """
    if path is None:
        return parse_catalogue(own_catalogue(), f"Atoll's own {FILE}")
    with reading(path):
        data = path.read_bytes()
    try:
        return parse_catalogue(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not text; copy Atoll's own {FILE} and edit it") from error


def own_catalogue() -> str:
    """Return the text of the catalogue that comes with Atoll, to be copied and edited."""
    return (files(__package__) / FILE).read_text("utf-8")


def parse_catalogue(text: str, origin: str) -> Catalogue:
    """Read a catalogue from the text of a file.

    Raises:
        InvalidInput: see `load_catalogue`.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{origin} is not TOML: {error}; mend the line", file=origin) from error
    for name in _TEXTS:
        _text(found, name, origin)
    types: dict[str, InstanceType] = {}
    for family, group in found.items():
        if family in _TEXTS:
            continue
        for one in _group(family, group, origin):
            if one.name in types:
                raise InvalidInput(f"{origin} has {one.name} twice; keep one", file=origin)
            types[one.name] = one
    return Catalogue(origin, found["region"], found["date"], types)


def _group(family: str, group: Any, origin: str) -> list[InstanceType]:
    where = f"{origin}: {family}"
    if not isinstance(group, dict):
        raise InvalidInput(f"{where} is no section; write [{family}]", file=origin)
    _no_other(group, ("source", "architecture", "network_gbps", "types"), where)
    _text(group, "source", where)
    architecture = _text(group, "architecture", where)
    network = _amount(group, "network_gbps", where)
    if not isinstance(group.get("types"), list):
        raise InvalidInput(f"{where} lacks types; write types = [...]", file=origin)
    return [_type(one, architecture, network, where) for one in group["types"]]


def _type(one: Any, architecture: str, network_gbps: float, where: str) -> InstanceType:
    if not isinstance(one, dict):
        raise InvalidInput(f"{where}: {one!r} is no type; write {{ name = ... }}")
    where = f"{where}: {_text(one, 'name', where)}"
    _no_other(one, ("name", *_NUMBERS), where)
    amounts = {key: _amount(one, key, where) for key in _NUMBERS}
    for key in ("vcpus", "instance_store_gib", "ebs_gib"):
        if amounts[key] != int(amounts[key]):
            raise InvalidInput(f"{where}.{key} is {one[key]!r}; write a whole number")
    return InstanceType(
        name=one["name"],
        architecture=architecture,
        vcpus=int(amounts["vcpus"]),
        memory_gib=amounts["memory_gib"],
        network_gbps=network_gbps,
        instance_store_gib=int(amounts["instance_store_gib"]),
        ebs_gib=int(amounts["ebs_gib"]),
        price_hour=amounts["hour"],
    )


def _text(section: Mapping[str, Any], key: str, where: str) -> str:
    value = section.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f'{where} lacks {key}; write {key} = "..."')
    return value


def _amount(section: Mapping[str, Any], key: str, where: str) -> float:
    value = section.get(key)
    if value is None:
        raise InvalidInput(f"{where} lacks {key}; add it")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < (0 if key in _MAY_BE_ZERO else 1e-9):
        raise InvalidInput(f"{where}.{key} is {value!r}; write a positive number")
    return float(value)


def _no_other(section: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    extra = sorted(set(section) - set(known))
    if extra:
        raise InvalidInput(f"{where} has {some_of(extra)}, which nothing uses; take it out")
