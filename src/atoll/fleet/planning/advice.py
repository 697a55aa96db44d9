"""The best practices for a highly available cluster, checked on a specification or a live cluster.

Source: EMR management guide, emr-plan-ha-considerations and emr-plan-ha-placementgroup; AWS's post
on highly available clusters with instance fleets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.core.text import counted, some_of
from atoll.fleet.capacity import Subnet
from atoll.fleet.model import ClusterSpec, SpotStrategy
from atoll.fleet.spec.releases import LATEST, parse_release

PRIMARY_LOST = "a lost primary"
QUORUM_LOST = "a lost quorum"
NOT_REPLACED = "a primary that is not replaced"
ALARMS = (PRIMARY_LOST, QUORUM_LOST, NOT_REPLACED)
"""What should have an alarm, on the metrics of the primaries."""
ENOUGH_CORE_NODES = 4
"""From so many on, EMR keeps three copies of a block without being told."""
ENOUGH_TYPES = 3
"""Ours: as many as each fleet of the post has."""
_LOOKS_AT_CAPACITY = (
    SpotStrategy.PRICE_CAPACITY_OPTIMIZED,
    SpotStrategy.CAPACITY_OPTIMIZED,
    SpotStrategy.CAPACITY_OPTIMIZED_PRIORITIZED,
)


@dataclass(frozen=True)
class Observed:
    """What is known beside the specification: planned by the allocator, or seen of a live cluster.

    Attributes:
        core_nodes: core instances, planned or running; never capacity units. None: not known.
        nodes: all instances of the cluster, primaries included. None: not known.
        subnets: those of the specification, or the one that was chosen. Empty: not known.
        alarms: whether anybody is notified, by what of `ALARMS` has one. None: not known.
        is_running: the cluster is there; its addresses are taken already.
    """

    core_nodes: int | None = None
    nodes: int | None = None
    subnets: tuple[Subnet, ...] = ()
    alarms: Mapping[str, bool] | None = None
    is_running: bool = False


@dataclass(frozen=True)
class Advice:
    """One best practice.

    Attributes:
        topic: a word for it, such as "release".
        is_followed: whether it is; None: there is nothing to follow, or it is not known.
        message: how things stand.
        how: how to follow it; "" where nothing is left to do.
    """

    topic: str
    is_followed: bool | None
    message: str
    how: str = ""


def advise(spec: ClusterSpec, observed: Observed | None = None) -> list[Advice]:
    """Check every best practice.

    Args:
        spec: the cluster, checked.
        observed: what else is known.
    """
    seen = observed or Observed()
    return [
        _primaries(spec),
        _release(spec),
        *_subnets(spec, seen),
        _core_nodes(seen),
        *_strategies(spec),
        *_types(spec),
        _alarms(spec, seen),
        _spread(spec),
        _protection(spec),
        _single_zone(),
    ]


def _primaries(spec: ClusterSpec) -> Advice:
    if spec.is_highly_available:
        return Advice("primaries", True, "three primaries: the loss of one is survived")
    return Advice(
        "primaries", False, "one primary: the cluster ends with it", "ask for 3 primaries on demand"
    )


def _release(spec: ClusterSpec) -> Advice:
    release = parse_release(spec.release_label)
    if release >= LATEST:
        return Advice("release", True, f"{release.label} is the latest that Atoll knows")
    return Advice(
        "release",
        False,
        f"{release.label} is older than {LATEST.label}",
        f"use {LATEST.label}: the latest release is the most resilient",
    )


def _subnets(spec: ClusterSpec, seen: Observed) -> Iterator[Advice]:
    yield _several_subnets(spec)
    if not seen.subnets:
        yield Advice("dedicated subnet", None, "nothing is known of the subnets yet")
        return
    shared = [one.id for one in seen.subnets if one.foreign_machines]
    message = f"{some_of(shared)} has machines of others" if shared else "no other machines there"
    how = "give the cluster subnets of its own: a full one keeps a primary from being replaced"
    yield Advice("dedicated subnet", not shared, message, how if shared else "")
    yield from _size(seen)


def _several_subnets(spec: ClusterSpec) -> Advice:
    count = len(spec.subnet_ids)
    if count > 1:
        return Advice("several subnets", True, f"{count} subnets: the one that fits best is taken")
    return Advice(
        "several subnets",
        False,
        "one subnet: the launch fails where its zone lacks capacity",
        "name subnets of several zones",
    )


def _size(seen: Observed) -> Iterator[Advice]:
    if seen.nodes is None:
        yield Advice("subnet size", None, "the number of instances is not known yet")
        return
    # One more than all, so that a replacement can stand beside what it replaces.
    needed = 1 if seen.is_running else seen.nodes + 1
    small = [one for one in seen.subnets if one.free_addresses < needed]
    listed = some_of([f"{one.id} has {one.free_addresses}" for one in small])
    addresses = counted(needed, "free address", "free addresses")
    if small:
        how = "name larger subnets, or free addresses in these"
        yield Advice("subnet size", False, f"{listed} of the {addresses} needed", how)
    else:
        yield Advice("subnet size", True, f"each has the {addresses} needed")


def _core_nodes(seen: Observed) -> Advice:
    if seen.core_nodes is None:
        return Advice("core nodes", None, "the number of core nodes is not known yet")
    nodes = counted(seen.core_nodes, "core node")
    if seen.core_nodes >= ENOUGH_CORE_NODES:
        return Advice("core nodes", True, f"{nodes}: enough for three copies of what they hold")
    copies = "at least 2 copies" if seen.core_nodes > 1 else "no second copy"
    return Advice(
        "core nodes",
        False,
        f"{nodes}: what they hold can have {copies} (EMR: dfs.replication of at least 2); Atoll "
        "keeps nothing there that must last",
        f"plan at least {ENOUGH_CORE_NODES} core nodes: more units, or smaller types",
    )


def _strategies(spec: ClusterSpec) -> Iterator[Advice]:
    for fleet in spec.fleets:
        if not fleet.target_spot:
            continue
        strategy = fleet.resizing.spot_strategy or fleet.spot.strategy
        used = {fleet.spot.strategy, strategy}
        is_good = all(one in _LOOKS_AT_CAPACITY for one in used)
        how = f"use {SpotStrategy.PRICE_CAPACITY_OPTIMIZED}: pools with capacity, then the cheapest"
        message = f"{fleet.name}: spot by {' and '.join(sorted(used))}"
        yield Advice("allocation strategy", is_good, message, "" if is_good else how)


def _types(spec: ClusterSpec) -> Iterator[Advice]:
    for fleet in spec.fleets:
        count = len(fleet.types)
        message = f"{fleet.name}: {counted(count, 'instance type')}"
        how = f"name {ENOUGH_TYPES} or more: one that cannot be had is replaced by another"
        is_followed = count >= ENOUGH_TYPES
        yield Advice("instance types", is_followed, message, "" if is_followed else how)


def _alarms(spec: ClusterSpec, seen: Observed) -> Advice:
    if not spec.is_highly_available:
        return Advice("alarms", None, "one primary: the cluster ends before an alarm could help")
    if seen.alarms is None:
        told = "whom they notify says `atoll fleet serve --notify`"
        return Advice("alarms", None, f"`atoll fleet create` sets the three alarms; {told}")
    if missing := [one for one in ALARMS if one not in seen.alarms]:
        how = "set one: aws cloudwatch put-metric-alarm"
        return Advice("alarms", False, f"no alarm tells of {some_of(missing)}", how)
    if mute := [one for one in ALARMS if not seen.alarms[one]]:
        how = (
            "put it anew with --alarm-actions https://... or mailto:...; clusters that are created "
            "after `atoll fleet serve --notify` have that"
        )
        return Advice("alarms", False, f"nobody is notified of {some_of(mute)}", how)
    return Advice("alarms", True, f"somebody is notified of {', '.join(ALARMS)}")


def _spread(spec: ClusterSpec) -> Advice:
    if spec.spread_primaries:
        return Advice("placement", True, "primaries stand on hardware of their own (SPREAD)")
    return Advice(
        "placement",
        False,
        "primaries may share hardware, and fail together",
        "place MASTER by SPREAD (PlacementGroupConfigs, or spread: true)",
    )


def _protection(spec: ClusterSpec) -> Advice:
    if spec.termination_protected:
        return Advice("termination protection", True, "on: nobody ends the cluster by mistake")
    return Advice("termination protection", False, "off", "turn it on")


def _single_zone() -> Advice:
    return Advice(
        "single zone",
        None,
        "a cluster stands in one zone and is lost with it",
        "keep data in the object store and the specification at hand: start it in another zone",
    )
