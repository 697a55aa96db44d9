"""Serves a provider over TCP to controllers, which live in the machines it made."""

from __future__ import annotations

import hmac
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from atoll.core.errors import AtollError, Conflict, Forbidden, InvalidInput
from atoll.core.records import decoded
from atoll.fleet.providers.port import Provider
from atoll.fleet.providers.wire import (
    CALLS,
    LINE_BYTES,
    Answer,
    Failure,
    Request,
    Signature,
    failure_of,
    port_signature,
    signature,
)

logger = logging.getLogger(__name__)

_LINE_SECONDS = 60.0
"""For a line to come in whole, the wait for its begin included."""
_CONNECTIONS = 256
_CHUNK_BYTES = 64 << 10
_STRANGERS_BYTES = 64 << 10
"""Longest line that does not begin with the token."""


class Calls:
    """What may be called: the port's calls, and more by name."""

    def __init__(
        self, provider: Provider, token: str, more: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        """Take the provider, the token that callers must show, and calls beyond the port."""
        self._token = token.encode()
        # As `Request` is written: whoever knows the token begins with it.
        self._begin = b'{"token":' + msgspec.json.encode(token)
        self._calls: dict[str, tuple[Callable[..., Any], Signature]] = {
            name: (getattr(provider, name), port_signature(name)) for name in CALLS
        }
        for name, call in (more or {}).items():
            self._calls[name] = (call, signature(call))

    def most_bytes(self, read: bytes | bytearray) -> int:
        """Say how long a line may become that begins so."""
        is_known = hmac.compare_digest(bytes(read[: len(self._begin)]), self._begin)
        return LINE_BYTES if is_known else _STRANGERS_BYTES

    def answer(self, line: bytes) -> bytes:
        """Answer one line; whatever happens, the answer is one line."""
        try:
            answer = Answer(result=self._result(line))
        except AtollError as error:
            answer = Answer(error=failure_of(error))
        # A caller must hear of it, and the server must go on.
        except Exception as error:
            logger.exception("call failed")
            what = f"the provider failed: {type(error).__name__}: {error}; see its log"
            answer = Answer(error=Failure(AtollError.code, what, {}))
        return msgspec.json.encode(answer) + b"\n"

    def _result(self, line: bytes) -> Any:
        try:
            request = decoded(line, Request)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"a request is one line of JSON: {error}") from error
        if not hmac.compare_digest(request.token.encode(), self._token):
            raise Forbidden("the token is not this provider's; take the one it was started with")
        if request.call not in self._calls:
            raise InvalidInput(
                f"there is no call {request.call!r}; there are: {', '.join(self._calls)}"
            )
        call, types = self._calls[request.call]
        return call(**types.converted(request.args))


class _Handler(socketserver.BaseRequestHandler):
    """One connection: line after line until the caller has enough."""

    request: socket.socket
    server: _Server

    def handle(self) -> None:
        try:
            for line in self._lines():
                self.request.settimeout(_LINE_SECONDS)
                self.request.sendall(self.server.calls.answer(line))
        except OSError as error:
            logger.info("caller left peer=%s error=%s", self.client_address, error)

    def _lines(self) -> Iterator[bytes]:
        """Read lines, each within its time; one that is too long ends, cut off, the connection."""
        left = b""
        while True:
            line, left = self._line(bytearray(left))
            if line:
                yield line
            if not line.endswith(b"\n"):
                return

    def _line(self, read: bytearray) -> tuple[bytes, bytes]:
        """Read to the end of a line; return it, and what came after it."""
        deadline = time.monotonic() + _LINE_SECONDS
        while (end := read.find(b"\n")) < 0:
            if len(read) > self.server.calls.most_bytes(read):
                return bytes(read), b""
            self.request.settimeout(max(deadline - time.monotonic(), 0.001))
            more = self.request.recv(_CHUNK_BYTES)
            if not more:
                return bytes(read), b""
            read += more
        return bytes(read[: end + 1]), bytes(read[end + 1 :])


class _Server(socketserver.ThreadingTCPServer):
    """Serves one listening socket that somebody else made."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, calls: Calls) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.calls = calls
        self._free = threading.BoundedSemaphore(_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there are not too many."""
        if not self._free.acquire(blocking=False):
            logger.warning("too many callers, one sent away peer=%s", client_address)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # There is no thread to be had.
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, then let the next one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


@contextmanager
def serving(calls: Calls, sockets: Sequence[socket.socket]) -> Iterator[None]:
    """Answer on listening sockets while the block runs; they are closed at its end.

    Args:
        calls: what may be called.
        sockets: already listening: one made before the process entered a network namespace still
            hears the outside.
    """
    servers = [_Server(one, calls) for one in sockets]
    threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def listen(host: str, port: int = 0) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        Conflict: something else listens there.
    """
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise Conflict(
            f"cannot listen on {host}:{port}: {error.strerror}; take another port",
            host=host,
            port=port,
        ) from error
