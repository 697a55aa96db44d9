"""The routes of coming in and going out, and who a request comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.core.errors import InvalidInput, Unauthenticated
from atoll.core.records import decoded
from atoll.mesh.http.routes import encoded, read_body
from atoll.mesh.model.record import Name
from atoll.mesh.operations.calls import Caller
from atoll.mesh.service.people import Secret
from atoll.mesh.service.signing import Doorkeeper, Opened

# The prefix makes browsers insist on TLS, on the whole site and on no other host.
COOKIE = "__Host-atoll"
CSRF_HEADER = "x-csrf-token"
_BEARER = "bearer "
T = TypeVar("T")


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and a password."""

    name: Name
    password: Secret


class OnceOnly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a one-time login."""

    text: Secret


class SignedIn(msgspec.Struct, frozen=True):
    """What a browser needs to know; its cookie says the rest.

    Attributes:
        csrf: goes with every change, as the header X-CSRF-Token.
        expires_at: microseconds since the epoch.
    """

    profile_id: str
    csrf: str
    expires_at: int


def caller_of(doorkeeper: Doorkeeper) -> Callable[[Request], Caller]:
    """Return what tells whom a request comes from."""

    def caller(request: Request) -> Caller:
        header = request.headers.get("authorization", "")
        if header[: len(_BEARER)].lower() == _BEARER:
            return doorkeeper.by_token(header[len(_BEARER) :].strip())
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            raise Unauthenticated("say who you are: send a token as `Authorization: Bearer ...`")
        is_change = request.method not in ("GET", "HEAD")
        csrf = request.headers.get(CSRF_HEADER, "") if is_change else None
        return doorkeeper.by_cookie(cookie, csrf=csrf)

    return caller


def routes(doorkeeper: Doorkeeper) -> list[Route]:
    """Return the routes that take no credentials, or end a session."""

    def sign_in(request: Request, body: bytes) -> Response:
        asked = _read(body, SignIn)
        return _with_cookie(doorkeeper.sign_in(asked.name, asked.password))

    def once(request: Request, body: bytes) -> Response:
        return _with_cookie(doorkeeper.use_login(_read(body, OnceOnly).text))

    def sign_out(request: Request, body: bytes) -> Response:
        cookie = request.cookies.get(COOKIE, "")
        doorkeeper.sign_out(cookie, csrf=request.headers.get(CSRF_HEADER, ""))
        answer = encoded({})
        answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
        return answer

    return [
        Route(f"/v1/{path}", _endpoint(answered), methods=["POST"])
        for path, answered in (("sign-in", sign_in), ("once", once), ("sign-out", sign_out))
    ]


def _endpoint(
    answered: Callable[[Request, bytes], Response],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await read_body(request)
        return await run_in_threadpool(answered, request, body)

    return endpoint


def _with_cookie(opened: Opened) -> Response:
    answer = encoded(SignedIn(opened.profile.id, opened.csrf, opened.expires_at))
    answer.set_cookie(COOKIE, opened.cookie, secure=True, httponly=True, samesite="lax")
    return answer


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return decoded(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not what this takes: {error}") from error
