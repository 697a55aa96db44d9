"""The listening socket, and the threads behind it: one a connection."""

from __future__ import annotations

import errno
import ipaddress
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from atoll.core.errors import Conflict, InvalidInput
from atoll.fleet.wire.connection import Connection, Limits
from atoll.fleet.wire.gateway import Gateway, Route
from atoll.fleet.wire.message import Request
from atoll.fleet.wire.service import Service

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
_BACKLOG = 128
_NO_ROUTES: Mapping[str, Route] = MappingProxyType({})


def serve(
    services: Sequence[Service],
    at: tuple[str, int] | socket.socket,
    *,
    keys: Mapping[str, str] | None = None,
    routes: Mapping[str, Route] = _NO_ROUTES,
    reads: Collection[str] = (),
    knows: Callable[[Request], bool] = lambda _: True,
    limits: Limits = Limits(),
) -> Server:
    """Serve several services, and what is not AWS's, at one address until `Server.stop`.

    Args:
        services: to be told apart by what a request names.
        at: address and port (0 for a free one), or a socket that listens.
        keys: secret by access key; None takes every caller, and is for loopback addresses only.
        routes: what answers other paths: "/metrics", or "/v1" and all below it. A route checks for
            itself who may call it.
        reads: paths of `routes` that change nothing; see `Gateway`.
        knows: tells who may send a long body; see `Gateway`.
        limits: of size and time.

    Raises:
        InvalidInput: without keys, other machines could give orders.
        Conflict, InvalidInput: the address cannot be listened on.
    """
    listener = at if isinstance(at, socket.socket) else listen(*at)
    host = listener.getsockname()[0]
    if services and keys is None and not ipaddress.ip_address(host).is_loopback:
        listener.close()
        raise InvalidInput(
            f"{host} is reached from other machines, which must show keys; leave out --open, or "
            "listen on 127.0.0.1",
            host=host,
        )
    gateway = Gateway(services, keys, routes, reads, limits.body_bytes, knows)
    return Server(gateway, listener, limits)


def listen(host: str, port: int = 0) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        Conflict: something else listens there.
        InvalidInput: it is no address of this machine, or the port is not for everybody.
    """
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as error:
        what = f"cannot listen on {host}:{port}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"{what}; take another port", host=host, port=port) from error
        raise InvalidInput(
            f"{what}; give an address of this machine, and a port from 1024 on or none",
            host=host,
            port=port,
        ) from error


class Server:
    """A server under way; leave its `with` block, or call `stop`, to end it."""

    def __init__(self, gateway: Gateway, listener: socket.socket, limits: Limits) -> None:
        """Begin to serve."""
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._gateway = gateway
        self._listener = listener
        self._limits = limits
        self._open: dict[threading.Thread, Connection] = {}
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="wire-accept", daemon=True)
        self._acceptor.start()

    @property
    def url(self) -> str:
        """What clients take for `--endpoint-url`."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> Server:
        """Give the server itself."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop."""
        self.stop()

    def stop(self, grace_s: float = GRACE_SECONDS) -> None:
        """Take nothing new, answer what has come, end all connections.

        Args:
            grace_s: seconds after which answers under way are cut off.
        """
        self._wake.close()
        self._acceptor.join()
        with self._lock:
            under_way = dict(self._open)
        for connection in under_way.values():
            connection.stop()
        deadline = time.monotonic() + grace_s
        for thread, connection in under_way.items():
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                logger.warning("answer cut off by the end of the server")
                connection.abort()

    def _accept(self) -> None:
        with self._listener, self._woken, selectors.DefaultSelector() as selector:
            self._listener.setblocking(False)
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not any(key.fileobj is self._woken for key, _ in selector.select()):
                try:
                    sock, peer = self._listener.accept()
                except OSError as error:
                    # The client has gone again, or no file descriptor is free: others may be soon.
                    logger.warning("connection not taken error=%s", error)
                    time.sleep(0.05)
                    continue
                self._start(sock, peer[0])

    def _start(self, sock: socket.socket, peer: str) -> None:
        connection = Connection(sock, self._gateway, self._limits, peer)
        with self._lock:
            if not self._has_room(peer):
                logger.warning("connection closed unread open=%d", len(self._open))
                connection.close()
                return
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._open[thread] = connection
        try:
            thread.start()
        except RuntimeError as error:
            # No thread is free: others may be soon, and whoever calls may call again.
            logger.warning("connection closed unread error=%s", error)
            with self._lock:
                self._open.pop(thread)
            connection.close()

    def _has_room(self, peer: str) -> bool:
        """Tell whether one more may be open; where none may, end one that asks for nothing."""
        if not ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
            same = sum(one.peer == peer for one in self._open.values())
            if same >= self._limits.peer_connections:
                return False
        if len(self._open) < self._limits.connections:
            return True
        waiting = [
            (since, thread)
            for thread, one in self._open.items()
            if (since := one.waiting_since) is not None
        ]
        if not waiting:
            return False
        _, longest = min(waiting, key=lambda one: one[0])
        self._open.pop(longest).abort()
        return True

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)
            # Last: whoever sees the connection end finds its place free.
            connection.close()
