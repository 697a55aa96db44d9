"""Smithy RPC v2 with CBOR: what CloudWatch's other SDKs prefer.

Source: Smithy 2.0, "Smithy RPC v2 CBOR protocol".
"""

from __future__ import annotations

import re
from typing import Any

from atoll.fleet.wire import cbor, tree
from atoll.fleet.wire.errors import Malformed, WireError
from atoll.fleet.wire.message import Request, Response
from atoll.fleet.wire.protocol import Call, answer_headers
from atoll.fleet.wire.service import unknown_operation

_CONTENT_TYPE = "application/cbor"
_PATH = re.compile(r"/service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9_]+)")
_MARK = ("smithy-protocol", "rpc-v2-cbor")


class CborProtocol:
    """Reads and writes Smithy RPC v2 CBOR."""

    name = "smithy-rpc-v2-cbor"

    def speaks(self, request: Request) -> bool:
        """Tell by the header that names the protocol, or by the path that only it has."""
        return request.header(_MARK[0]) is not None or request.path.startswith("/service/")

    def target(self, model: Any) -> str:
        """Give the service's name in the path."""
        return str(model.metadata["targetPrefix"])

    def call(self, request: Request) -> Call:
        """Take the path apart."""
        if request.header(_MARK[0]) != _MARK[1]:
            raise Malformed(f"header {_MARK[0]} must be {_MARK[1]}; other protocols have no path")
        kind = (request.header("content-type") or _CONTENT_TYPE).partition(";")[0].strip().lower()
        if kind != _CONTENT_TYPE:
            raise Malformed(f"content type {kind!r} is no CBOR; send {_CONTENT_TYPE}")
        found = _PATH.fullmatch(request.path)
        if not found:
            raise unknown_operation(f"path {request.path!r} names no operation")
        # A namespace may stand before the service's name.
        return Call(found[1].rpartition(".")[2], found[2], request.body)

    def read(self, operation: Any, payload: Any) -> dict[str, Any]:
        """Read a CBOR map; an empty body is an empty map."""
        found = cbor.decode(payload) if payload else {}
        if not isinstance(found, dict):
            raise Malformed(f"the body is a CBOR {type(found).__name__}; send a map")
        shape = operation.input_shape
        return found if shape is None else tree.read(found, shape, _READ)

    def write(self, operation: Any, output: dict[str, Any], request_id: str) -> Response:
        """Write a CBOR map; an operation without output has no body."""
        headers = (_MARK, *answer_headers(request_id))
        if operation.output_shape is None:
            return Response(200, b"", _CONTENT_TYPE, headers)
        found = tree.write(output, operation.output_shape, _WRITE)
        return Response(200, cbor.encode(found), _CONTENT_TYPE, headers)

    def write_error(self, model: Any, error: WireError, request_id: str) -> Response:
        """Write the error's shape with its name as `__type`."""
        found = {"__type": error.type_name, **error.values()}
        headers = (_MARK, *answer_headers(request_id, model, error))
        return Response(error.http_status, cbor.encode(found), _CONTENT_TYPE, headers)


def _float(shape: Any, value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_READ: tree.Leaves = {"float": _float, "double": _float}
_WRITE: tree.Leaves = {"float": _float, "double": _float}
