"""Asks a fleet host over HTTP: what the command line does."""

from __future__ import annotations

import http.client
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from atoll.core.errors import InvalidInput, Unavailable
from atoll.fleet.control.api import PREFIX
from atoll.fleet.providers.wire import Failure, error_of

T = TypeVar("T")

ANSWER_SECONDS = 120.0


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
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_SECONDS)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", f"{PREFIX}/{name}", msgspec.json.encode(args), headers)
            body = connection.getresponse().read()
            answer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise Unavailable(
                f"the fleet host at {self.url} did not answer ({error}); does it run? start it: "
                "atoll fleet serve",
                url=self.url,
            ) from error
        finally:
            connection.close()
        if "error" in answer:
            raise error_of(msgspec.json.decode(answer["error"], type=Failure))
        return msgspec.json.decode(answer["result"], type=kind)
