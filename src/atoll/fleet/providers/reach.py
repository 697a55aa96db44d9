"""Reaches a provider by what a cluster remembers of it."""

from __future__ import annotations

from atoll.core.errors import InvalidInput
from atoll.fleet.providers.client import RemoteProvider
from atoll.fleet.providers.port import Provider, ProviderAt

LOCAL, EC2 = "local", "ec2"


def reach(at: ProviderAt) -> Provider:
    """Return the provider; nothing is asked of it yet.

    Raises:
        InvalidInput: there is no such provider.
    """
    if at.name == LOCAL:
        host, _, port = at.where.rpartition(":")
        return RemoteProvider(host, int(port), at.token)
    if at.name == EC2:
        # Only where it is used: agents are small, boto3 is not.
        from atoll.fleet.providers.ec2 import Ec2Provider

        return Ec2Provider(at.where)
    raise InvalidInput(f"provider {at.name!r} is not known; take {LOCAL!r} or {EC2!r}")
