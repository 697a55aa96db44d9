"""Serves a provider to controllers, which live in the machines it made."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

from atoll.fleet.providers.client import CALLS, PREFIX, ProviderCaller, port_signature
from atoll.fleet.providers.port import Provider
from atoll.fleet.rpc.api import Api
from atoll.fleet.wire.connection import Limits
from atoll.fleet.wire.server import Server, serve

# A launch with 16 KiB of user data, or a thousand machines, has room.
_LIMITS = Limits(body_bytes=4 << 20, connections=256)


def serve_provider(
    provider: Provider,
    token: str,
    listener: socket.socket,
    *,
    more: Mapping[str, Callable[..., Any]] | None = None,
) -> Server:
    """Answer the port's calls until the server is stopped; it closes its socket then.

    Args:
        provider: who does what is asked.
        token: that callers must show.
        listener: already listening: one made before the process entered a network namespace still
            hears the outside.
        more: calls beyond the port, by name.
    """
    calls = {name: getattr(provider, name) for name in CALLS} | dict(more or {})
    types = {name: port_signature(name) for name in CALLS}
    api = Api(PREFIX, calls, token, types=types)
    reads = {f"{PREFIX}/{name}" for name in ProviderCaller.reads}
    routes = {PREFIX: api.answer}
    return serve((), listener, routes=routes, reads=reads, knows=api.knows, limits=_LIMITS)
