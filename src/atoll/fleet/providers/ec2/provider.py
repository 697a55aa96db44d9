"""The provider port over Amazon EC2.

EC2 keeps the inventory: whose a machine, address or template is, its tags say. Epochs are not kept:
EC2 cannot compare them. Instead an order has a token of its own that does not depend on who places
it: an old and a new controller that place the same one get the same machines, and whoever has lost
ZooKeeper places none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from atoll.core.errors import Conflict
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress, Pool, Subnet
from atoll.fleet.model import ClusterSpec, InstanceTypeConfig
from atoll.fleet.providers.ec2 import addresses, ending, fleets, launching, primaries, templates
from atoll.fleet.providers.ec2.addresses import Patience
from atoll.fleet.providers.ec2.api import Api, code_of
from atoll.fleet.providers.ec2.limits import require_within
from atoll.fleet.providers.ec2.machines import (
    LAG_SECONDS,
    Memory,
    described,
    described_ids,
    launched_for,
    machine_of,
    reclaims,
)
from atoll.fleet.providers.ec2.market import pools_of
from atoll.fleet.providers.ec2.places import subnets_of
from atoll.fleet.providers.ec2.security import warnings_of
from atoll.fleet.providers.ec2.tags import CLUSTER
from atoll.fleet.providers.port import Address, FleetRequest, Machine, Placement
from atoll.fleet.spec.catalogue import Catalogue, load_catalogue
from atoll.fleet.spec.notices import ec2_notices

FRESH_SECONDS = 5.0
"""So long a list of machines serves again: controllers look twice a second, EC2 counts calls."""
SHOWN_TRIES = 10


class Ec2Provider:
    """Machines of Amazon EC2 in one region. Calls may come from any thread."""

    def __init__(
        self,
        region: str,
        *,
        settings: Mapping[str, str] | None = None,
        catalogue: Catalogue | None = None,
        patience: Patience = Patience(),
        fresh_s: float = FRESH_SECONDS,
        lag_s: float = LAG_SECONDS,
    ) -> None:
        """Make a provider; nothing is asked yet. Credentials are found by boto3's own chain.

        Args:
            region: such as "us-east-1"; empty: as boto3 finds it.
            settings: what a cluster does not say itself; see `launching.SETTINGS`.
                `endpoint_url` is where EC2 is asked instead of at AWS.
            catalogue: on-demand prices and usual disks; None: Atoll's own.
            patience: how long ended machines are waited for.
            fresh_s: how long, in seconds, a list of machines may serve again.
            lag_s: how long EC2's own lists may lack what was launched.

        Raises:
            InvalidInput: there is no region, or a setting is unknown.
        """
        self.name = "ec2"
        self._settings = launching.checked(settings or {})
        self._api = Api(region, self._settings.get("endpoint_url"))
        self.region = self._api.region
        self._images = launching.Images(self._api)
        self._catalogue = catalogue or load_catalogue()
        self._patience = patience
        self._fresh_s = fresh_s
        self.lag_s = lag_s + fresh_s
        self.ends_at_once = False
        self._memory = Memory()
        self._lists: dict[str, tuple[float, list[Machine]]] = {}
        # EC2's own tokens keep processes apart; this keeps threads from asking twice at once.
        self._launching = threading.Lock()

    def subnets(self, ids: Sequence[str] = ()) -> list[Subnet]:
        """List subnets; see the port. Machines of every cluster count as foreign."""
        return subnets_of(self._api, ids)

    def pools(self, types: Sequence[str], subnet_ids: Sequence[str]) -> list[Pool]:
        """List what can be had; see the port and `market`."""
        prices = {name: one.price_hour for name, one in self._catalogue.types.items()}
        return pools_of(self._api, types, subnets_of(self._api, subnet_ids), prices)

    def require(self, spec: ClusterSpec) -> None:
        """Refuse more tags and larger disks than EC2 takes; see the port."""
        require_within(spec, self._settings)

    def warnings(self, spec: ClusterSpec) -> list[str]:
        """Say what, in this account, speaks against a cluster; see `security`."""
        aside = [f"{one.part[0]}: {one.message}" for one in ec2_notices(spec)]
        return [*warnings_of(self._api, spec, self._settings, self._catalogue), *aside]

    def reserve(self, subnet_id: str, *, token: str, cluster_id: str, epoch: int) -> Address:
        """Keep an address and name; see the port."""
        with self._launching:
            return addresses.reserve(self._api, subnet_id, token=token, cluster_id=cluster_id)

    def release(self, address_id: str, *, epoch: int) -> None:
        """Give an address back; a cluster's templates go with its last one. See the port."""
        cluster_id = addresses.release(self._api, address_id, self._patience)
        if cluster_id is not None and not addresses.kept(self._api, cluster_id):
            templates.sweep(self._api, cluster_id)

    def addresses(self, cluster_id: str) -> list[Address]:
        """List the addresses kept for a cluster."""
        return addresses.kept(self._api, cluster_id)

    def launch_primary(
        self,
        config: InstanceTypeConfig,
        address: Address,
        fleet_id: str,
        placement: Placement,
        *,
        token: str,
    ) -> Machine:
        """Launch one on-demand machine at a kept address; see the port.

        Raises:
            Conflict: the address is held, also where what ended does not let go of it in time.
            NotFound: the address is not this cluster's.
        """
        settings = {**self._settings, **launching.checked(placement.settings)}
        launch = primaries.Launch(config, address, fleet_id, placement, settings, token)
        with self._launching:
            made = primaries.launch(
                self._api, self._images, self._catalogue, launch, self._patience
            )
        self._noticed(placement.cluster_id, [made])
        return made

    def launch_fleet(
        self, request: FleetRequest, placement: Placement, *, token: str
    ) -> list[Machine]:
        """Launch as much as there is of what is asked for; see the port.

        Raises:
            InsufficientCapacity: nothing of it is to be had; the message has EC2's reasons.
            InvalidInput, Forbidden: EC2 will never launch this as it is.
        """
        settings = {**self._settings, **launching.checked(placement.settings)}
        order = fleets.Order(request, placement, settings, token)
        with self._launching:
            known = launched_for(self._api, placement.cluster_id, token)
            if not known:
                self._require_addresses(request, placement.subnet_id)
                known = self._shown(self._placed(order))
        made = [machine_of(one, time.time()) for one in known]
        self._noticed(placement.cluster_id, made)
        return made

    def machines(self, cluster_id: str) -> list[Machine]:
        """List a cluster's machines; see the port. EC2 forgets ended ones after about an hour."""
        looked_at, known = self._lists.get(cluster_id, (-self._fresh_s, []))
        now = time.monotonic()
        if now - looked_at < self._fresh_s:
            return list(known)
        found = [
            machine_of(one, time.time()) for one in described(self._api, tag={CLUSTER: cluster_id})
        ]
        due = reclaims(self._api, found)
        found = [replace(one, reclaim_at=due.get(one.id)) for one in found]
        machines = self._memory.completed(cluster_id, found, now)
        self._lists[cluster_id] = now, machines
        return list(machines)

    def start(self, machine_id: str, *, epoch: int) -> None:
        """Start a stopped machine again; see the port."""
        self._api.call("start_instances", InstanceIds=[machine_id])
        self._lists.clear()

    def terminate(self, machine_ids: Sequence[str], *, epoch: int, reason: str) -> None:
        """End machines; see the port.

        It returns when primaries are gone, so that their addresses may be used again. Of others,
        whose addresses nobody waits for, when EC2 has cut them off: that is not undone any more.

        Raises:
            Unavailable: a primary did not end in time.
        """
        ending.end(self._api, machine_ids, reason, self._patience)
        self._lists.clear()

    def _placed(self, order: fleets.Order) -> list[str]:
        """Place an order whose token may have been used before, with what has changed since."""
        try:
            return fleets.place(self._api, self._images, self._catalogue, order)
        except Conflict as error:
            if not code_of(error).startswith("Idempotent"):
                raise
            for _ in range(SHOWN_TRIES):
                cluster_id = order.placement.cluster_id
                if known := launched_for(self._api, cluster_id, order.token):
                    return [one["InstanceId"] for one in known]
                time.sleep(self._patience.poll_s)
            # What was placed then gave nothing; the next order has a token of its own.
            raise InsufficientCapacity(
                f"order {order.token} was placed before and nothing came of it", token=order.token
            ) from error

    def _require_addresses(self, request: FleetRequest, subnet_id: str) -> None:
        (subnet,) = subnets_of(self._api, [subnet_id])
        needed = fleets.fewest(request)
        if needed > subnet.free_addresses:
            raise NoFreeAddress(
                f"subnet {subnet_id} has {subnet.free_addresses} free addresses and at least "
                f"{needed} are needed; free some or use a larger subnet",
                subnet_id=subnet_id,
                free=subnet.free_addresses,
                needed=needed,
            )

    def _shown(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Describe what was just launched: EC2 shows all of it within seconds."""
        found: list[dict[str, Any]] = []
        for _ in range(SHOWN_TRIES):
            found = described_ids(self._api, ids)
            if len(found) == len(ids):
                break
            time.sleep(self._patience.poll_s)
        return found

    def _noticed(self, cluster_id: str, machines: Sequence[Machine]) -> None:
        """Keep in mind what EC2's lists may not show yet."""
        self._memory.launched(machines, time.monotonic())
        self._lists.pop(cluster_id, None)
