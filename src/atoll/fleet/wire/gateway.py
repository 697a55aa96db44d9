"""What becomes of a request: which service it is for, who sent it, what is answered. No sockets."""

from __future__ import annotations

import logging
import re
import time
import uuid
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from atoll.core.errors import AtollError
from atoll.fleet.wire.cborrpc import CborProtocol
from atoll.fleet.wire.errors import (
    INTERNAL,
    ErrorTable,
    Malformed,
    ServiceError,
    WireError,
    wire_error,
)
from atoll.fleet.wire.jsonrpc import JsonProtocol
from atoll.fleet.wire.message import Request, Response
from atoll.fleet.wire.protocol import Call, WireProtocol
from atoll.fleet.wire.query import QueryProtocol
from atoll.fleet.wire.service import Service, unknown_operation
from atoll.fleet.wire.signature import Signer, verify

logger = logging.getLogger(__name__)

PROTOCOLS: tuple[WireProtocol, ...] = (CborProtocol(), JsonProtocol(), QueryProtocol())
Route = Callable[[Request], Response]
STRANGERS_BYTES = 64 << 10
_READS = ("Describe", "List", "Get")
_ANY_SERVICE: ErrorTable = {AtollError: INTERNAL}


@dataclass(frozen=True)
class Gateway:
    """Answers requests.

    Attributes:
        services: that are provided.
        keys: secret by access key; None takes every caller, signed or not.
        routes: what is not AWS's: by path, "/metrics" or "/v1", which stands for all paths below
            it, too. A route checks for itself who may call it.
        reads: paths among them that change nothing, and may be asked each second: they are not
            logged, unless they fail.
        body_bytes: of a body, and that a compressed one may grow to.
        knows: whether a request, whose body is still to be read, is from somebody who may send so
            much; others may send `STRANGERS_BYTES`.
        clock: tells the time that signatures are held against.
    """

    services: Sequence[Service]
    keys: Mapping[str, str] | None = field(default=None, repr=False)
    routes: Mapping[str, Route] = field(default_factory=dict)
    reads: Collection[str] = ()
    body_bytes: int = 1 << 20
    knows: Callable[[Request], bool] = lambda _: True
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def most_bytes(self, head: Request) -> int:
        """Say how long the body of a request may be."""
        return self.body_bytes if self.knows(head) else min(self.body_bytes, STRANGERS_BYTES)

    def answer(self, request: Request) -> Response:
        """Answer one request, whatever it is; what fails of ours is logged."""
        started = time.monotonic()
        trace = _Trace(str(uuid.uuid4()))
        protocol = next((p for p in PROTOCOLS if p.speaks(request)), None)
        try:
            if protocol is not None:
                response = self._call(protocol, request, trace)
            else:
                response = self._route(request, trace)
        except Exception:
            logger.exception("request failed id=%s operation=%s", trace.request_id, trace.operation)
            response = _failure(protocol, trace)
        logger.log(
            logging.DEBUG if trace.is_read and response.status < 400 else logging.INFO,
            "request answered id=%s operation=%s key=%s status=%d ms=%.1f",
            trace.request_id,
            trace.operation,
            trace.key,
            response.status,
            (time.monotonic() - started) * 1000,
        )
        return response

    def _call(self, protocol: WireProtocol, request: Request, trace: _Trace) -> Response:
        """Answer a call of a service; errors that are raised on purpose become answers."""
        service: Service | None = None
        try:
            signer = self._signer(request, trace)
            call = protocol.call(_uncompressed(request, self.body_bytes))
            service = self._service(protocol, call)
            _check_scope(signer, service)
            trace.operation = f"{service.model_name}.{_loggable(call.operation)}"
            trace.is_read = call.operation.startswith(_READS)
            operation = service.operation(call.operation)
            parameters = protocol.read(operation, call.payload)
            output = service.call(call.operation, parameters)
            return protocol.write(operation, output, trace.request_id)
        except AtollError as error:
            table = service.errors if service is not None else _ANY_SERVICE
            model = service.model if service is not None else None
            found = wire_error(error, table, model)
            if found.http_status >= 500 and not isinstance(error, ServiceError):
                logger.exception(
                    "call failed id=%s operation=%s", trace.request_id, trace.operation
                )
            return protocol.write_error(model, found, trace.request_id)

    def _signer(self, request: Request, trace: _Trace) -> Signer | None:
        if request.method != "POST":
            raise ServiceError(
                f"AWS's protocols are spoken with POST, not {request.method}",
                name="InvalidAction",
                http_status=405,
            )
        if self.keys is None:
            _refuse_browsers(request)
            return None
        signer = verify(request, self.keys, self.clock())
        trace.key = signer.access_key
        return signer

    def _service(self, protocol: WireProtocol, call: Call) -> Service:
        for service in self.services:
            model = service.model
            spoken = protocol.name in model.metadata["protocols"]
            if spoken and protocol.target(model) == call.target:
                return service
        provided = ", ".join(service.model.service_id for service in self.services)
        raise unknown_operation(
            f"no service goes by {call.target[:100]!r} here; Atoll provides {provided}"
        )

    def _route(self, request: Request, trace: _Trace) -> Response:
        path = request.path
        for prefix, route in self.routes.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                trace.operation = f"{request.method} {_loggable_path(path)}"
                trace.is_read = path in self.reads
                return route(request)
        return Response(404, b"nothing is served at this path\n", "text/plain")


@dataclass
class _Trace:
    """What the log says of a request."""

    request_id: str
    operation: str = "-"
    key: str = "-"
    is_read: bool = False


def _loggable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "?", name)[:100]


def _loggable_path(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9/._-]", "?", path)[:100]


def _refuse_browsers(request: Request) -> None:
    # A web page can make a browser on this machine post a form to us; it always says whence.
    if request.header("origin") is not None:
        raise ServiceError(
            "requests of web pages are refused while no access keys are configured",
            name="AccessDeniedException",
            http_status=403,
        )


def _check_scope(signer: Signer | None, service: Service) -> None:
    wanted = service.model.signing_name
    if signer is not None and signer.service != wanted:
        raise ServiceError(
            f"the credential is scoped to service {signer.service!r}; it should be {wanted!r}",
            name="SignatureDoesNotMatch",
            http_status=403,
        )


def _uncompressed(request: Request, limit: int) -> Request:
    """Undo gzip, which clients use for large bodies of metrics."""
    encoding = request.header("content-encoding")
    if encoding is None:
        return request
    if encoding.lower() != "gzip":
        raise Malformed("content encoding is not known; send gzip or none")
    unzip = zlib.decompressobj(wbits=31)
    try:
        body = unzip.decompress(request.body, limit)
    except zlib.error as error:
        raise Malformed("the body is no gzip, though content-encoding says so") from error
    if not unzip.eof or unzip.unused_data:
        raise Malformed(f"the body is no gzip of at most {limit:,} bytes")
    return replace(request, body=body)


def _failure(protocol: WireProtocol | None, trace: _Trace) -> Response:
    """Answer for a bug of ours: the log knows the cause."""
    message = f"Atoll failed; its log names the cause under request id {trace.request_id}"
    if protocol is None:
        return Response(500, f"{message}\n".encode(), "text/plain")
    error = WireError(INTERNAL.code, message, INTERNAL.http_status)
    return protocol.write_error(None, error, trace.request_id)
