"""What security groups must let through, and what is wrong with those a cluster names.

Members talk to each other only; the host that `atoll fleet serve` runs on also asks ZooKeeper.
Nobody else needs a port: who reaches Spark's master runs code as the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.compute.sparkmaster import MASTER_UI_PORT
from atoll.core.errors import Forbidden
from atoll.core.text import some_of
from atoll.fleet.capacity import Subnet
from atoll.fleet.engine.spark import MASTER_PORT, WORKER_PORT, WORKER_UI_PORT
from atoll.fleet.engine.zookeeper import CLIENT_PORT, ELECTION_PORT, QUORUM_PORT
from atoll.fleet.model import ClusterSpec
from atoll.fleet.providers.ec2.api import Api, filters
from atoll.fleet.providers.ec2.places import subnets_of
from atoll.fleet.spec.catalogue import Catalogue

FIRST_EPHEMERAL, LAST_EPHEMERAL = 1024, 65535
_WORLD = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Rule:
    """TCP that must be let through.

    Attributes:
        first, last: ports.
        to_primaries: whether it goes to primaries; else to core and task nodes.
        from_workers: whether core and task nodes send it, as primaries do.
        why: what for.
    """

    first: int
    last: int
    to_primaries: bool
    from_workers: bool
    why: str


RULES = (
    Rule(CLIENT_PORT, CLIENT_PORT, True, True, "ZooKeeper's clients: all agents and Spark"),
    Rule(QUORUM_PORT, QUORUM_PORT, True, False, "ZooKeeper's followers"),
    Rule(ELECTION_PORT, ELECTION_PORT, True, False, "ZooKeeper's elections"),
    Rule(MASTER_PORT, MASTER_PORT, True, True, "Spark's master"),
    Rule(MASTER_UI_PORT, MASTER_UI_PORT, True, True, "which master is active"),
    Rule(WORKER_PORT, WORKER_PORT, False, True, "Spark's workers"),
    Rule(WORKER_UI_PORT, WORKER_UI_PORT, False, True, "how a worker is"),
    Rule(FIRST_EPHEMERAL, LAST_EPHEMERAL, True, True, "executors to drivers of steps"),
    Rule(FIRST_EPHEMERAL, LAST_EPHEMERAL, False, True, "drivers and executors to executors"),
)


def warnings_of(
    api: Api, spec: ClusterSpec, settings: Mapping[str, str], catalogue: Catalogue
) -> list[str]:
    """Say what speaks against a cluster in this account.

    Args:
        api: EC2.
        spec: the cluster.
        settings: what the provider adds where the cluster says nothing.
        catalogue: where on-demand prices are from.
    """
    subnets = subnets_of(api, spec.subnet_ids)
    try:
        ports = list(_ports(api, spec, settings, subnets))
    except Forbidden as error:
        ports = [f"security groups could not be checked: {error.message}"]
    return [
        *ports,
        *_profile(spec, settings),
        *_public(spec, subnets),
        *_prices(api, spec, catalogue),
    ]


def _ports(
    api: Api, spec: ClusterSpec, settings: Mapping[str, str], subnets: Sequence[Subnet]
) -> Iterator[str]:
    usual = [one for one in settings.get("security_groups", "").split(",") if one]
    primaries = _named(spec.primary_security_group, spec.additional_primary_groups) or usual
    workers = _named(spec.worker_security_group, spec.additional_worker_groups) or usual
    if not primaries or not workers:
        default = _default_groups(api, subnets)
        yield f"no security groups are named: the VPC's default group is used, {some_of(default)}"
        primaries, workers = primaries or default, workers or default
    wanted = sorted({*primaries, *workers})
    pages = api.pages(
        "describe_security_groups", "SecurityGroups", Filters=filters(group_id=wanted)
    )
    found = {one["GroupId"]: one.get("IpPermissions", []) for one in pages}
    if unknown := [one for one in wanted if one not in found]:
        yield f"there is no security group {some_of(unknown)}"
        return
    yield from closed(found, primaries, workers)
    yield from opened(found)


def _default_groups(api: Api, subnets: Sequence[Subnet]) -> list[str]:
    wanted = filters(group_name="default", vpc_id=sorted({one.network for one in subnets}))
    pages = api.pages("describe_security_groups", "SecurityGroups", Filters=wanted)
    return [one["GroupId"] for one in pages]


def closed(
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    primaries: Sequence[str],
    workers: Sequence[str],
) -> Iterator[str]:
    """Say which rules no group lets through.

    Args:
        groups: what each lets in (EC2's IpPermissions), by group id.
        primaries, workers: the groups of each.
    """
    for rule in RULES:
        own = primaries if rule.to_primaries else workers
        for senders in (primaries, workers) if rule.from_workers else (primaries,):
            if not any(_lets(one, rule, senders) for id_ in own for one in groups[id_]):
                ports = f"{rule.first}" if rule.first == rule.last else f"{rule.first}-{rule.last}"
                yield (
                    f"{some_of(list(own))} does not let TCP {ports} in from "
                    f"{some_of(list(senders))}, which the cluster needs ({rule.why})"
                )


def opened(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Say which groups let the whole world reach the cluster's ports."""
    for id_, permissions in groups.items():
        for one in permissions:
            ranges = [r.get("CidrIp", "") for r in one.get("IpRanges", ())]
            ranges += [r.get("CidrIpv6", "") for r in one.get("Ipv6Ranges", ())]
            if set(ranges) & set(_WORLD) and any(_meets(one, rule) for rule in RULES):
                yield (
                    f"{id_} lets everybody reach the cluster's ports: whoever reaches Spark's "
                    "master runs code there; let in the cluster's own groups only"
                )
                break


def _lets(permission: Mapping[str, Any], rule: Rule, senders: Sequence[str]) -> bool:
    """Tell whether a permission lets a rule's traffic in; ranges of addresses count as that."""
    if not (_spans(permission, rule.first) and _spans(permission, rule.last)):
        return False
    let = {one.get("GroupId") for one in permission.get("UserIdGroupPairs", ())}
    return bool(let & set(senders)) or bool(permission.get("IpRanges"))


def _spans(permission: Mapping[str, Any], port: int) -> bool:
    first, last = _ports_of(permission)
    return first <= port <= last


def _meets(permission: Mapping[str, Any], rule: Rule) -> bool:
    first, last = _ports_of(permission)
    return first <= rule.last and rule.first <= last


def _ports_of(permission: Mapping[str, Any]) -> tuple[int, int]:
    """Return the first and last TCP port that a permission is about; (1, 0) for none."""
    protocol = permission.get("IpProtocol")
    if protocol == "-1":
        return 0, LAST_EPHEMERAL
    if protocol not in ("tcp", "6"):
        return 1, 0
    return permission.get("FromPort", 0), permission.get("ToPort", LAST_EPHEMERAL)


def _named(own: str | None, more: Sequence[str]) -> list[str]:
    return [*([own] if own else []), *more]


def _profile(spec: ClusterSpec, settings: Mapping[str, str]) -> Iterator[str]:
    if not (spec.job_flow_role or settings.get("instance_profile")):
        yield (
            "no instance profile is named (JobFlowRole): the primaries may ask EC2 for nothing, so "
            "no machine is ever launched or replaced"
        )


def _public(spec: ClusterSpec, subnets: Sequence[Subnet]) -> Iterator[str]:
    for one in subnets:
        if one.is_public and one.id in spec.subnet_ids:
            yield (
                f"{one.id} is public: primaries get no public address, as theirs are kept, and so "
                "reach nothing outside to install from; take a private subnet with a NAT gateway, "
                "or an image (CustomAmiId) with Atoll in /opt/atoll and an EC2 endpoint in the VPC"
            )


def _prices(api: Api, spec: ClusterSpec, catalogue: Catalogue) -> Iterator[str]:
    named = {one.instance_type for fleet in spec.fleets for one in fleet.types}
    if unknown := sorted(named - catalogue.types.keys()):
        yield (
            f"the on-demand price of {some_of(unknown)} is not in {catalogue.origin}: they count "
            "as dearer than all others, the first of a list as the cheapest of them"
        )
    if not catalogue.region.startswith(api.region):
        yield f"on-demand prices are those of {catalogue.region}, not of {api.region}"
