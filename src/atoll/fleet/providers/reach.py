"""Reaches a provider by what a cluster remembers of it."""

from __future__ import annotations

from atoll.core.errors import InvalidInput, Unavailable
from atoll.fleet.providers.client import RemoteProvider
from atoll.fleet.providers.port import Provider, ProviderAt

LOCAL = "local"
EC2 = "ec2"


def reach(at: ProviderAt) -> Provider:
    """Return the provider; nothing is asked of it yet.

    Raises:
        InvalidInput: there is no such provider.
        Unavailable: its package is not installed.
    """
    if at.name == LOCAL:
        host, _, port = at.where.rpartition(":")
        return RemoteProvider(host, int(port), at.token)
    if at.name == EC2:
        return _ec2(at)
    raise InvalidInput(f"provider {at.name!r} is not known; take {LOCAL!r} or {EC2!r}")


def _ec2(at: ProviderAt) -> Provider:
    # Only where it is needed: agents are small, and boto3 is not.
    try:
        from atoll.fleet.providers.ec2.provider import Ec2Provider
    except ModuleNotFoundError as error:
        raise Unavailable("EC2 is reached through boto3; install atoll[fleet]") from error
    return Ec2Provider(at.where, settings=at.settings)
