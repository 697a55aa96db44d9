"""The provider port over TCP: one JSON line asks, one JSON line answers.

    {"token": "...", "call": "machines", "args": {"cluster_id": "j-1"}}
    {"result": [...]}    or    {"error": {"code": "conflict", "message": "...", "details": {}}}

Types are those of the port's own annotations. Only what is light to import is imported here: every
agent in every machine does.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from atoll.core import errors
from atoll.core.errors import AtollError, InvalidInput
from atoll.core.records import converted
from atoll.fleet.providers.port import InsufficientCapacity, NoFreeAddress, Provider

LINE_BYTES = 4 << 20
"""Longest line: a launch with 16 KiB of user data, or a thousand machines, has room."""

CALLS = (
    "subnets",
    "pools",
    "require",
    "warnings",
    "reserve",
    "release",
    "addresses",
    "launch_primary",
    "launch_fleet",
    "machines",
    "start",
    "terminate",
)

_ERRORS: Mapping[str, type[AtollError]] = {
    one.code: one
    for one in (
        AtollError,
        errors.InvalidInput,
        errors.NotFound,
        errors.Forbidden,
        errors.Conflict,
        errors.Unavailable,
        errors.Corrupt,
        errors.Incomplete,
        InsufficientCapacity,
        NoFreeAddress,
    )
}


class Request(msgspec.Struct):
    """What is asked."""

    token: str
    call: str
    args: dict[str, Any]


class Failure(msgspec.Struct):
    """An error of Atoll's tree on its way."""

    code: str
    message: str
    details: dict[str, Any]


class Answer(msgspec.Struct, omit_defaults=True):
    """What is answered."""

    result: Any = None
    error: Failure | None = None


@dataclass(frozen=True)
class Signature:
    """The types of a call: of each argument by name, and of the result.

    Attributes:
        args: by name.
        required: those without a default.
        result: what comes back.
    """

    args: Mapping[str, Any]
    required: frozenset[str]
    result: Any

    def converted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Build the arguments out of what JSON holds.

        Raises:
            InvalidInput: one is unknown, missing or of another type.
        """
        unknown, missing = set(given) - set(self.args), self.required - set(given)
        if unknown or missing:
            raise InvalidInput(
                f"the arguments do not fit: unknown {sorted(unknown)}, missing {sorted(missing)}"
            )
        try:
            return {name: converted(value, self.args[name]) for name, value in given.items()}
        except msgspec.ValidationError as error:
            raise InvalidInput(f"the arguments do not fit: {error}") from error


@cache
def signature(call: Callable[..., Any]) -> Signature:
    """Read the types of a call from its annotations."""
    hints = typing.get_type_hints(call)
    parameters = dict(inspect.signature(call).parameters)
    parameters.pop("self", None)
    return Signature(
        args={name: hints[name] for name in parameters},
        required=frozenset(
            name for name, one in parameters.items() if one.default is inspect.Parameter.empty
        ),
        result=hints["return"],
    )


def port_signature(name: str) -> Signature:
    """Return the types of one of the port's calls."""
    return signature(getattr(Provider, name))


def failure_of(error: AtollError) -> Failure:
    """Pack an error; facts that JSON cannot hold travel as text."""
    details = msgspec.to_builtins(error.details, enc_hook=str)
    return Failure(error.code, error.message, details)


def error_of(failure: Failure) -> AtollError:
    """Unpack an error as the class it was."""
    return _ERRORS.get(failure.code, AtollError)(failure.message, **failure.details)
