"""Machines as EC2 describes them.

EC2's answers lag behind: for seconds a new machine is in no list, and after an hour an ended one is
in none. What an ended machine held is forgotten at once, so its address is kept as a tag.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from atoll.core.errors import Forbidden
from atoll.fleet.model import Market, Role
from atoll.fleet.providers.ec2 import tags
from atoll.fleet.providers.ec2.api import Api, filters
from atoll.fleet.providers.port import Machine, MachineState

logger = logging.getLogger(__name__)

LAG_SECONDS = 60.0
"""So long a machine that was launched counts as there although no list shows it."""
NOTICE_SECONDS = 120.0
"""Source: EC2 user guide, Spot Instance interruption notices."""
MOST_VALUES = 100
"""Of a filter; EC2 takes 200."""

_STATES = {
    "pending": MachineState.PENDING,
    "running": MachineState.RUNNING,
    "stopping": MachineState.STOPPED,
    "stopped": MachineState.STOPPED,
    # On its way out, never back; whoever needs its address waits for that.
    "shutting-down": MachineState.TERMINATED,
    "terminated": MachineState.TERMINATED,
}
_ENDED_AT = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")


def described(api: Api, **wanted: Any) -> list[dict[str, Any]]:
    """List instances that fit filters, EC2's records of them."""
    pages = api.pages("describe_instances", "Reservations", Filters=filters(**wanted))
    return [one for reservation in pages for one in reservation["Instances"]]


def described_ids(api: Api, ids: Sequence[str]) -> list[dict[str, Any]]:
    """List instances by id; those that EC2 has forgotten are left out."""
    found = []
    for start in range(0, len(ids), MOST_VALUES):
        found += described(api, instance_id=ids[start : start + MOST_VALUES])
    return found


def launched_for(api: Api, cluster_id: str, token: str) -> list[dict[str, Any]]:
    """List the instances that an idempotency token of ours launched."""
    return described(api, tag={tags.CLUSTER: cluster_id, tags.TOKEN: token})


def machine_of(found: Mapping[str, Any], now: float) -> Machine:
    """Read EC2's record of an instance that was tagged by us.

    Args:
        found: an entry of DescribeInstances or RunInstances.
        now: counts as the end of one that ended at a time that EC2 does not tell.
    """
    own = tags.as_dict(found.get("Tags", ()))
    state = _STATES[found["State"]["Name"]]
    is_spot = found.get("InstanceLifecycle") == "spot"
    return Machine(
        id=found["InstanceId"],
        cluster_id=own.get(tags.CLUSTER, ""),
        fleet_id=own.get(tags.FLEET, ""),
        role=Role(own.get(tags.ROLE, Role.TASK)),
        market=Market.SPOT if is_spot else Market.ON_DEMAND,
        instance_type=found["InstanceType"],
        state=state,
        private_ip=found.get("PrivateIpAddress", ""),
        private_dns=found.get("PrivateDnsName") or found.get("PrivateIpAddress", ""),
        subnet_id=found.get("SubnetId", ""),
        zone=found.get("Placement", {}).get("AvailabilityZone", ""),
        launched_at=found["LaunchTime"].timestamp(),
        address_id=own.get(tags.ADDRESS),
        ended_at=_ended_at(found, now) if state is MachineState.TERMINATED else None,
        reason=_reason(found, own),
        token=own.get(tags.TOKEN, ""),
    )


def _ended_at(found: Mapping[str, Any], now: float) -> float:
    told = _ENDED_AT.search(found.get("StateTransitionReason", ""))
    if told is None:
        return now
    return datetime.strptime(told[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def _reason(found: Mapping[str, Any], own: Mapping[str, str]) -> str:
    """Say why it ended: our reason where it was us, else EC2's."""
    told = found.get("StateReason", {})
    theirs = told.get("Message") or told.get("Code") or found.get("StateTransitionReason", "")
    return own.get(tags.REASON) or str(theirs)


def is_holding(found: Mapping[str, Any]) -> bool:
    """Whether an instance, as described, is or may come back to life."""
    return _STATES[found["State"]["Name"]] is not MachineState.TERMINATED


def reclaims(api: Api, machines: Sequence[Machine]) -> dict[str, float]:
    """Find living spot machines that got notice: when each is taken back, by machine id.

    The machine itself hears of it, too, maybe earlier (`agent.interruption`). Where asking is
    forbidden nothing is known here, which is no reason not to list machines.
    """
    spot = [one.id for one in machines if one.is_alive and one.market is Market.SPOT]
    found = {}
    try:
        for start in range(0, len(spot), MOST_VALUES):
            for one in _marked(api, spot[start : start + MOST_VALUES]):
                marked_at = one["Status"]["UpdateTime"].timestamp()
                found[one["InstanceId"]] = marked_at + NOTICE_SECONDS
    except Forbidden as error:
        logger.warning("notices of spot machines not known error=%s", error)
    return found


def _marked(api: Api, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    wanted = filters(instance_id=ids, status_code="marked-for-termination")
    return api.pages("describe_spot_instance_requests", "SpotInstanceRequests", Filters=wanted)


class Memory:
    """What one process saw of machines, to fill what EC2's answers lack."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._launched: dict[str, tuple[Machine, float]] = {}
        self._ended_at: dict[str, float] = {}

    def launched(self, machines: Iterable[Machine], now: float) -> None:
        """Remember what was launched just now."""
        with self._lock:
            self._launched.update({one.id: (one, now) for one in machines})

    def completed(self, cluster_id: str, found: Sequence[Machine], now: float) -> list[Machine]:
        """Return a cluster's machines: those in EC2's list, and those too new to be in it.

        Args:
            cluster_id: the cluster.
            found: what EC2 lists of it.
            now: seconds of the clock that `launched` was told by.
        """
        listed = {one.id for one in found}
        with self._lock:
            self._launched = {
                id_: (one, at)
                for id_, (one, at) in self._launched.items()
                if id_ not in listed and now - at < LAG_SECONDS
            }
            new = [one for one, _ in self._launched.values() if one.cluster_id == cluster_id]
            known = [self._with_end(one) for one in found]
        return sorted([*known, *new], key=lambda one: (one.launched_at, one.id))

    def _with_end(self, machine: Machine) -> Machine:
        """Have what ended at a time EC2 does not tell end when it was seen first."""
        if machine.ended_at is None:
            return machine
        return replace(machine, ended_at=self._ended_at.setdefault(machine.id, machine.ended_at))
