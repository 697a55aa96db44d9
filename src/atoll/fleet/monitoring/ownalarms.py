"""The three alarms that every highly available cluster has from its start.

Source: EMR management guide, emr-plan-ha-considerations: below 1.0 a primary is lost and is being
replaced; below 0.5 two are, and the quorum with them.
"""

from __future__ import annotations

from atoll.fleet.monitoring.alarms import Alarm, Missing
from atoll.fleet.monitoring.measures import PRIMARIES_RUNNING_PERCENTAGE
from atoll.fleet.registry import ClusterRecord

_SOON_SECONDS = 10
_LASTING_MINUTES = 10


def own_alarms(record: ClusterRecord, notified: tuple[str, ...]) -> list[Alarm]:
    """Return the alarms of a cluster; none of one with a single primary, which cannot be replaced.

    Args:
        record: the cluster.
        notified: whom they notify, when they ring and when they stop.
    """
    if not record.desired.spec.is_highly_available:
        return []
    # CloudWatch takes 255 characters.
    name = f"{record.desired.spec.name[:200]} {record.id}"
    what = "running primaries over requested ones"
    lost = f"{what}: below 1 a primary is lost and is being replaced"
    quorum = f"{what}: below 0.5 two are lost; if it stays so: atoll fleet repair {record.id}"
    lasting = f"{what}: below 1 for {_LASTING_MINUTES} minutes: see atoll fleet events {record.id}"
    return [
        _alarm(record, f"{name} primary lost", lost, 1.0, notified),
        _alarm(record, f"{name} quorum lost", quorum, 0.5, notified),
        _alarm(record, f"{name} primary not replaced", lasting, 1.0, notified, _LASTING_MINUTES),
    ]


def _alarm(
    record: ClusterRecord,
    name: str,
    description: str,
    threshold: float,
    notified: tuple[str, ...],
    minutes: int = 0,
) -> Alarm:
    return Alarm(
        name=name,
        cluster_id=record.id,
        metric=PRIMARIES_RUNNING_PERCENTAGE,
        # The worst moment of a short period; a longer one must be bad from its first to its last.
        statistic="Maximum" if minutes else "Minimum",
        period_s=60 if minutes else _SOON_SECONDS,
        evaluation_periods=minutes or 1,
        datapoints_to_alarm=minutes or 1,
        threshold=threshold,
        comparison="LessThanThreshold",
        # A host that did not watch knows neither that it is well nor that it is not.
        missing=Missing.IGNORE,
        description=description,
        alarm_actions=notified,
        ok_actions=notified,
        is_own=True,
    )
