"""An alarm that changes its state: the line of history, and whom it notifies."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from atoll.fleet.monitoring.alarms import Alarm, AlarmState, Verdict
from atoll.fleet.monitoring.alarmstore import AlarmStore, Entry, KeptAlarm, Notification

NAMESPACE = "AWS/ElasticMapReduce"
DIMENSION = "JobFlowId"
UNDELIVERED = "arn:"
"""What begins so is AWS's to deliver; it is named in the history, not sent."""


def ring(store: AlarmStore, kept: KeptAlarm, verdict: Verdict, now: float) -> bool:
    """Put an alarm into another state, and notify whom it names.

    Args:
        store: where it is remembered.
        kept: the alarm as it was read.
        verdict: the state it is in now.
        now: time of day.

    Returns:
        Whether it was; somebody else may have changed it meanwhile.
    """
    new = replace(kept, state=verdict.state, reason=verdict.reason, changed_at=now)
    body = message(new, kept.state)
    name, targets = kept.alarm.name, kept.alarm.actions(verdict.state)
    summary = f"Alarm updated from {kept.state} to {verdict.state}"
    entries = [Entry(name, now, "StateUpdate", summary, body)]
    notifications = []
    for target in targets:
        if target.startswith(UNDELIVERED):
            why = f"{target} was not notified: Atoll delivers to https:, http: and mailto: only"
            entries.append(Entry(name, now, "Action", why[:255], {"target": target}))
        else:
            subject = f"{verdict.state}: {name}"
            notifications.append(Notification(str(uuid.uuid4()), name, target, subject, body))
    return store.change(kept, new, entries, notifications)


def message(kept: KeptAlarm, old: AlarmState) -> dict[str, Any]:
    """Return what a notification says: the members that SNS's messages of CloudWatch have."""
    alarm = kept.alarm
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "NewStateValue": kept.state.value,
        "NewStateReason": kept.reason,
        "OldStateValue": old.value,
        "StateChangeTime": datetime.fromtimestamp(kept.changed_at, UTC).isoformat(),
        "Trigger": trigger(alarm),
    }


def trigger(alarm: Alarm) -> dict[str, Any]:
    """Return what makes an alarm ring."""
    return {
        "MetricName": alarm.metric,
        "Namespace": NAMESPACE,
        "Statistic": alarm.statistic,
        "Dimensions": [{"name": DIMENSION, "value": alarm.cluster_id}],
        "Period": alarm.period_s,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "ComparisonOperator": alarm.comparison,
        "Threshold": alarm.threshold,
        "TreatMissingData": alarm.missing.value,
    }
