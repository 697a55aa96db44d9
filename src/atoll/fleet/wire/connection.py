"""One connection: requests in, responses out, within limits of size and time.

h11 reads and writes HTTP/1.1; what is no HTTP, or could be read in two ways, it refuses.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.wire.gateway import Gateway
from atoll.fleet.wire.message import Request, Response

try:
    import h11
except ImportError as error:
    raise InvalidInput("the server needs h11: install atoll[fleet]", module="h11") from error

logger = logging.getLogger(__name__)

_RECEIVE_BYTES = 64 << 10
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 8 << 20


@dataclass(frozen=True)
class Limits:
    """What one client may take of the server.

    Attributes:
        head_bytes: of request line and headers.
        body_bytes: of a body, compressed or not.
        request_s: seconds from a request's first byte to its last, and for sending a response.
        first_s: seconds until a connection's first request begins.
        idle_s: seconds that a connection may stay open without a further request.
        connections: open at once; for more, those that wait longest for a request are closed.
        peer_connections: open at once from one address of another machine; more are closed unread.
    """

    head_bytes: int = 16 << 10
    body_bytes: int = 1 << 20
    request_s: float = 30.0
    first_s: float = 5.0
    idle_s: float = 60.0
    connections: int = 128
    peer_connections: int = 32


class _TooLarge(Exception):
    pass


class Connection:
    """Answers the requests that come over one socket, one after the other."""

    def __init__(
        self, sock: socket.socket, gateway: Gateway, limits: Limits, peer: str = ""
    ) -> None:
        """Take over a connected socket, and the address of the other end."""
        self.peer = peer
        self.waiting_since: float | None = time.monotonic()
        """Since when it waits for a request to come whole; None: one is being answered."""
        self._sock = sock
        self._gateway = gateway
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._head_method = b""
        self._patience_s = limits.first_s

    def run(self) -> None:
        """Serve until the client goes, breaks the rules, or `stop` is called."""
        try:
            while self._exchange():
                pass
        except OSError as error:
            logger.info("connection lost error=%s", error)
        except Exception:
            logger.exception("connection failed")

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def stop(self) -> None:
        """Take no further request; one that is being answered gets its answer."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """End at once."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self) -> bool:
        """Answer one request; False ends the connection."""
        try:
            request = self._read()
        except h11.RemoteProtocolError as error:
            return self._refuse(error.error_status_hint)
        except _TooLarge:
            return self._refuse(413)
        except TimeoutError:
            return self._refuse(408)
        if request is None:
            return False
        self.waiting_since, self._patience_s = None, self._limits.idle_s
        self._write(self._gateway.answer(request))
        self.waiting_since = time.monotonic()
        if self._http.our_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def _read(self) -> Request | None:
        """Read a request whole; None where the client has gone."""
        if not self._http.trailing_data[0] and not self._receive(self._patience_s, quiet=True):
            return None
        deadline = time.monotonic() + self._limits.request_s
        head = self._event(deadline)
        if isinstance(head, h11.ConnectionClosed):
            return None
        self._head_method = head.method
        headers = tuple((k.decode("ascii"), v.decode("latin-1")) for k, v in head.headers)
        request = Request(head.method.decode(), head.target.decode(), headers)
        most, body = self._gateway.most_bytes(request), bytearray()
        _refuse_large(int(dict(headers).get("content-length", "0")), most)
        while isinstance(event := self._event(deadline), h11.Data):
            body += event.data
            _refuse_large(len(body), most)
        return replace(request, body=bytes(body))

    def _event(self, deadline: float) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._receive(deadline - time.monotonic())
        return event

    def _receive(self, timeout_s: float, *, quiet: bool = False) -> bool:
        """Take in what has come; False where nothing will come any more.

        Raises:
            TimeoutError: nothing came in time, and that is not `quiet`ly the end.
        """
        self._sock.settimeout(max(timeout_s, 1e-3))
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except TimeoutError:
            if quiet:
                return False
            raise
        self._http.receive_data(data)
        return bool(data)

    def _write(self, response: Response) -> None:
        headers = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            ("date", formatdate(usegmt=True)),
            *response.headers,
        ]
        events: list[Any] = [h11.Response(status_code=response.status, headers=headers)]
        if self._head_method != b"HEAD":
            events.append(h11.Data(data=response.body))
        self._send(*events, h11.EndOfMessage())

    def _send(self, *events: Any) -> None:
        # All at once: in parts, the second would wait for the first one's acknowledgement.
        data = b"".join(self._http.send(event) or b"" for event in events)
        self._sock.settimeout(self._limits.request_s)
        self._sock.sendall(data)

    def _refuse(self, status: int) -> bool:
        """Say why the connection ends, and let the client read it."""
        logger.warning("request refused unread status=%d", status)
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            message = f"{HTTPStatus(status).phrase}\n".encode()
            self._write(Response(status, message, "text/plain", (("connection", "close"),)))
            self._linger()
        return False

    def _linger(self) -> None:
        """Read on for a while: closed with bytes unread, the answer would be lost, too."""
        self._sock.shutdown(socket.SHUT_WR)
        deadline, left = time.monotonic() + _LINGER_SECONDS, _LINGER_BYTES
        while left > 0 and (seconds := deadline - time.monotonic()) > 0:
            self._sock.settimeout(seconds)
            data = self._sock.recv(_RECEIVE_BYTES)
            if not data:
                return
            left -= len(data)


def _refuse_large(size: int, most: int) -> None:
    if size > most:
        raise _TooLarge
