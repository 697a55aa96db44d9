"""Reaches a provider by what a cluster remembers of it."""

from __future__ import annotations

from atoll.core.errors import InvalidInput
from atoll.fleet.providers.client import RemoteProvider
from atoll.fleet.providers.port import Provider, ProviderAt

LOCAL = "local"


def reach(at: ProviderAt) -> Provider:
    """Return the provider; nothing is asked of it yet.

    Raises:
        InvalidInput: there is no such provider.
    """
    if at.name == LOCAL:
        host, _, port = at.where.rpartition(":")
        return RemoteProvider(host, int(port), at.token)
    raise InvalidInput(f"provider {at.name!r} is not known; take {LOCAL!r}")
