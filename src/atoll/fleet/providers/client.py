"""The provider, asked over TCP: what controllers inside machines use."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import msgspec

from atoll.core.errors import Unavailable
from atoll.core.records import converted, decoded
from atoll.fleet.capacity import Pool, Subnet
from atoll.fleet.model import ClusterSpec, InstanceTypeConfig
from atoll.fleet.providers.port import Address, FleetRequest, Machine, Placement
from atoll.fleet.providers.wire import Answer, Request, error_of, port_signature

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 120.0


class Caller:
    """Asks a server one thing after another, each on a connection of its own.

    Nothing is tried twice here: whoever asked does, with the same idempotency token, as the first
    request may have been carried out although its answer was lost.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        """Take where the server listens and the token it wants."""
        self._place = (host, port)
        self._token = token

    def call(self, name: str, **args: Any) -> Any:
        """Ask; return what JSON holds.

        Raises:
            Unavailable: no answer came. Whatever the server raises comes as it is.
        """
        line = msgspec.json.encode(Request(self._token, name, args)) + b"\n"
        try:
            answer = decoded(self._exchanged(line), Answer)
        except (OSError, msgspec.DecodeError) as error:
            host, port = self._place
            raise Unavailable(
                f"the provider at {host}:{port} did not answer {name} ({error}); "
                "see that `atoll fleet serve` runs, then try again",
                host=host,
                port=port,
                call=name,
            ) from error
        if answer.error is not None:
            raise error_of(answer.error)
        return answer.result

    def _exchanged(self, line: bytes) -> bytes:
        with socket.create_connection(self._place, CONNECT_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(line)
            with connection.makefile("rb") as stream:
                return stream.readline()


class RemoteProvider:
    """The port, through `providers.server`."""

    def __init__(self, host: str, port: int, token: str) -> None:
        """Take where the server listens and the token it wants; nothing is asked yet."""
        self._caller = Caller(host, port, token)
        self.name, self.lag_s = "remote", 0.0

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
        return converted(self._caller.call(name, **args), port_signature(name).result)
