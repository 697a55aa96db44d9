"""The prices that quotes and bills use: one file with a date, of which a user may edit a copy."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.core.files import reading

FILE = "prices.toml"
# What a file of prices must have, by section; texts, then prices.
_TEXTS = {
    "": ("region", "date"),
    "s3": ("source",),
    "lambda": ("source",),
    "step_functions": ("source",),
    "instance": ("source", "name"),
    "transfer": ("source",),
}
_PRICES = {
    "": (),
    "s3": ("storage_gib_month", "get", "put", "list"),
    "lambda": ("gb_second", "request"),
    "step_functions": ("state_transition",),
    "instance": ("hour",),
    "transfer": ("inside_region_gib", "out_of_region_gib"),
}
_OPTIONAL = {("instance", "spot_hour")}


@dataclass(frozen=True)
class Prices:
    """What things cost, in US dollars.

    Attributes:
        origin: the file they are from.
        region, date: where and when they hold.
        storage_gib_month: of 2^30 bytes in the object store.
        get, put, list: of one request to it.
        gb_second, invocation: of a function: 2^30 bytes for a second; being called.
        state_transition: of the state machine.
        instance, instance_hour, spot_hour: name and price of the machine that builds and searches
            in batches; None where no spot price is given.
        inside_region_gib, out_of_region_gib: of 2^30 bytes moved.
    """

    origin: str
    region: str
    date: str
    storage_gib_month: float
    get: float
    put: float
    list: float
    gb_second: float
    invocation: float
    state_transition: float
    instance: str
    instance_hour: float
    spot_hour: float | None
    inside_region_gib: float
    out_of_region_gib: float


def load_prices(path: Path | None = None) -> Prices:
    """Read prices.

    Args:
        path: the user's; None takes those that come with Atoll.

    Raises:
        InvalidInput: the file is no TOML, lacks a price, has an unknown one, or one is no amount.
        NotFound, Forbidden, Unavailable: it cannot be read.
    """
    if path is None:
        return parse_prices(own_prices(), f"Atoll's own {FILE}")
    with reading(path):
        data = path.read_bytes()
    try:
        return parse_prices(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not text; copy Atoll's own {FILE} and edit it") from error


def own_prices() -> str:
    """Return the text of the prices that come with Atoll, to be copied and edited."""
    return (files(__package__) / FILE).read_text("utf-8")


def parse_prices(text: str, origin: str) -> Prices:
    """Read prices from the text of a file.

    Raises:
        InvalidInput: see `load_prices`.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{origin} is not TOML: {error}; mend the line", file=origin) from error
    sections = {name: found if name == "" else found.get(name, {}) for name in _PRICES}
    for name, section in sections.items():
        _check_section(name, section, origin)
    s3, functions, instance = sections["s3"], sections["lambda"], sections["instance"]
    return Prices(
        origin=origin,
        region=found["region"],
        date=str(found["date"]),
        storage_gib_month=s3["storage_gib_month"],
        get=s3["get"],
        put=s3["put"],
        list=s3["list"],
        gb_second=functions["gb_second"],
        invocation=functions["request"],
        state_transition=sections["step_functions"]["state_transition"],
        instance=instance["name"],
        instance_hour=instance["hour"],
        spot_hour=instance.get("spot_hour"),
        inside_region_gib=sections["transfer"]["inside_region_gib"],
        out_of_region_gib=sections["transfer"]["out_of_region_gib"],
    )


def _check_section(name: str, section: Any, origin: str) -> None:
    if not isinstance(section, Mapping):
        raise InvalidInput(f"{origin}: {name} is no section; write [{name}]", file=origin)
    optional = {key for where, key in _OPTIONAL if where == name}
    known = {*_TEXTS[name], *_PRICES[name], *optional}
    if name == "":
        known |= set(_PRICES) - {""}
    dot = f"{name}." if name else ""
    for key in section:
        if key not in known:
            raise InvalidInput(
                f"{origin} has {dot}{key}, which no quote uses; there are "
                f"{', '.join(sorted(known))}",
                file=origin,
                key=f"{dot}{key}",
            )
    for key in (*_TEXTS[name], *_PRICES[name]):
        if key not in section:
            raise InvalidInput(
                f"{origin} lacks {dot}{key}; copy it from Atoll's own {FILE}",
                file=origin,
                key=f"{dot}{key}",
            )
    for key in _TEXTS[name]:
        if not isinstance(section[key], str | date):
            raise InvalidInput(f"{origin}: {dot}{key} is no text; put it in quotes", file=origin)
    for key in (*_PRICES[name], *sorted(optional & set(section))):
        _check_amount(f"{dot}{key}", section[key], origin)


def _check_amount(key: str, value: Any, origin: str) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise InvalidInput(
            f"{origin}: {key} is {value!r}; give US dollars, a number of at least 0",
            file=origin,
            key=key,
        )
