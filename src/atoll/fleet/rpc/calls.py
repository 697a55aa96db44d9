"""What a call takes and gives, by its own annotations, and errors on their way.

Only what is light to import is imported here: every agent in every machine does.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from atoll.core.errors import AtollError, InvalidInput
from atoll.core.records import converted


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


class Failure(msgspec.Struct):
    """An error of Atoll's tree on its way."""

    code: str
    message: str
    details: dict[str, Any]


def failure_of(error: AtollError) -> Failure:
    """Pack an error; facts that JSON cannot hold travel as text."""
    details = msgspec.to_builtins(error.details, enc_hook=str)
    return Failure(error.code, error.message, details)


def error_of(failure: Failure) -> AtollError:
    """Unpack an error as the class it was, where that is known here."""
    for kind in _kinds(AtollError):
        if vars(kind).get("code") == failure.code:
            return kind(failure.message, **failure.details)
    return AtollError(failure.message, **failure.details)


def _kinds(kind: type[AtollError]) -> Iterator[type[AtollError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
