"""The side that asks: what the command line and the controllers in machines do."""

from __future__ import annotations

import http.client
import time
from collections.abc import Collection
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import msgspec

from atoll.core.errors import InvalidInput, Unavailable
from atoll.core.records import decoded
from atoll.fleet.rpc.calls import Failure, error_of

T = TypeVar("T")

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 120.0
TRIES = 3
PAUSE_SECONDS = 0.2


class _NotReached(Exception):
    """Nothing was sent."""


class Caller:
    """Asks one host, each time on a connection of its own.

    Attributes:
        prefix: below which path its calls are.
        reads: those that change nothing: they are made again when a connection drops. Others may
            have been carried out although their answer was lost.
    """

    prefix: ClassVar[str]
    reads: ClassVar[Collection[str]]

    def __init__(self, url: str, token: str) -> None:
        """Take where it listens and the token it wants; nothing is asked yet."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise InvalidInput(f"{url!r} is no fleet host's address; write http://127.0.0.1:8998")
        self.url, self._host, self._port = url, parts.hostname, parts.port or 80
        self._token = token

    def call(self, name: str, kind: type[T], **args: Any) -> T:
        """Make a call.

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
            if "error" not in answer:
                return decoded(answer["result"], kind)
            failure = decoded(answer["error"], Failure)
        except _NotReached as error:
            raise self._silence(name, error) from error
        except (OSError, http.client.HTTPException, msgspec.DecodeError, KeyError) as error:
            raise self._silence(name, error, is_sent=True) from error
        raise error_of(failure)

    def _answered(self, name: str, body: bytes) -> bytes:
        """Ask; again where nothing is changed by that and the connection was dropped."""
        for left in reversed(range(TRIES if name in self.reads else 1)):
            try:
                return self._asked(name, body)
            except (_NotReached, ConnectionError, http.client.IncompleteRead):
                if not left:
                    raise
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("it was asked at least once")

    def _asked(self, name: str, body: bytes) -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
        }
        try:
            try:
                connection.connect()
            except OSError as error:
                raise _NotReached(str(error)) from error
            connection.sock.settimeout(ANSWER_SECONDS)
            connection.request("POST", f"{self.prefix}/{name}", body, headers)
            return connection.getresponse().read()
        finally:
            connection.close()

    def _silence(self, name: str, error: Exception, *, is_sent: bool = False) -> Unavailable:
        said = f"the fleet host at {self.url} did not answer {name} ({error})"
        if is_sent and name not in self.reads:
            said += "; it may have been done all the same: see atoll fleet list and events"
        return Unavailable(f"{said}; does it run? start it: atoll fleet serve", url=self.url)
