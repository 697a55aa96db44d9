"""Subnets as EC2 describes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from atoll.fleet.capacity import Subnet
from atoll.fleet.providers.ec2.api import Api, filters
from atoll.fleet.providers.ec2.machines import MOST_VALUES, described

_HOLDING = ("pending", "running", "stopping", "stopped")


def subnets_of(api: Api, ids: Sequence[str]) -> list[Subnet]:
    """List subnets, all of the region or the named; machines of every cluster count as foreign.

    Raises:
        NotFound: one is unknown.
    """
    named = {"SubnetIds": list(ids)} if ids else {}
    found = list(api.pages("describe_subnets", "Subnets", **named))
    if not found:
        return []
    routes = _routes(api, {one["VpcId"] for one in found})
    standing = _standing(api, [one["SubnetId"] for one in found])
    return [
        Subnet(
            id=one["SubnetId"],
            zone=one["AvailabilityZone"],
            network=one["VpcId"],
            is_public=_is_public(one, routes),
            free_addresses=one["AvailableIpAddressCount"],
            foreign_machines=standing[one["SubnetId"]],
        )
        for one in found
    ]


def _standing(api: Api, ids: Sequence[str]) -> Counter[str]:
    """Count the machines in subnets."""
    count = Counter[str]()
    for start in range(0, len(ids), MOST_VALUES):
        some = ids[start : start + MOST_VALUES]
        found = described(api, subnet_id=some, instance_state_name=_HOLDING)
        count.update(one["SubnetId"] for one in found)
    return count


def _routes(api: Api, vpcs: set[str]) -> dict[str, bool]:
    """Tell by subnet id (VPC id: all others) whether an internet gateway is reached."""
    wanted = filters(vpc_id=sorted(vpcs))
    found = {}
    for table in api.pages("describe_route_tables", "RouteTables", Filters=wanted):
        is_open = any(one.get("GatewayId", "").startswith("igw-") for one in table["Routes"])
        for one in table.get("Associations", ()):
            found[table["VpcId"] if one.get("Main") else one.get("SubnetId", "")] = is_open
    return found


def _is_public(subnet: dict[str, Any], routes: dict[str, bool]) -> bool:
    """Tell whether machines there get public addresses, or could be given some that work."""
    by_main_table = routes.get(subnet["VpcId"], False)
    return bool(subnet.get("MapPublicIpOnLaunch")) or routes.get(subnet["SubnetId"], by_main_table)
