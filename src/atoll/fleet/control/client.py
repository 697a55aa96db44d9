"""Asks a fleet host over HTTP: what the command line does."""

from __future__ import annotations

import http.client
import time
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.records import decoded
from atoll.fleet.control.api import PREFIX
from atoll.fleet.providers.wire import Failure, error_of

T = TypeVar("T")

ANSWER_SECONDS = 120.0
READS = frozenset(
    ("preview", "clusters", "cluster", "find", "events", "told", "steps", "measures", "advice")
) | {"warnings"}
"""Calls that change nothing: they are made again when a connection drops."""
TRIES = 3
PAUSE_SECONDS = 0.2


class FleetClient:
    """One host."""

    def __init__(self, url: str, token: str) -> None:
        """Take where it listens and the token it wants; nothing is asked yet."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidInput(f"{url!r} is no fleet host's address; write http://127.0.0.1:8998")
        self.url, self._host, self._port = url, parts.hostname, parts.port or 80
        self._token = token

    def call(self, name: str, kind: type[T], **args: Any) -> T:
        """Make a call of `FleetService`.

        Args:
            name: the call.
            kind: what it returns.
            **args: its arguments.

        Raises:
            Unavailable: no answer came. What the call raises comes as it is.
        """
        try:
            body = self._answered(name, msgspec.json.encode(args))
            answer = decoded(body, dict[str, msgspec.Raw])
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise self._silence(name, error) from error
        if "error" in answer:
            raise error_of(decoded(answer["error"], Failure))
        return decoded(answer["result"], kind)

    def _answered(self, name: str, body: bytes) -> bytes:
        """Ask; again where nothing is changed by that and the connection was dropped."""
        for left in reversed(range(TRIES if name in READS else 1)):
            try:
                return self._asked(name, body)
            except (ConnectionError, http.client.IncompleteRead):
                if not left:
                    raise
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("it was asked at least once")

    def _asked(self, name: str, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", f"{PREFIX}/{name}", body, headers)
            return connection.getresponse().read()
        finally:
            connection.close()

    def _silence(self, name: str, error: Exception) -> Unavailable:
        said = f"the fleet host at {self.url} did not answer {name} ({error})"
        is_dropped = not isinstance(error, ConnectionRefusedError)
        if is_dropped and name not in READS:
            said += "; it may have been done all the same: see atoll fleet list and events"
        return Unavailable(f"{said}; does it run? start it: atoll fleet serve", url=self.url)
