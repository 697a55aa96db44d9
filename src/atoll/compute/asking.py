"""Asks a daemon one question over TCP, bounded in time and size."""

from __future__ import annotations

import socket
import time

from atoll.core.errors import Unavailable

TIMEOUT_SECONDS = 1.0
_CHUNK_BYTES = 65536
_LIMIT_BYTES = 4 << 20


def ask(
    address: str, port: int, question: bytes, *, what: str, timeout_s: float = TIMEOUT_SECONDS
) -> bytes:
    """Send `question`, read until the other side closes.

    Args:
        address: the daemon's own.
        port: its port.
        question: sent whole.
        what: names the daemon in messages.
        timeout_s: for everything together, however slowly the answer drips.

    Raises:
        Unavailable: no answer, not in time, or one without end (4 MiB).
    """
    deadline = time.monotonic() + timeout_s
    answer = bytearray()
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            connection.sendall(question)
            while chunk := _receive(connection, deadline):
                answer += chunk
                if len(answer) > _LIMIT_BYTES:
                    raise OSError(f"sends more than {_LIMIT_BYTES} bytes")
    except OSError as error:
        raise Unavailable(
            f"{what} at {address}:{port} did not answer within {timeout_s:g} s: {error}; "
            "see its log",
            address=address,
            port=port,
        ) from error
    return bytes(answer)


def _receive(connection: socket.socket, deadline: float) -> bytes:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("answers too slowly")
    connection.settimeout(left_s)
    return connection.recv(_CHUNK_BYTES)
