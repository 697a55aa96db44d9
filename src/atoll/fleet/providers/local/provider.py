"""The local cloud: the provider port over an inventory and a ground.

Every change goes the same way: in one transaction the epoch is checked, the token looked up and the
intent written; then the ground acts; then what came of it is written. `open_provider` finishes what
a killed process left (`recover`).
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from atoll.core.errors import Conflict, InvalidInput, NotFound
from atoll.core.files import writing
from atoll.fleet.capacity import Pool, Subnet
from atoll.fleet.model import ClusterSpec, InstanceTypeConfig, Market
from atoll.fleet.providers.facts import Notice, write_notice
from atoll.fleet.providers.local import choosing
from atoll.fleet.providers.local.addressing import LocalSubnet, hosts_lines, name_of
from atoll.fleet.providers.local.drafts import Drafts
from atoll.fleet.providers.local.ground import Box, Ground, Ran
from atoll.fleet.providers.local.inventory import Intent, Inventory, Process, Record
from atoll.fleet.providers.local.lifecycle import HOSTS, Lifecycle
from atoll.fleet.providers.local.world import MOST_SUBNETS, NETWORK, ZONES, World
from atoll.fleet.providers.port import (
    Address,
    FleetRequest,
    Machine,
    MachineState,
    Placement,
    require_short,
)
from atoll.fleet.spec.notices import local_notices

logger = logging.getLogger(__name__)

SHOWN_SECONDS = 24 * 3600.0
RUN_SECONDS = 30.0
_RECLAIMED = "Server.SpotInstanceTermination"


class LocalProvider:
    """Machines on this host. Calls may come from any thread; `open_provider` makes one."""

    def __init__(
        self,
        home: Path,
        network: str,
        ground: Ground,
        inventory: Inventory,
        world: World,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take a home that this process alone holds.

        Args:
            home: where everything lies.
            network: the first two parts of its addresses, "10.77".
            ground: how machines come to be.
            inventory: what there is.
            world: what there can be.
            clock: seconds since the epoch.
        """
        self.name, self.lag_s, self.ends_at_once = ground.name, 0.0, True
        self.home = home
        self.ground = ground
        self.inventory = inventory
        self.world = world
        self._network = network
        self._clock = clock
        self._changing = threading.RLock()
        self._drafts = Drafts(inventory, world, network, clock)
        self._life = Lifecycle(home, ground, inventory, world, clock, self._changing)
        self._write_hosts()

    def subnets(self, ids: Sequence[str] = ()) -> list[Subnet]:
        """List subnets; see the port. Machines of every cluster count as foreign."""
        with self.inventory.change():
            known = {one.id: one for one in self.inventory.subnets()}
            for subnet_id in ids:
                if subnet_id not in known:
                    known[subnet_id] = self._adopted(subnet_id, len(known))
            living, kept = self.inventory.living(), self.inventory.addresses()
        taken = choosing.taken_ips(living, kept)
        standing = [record.machine.subnet_id for record in living]
        return [
            Subnet(
                one.id,
                one.zone,
                one.network,
                one.is_public,
                len(one.free_ips(self._network, taken)),
                standing.count(one.id) + one.foreign,
            )
            for one in known.values()
            if not ids or one.id in ids
        ]

    def pools(self, types: Sequence[str], subnet_ids: Sequence[str]) -> list[Pool]:
        """List what can be had; see the port."""
        for subnet_id in subnet_ids:
            self._drafts.subnet(subnet_id)
        return choosing.pools_of(self.world, self.inventory.terms(), types, subnet_ids)

    def require(self, spec: ClusterSpec) -> None:
        """Refuse nothing: what any provider refuses is all that this one would; see the port."""

    def warnings(self, spec: ClusterSpec) -> list[str]:
        """Name what instances of this machine do not have; see the port."""
        return [f"{one.part[0]}: {one.message}" for one in local_notices(spec)]

    def reserve(self, subnet_id: str, *, token: str, cluster_id: str, epoch: int) -> Address:
        """Keep an address and name; see the port."""
        with self._changing, self.inventory.change():
            self.inventory.fence(cluster_id, epoch)
            known = self.inventory.address_for(cluster_id, token)
            if known:
                return known
            ip = self._drafts.free_ips(self._drafts.subnet(subnet_id), 1)[0]
            address = Address(f"eni-{secrets.token_hex(9)[:17]}", subnet_id, ip, name_of(ip))
            self.inventory.put_address(address, cluster_id, token)
        logger.info("address kept id=%s ip=%s cluster=%s", address.id, ip, cluster_id)
        return address

    def release(self, address_id: str, *, epoch: int) -> None:
        """Give an address back; see the port."""
        with self._changing, self.inventory.change():
            owner = self.inventory.owner_of(address_id)
            if owner is None:
                return
            self.inventory.fence(owner, epoch)
            self._drafts.refuse_held(address_id)
            self.inventory.drop_address(address_id)
        logger.info("address released id=%s cluster=%s", address_id, owner)

    def addresses(self, cluster_id: str) -> list[Address]:
        """List the addresses kept for a cluster."""
        return self.inventory.addresses(cluster_id)

    def launch_primary(
        self,
        config: InstanceTypeConfig,
        address: Address,
        fleet_id: str,
        placement: Placement,
        *,
        token: str,
    ) -> Machine:
        """Launch one on-demand machine at a kept address; see the port."""
        with self._changing:
            with self.inventory.change():
                known = self._fenced_answer(placement, token)
                if known is not None:
                    return self.inventory.record(known[0]).machine
                record = self._drafts.primary(config, address, fleet_id, placement, token)
                self._put_launch(placement, token, [record])
            started, failures = self._life.start_all([record])
            if failures:
                self.inventory.drop_answer(placement.cluster_id, token)
                raise failures[0]
            return started[0].machine

    def launch_fleet(
        self, request: FleetRequest, placement: Placement, *, token: str
    ) -> list[Machine]:
        """Launch as much as there is of what is asked for; see the port."""
        with self._changing:
            with self.inventory.change():
                known = self._fenced_answer(placement, token)
                if known is not None:
                    return [self.inventory.record(one).machine for one in known]
                records = self._drafts.fleet(request, placement, token)
                self._put_launch(placement, token, records)
            started, failures = self._life.start_all(records)
            if failures and not started:
                self.inventory.drop_answer(placement.cluster_id, token)
                raise failures[0]
            return [record.machine for record in started]

    def machines(self, cluster_id: str) -> list[Machine]:
        """List a cluster's machines; see the port."""
        self._life.notice_stopped()
        oldest = self._clock() - SHOWN_SECONDS
        found = [record.machine for record in self.inventory.records(cluster_id)]
        return [one for one in found if one.ended_at is None or one.ended_at > oldest]

    def start(self, machine_id: str, *, epoch: int) -> None:
        """Start a stopped machine again; see the port."""
        with self._changing:
            self._life.notice_stopped()
            with self.inventory.change():
                record = self.inventory.record(machine_id)
                self.inventory.fence(record.machine.cluster_id, epoch)
                if record.is_over:
                    raise Conflict(
                        f"machine {machine_id} is terminated and its disk gone; launch another",
                        machine_id=machine_id,
                    )
                if record.machine.is_alive:
                    return
                record = self._life.intended(record, Intent.START, MachineState.PENDING)
            _, failures = self._life.start_all([record])
            if failures:
                raise failures[0]

    def terminate(self, machine_ids: Sequence[str], *, epoch: int, reason: str) -> None:
        """Cut machines off, end them, free their disks; see the port."""
        with self._changing:
            with self.inventory.change():
                # One that ended long ago is forgotten, and no error.
                known = [self.inventory.find(one) for one in machine_ids]
                records = [one for one in known if one is not None]
                for cluster_id in {record.machine.cluster_id for record in records}:
                    self.inventory.fence(cluster_id, epoch)
                going = self._life.put_ends(records, reason)
            self._life.end_all(going)

    def stop(self, machine_id: str, *, reason: str) -> None:
        """Stop a machine as a crash does: at once, its disk and address kept."""
        with self._changing:
            with self.inventory.change():
                record = self.inventory.record(machine_id)
                if not record.machine.is_alive:
                    return
                record = self._life.intended(record, Intent.STOP, MachineState.RUNNING, reason)
            self._life.stop(record)

    def run(
        self, machine_id: str, command: Sequence[str], *, timeout_s: float = RUN_SECONDS
    ) -> Ran:
        """Run a command inside a machine, as its shell would.

        Raises:
            Conflict: the machine does not run.
            Unavailable: the command did not end in time.
        """
        box, process = self.inside(machine_id)
        return self.ground.run(box, process, command, timeout_s)

    def inside(self, machine_id: str) -> tuple[Box, Process]:
        """Return what the ground knows of a running machine, and its process.

        Raises:
            Conflict: the machine does not run.
        """
        record = self.inventory.record(machine_id)
        if record.process is None or not self.ground.is_running(record.process):
            raise Conflict(f"machine {machine_id} does not run", machine_id=machine_id)
        return self._life.box(record), record.process

    def give_notice(self, machine_id: str, seconds: float) -> None:
        """Tell a spot machine that it will be taken back, which `tick` does when it is time.

        Raises:
            InvalidInput: it is not spot. Conflict: it does not run.
        """
        with self._changing:
            box, _ = self.inside(machine_id)
            with self.inventory.change():
                record = self.inventory.record(machine_id)
                if record.machine.market is not Market.SPOT:
                    raise InvalidInput(
                        f"machine {machine_id} is not spot: nobody takes it back",
                        machine_id=machine_id,
                    )
                reclaim_at = self._clock() + seconds
                machine = replace(record.machine, reclaim_at=reclaim_at)
                self.inventory.put(replace(record, machine=machine))
            write_notice(box.folder, Notice(reclaim_at))

    def tick(self) -> None:
        """Do what time brings: take spot back that was given notice, forget what ended long ago."""
        now = self._clock()
        self._life.notice_stopped()
        with self._changing:
            with self.inventory.change():
                due = [
                    record
                    for record in self.inventory.living()
                    if (record.machine.reclaim_at or now + 1) <= now
                ]
                going = self._life.put_ends(due, _RECLAIMED)
            self._life.end_all(going)
            self._life.forget_before(now - 2 * SHOWN_SECONDS)

    def recover(self) -> None:
        """Finish what a killed process began; adopt the machines that still run."""
        with self._changing:
            self._life.recover()

    def close(self) -> None:
        """Let go of the home; its machines run on."""
        self.inventory.close()

    def _adopted(self, subnet_id: str, number: int) -> LocalSubnet:
        """Make a subnet of an id nobody knows, in the next zone."""
        if not (self.world.adopts_subnets and subnet_id.startswith("subnet-")):
            raise NotFound(f"there is no subnet {subnet_id} here", subnet_id=subnet_id)
        if number >= MOST_SUBNETS:
            raise InvalidInput(
                f"subnet {subnet_id} would be one more than {MOST_SUBNETS}, the most here",
                subnet_id=subnet_id,
            )
        zone = ZONES[number % len(ZONES)]
        size = self.world.subnets[0].addresses
        subnet = LocalSubnet(subnet_id, zone, NETWORK, False, size, number)
        self.inventory.put_subnet(subnet)
        self._write_hosts()
        return subnet

    def _write_hosts(self) -> None:
        """Bring the hosts file up to date without changing a line that machines may be reading."""
        path = self.home / HOSTS
        text = hosts_lines(self._network, self.inventory.subnets())
        with writing(path), path.open("a+") as file:
            file.seek(0)
            # In place: machines have this very file mounted, a new one would not reach them.
            file.write(text[len(file.read()) :])

    def _fenced_answer(self, placement: Placement, token: str) -> list[str] | None:
        """Check a launch; return the machines of one that was answered before."""
        require_short(placement.user_data)
        self.inventory.fence(placement.cluster_id, placement.epoch)
        return self.inventory.answer(placement.cluster_id, token)

    def _put_launch(self, placement: Placement, token: str, records: Sequence[Record]) -> None:
        for record in records:
            self.inventory.put(record)
        ids = [record.machine.id for record in records]
        self.inventory.put_answer(placement.cluster_id, token, ids)
