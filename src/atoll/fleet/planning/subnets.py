"""Where a cluster goes: one of its subnets, and what it buys there.

A cluster stands in one zone. Of the subnets that can fulfil all fleets and keep an address to spare
(a replacement may need one before the lost machine's is free), the cheapest is taken; "best fit"
is all that EMR tells of its own choice. When none can, it is the one where the least is missing:
capacity may still come, addresses will not, so without enough of them nothing is launched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.core.errors import InvalidInput
from atoll.core.text import some_of
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress, Pool, Subnet
from atoll.fleet.model import ClusterSpec, Role
from atoll.fleet.planning.fleets import FleetPlan, plan_fleets

SPARE_ADDRESSES = 1
NOUNS = {Role.MASTER: "primaries", Role.CORE: "core", Role.TASK: "task"}


@dataclass(frozen=True)
class LaunchPreview:
    """What a launch would do.

    Attributes:
        subnet: where it goes.
        fleets: what each fleet buys; primaries, core, task fleets.
        warnings: what to know before; each names the subnet or fleet it is about.
    """

    subnet: Subnet
    fleets: tuple[FleetPlan, ...]
    warnings: tuple[str, ...] = ()

    @property
    def nodes(self) -> int:
        """Instances, each of which needs an address."""
        return sum(one.nodes for one in self.fleets)

    @property
    def missing_units(self) -> int:
        """Capacity units that cannot be had now."""
        return sum(one.missing_units for one in self.fleets)

    @property
    def price_per_hour(self) -> float:
        """US dollars an hour for the instances whose price is known."""
        return sum(one.price_per_hour for one in self.fleets)

    @property
    def unpriced_nodes(self) -> int:
        """Instances whose price is not known."""
        return sum(one.unpriced_nodes for one in self.fleets)


def preview(spec: ClusterSpec, subnets: Sequence[Subnet], pools: Sequence[Pool]) -> LaunchPreview:
    """Choose the subnet of a cluster and plan its launch.

    Args:
        spec: the cluster.
        subnets: the ones it may be in, as the provider sees them, 1 or more.
        pools: what there is in any of them.

    Raises:
        InvalidInput: the subnets are of several networks, or public and private ones are mixed.
        NoFreeAddress: every subnet has fewer free addresses than the launch needs.
        InsufficientCapacity: there are not enough primaries to be had in any.
    """
    _check(subnets, is_named=bool(spec.subnet_ids))
    fits = [
        LaunchPreview(one, plan_fleets(spec.fleets, [p for p in pools if p.subnet_id == one.id]))
        for one in subnets
    ]
    best = min(fits, key=_order)
    require_addresses(best.subnet, best.fleets)
    _require_primaries(best)
    return LaunchPreview(best.subnet, best.fleets, tuple(_warnings(best)))


def require_addresses(subnet: Subnet, fleets: Sequence[FleetPlan]) -> None:
    """Refuse a launch or resize that a subnet has not enough free addresses for.

    Raises:
        NoFreeAddress: it says how many each fleet needs.
    """
    needed = sum(one.nodes for one in fleets)
    if needed <= subnet.free_addresses:
        return
    parts = ", ".join(f"{one.nodes} {NOUNS[one.fleet.role]}" for one in fleets if one.nodes)
    raise NoFreeAddress(
        f"{subnet.id} has {_addresses(subnet.free_addresses)}, {needed} are needed: {parts};"
        " free some, take a larger subnet, or lower the targets",
        subnet=subnet.id,
        free=subnet.free_addresses,
        needed=needed,
    )


def _check(subnets: Sequence[Subnet], *, is_named: bool) -> None:
    if not subnets:
        raise InvalidInput("a cluster needs a subnet; name one, or more to choose from")
    networks = {one.id: one.network for one in subnets}
    kinds = {one.id: "public" if one.is_public else "private" for one in subnets}
    for what, by_subnet in (("network", networks), ("kind", kinds)):
        if len(set(by_subnet.values())) > 1:
            parts = some_of([f"{name}: {value}" for name, value in sorted(by_subnet.items())])
            how = "" if is_named else "; name those that this cluster may be in (Ec2SubnetIds)"
            raise InvalidInput(
                f"the subnets differ in {what} ({parts}); a cluster's subnets share one network and"
                f" are all public or all private{how}",
                subnets=by_subnet,
            )


def _order(fit: LaunchPreview) -> tuple[bool, int, bool, int, float, str]:
    free = fit.subnet.free_addresses
    short = max(fit.nodes - free, 0)
    return (
        short > 0 or _missing_primaries(fit) > 0,
        short + fit.missing_units,
        fit.nodes + SPARE_ADDRESSES > free,
        fit.unpriced_nodes,
        fit.price_per_hour,
        fit.subnet.id,
    )


def _missing_primaries(fit: LaunchPreview) -> int:
    return sum(one.missing_units for one in fit.fleets if one.fleet.role is Role.MASTER)


def _require_primaries(fit: LaunchPreview) -> None:
    missing = _missing_primaries(fit)
    if missing:
        raise InsufficientCapacity(
            "; ".join(line for one in fit.fleets for line in _shortages(one, fit.subnet)),
            subnet=fit.subnet.id,
            missing=missing,
        )


def _shortages(plan: FleetPlan, subnet: Subnet) -> list[str]:
    name, place = plan.fleet.name, f"{subnet.id} ({subnet.zone})"
    kinds = (
        (plan.on_demand, plan.fleet.target_on_demand, "on-demand"),
        (plan.spot, plan.fleet.target_spot, "spot"),
    )
    return [
        f"fleet '{name}': {found.missing_units} of {target} {market} units are not to be had in"
        f" {place}: {', '.join(found.reasons)}"
        for found, target, market in kinds
        if found.missing_units
    ]


def _warnings(fit: LaunchPreview) -> list[str]:
    subnet = fit.subnet
    found = [line for one in fit.fleets for line in _shortages(one, subnet)]
    if fit.nodes + SPARE_ADDRESSES > subnet.free_addresses:
        found.append(
            f"{subnet.id} has {_addresses(subnet.free_addresses)} for {fit.nodes} machines and none"
            " to spare: a replacement may have to wait for one"
        )
    if subnet.foreign_machines:
        found.append(
            f"{subnet.id} is shared with {subnet.foreign_machines} machines of others, which may"
            " take the addresses that replacements need; give the cluster a subnet of its own"
        )
    found.append(f"all machines stand in {subnet.zone}: the cluster does not survive its loss")
    return found


def _addresses(count: int) -> str:
    return f"{count} free address{'' if count == 1 else 'es'}"
