"""What the best practices say of a cluster that lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atoll.fleet.capacity import Subnet
from atoll.fleet.model import Role
from atoll.fleet.monitoring.alarms import COMPARISONS, Alarm, AlarmState
from atoll.fleet.monitoring.measures import PRIMARIES_RUNNING, PRIMARIES_RUNNING_PERCENTAGE
from atoll.fleet.monitoring.ringing import UNDELIVERED
from atoll.fleet.planning.advice import (
    NOT_REPLACED,
    PRIMARY_LOST,
    QUORUM_LOST,
    Advice,
    Observed,
    advise,
)
from atoll.fleet.registry import ClusterRecord

LASTING_SECONDS = 300.0
"""An alarm that waits so long tells of a primary that is not replaced, not of a lost one."""
_OF_ONE_MOMENT = ("Minimum", "Average", "Maximum")


def advice_on(
    record: ClusterRecord, subnets: Sequence[Subnet], alarms: Sequence[Alarm]
) -> list[Advice]:
    """Check every best practice on a cluster as it is now.

    Args:
        record: the cluster.
        subnets: where it stands, as its provider sees them: its own machines count as foreign.
        alarms: those of the host, other clusters' among them.
    """
    machines = [one.machine for one in record.known.instances.values() if one.is_serving]
    seen = Observed(
        core_nodes=sum(one.role is Role.CORE for one in machines),
        nodes=len(machines),
        subnets=tuple(
            replace(one, foreign_machines=max(0, one.foreign_machines - len(machines)))
            for one in subnets
        ),
        alarms=_watched(record, alarms),
        is_running=True,
    )
    return advise(record.desired.current_spec, seen)


def _watched(record: ClusterRecord, alarms: Sequence[Alarm]) -> dict[str, bool]:
    """Tell by what there is an alarm for whether one of those notifies anybody."""
    found: dict[str, bool] = {}
    for alarm in alarms:
        danger = _danger(alarm, record.desired.primary_fleet.spec.target_on_demand)
        if alarm.cluster_id == record.id and danger is not None:
            found[danger] = found.get(danger, False) or _notifies(alarm)
    return found


def _danger(alarm: Alarm, primaries: int) -> str | None:
    """Name what an alarm tells of, whoever set it: by how many primaries run when it rings."""
    all_of_them = {PRIMARIES_RUNNING: float(primaries), PRIMARIES_RUNNING_PERCENTAGE: 1.0}
    if alarm.metric not in all_of_them or alarm.statistic not in _OF_ONE_MOMENT:
        return None
    share = all_of_them[alarm.metric] / primaries
    rings = [
        COMPARISONS[alarm.comparison](share * running, alarm.threshold)
        for running in range(primaries, 0, -1)
    ]
    if rings == [False, False, True]:
        return QUORUM_LOST
    if rings != [False, True, True]:
        return None
    lasts_s = alarm.period_s * alarm.datapoints_to_alarm
    return NOT_REPLACED if lasts_s >= LASTING_SECONDS else PRIMARY_LOST


def _notifies(alarm: Alarm) -> bool:
    targets = alarm.actions(AlarmState.ALARM)
    return any(not target.startswith(UNDELIVERED) for target in targets)
