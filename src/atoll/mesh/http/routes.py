"""Routes: each reads a request, has the operation performed, and writes the answer down."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from anyio import CapacityLimiter, fail_after, to_thread
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from atoll.core.errors import AtollError, InvalidInput, TooManyRequests
from atoll.core.records import converted, decoded
from atoll.mesh.model.record import Record
from atoll.mesh.operations.calls import Caller, Demands, Performer
from atoll.mesh.operations.registry import Download, Nothing, Operation

logger = logging.getLogger(__name__)

BODY_BYTES = 1 << 20
BODY_SECONDS = 60
KEY_LETTERS = 200
# Of each change that takes long to prepare: nobody else waits for a thread then, and the processes
# in which foreign files are read are few.
SLOW_THREADS = 4
# Nothing is kept on the way, and nothing taken for what it does not say it is.
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
Authenticate = Callable[[Request], Caller]


def route(operation: Operation, performer: Performer, authenticate: Authenticate) -> Route:
    """Make the route of an operation."""
    limiter = CapacityLimiter(SLOW_THREADS) if operation.before else None

    async def endpoint(request: Request) -> Response:
        body = await read_body(request)

        def answered() -> Response:
            caller = authenticate(request)
            ids, ask = _asked(operation, request, body)
            answer = performer.perform(operation, caller, ids, ask, _demands(request))
            return encoded(answer)

        return await to_thread.run_sync(answered, limiter=limiter)

    return Route(f"/v1{operation.path}", endpoint, methods=[operation.method])


def encoded(answer: Any) -> Response:
    """Write an answer; a record carries its version as ETag, a file is sent and removed."""
    if isinstance(answer, Download):
        gone = BackgroundTask(Path(answer.path).unlink, missing_ok=True)
        return FileResponse(answer.path, headers=HEADERS, filename=answer.name, background=gone)
    etag = {"ETag": f'"{answer.version}"'} if isinstance(answer, Record) else {}
    headers = {**HEADERS, **etag}
    return Response(msgspec.json.encode(answer), media_type="application/json", headers=headers)


async def refused(request: Request, error: Exception) -> Response:
    """Write an error, in the one shape that all have."""
    match error:
        case AtollError():
            status, code, message = error.status, error.code, error.message
            details = error.details
        case HTTPException():
            status, code, message, details = error.status_code, "http", error.detail, {}
        case _:
            logger.error("a request failed path=%s", request.url.path, exc_info=error)
            status, code, details = 500, "error", {}
            message = "this is a fault of ours; the server's log says more"
    told = {"error": {"code": code, "message": message, "details": details}}
    headers = {**HEADERS, **(getattr(error, "headers", None) or {})}  # which methods a path has
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(details["retry_after_s"])
    return Response(
        msgspec.json.encode(told), status, media_type="application/json", headers=headers
    )


async def read_body(request: Request) -> bytes:
    """Read a body.

    Raises:
        InvalidInput: it is too large, too slow, or ends early.
    """
    parts, size = [], 0
    try:
        with fail_after(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > BODY_BYTES:
                    raise InvalidInput(f"the body is larger than {BODY_BYTES >> 20} MiB; send less")
                parts.append(part)
    except TimeoutError as error:
        raise InvalidInput(f"the body took longer than {BODY_SECONDS} s to arrive") from error
    except ClientDisconnect as error:
        raise InvalidInput("the body ended early") from error
    return b"".join(parts)


def _asked(operation: Operation, request: Request, body: bytes) -> tuple[dict[str, str], Any]:
    ids = dict(request.path_params)
    texts = [*ids.values(), *(value for _, value in request.query_params.multi_items())]
    if any("\0" in one for one in texts):
        raise InvalidInput("the address holds a zero byte; leave it out")
    about = {key: ids.pop(key) for key in [operation.about] if key}
    told = [*request.path_params.values(), *request.query_params.values()]
    if any("\0" in one for one in told):
        raise InvalidInput(f"{operation.name}: a NUL character is in no id and no name")
    try:
        if operation.is_read:
            query = {**_query(operation, request), **ids}
            return about, converted(query, operation.ask, strict=False)
        given = decoded(body, dict[str, Any]) if body.strip() else {}
        return about, converted({**given, **ids}, operation.ask)
    except msgspec.DecodeError as error:
        takes = [key for key in operation.ask.__struct_fields__ if key not in ids]
        hint = f"; it takes {', '.join(takes)}" if operation.ask is not Nothing else ""
        raise InvalidInput(f"{operation.name}: {error}{hint}") from error
    except RecursionError as error:
        raise InvalidInput(f"{operation.name}: the body is nested too deep") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{operation.name}: the body is not UTF-8") from error


def _query(operation: Operation, request: Request) -> dict[str, Any]:
    """Read the query; what can be given several times is a list."""
    given = request.query_params
    return {key: given.getlist(key) if key in operation.many else given[key] for key in given}


def _demands(request: Request) -> Demands:
    key = request.headers.get("idempotency-key", "")
    if len(key) > KEY_LETTERS:
        raise InvalidInput(f"an idempotency key has at most {KEY_LETTERS} characters")
    match = request.headers.get("if-match", "").strip()
    if match in ("", "*"):
        return Demands(key=key)
    number = match.removeprefix("W/").strip('"')
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:10]) < 1 << 31:
        raise InvalidInput("If-Match takes the ETag that came with the record, or *")
    return Demands(int(number[:10]), key)
