"""New machines, as they are written before anything is started: address, rack, pool chosen."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace

from atoll.core.errors import Conflict, NotFound
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.model import InstanceTypeConfig, Market, Role
from atoll.fleet.planning.placement import spread
from atoll.fleet.providers.local import choosing
from atoll.fleet.providers.local.addressing import LocalSubnet, name_of
from atoll.fleet.providers.local.inventory import Intent, Inventory, Record, Terms
from atoll.fleet.providers.local.world import World
from atoll.fleet.providers.port import Address, FleetRequest, Machine, MachineState, Placement


class Drafts:
    """Drafts machines within a transaction of the inventory; taken capacity is written there."""

    def __init__(
        self, inventory: Inventory, world: World, network: str, clock: Callable[[], float]
    ) -> None:
        """Take what a home is made of; see `LocalProvider`."""
        self._inventory = inventory
        self._world = world
        self._network = network
        self._clock = clock

    def subnet(self, subnet_id: str) -> LocalSubnet:
        """Return a subnet.

        Raises:
            NotFound: there is none of that name.
        """
        for one in self._inventory.subnets():
            if one.id == subnet_id:
                return one
        raise NotFound(f"there is no subnet {subnet_id} here", subnet_id=subnet_id)

    def free_ips(self, subnet: LocalSubnet, count: int) -> list[str]:
        """Return so many free addresses of a subnet.

        Raises:
            NoFreeAddress: it has fewer.
        """
        taken = choosing.taken_ips(self._inventory.living(), self._inventory.addresses())
        free = subnet.free_ips(self._network, taken)
        if len(free) < count:
            raise NoFreeAddress(
                f"subnet {subnet.id} has {len(free)} free addresses and {count} are needed; "
                "free some or use a larger subnet",
                subnet_id=subnet.id,
                free=len(free),
                needed=count,
            )
        return free[:count]

    def refuse_held(self, address_id: str) -> None:
        """Refuse a kept address that a machine holds.

        Raises:
            Conflict: one does, be it stopped.
        """
        for record in self._inventory.living():
            if record.machine.address_id == address_id:
                raise Conflict(
                    f"address {address_id} is held by machine {record.machine.id} "
                    f"({record.machine.state}); terminate that first",
                    address_id=address_id,
                    machine_id=record.machine.id,
                )

    def primary(
        self,
        config: InstanceTypeConfig,
        address: Address,
        fleet_id: str,
        placement: Placement,
        token: str,
    ) -> Record:
        """Draft a machine at a kept address.

        Raises:
            NotFound: the address is not kept for this cluster. Conflict: it is held.
            InsufficientCapacity: see the port.
        """
        if self._inventory.owner_of(address.id) != placement.cluster_id:
            raise NotFound(
                f"address {address.id} is not kept for cluster {placement.cluster_id}",
                address_id=address.id,
            )
        self.refuse_held(address.id)
        key = (config.instance_type, Market.ON_DEMAND, address.subnet_id)
        terms = self._inventory.terms().get(key, Terms())
        zone = self.subnet(address.subnet_id).zone
        living = self._inventory.living()
        load = choosing.load_of(zone, living, self._world.racks_per_zone)
        (rack,) = spread(1, load, choosing.racks_of(placement.spread_group, living))
        if terms.capacity == 0:
            raise InsufficientCapacity(
                f"there is no capacity for a {config.instance_type} in subnet {address.subnet_id} "
                f"({zone}); try again later",
                instance_type=config.instance_type,
                subnet_id=address.subnet_id,
            )
        self._inventory.put_terms(key, choosing.with_capacity_taken(terms, 1))
        machine = self._new_machine(
            placement, fleet_id, Role.MASTER, Market.ON_DEMAND, config.instance_type, token
        )
        machine = replace(
            machine,
            subnet_id=address.subnet_id,
            zone=zone,
            rack=rack,
            private_ip=address.private_ip,
            private_dns=address.private_dns,
            address_id=address.id,
        )
        return self._record(machine, config, placement)

    def fleet(self, request: FleetRequest, placement: Placement, token: str) -> list[Record]:
        """Choose machines for a fleet, all with addresses and racks, and take their capacity."""
        subnet = self.subnet(placement.subnet_id)
        types = [config.instance_type for config in request.fleet.types]
        terms = self._inventory.terms()
        pools = choosing.pools_of(self._world, terms, types, [subnet.id])
        purchases = choosing.purchases_of(request, pools)
        ips = self.free_ips(subnet, sum(one.count for one in purchases))
        racks = self._racks(subnet.zone, placement.spread_group)
        configs = {config.instance_type: config for config in request.fleet.types}
        wanted = [one for one in purchases for _ in range(one.count)]
        records = []
        for purchase, ip, rack in zip(wanted, ips, racks, strict=False):
            kind, market = purchase.instance_type, purchase.market
            machine = self._new_machine(
                placement, request.fleet_id, request.fleet.role, market, kind, token
            )
            machine = replace(
                machine, zone=subnet.zone, rack=rack, private_ip=ip, private_dns=name_of(ip)
            )
            records.append(self._record(machine, configs[kind], placement))
            key = (kind, market, subnet.id)
            terms[key] = choosing.with_capacity_taken(terms.get(key, Terms()), 1)
            self._inventory.put_terms(key, terms[key])
        return records

    def _racks(self, zone: str, group: str | None) -> Iterator[str]:
        return choosing.racks_for(zone, group, self._inventory.living(), self._world.racks_per_zone)

    def _new_machine(
        self,
        placement: Placement,
        fleet_id: str,
        role: Role,
        market: Market,
        instance_type: str,
        token: str,
    ) -> Machine:
        return Machine(
            id=f"i-{secrets.token_hex(9)[:17]}",
            cluster_id=placement.cluster_id,
            fleet_id=fleet_id,
            role=role,
            market=market,
            instance_type=instance_type,
            state=MachineState.PENDING,
            private_ip="",
            private_dns="",
            subnet_id=placement.subnet_id,
            zone="",
            launched_at=self._clock(),
            token=token,
        )

    def _record(self, machine: Machine, config: InstanceTypeConfig, placement: Placement) -> Record:
        return Record(
            machine,
            Intent.START,
            spread_group=placement.spread_group,
            disk_bytes=self._world.disk_bytes(config.instance_type, config.disk_gib),
            user_data=placement.user_data,
            tags=placement.tags,
        )
