"""What is measured of a cluster: EMR's metrics, from what was seen of it last.

Source: EMR management guide, UsingEMR_ViewingMetrics. Beside CloudWatch's, the measures feed alarms
and Prometheus.
"""

from __future__ import annotations

from collections.abc import Collection

from atoll.fleet.life.records import InstanceRecord
from atoll.fleet.model import Role
from atoll.fleet.registry import ClusterRecord
from atoll.fleet.states import ClusterState, InstanceState

PRIMARIES_RUNNING = "MultiMasterInstanceGroupNodesRunning"
PRIMARIES_RUNNING_PERCENTAGE = "MultiMasterInstanceGroupNodesRunningPercentage"
PRIMARIES_REQUESTED = "MultiMasterInstanceGroupNodesRequested"
UNITS = {
    PRIMARIES_RUNNING: "Count",
    PRIMARIES_RUNNING_PERCENTAGE: "Percent",
    PRIMARIES_REQUESTED: "Count",
    "IsIdle": "None",
    "CoreNodesRunning": "Count",
    "CoreNodesPending": "Count",
    "TaskNodesRunning": "Count",
    "TaskNodesPending": "Count",
    "CoreUnitsRequested": "Count",
    "CoreUnitsRunning": "Count",
    "TaskUnitsRequested": "Count",
    "TaskUnitsRunning": "Count",
}
"""All metrics, and CloudWatch's unit of each."""
_BEGINNING = (
    InstanceState.AWAITING_FULFILLMENT,
    InstanceState.PROVISIONING,
    InstanceState.BOOTSTRAPPING,
)
_WORKING = (InstanceState.RUNNING, InstanceState.DRAINING)


def measures(record: ClusterRecord, answering: Collection[str] | None = None) -> dict[str, float]:
    """Measure a cluster.

    Args:
        record: as seen last.
        answering: addresses of the primaries that answer by themselves, where the cluster as a
            whole does not; None: it does, and its record tells.

    Returns:
        By metric. The primaries' are there once a highly available cluster was ready first, so that
        no alarm rings while it starts. IsIdle is 1 while no step runs or waits: what is submitted
        to Spark directly is not seen. The percentage is a ratio, 0 to 1, as EMR's thresholds are.
    """
    found = {"IsIdle": float(record.known.status.state is ClusterState.WAITING)}
    if record.desired.spec.is_highly_available and record.known.status.ready_at is not None:
        found |= _primaries(record, answering)
    for role in (Role.CORE, Role.TASK):
        found |= _workers(record, role)
    return found


def _primaries(record: ClusterRecord, answering: Collection[str] | None) -> dict[str, float]:
    fleet = record.desired.primary_fleet
    running = sum(
        one.machine.fleet_id == fleet.id
        and one.state is InstanceState.RUNNING
        and (answering is None or one.machine.private_ip in answering)
        for one in record.known.instances.values()
    )
    requested = fleet.spec.target_on_demand
    return {
        PRIMARIES_RUNNING: float(running),
        PRIMARIES_RUNNING_PERCENTAGE: running / requested,
        PRIMARIES_REQUESTED: float(requested),
    }


def _workers(record: ClusterRecord, role: Role) -> dict[str, float]:
    own = [one for one in record.known.instances.values() if one.machine.role is role]
    working = [one for one in own if one.state in _WORKING]
    fleets = [one.spec for one in record.desired.fleets if one.spec.role is role]
    name = role.value.capitalize()
    return {
        f"{name}NodesRunning": float(len(working)),
        f"{name}NodesPending": float(sum(one.state in _BEGINNING for one in own)),
        f"{name}UnitsRequested": float(
            sum(one.target_on_demand + one.target_spot for one in fleets)
        ),
        f"{name}UnitsRunning": float(sum(_units(record, one) for one in working)),
    }


def _units(record: ClusterRecord, instance: InstanceRecord) -> int:
    fleet = record.desired.fleet(instance.machine.fleet_id)
    return fleet.spec.weight_of(instance.machine.instance_type) if fleet else 0
