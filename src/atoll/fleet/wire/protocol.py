"""What a protocol of AWS must do for the gateway; `jsonrpc`, `cborrpc` and `query` do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from atoll.fleet.wire.errors import WireError
from atoll.fleet.wire.message import Request, Response


@dataclass(frozen=True)
class Call:
    """What a request asks for, before any model is consulted.

    Attributes:
        target: what `WireProtocol.target` gives for the service's model.
        operation: its name; the service need not have it.
        payload: what carries the parameters, for `WireProtocol.read`.
    """

    target: str
    operation: str
    payload: Any


class WireProtocol(Protocol):
    """One way of writing calls and answers; the same for all services."""

    name: str
    """As botocore's models list it."""

    def speaks(self, request: Request) -> bool:
        """Tell from method, path and headers whether a request is of this protocol."""

    def target(self, model: Any) -> str:
        """Give what names a service in this protocol."""

    def call(self, request: Request) -> Call:
        """Find out what is asked for.

        Raises:
            ServiceError: nothing to be answered is.
        """

    def read(self, operation: Any, payload: Any) -> dict[str, Any]:
        """Read the parameters of a call by the operation's input shape.

        Raises:
            Malformed: the bytes are not of this protocol.
            InvalidParameters: a value is not of its shape's type.
        """

    def write(self, operation: Any, output: dict[str, Any], request_id: str) -> Response:
        """Write what a handler returned; it fits the operation's output shape."""

    def write_error(self, model: Any, error: WireError, request_id: str) -> Response:
        """Write an error.

        Args:
            model: of the service; None where it is not known.
            error: what went wrong, in the service's words.
            request_id: names the request in our log.
        """


def answer_headers(request_id: str, model: Any = None, error: WireError | None = None) -> Any:
    """Give the headers that JSON and CBOR answers share.

    An error of a service that once spoke the query protocol goes with the code it had there.
    """
    headers = [("x-amzn-requestid", request_id)]
    if error is not None and model is not None and model.is_query_compatible:
        headers.append(("x-amzn-query-error", f"{error.code};{error.fault}"))
    return tuple(headers)
