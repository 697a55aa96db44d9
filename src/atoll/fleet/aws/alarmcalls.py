"""CloudWatch's alarms over what the host keeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from atoll.core.errors import NotFound
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.alarmrequests import alarm_of, alarm_view
from atoll.fleet.aws.paging import page
from atoll.fleet.aws.values import given, instant, refuse
from atoll.fleet.monitoring.alarms import AlarmState, Verdict
from atoll.fleet.monitoring.alarmstore import AlarmStore, Entry, KeptAlarm
from atoll.fleet.monitoring.ringing import ring

_PAGE_ALARMS = 100
_DATA_CHARS = 4095
_NO_FAMILY = "there are no composite alarms"


class AlarmCalls:
    """Sets, shows and deletes alarms."""

    def __init__(
        self, alarms: AlarmStore, check_target: Callable[[str], None], account: Account
    ) -> None:
        """Take where alarms are kept, what refuses who cannot be notified, and whose they are."""
        self._alarms, self._check_target, self._account = alarms, check_target, account

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return a handler by operation."""
        return {
            "PutMetricAlarm": self._put,
            "DescribeAlarms": self._describe,
            "DescribeAlarmHistory": self._history,
            "DeleteAlarms": self._delete,
            "SetAlarmState": self._set_state,
            "EnableAlarmActions": lambda request: self._enable(request, is_enabled=True),
            "DisableAlarmActions": lambda request: self._enable(request, is_enabled=False),
        }

    def _put(self, request: dict[str, Any]) -> dict[str, Any]:
        self._alarms.put(alarm_of(request, self._check_target))
        return {}

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"ChildrenOfAlarmName": _NO_FAMILY, "ParentsOfAlarmName": _NO_FAMILY})
        found, token = page(
            self._alarms.all(),
            request.get("NextToken"),
            key=lambda one: (one.alarm.name,),
            wanted=lambda one: _is_wanted(one, request),
            size=request.get("MaxRecords", _PAGE_ALARMS),
        )
        views = [alarm_view(one, self._account) for one in found]
        return given(MetricAlarms=views, CompositeAlarms=[], NextToken=token)

    def _history(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"AlarmContributorId": "an alarm watches one metric"})
        sign = 1 if request.get("ScanBy") == "TimestampAscending" else -1
        found, token = page(
            self._alarms.history(),
            request.get("NextToken"),
            key=lambda one: (sign * one[0],),
            wanted=lambda one: _is_told(one[1], request),
            size=request.get("MaxRecords", _PAGE_ALARMS),
        )
        items = [_history_view(entry) for _, entry in found]
        return given(AlarmHistoryItems=items, NextToken=token)

    def _delete(self, request: dict[str, Any]) -> dict[str, Any]:
        # As CloudWatch does: where one is not there, none is deleted.
        unknown = sorted(set(request["AlarmNames"]) - set(self._alarms.names()))
        if unknown:
            raise NotFound(f"there is no alarm {unknown[0]!r}", name=unknown[0])
        for name in request["AlarmNames"]:
            self._alarms.delete(name)
        return {}

    def _set_state(self, request: dict[str, Any]) -> dict[str, Any]:
        verdict = Verdict(AlarmState(request["StateValue"]), request["StateReason"])
        is_done = False
        while not is_done:
            # Where somebody changed it just now, it is put into the state from there.
            kept = self._alarms.get(request["AlarmName"])
            is_done = verdict.state is kept.state or ring(self._alarms, kept, verdict, time.time())
        return {}

    def _enable(self, request: dict[str, Any], *, is_enabled: bool) -> dict[str, Any]:
        for kept in [self._alarms.get(name) for name in request["AlarmNames"]]:
            self._alarms.put(replace(kept.alarm, is_enabled=is_enabled))
        return {}


def _is_wanted(kept: KeptAlarm, request: dict[str, Any]) -> bool:
    names, prefix = request.get("AlarmNames", []), request.get("AlarmNamePrefix", "")
    action = request.get("ActionPrefix", "")
    alarm = kept.alarm
    actions = (*alarm.alarm_actions, *alarm.ok_actions, *alarm.insufficient_data_actions)
    return (
        (not names or alarm.name in names)
        and alarm.name.startswith(prefix)
        and request.get("StateValue") in (None, kept.state.value)
        and "MetricAlarm" in request.get("AlarmTypes", ["MetricAlarm"])
        and (not action or any(one.startswith(action) for one in actions))
    )


def _is_told(entry: Entry, request: dict[str, Any]) -> bool:
    start, end = request.get("StartDate"), request.get("EndDate")
    return (
        request.get("AlarmName") in (None, entry.name)
        and request.get("HistoryItemType") in (None, entry.kind)
        and "MetricAlarm" in request.get("AlarmTypes", ["MetricAlarm"])
        and (start is None or entry.at >= start.timestamp())
        and (end is None or entry.at <= end.timestamp())
    )


def _history_view(entry: Entry) -> dict[str, Any]:
    return {
        "AlarmName": entry.name,
        "AlarmType": "MetricAlarm",
        "Timestamp": instant(entry.at),
        "HistoryItemType": entry.kind,
        "HistorySummary": entry.summary,
        "HistoryData": json.dumps(entry.data)[:_DATA_CHARS],
    }
