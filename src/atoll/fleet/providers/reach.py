"""Reaches a provider by what a cluster remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from atoll.core.errors import InvalidInput, Unavailable
from atoll.fleet.providers.client import RemoteProvider
from atoll.fleet.providers.port import Provider, ProviderAt

if TYPE_CHECKING:
    from atoll.fleet.providers.ec2.provider import Ec2Provider

LOCAL = "local"
EC2 = "ec2"


def reach(at: ProviderAt) -> Provider:
    """Return the provider; nothing is asked of it yet.

    Raises:
        InvalidInput: there is no such provider.
        Unavailable: its package is not installed.
    """
    if at.name == LOCAL:
        return RemoteProvider(f"http://{at.where}", at.token)
    if at.name == EC2:
        return _ec2(at.where, at.settings)
    raise InvalidInput(f"provider {at.name!r} is not known; take {LOCAL!r} or {EC2!r}")


def open_ec2(region: str, settings: Mapping[str, str]) -> tuple[Provider, ProviderAt]:
    """Return EC2 as a provider, and how a cluster's controllers reach the same.

    Args:
        region: empty: as boto3 finds it here; controllers get the one that was found.
        settings: what clusters do not say themselves; see the guide, fleet-ec2.

    Raises:
        InvalidInput: there is no region, or a setting is unknown.
        Unavailable: boto3 is not installed.
    """
    provider = _ec2(region, settings)
    return provider, ProviderAt(EC2, provider.region, settings=dict(settings))


def _ec2(region: str, settings: Mapping[str, str]) -> Ec2Provider:
    # Only where it is needed: agents are small, and boto3 is not.
    try:
        from atoll.fleet.providers.ec2.provider import Ec2Provider
    except ModuleNotFoundError as error:
        raise Unavailable("EC2 is reached through boto3; install atoll[fleet]") from error
    return Ec2Provider(region, settings=settings)
