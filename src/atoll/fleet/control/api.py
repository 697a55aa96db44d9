"""The host's own HTTP API: a call is its name in the path and JSON in the body.

    POST /v1/fleet/resize   Authorization: Bearer ...   {"cluster_id": "j-...", "resize": {...}}
    200 {"result": ...}     or     404 {"error": {"code", "message", "details"}}

Arguments and results are those of `FleetService`; the command line is one client, curl another.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from atoll.core.errors import AtollError, Forbidden, InvalidInput, NotFound
from atoll.core.records import decoded
from atoll.fleet.providers.wire import Signature, failure_of, signature
from atoll.fleet.wire.message import Request, Response

PREFIX = "/v1/fleet"
_JSON = "application/json"


class Api:
    """Answers the host's own calls."""

    def __init__(self, calls: Mapping[str, Callable[..., Any]], token: str) -> None:
        """Take what may be called, by name, and the token that callers must show."""
        self._calls: dict[str, tuple[Callable[..., Any], Signature]] = {
            name: (call, signature(call)) for name, call in calls.items()
        }
        self._bearer = f"Bearer {token}"

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        try:
            body = msgspec.json.encode({"result": self._result(request)})
            return Response(200, body, _JSON)
        except AtollError as error:
            body = msgspec.json.encode({"error": failure_of(error)})
            return Response(error.status, body, _JSON)

    def _result(self, request: Request) -> Any:
        shown = request.header("authorization") or ""
        if not hmac.compare_digest(shown.encode(), self._bearer.encode()):
            raise Forbidden("the token is missing or not this host's; see host.json in its folder")
        name = request.path.removeprefix(f"{PREFIX}/")
        if name not in self._calls:
            raise NotFound(f"there is no call {name!r}; there are: {', '.join(self._calls)}")
        if request.method != "POST":
            raise InvalidInput(f"call {name} is made by POST, not {request.method}")
        call, types = self._calls[name]
        return call(**types.converted(_arguments(request.body)))


def _arguments(body: bytes) -> dict[str, Any]:
    try:
        return decoded(body or b"{}", dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"the body of a call is a JSON object: {error}") from error
