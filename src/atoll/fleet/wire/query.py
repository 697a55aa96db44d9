"""AWS's query protocol: a form goes in, XML comes out. CloudFormation's, and old CloudWatch's."""

from __future__ import annotations

from typing import Any

from atoll.fleet.wire import parameters, xml
from atoll.fleet.wire.errors import ServiceError, WireError
from atoll.fleet.wire.message import Request, Response
from atoll.fleet.wire.protocol import Call, answer_headers

_FORM = "application/x-www-form-urlencoded"
_XML = "text/xml"
_UNKNOWN_OPERATION = "UnknownOperationException"


class QueryProtocol:
    """Reads forms, writes XML."""

    name = "query"

    def speaks(self, request: Request) -> bool:
        """Tell by the content type; no other protocol of ours has forms."""
        kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
        return request.path == "/" and kind == _FORM

    def target(self, model: Any) -> str:
        """Give the version, which no two services share."""
        return str(model.api_version)

    def call(self, request: Request) -> Call:
        """Take operation and version out of the form."""
        found = parameters.parse_form(request.body)
        action, version = found.pop("Action", None), found.pop("Version", None)
        if not isinstance(action, str) or not isinstance(version, str):
            raise ServiceError(
                "Action or Version is missing; send both, as AWS's clients do", name="MissingAction"
            )
        return Call(version, action, found)

    def read(self, operation: Any, payload: Any) -> dict[str, Any]:
        """Read the form's other fields by the input shape."""
        shape = operation.input_shape
        found: dict[str, Any] = payload if shape is None else parameters.read(payload, shape)
        return found

    def write(self, operation: Any, output: dict[str, Any], request_id: str) -> Response:
        """Write the output in the element that the model names, the request's id behind it."""
        parts = []
        shape = operation.output_shape
        if shape is not None:
            inner = xml.members(output, shape)
            wrapper = shape.serialization.get("resultWrapper")
            parts.append(xml.element(wrapper, inner) if wrapper else inner)
        parts.append(xml.element("ResponseMetadata", xml.element("RequestId", request_id)))
        namespace = operation.metadata.get("xmlNamespace", "")
        body = xml.document(f"{operation.name}Response", namespace, parts)
        return Response(200, body, _XML, answer_headers(request_id))

    def write_error(self, model: Any, error: WireError, request_id: str) -> Response:
        """Write an `ErrorResponse`."""
        status, code = error.http_status, error.code
        if code == _UNKNOWN_OPERATION:
            status, code = 400, "InvalidAction"
        parts = [xml.element("Type", error.fault), xml.element("Code", xml.text(code))]
        parts.append(xml.element("Message", xml.text(error.message)))
        if error.shape is not None:
            parts.append(xml.members(error.members, error.shape))
        namespace = model.metadata.get("xmlNamespace", "") if model is not None else ""
        inner = [xml.element("Error", "".join(parts)), xml.element("RequestId", request_id)]
        body = xml.document("ErrorResponse", namespace, inner)
        return Response(status, body, _XML, answer_headers(request_id))
