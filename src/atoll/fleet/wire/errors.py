"""Errors as a service's clients know them, and how Atoll's own become such.

A service has a table: which of its errors an `AtollError` is. What a table cannot tell (a stack of
that name exists) a handler raises as `ServiceError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.core.errors import AtollError, Conflict, Forbidden, InvalidInput, NotFound, Unavailable

# An error's message may quote what was sent, and that can be long.
MESSAGE_CHARS = 2_000


class ServiceError(InvalidInput):
    """A request is refused under a name that the service's clients know.

    Attributes:
        name: "AlreadyExistsException": the shape or the error code of the service's model, or one
            of the names common to all services.
        http_status: None leaves it to the model, else 400.
        members: of the error's shape, beside the message; strings, numbers, lists of them.
    """

    def __init__(
        self,
        message: str,
        *,
        name: str,
        http_status: int | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep message and facts."""
        super().__init__(message, name=name, http_status=http_status, members=members)
        self.name = name
        self.http_status = http_status
        self.members = dict(members or {})


class InvalidParameters(InvalidInput):
    """A request does not fit its operation's input shape; every misfit is named."""


class Malformed(ServiceError):
    """The bytes of a request are not of the protocol that its headers name."""

    def __init__(self, message: str) -> None:
        """Keep the message."""
        super().__init__(message, name="SerializationException", http_status=400)

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle how to rebuild it."""
        return type(self), (self.message,)


@dataclass(frozen=True)
class Name:
    """What an error is called on the wire, and its HTTP status."""

    code: str
    http_status: int


ErrorTable = Mapping[type[AtollError], Name]

INTERNAL = Name("InternalFailure", 500)
_COMMON: ErrorTable = {
    Forbidden: Name("AccessDeniedException", 403),
    Unavailable: Name("ServiceUnavailable", 503),
    AtollError: INTERNAL,
}
EMR: ErrorTable = {
    **_COMMON,
    InvalidParameters: Name("ValidationException", 400),
    InvalidInput: Name("InvalidRequestException", 400),
    NotFound: Name("InvalidRequestException", 400),
    Conflict: Name("InvalidRequestException", 400),
    AtollError: Name("InternalServerException", 500),
}
CLOUDFORMATION: ErrorTable = {
    **_COMMON,
    # As CloudFormation does for a stack that does not exist.
    InvalidInput: Name("ValidationError", 400),
    NotFound: Name("ValidationError", 400),
    Conflict: Name("OperationInProgressException", 409),
}
CLOUDWATCH: ErrorTable = {
    **_COMMON,
    InvalidParameters: Name("ValidationError", 400),
    InvalidInput: Name("InvalidParameterValue", 400),
    NotFound: Name("ResourceNotFound", 404),
    Conflict: Name("ResourceConflict", 409),
    AtollError: Name("InternalServiceError", 500),
}


@dataclass(frozen=True)
class WireError:
    """An error ready to be written in any protocol.

    Attributes:
        code: as a client compares it; the error code of a modelled error.
        shape: botocore's shape of it; None for an error that no model has.
        members: of that shape, beside the message.
    """

    code: str
    message: str
    http_status: int
    shape: Any = None
    members: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type_name(self) -> str:
        """Name of the shape, or the code where there is no shape."""
        return str(self.shape.name) if self.shape is not None else self.code

    @property
    def fault(self) -> str:
        """Whose fault it is, in AWS's words."""
        return "Receiver" if self.http_status >= 500 else "Sender"

    def values(self) -> dict[str, Any]:
        """Give the members of the shape, the message under the name it has there."""
        spelled = [n for n in ("message", "Message") if self.shape and n in self.shape.members]
        return {**self.members, spelled[0] if spelled else "message": self.message}


def wire_error(error: AtollError, table: ErrorTable, model: Any = None) -> WireError:
    """Say an error of ours in a service's words.

    Args:
        error: what was raised.
        table: of the service; the nearest class above the error's own counts.
        model: botocore's service model; None where no service is known.
    """
    message = error.message
    if len(message) > MESSAGE_CHARS:
        message = f"{message[:MESSAGE_CHARS]} ... ({len(message):,} characters in all)"
    if isinstance(error, ServiceError):
        shape = _shape(model, error.name)
        status = error.http_status or _modelled_status(shape) or 400
        return WireError(_code(shape, error.name), message, status, shape, error.members)
    name = next(table[kind] for kind in type(error).__mro__ if kind in table)
    shape = _shape(model, name.code)
    return WireError(name.code, message, name.http_status, shape)


def _shape(model: Any, name: str) -> Any:
    """Find an error's shape by its own name, else by its code."""
    shapes = model.error_shapes if model is not None else []
    named = [shape for shape in shapes if shape.name == name]
    coded = [shape for shape in shapes if shape.error_code == name]
    return next(iter(named + coded), None)


def _code(shape: Any, name: str) -> str:
    return str(shape.error_code) if shape is not None else name


def _modelled_status(shape: Any) -> int | None:
    return shape.metadata.get("error", {}).get("httpStatusCode") if shape is not None else None
