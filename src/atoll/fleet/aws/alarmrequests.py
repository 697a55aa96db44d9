"""PutMetricAlarm's input, read into an alarm; and an alarm as CloudWatch's API shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.metricrequests import check_period, check_statistic, check_unit, metric_of
from atoll.fleet.aws.values import instant, refuse
from atoll.fleet.monitoring.alarms import COMPARISONS, Alarm, Missing
from atoll.fleet.monitoring.alarmstore import KeptAlarm
from atoll.fleet.monitoring.measures import UNITS
from atoll.fleet.monitoring.ringing import DIMENSION, NAMESPACE, UNDELIVERED

_ONE_METRIC = "an alarm watches one metric; give MetricName, Namespace and Dimensions"
_UNSUPPORTED = {
    "Metrics": _ONE_METRIC,
    "ThresholdMetricId": _ONE_METRIC,
    "EvaluationCriteria": _ONE_METRIC,
    "ExtendedStatistic": "there are no percentiles; give Statistic",
    "EvaluateLowSampleCountPercentile": "there are no percentiles",
    "EvaluationWindow": "periods are looked at as they end",
    "WarmUpConfiguration": "metrics of primaries begin when their cluster is ready",
    "EvaluationInterval": "alarms are evaluated every 5 seconds",
    "ActionConfiguration": "alarms have no tags",
    "Tags": "alarms have no tags",
}
_SHORT_SECONDS, _SHORT_RANGE, _LONG_RANGE = 3600, 86_400, 604_800


def alarm_of(request: Mapping[str, Any], check_target: Callable[[str], None]) -> Alarm:
    """Read the input of PutMetricAlarm.

    Args:
        request: the input.
        check_target: raises `InvalidInput` for who cannot be notified.

    Raises:
        InvalidInput: it asks for what Atoll has not, or for what CloudWatch would refuse.
    """
    refuse(request, _UNSUPPORTED, {"EvaluateLowSampleCountPercentile": "evaluate"})
    needed = ("MetricName", "Namespace", "Period", "Statistic", "Threshold")
    missing = [name for name in needed if name not in request]
    if missing:
        raise InvalidInput(f"an alarm needs {', '.join(missing)}")
    cluster_id, metric = _metric(request)
    periods = request["EvaluationPeriods"]
    alarm = Alarm(
        name=request["AlarmName"],
        cluster_id=cluster_id,
        metric=metric,
        statistic=check_statistic(request["Statistic"]),
        period_s=check_period(request["Period"]),
        evaluation_periods=periods,
        datapoints_to_alarm=request.get("DatapointsToAlarm", periods),
        threshold=float(request["Threshold"]),
        comparison=_comparison(request["ComparisonOperator"]),
        missing=_missing(request.get("TreatMissingData", Missing.MISSING.value)),
        description=request.get("AlarmDescription", ""),
        alarm_actions=_actions(request, "AlarmActions", check_target),
        ok_actions=_actions(request, "OKActions", check_target),
        insufficient_data_actions=_actions(request, "InsufficientDataActions", check_target),
        is_enabled=request.get("ActionsEnabled", True),
    )
    _check_range(alarm)
    return alarm


def _metric(request: Mapping[str, Any]) -> tuple[str, str]:
    found = metric_of(request)
    if found is None:
        raise InvalidInput(
            f"there is no such metric here; give Namespace {NAMESPACE}, one dimension {DIMENSION} "
            f"and a MetricName of {', '.join(UNITS)}"
        )
    if not check_unit(found[1], request.get("Unit")):
        raise InvalidInput(f"{found[1]} has unit {UNITS[found[1]]}; leave Unit out")
    return found


def _comparison(name: str) -> str:
    if name not in COMPARISONS:
        raise InvalidInput(
            f"ComparisonOperator {name} is not supported by Atoll; take one of "
            f"{', '.join(COMPARISONS)}"
        )
    return name


def _missing(word: str) -> Missing:
    try:
        return Missing(word)
    except ValueError as error:
        raise InvalidInput(
            f"TreatMissingData {word[:60]!r} is none of {', '.join(Missing)}"
        ) from error


def _actions(
    request: Mapping[str, Any], name: str, check_target: Callable[[str], None]
) -> tuple[str, ...]:
    targets = tuple(request.get(name, []))
    for one in targets:
        # AWS's own are taken, and named in the alarm's history as not delivered.
        if not one.startswith(UNDELIVERED):
            check_target(one)
    return targets


def _check_range(alarm: Alarm) -> None:
    # Source: CloudWatch API reference, PutMetricAlarm.
    if not math.isfinite(alarm.threshold):
        raise InvalidInput(f"Threshold is {alarm.threshold}; give a number")
    if alarm.period_s < 10:
        raise InvalidInput(f"period {alarm.period_s} is too short for an alarm; 10 s is the least")
    if alarm.datapoints_to_alarm > alarm.evaluation_periods:
        raise InvalidInput(
            f"DatapointsToAlarm is {alarm.datapoints_to_alarm}, more than EvaluationPeriods "
            f"{alarm.evaluation_periods}"
        )
    whole = alarm.period_s * alarm.evaluation_periods
    most = _SHORT_RANGE if alarm.period_s < _SHORT_SECONDS else _LONG_RANGE
    if whole > most:
        raise InvalidInput(
            f"EvaluationPeriods times Period is {whole:,} seconds; {most:,} are the most"
        )


def alarm_view(kept: KeptAlarm, account: Account) -> dict[str, Any]:
    """Return a MetricAlarm."""
    alarm = kept.alarm
    return {
        "AlarmName": alarm.name,
        "AlarmArn": account.alarm_arn(alarm.name),
        "AlarmDescription": alarm.description,
        "AlarmConfigurationUpdatedTimestamp": instant(kept.updated_at),
        "ActionsEnabled": alarm.is_enabled,
        "OKActions": list(alarm.ok_actions),
        "AlarmActions": list(alarm.alarm_actions),
        "InsufficientDataActions": list(alarm.insufficient_data_actions),
        "StateValue": kept.state.value,
        "StateReason": kept.reason[:1023],
        "StateUpdatedTimestamp": instant(kept.changed_at),
        "StateTransitionedTimestamp": instant(kept.changed_at),
        "MetricName": alarm.metric,
        "Namespace": NAMESPACE,
        "Statistic": alarm.statistic,
        "Dimensions": [{"Name": DIMENSION, "Value": alarm.cluster_id}],
        "Period": alarm.period_s,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "Threshold": alarm.threshold,
        "ComparisonOperator": alarm.comparison,
        "TreatMissingData": alarm.missing.value,
    }
