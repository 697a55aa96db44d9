"""Serves a provider over TCP to controllers, which live in the machines it made."""

from __future__ import annotations

import hmac
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from atoll.core.errors import AtollError, Conflict, Forbidden, InvalidInput
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

_IDLE_SECONDS = 60.0


class Calls:
    """What may be called: the port's calls, and more by name."""

    def __init__(
        self, provider: Provider, token: str, more: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        """Take the provider, the token that callers must show, and calls beyond the port."""
        self._token = token.encode()
        self._calls: dict[str, tuple[Callable[..., Any], Signature]] = {
            name: (getattr(provider, name), port_signature(name)) for name in CALLS
        }
        for name, call in (more or {}).items():
            self._calls[name] = (call, signature(call))

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
            request = msgspec.json.decode(line, type=Request)
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


class _Handler(socketserver.StreamRequestHandler):
    """One connection: line after line until the caller has enough."""

    timeout = _IDLE_SECONDS
    server: _Server

    def handle(self) -> None:
        try:
            while line := self.rfile.readline(LINE_BYTES):
                self.wfile.write(self.server.calls.answer(line))
        except OSError as error:
            logger.info("caller left peer=%s error=%s", self.client_address, error)


class _Server(socketserver.ThreadingTCPServer):
    """Serves one listening socket that somebody else made."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, calls: Calls) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.calls = calls


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
