"""The provider, asked over HTTP: what controllers inside machines use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atoll.fleet.capacity import Pool, Subnet
from atoll.fleet.model import ClusterSpec, InstanceTypeConfig
from atoll.fleet.providers.port import Address, FleetRequest, Machine, Placement, Provider
from atoll.fleet.rpc.calls import Signature, signature
from atoll.fleet.rpc.client import Caller

PREFIX = "/v1/provider"
CALLS = (
    "subnets",
    "pools",
    "require",
    "warnings",
    "reserve",
    "release",
    "addresses",
    "launch_primary",
    "launch_fleet",
    "machines",
    "start",
    "terminate",
)


def port_signature(name: str) -> Signature:
    """Return the types of one of the port's calls."""
    return signature(getattr(Provider, name))


class ProviderCaller(Caller):
    """Makes calls of the port.

    What changes something is not tried twice here: whoever asked does, with the same idempotency
    token.
    """

    prefix = PREFIX
    reads = frozenset(("subnets", "pools", "require", "warnings", "addresses", "machines"))


class RemoteProvider:
    """The port, through `providers.server`."""

    def __init__(self, url: str, token: str) -> None:
        """Take where the server listens and the token it wants; nothing is asked yet."""
        self._caller = ProviderCaller(url, token)
        self.name, self.lag_s, self.ends_at_once = "remote", 0.0, True

    def subnets(self, ids: Sequence[str] = ()) -> list[Subnet]:
        """See the port."""
        found: list[Subnet] = self._call("subnets", ids=ids)
        return found

    def pools(self, types: Sequence[str], subnet_ids: Sequence[str]) -> list[Pool]:
        """See the port."""
        found: list[Pool] = self._call("pools", types=types, subnet_ids=subnet_ids)
        return found

    def require(self, spec: ClusterSpec) -> None:
        """See the port."""
        self._call("require", spec=spec)

    def warnings(self, spec: ClusterSpec) -> list[str]:
        """See the port."""
        told: list[str] = self._call("warnings", spec=spec)
        return told

    def reserve(self, subnet_id: str, *, token: str, cluster_id: str, epoch: int) -> Address:
        """See the port."""
        address: Address = self._call(
            "reserve", subnet_id=subnet_id, token=token, cluster_id=cluster_id, epoch=epoch
        )
        return address

    def release(self, address_id: str, *, epoch: int) -> None:
        """See the port."""
        self._call("release", address_id=address_id, epoch=epoch)

    def addresses(self, cluster_id: str) -> list[Address]:
        """See the port."""
        found: list[Address] = self._call("addresses", cluster_id=cluster_id)
        return found

    def launch_primary(
        self,
        config: InstanceTypeConfig,
        address: Address,
        fleet_id: str,
        placement: Placement,
        *,
        token: str,
    ) -> Machine:
        """See the port."""
        machine: Machine = self._call(
            "launch_primary",
            config=config,
            address=address,
            fleet_id=fleet_id,
            placement=placement,
            token=token,
        )
        return machine

    def launch_fleet(
        self, request: FleetRequest, placement: Placement, *, token: str
    ) -> list[Machine]:
        """See the port."""
        launched: list[Machine] = self._call(
            "launch_fleet", request=request, placement=placement, token=token
        )
        return launched

    def machines(self, cluster_id: str) -> list[Machine]:
        """See the port."""
        found: list[Machine] = self._call("machines", cluster_id=cluster_id)
        return found

    def start(self, machine_id: str, *, epoch: int) -> None:
        """See the port."""
        self._call("start", machine_id=machine_id, epoch=epoch)

    def terminate(self, machine_ids: Sequence[str], *, epoch: int, reason: str) -> None:
        """See the port."""
        self._call("terminate", machine_ids=machine_ids, epoch=epoch, reason=reason)

    def _call(self, name: str, **args: Any) -> Any:
        return self._caller.call(name, port_signature(name).result, **args)
