"""The routes of coming in and going out, and who a request comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from atoll.core.errors import InvalidInput, Unauthenticated
from atoll.core.records import decoded
from atoll.mesh.http.routes import HEADERS, encoded, read_body
from atoll.mesh.identity.throttle import place_of
from atoll.mesh.model.record import Name
from atoll.mesh.operations.calls import Caller
from atoll.mesh.service.people import DAY_SECONDS, Secret
from atoll.mesh.service.signing import DEVICE_DAYS, Doorkeeper, Opened, Visit

if TYPE_CHECKING:
    # What speaks to providers is imported where one is configured.
    from atoll.mesh.service.sso import SingleSignOn

# The prefix makes browsers insist on TLS, on the whole site and on no other host.
COOKIE = "__Host-atoll"
DEVICE_COOKIE = "__Host-atoll-device"
SSO_COOKIE = "__Host-atoll-sso"
CSRF_HEADER = "x-csrf-token"
# Passwords are hashed, and providers answer, slowly: neither may hold up the other, or the rest.
SIGNING_THREADS = 8
_BEARER = "bearer "
T = TypeVar("T")
Answered = Callable[[Request, bytes], Response]


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
            text = header[len(_BEARER) :].strip()
            return doorkeeper.by_token(text, place=_place(request))
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            raise Unauthenticated("say who you are: send a token as `Authorization: Bearer ...`")
        is_change = request.method not in ("GET", "HEAD")
        csrf = request.headers.get(CSRF_HEADER, "") if is_change else None
        return doorkeeper.by_cookie(cookie, csrf=csrf)

    return caller


def routes(doorkeeper: Doorkeeper, sso: SingleSignOn | None) -> list[Route]:
    """Return the routes that take no credentials, or are about a browser's own session."""

    def sign_in(request: Request, body: bytes) -> Response:
        asked = _read(request, body, SignIn)
        return _told(doorkeeper.sign_in(asked.name, asked.password, _visit(request)))

    def once(request: Request, body: bytes) -> Response:
        return _told(doorkeeper.use_login(_read(request, body, OnceOnly).text, _visit(request)))

    def session(request: Request, body: bytes) -> Response:
        return encoded(_shown(doorkeeper.session(request.cookies.get(COOKIE, ""))))

    def sign_out(request: Request, body: bytes) -> Response:
        cookie = request.cookies.get(COOKIE, "")
        doorkeeper.sign_out(cookie, csrf=request.headers.get(CSRF_HEADER, ""))
        answer = encoded({})
        _clear(answer, COOKIE)
        return answer

    def choices(request: Request, body: bytes) -> Response:
        return encoded({"items": sso.choices if sso else []})

    own = _routes(
        ("POST", "/sign-in", sign_in),
        ("POST", "/once", once),
        ("POST", "/sign-out", sign_out),
        ("GET", "/session", session),
        ("GET", "/sso", choices),
    )
    return [*own, *(_at_providers(sso) if sso else [])]


def _at_providers(sso: SingleSignOn) -> list[Route]:
    def begin(request: Request, body: bytes) -> Response:
        name, return_to = request.path_params["provider"], request.query_params.get("return_to")
        begun = sso.begin(name, return_to or "/", _visit(request))
        answer = _redirected(begun.url)
        lasts = begun.pending.expires_at - begun.pending.created_at
        _set(answer, SSO_COOKIE, begun.cookie, int(lasts.total_seconds()))
        return answer

    def finish(request: Request, body: bytes) -> Response:
        name, brought = request.path_params["provider"], request.query_params.multi_items()
        cookie = request.cookies.get(SSO_COOKIE, "")
        opened, url = sso.finish(name, brought, cookie, _visit(request))
        answer = _redirected(url)
        _clear(answer, SSO_COOKIE)
        _open(answer, opened)
        return answer

    path = "/sso/{provider}"
    return _routes(("GET", path, begin), ("GET", f"{path}/callback", finish))


def _routes(*listed: tuple[str, str, Answered]) -> list[Route]:
    """Make routes that share a few threads."""
    limiter = CapacityLimiter(SIGNING_THREADS)

    def endpoint(answered: Answered) -> Callable[[Request], Awaitable[Response]]:
        async def called(request: Request) -> Response:
            body = await read_body(request)
            return await to_thread.run_sync(answered, request, body, limiter=limiter)

        return called

    return [
        Route(f"/v1{path}", endpoint(answered), methods=[method])
        for method, path, answered in listed
    ]


def _visit(request: Request) -> Visit:
    cookies = request.cookies
    return Visit(_place(request), cookies.get(COOKIE, ""), cookies.get(DEVICE_COOKIE, ""))


def _place(request: Request) -> str:
    return place_of(request.client.host) if request.client else ""


def _told(opened: Opened) -> Response:
    answer = encoded(_shown(opened))
    _open(answer, opened)
    return answer


def _shown(opened: Opened) -> SignedIn:
    return SignedIn(opened.profile_id, opened.csrf, opened.expires_at)


def _redirected(url: str) -> Response:
    return RedirectResponse(url, 303, {**HEADERS, "Referrer-Policy": "no-referrer"})


def _open(answer: Response, opened: Opened) -> None:
    _set(answer, COOKIE, opened.cookie, None)
    if opened.device:
        _set(answer, DEVICE_COOKIE, opened.device, DEVICE_DAYS * DAY_SECONDS)


def _set(answer: Response, name: str, text: str, max_age: int | None) -> None:
    answer.set_cookie(name, text, max_age=max_age, secure=True, httponly=True, samesite="lax")


def _clear(answer: Response, name: str) -> None:
    answer.delete_cookie(name, secure=True, httponly=True, samesite="lax")


def _read(request: Request, body: bytes, kind: type[T]) -> T:
    # A form of another site may send any text, but not call it JSON.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InvalidInput("send JSON, with the header Content-Type: application/json")
    try:
        return decoded(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not what this takes: {error}") from error
