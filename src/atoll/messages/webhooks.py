"""Webhooks: a signed POST to an address that somebody named."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

from atoll.core.errors import InvalidInput, Unavailable
from atoll.messages.addresses import MayReach, addresses_of, anywhere

ANSWER_SECONDS = 10.0  # for all of it, after the name was looked up
_PORTS = {"http": 80, "https": 443}


def is_webhook(url: str) -> bool:
    """Tell whether a text is a URL that a webhook can have."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_whole and url.isascii() and url.isprintable() and " " not in url


def signature(key: str, timestamp: str, body: bytes) -> str:
    """Return the signature that a webhook's receiver holds a body against.

    It is `sha256=` and the hexadecimal HMAC-SHA256, with the key, of the text of
    X-Atoll-Timestamp (seconds since the epoch), a dot and the body as it came. It covers the time,
    so that an old message cannot be played again: refuse one that is older than some minutes.
    """
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(key.encode(), signed, hashlib.sha256).hexdigest()


def post(
    url: str,
    body: bytes,
    *,
    id_: str,
    agent: str,
    key: str = "",
    may_reach: MayReach = anywhere,
) -> None:
    """Post JSON to a webhook; it has arrived when this returns.

    The name is looked up once, and only an address that was found allowed is connected to; no
    redirect is followed, and of the answer nothing but its head is read.

    Args:
        url: where to.
        body: JSON.
        id_: goes as X-Atoll-Delivery: the same at each try, so that a repetition can be told.
        agent: who sends.
        key: signs it, see `signature`; empty: it is not signed.
        may_reach: which addresses may be connected to.

    Raises:
        InvalidInput: the URL is none.
        Unavailable: it has not arrived; `status` in its details is what was answered.
    """
    if not is_webhook(url):
        raise InvalidInput("a webhook's URL begins with https:// or http:// and names a host")
    parts = urlsplit(url)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": agent,
        "X-Atoll-Delivery": id_,
    }
    if key:
        timestamp = str(int(time.time()))
        headers["X-Atoll-Timestamp"] = timestamp
        headers["X-Atoll-Signature"] = signature(key, timestamp, body)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        with _connected(parts, may_reach) as connection:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unavailable(f"webhook {parts.hostname} did not answer: {error}") from error
    if not 200 <= status < 300:
        raise Unavailable(f"webhook {parts.hostname} answered with status {status}", status=status)


@contextmanager
def _connected(parts: SplitResult, may_reach: MayReach) -> Iterator[http.client.HTTPConnection]:
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    is_safe = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_safe else http.client.HTTPConnection
    allowed = addresses_of(host, port, may_reach)
    with _first(allowed) as plain, _deadline(plain), closing(kind(host, port)) as connection:
        connection.sock = _encrypted(plain, host) if is_safe else plain
        yield connection


def _first(allowed: list[tuple[int, Any]]) -> socket.socket:
    """Connect to the first address that answers."""
    failure = OSError("it has no address")
    for family, address in allowed:
        try:
            return _connected_to(family, address, ANSWER_SECONDS / len(allowed))
        except OSError as error:
            failure = error
    raise failure


def _connected_to(family: int, address: Any, timeout_s: float) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout_s)
        made.connect(address)
    except OSError:
        made.close()
        raise
    made.settimeout(ANSWER_SECONDS)
    return made


def _encrypted(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


@contextmanager
def _deadline(connected: socket.socket) -> Iterator[None]:
    """Hang up after a time: a socket's own limit begins anew with each byte."""
    # Of its own: wrapping the socket takes the number away from it.
    line = connected.dup()

    def hang_up() -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(ANSWER_SECONDS, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        line.close()
