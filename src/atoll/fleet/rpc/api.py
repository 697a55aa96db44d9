"""The side that answers: a call is its name in the path and JSON in the body.

POST /v1/fleet/resize   Authorization: Bearer ...   {"cluster_id": "j-...", "resize": {...}}
200 {"result": ...}     or     404 {"error": {"code", "message", "details"}}
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from atoll.core.errors import AtollError, Forbidden, InvalidInput, NotFound
from atoll.core.records import decoded
from atoll.fleet.rpc.calls import Signature, failure_of, signature
from atoll.fleet.wire.message import Request, Response

logger = logging.getLogger(__name__)

_JSON = "application/json"


class Api:
    """Answers the calls below one path."""

    def __init__(
        self,
        prefix: str,
        calls: Mapping[str, Callable[..., Any]],
        token: str,
        *,
        types: Mapping[str, Signature] | None = None,
    ) -> None:
        """Take the path, what may be called by name, and the token that callers must show.

        Args:
            prefix: such as "/v1/fleet".
            calls: by name.
            token: as text.
            types: of calls whose own annotations are not to be read.
        """
        self._prefix = prefix
        self._calls: dict[str, tuple[Callable[..., Any], Signature]] = {
            name: (call, (types or {}).get(name) or signature(call)) for name, call in calls.items()
        }
        self._bearer = f"Bearer {token}"

    def answer(self, request: Request) -> Response:
        """Answer one request, whatever happens."""
        try:
            return Response(200, msgspec.json.encode({"result": self._result(request)}), _JSON)
        except AtollError as error:
            return _failed(error)
        # A caller must hear of it in words that it understands.
        except Exception as error:
            logger.exception("call failed path=%s", request.path)
            what = f"the host failed: {type(error).__name__}: {error}; see its log"
            return _failed(AtollError(what))

    def knows(self, request: Request) -> bool:
        """Tell whether a request shows the token."""
        shown = request.header("authorization") or ""
        return hmac.compare_digest(shown.encode(), self._bearer.encode())

    def _result(self, request: Request) -> Any:
        if not self.knows(request):
            raise Forbidden("the token is missing or not this host's; see host.json in its folder")
        name = request.path.removeprefix(f"{self._prefix}/")
        if name not in self._calls:
            raise NotFound(f"there is no call {name!r}; there are: {', '.join(self._calls)}")
        if request.method != "POST":
            raise InvalidInput(f"call {name} is made by POST, not {request.method}")
        call, types = self._calls[name]
        return call(**types.converted(_arguments(request.body)))


def _failed(error: AtollError) -> Response:
    body = msgspec.json.encode({"error": failure_of(error)})
    return Response(error.status, body, _JSON)


def _arguments(body: bytes) -> dict[str, Any]:
    try:
        return decoded(body or b"{}", dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"the body of a call is a JSON object: {error}") from error
