"""AWS JSON, versions 1.0 and 1.1: EMR's protocol, and the one botocore prefers for CloudWatch."""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec

from atoll.fleet.wire import instants, tree
from atoll.fleet.wire.errors import Malformed, WireError
from atoll.fleet.wire.message import Request, Response
from atoll.fleet.wire.protocol import Call, answer_headers

_CONTENT_TYPES = ("application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/json")
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class JsonProtocol:
    """Reads and writes AWS JSON; the model says which version."""

    name = "json"

    def speaks(self, request: Request) -> bool:
        """Tell by the header that names the operation."""
        return request.header("x-amz-target") is not None

    def target(self, model: Any) -> str:
        """Give the prefix of that header."""
        return str(model.metadata["targetPrefix"])

    def call(self, request: Request) -> Call:
        """Take the header apart."""
        kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if kind not in _CONTENT_TYPES:
            raise Malformed(f"content type {kind!r} is no AWS JSON; send {_CONTENT_TYPES[1]}")
        target, _, operation = (request.header("x-amz-target") or "").rpartition(".")
        return Call(target, operation, request.body)

    def read(self, operation: Any, payload: Any) -> dict[str, Any]:
        """Read a JSON object; an empty body is an empty object."""
        found = _decode(payload or b"{}")
        if not isinstance(found, dict):
            raise Malformed(f"the body is a JSON {type(found).__name__}; send an object")
        shape = operation.input_shape
        return found if shape is None else tree.read(found, shape, _READ)

    def write(self, operation: Any, output: dict[str, Any], request_id: str) -> Response:
        """Write a JSON object; an operation without output answers {}, as EMR does."""
        shape = operation.output_shape
        found = {} if shape is None else tree.write(output, shape, _WRITE)
        return _response(operation.metadata, 200, found, answer_headers(request_id))

    def write_error(self, model: Any, error: WireError, request_id: str) -> Response:
        """Write the error's shape with its name as `__type`."""
        found = {"__type": error.type_name, **error.values()}
        headers = answer_headers(request_id, model, error)
        metadata = model.metadata if model is not None else {}
        return _response(metadata, error.http_status, found, headers)


def _response(metadata: Any, status: int, found: Any, headers: Any) -> Response:
    version = metadata.get("jsonVersion", "1.1")
    return Response(
        status, msgspec.json.encode(found), f"application/x-amz-json-{version}", headers
    )


def _decode(body: bytes) -> Any:
    try:
        found = msgspec.json.decode(body)  # noqa: TID251  (of no type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is no JSON that Atoll reads: {error}") from error
    tree.check_depth(found)
    return found


def _read_float(shape: Any, value: Any) -> Any:
    return _SPECIAL_FLOATS.get(value, value) if isinstance(value, str) else value


def _read_blob(shape: Any, value: Any) -> bytes:
    return base64.b64decode(value, validate=True)


def _read_instant(shape: Any, value: Any) -> Any:
    if isinstance(value, str):
        return instants.from_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("neither text nor number")
    return instants.from_seconds(value)


def _write_float(shape: Any, value: float) -> float | str:
    if math.isfinite(value):
        return value
    return next(text for text, known in _SPECIAL_FLOATS.items() if repr(known) == repr(value))


def _write_blob(shape: Any, value: bytes) -> str:
    return base64.b64encode(value).decode()


def _write_instant(shape: Any, value: Any) -> Any:
    return instants.in_format(value, shape.serialization.get("timestampFormat", "unixTimestamp"))


_READ: tree.Leaves = {
    "float": _read_float,
    "double": _read_float,
    "blob": _read_blob,
    "timestamp": _read_instant,
}
_WRITE: tree.Leaves = {
    "float": _write_float,
    "double": _write_float,
    "blob": _write_blob,
    "timestamp": _write_instant,
}
