"""When an alarm rings: its definition, and what it is in, from a metric's last periods.

Source: CloudWatch user guide, "Evaluating an alarm" and "Configuring how CloudWatch alarms treat
missing data", whose tables of examples the tests hold `judge` against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from atoll.fleet.monitoring.metrics import STATISTICS, Point, first_needed, periods

EXTRA_PERIODS = 2
"""Periods before the evaluated ones, whose values stand in for missing ones."""


class AlarmState(StrEnum):
    """CloudWatch's."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


class Missing(StrEnum):
    """What a period without a value counts as."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


@dataclass(frozen=True)
class Alarm:
    """An alarm on one metric of one cluster.

    Attributes:
        name: tells it from all others.
        cluster_id, metric: what is watched.
        statistic: one of `STATISTICS`.
        period_s: 10, 20, 30, or a multiple of 60.
        evaluation_periods: how many periods are looked at.
        datapoints_to_alarm: how many of them must breach.
        threshold, comparison: when a value breaches; comparison is one of `COMPARISONS`.
        missing: what a period without a value counts as.
        description: for people.
        alarm_actions, ok_actions, insufficient_data_actions: whom to notify on entering the state.
        is_enabled: whether they are notified.
        is_own: Atoll set it when the cluster began; it goes with the cluster.
    """

    name: str
    cluster_id: str
    metric: str
    statistic: str
    period_s: int
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison: str
    missing: Missing = Missing.MISSING
    description: str = ""
    alarm_actions: tuple[str, ...] = ()
    ok_actions: tuple[str, ...] = ()
    insufficient_data_actions: tuple[str, ...] = ()
    is_enabled: bool = True
    is_own: bool = False

    def actions(self, state: AlarmState) -> tuple[str, ...]:
        """Return whom to notify on entering a state."""
        by_state = {
            AlarmState.ALARM: self.alarm_actions,
            AlarmState.OK: self.ok_actions,
            AlarmState.INSUFFICIENT_DATA: self.insufficient_data_actions,
        }
        return by_state[state] if self.is_enabled else ()

    @property
    def periods_needed(self) -> int:
        """How many periods are asked for."""
        return self.evaluation_periods + EXTRA_PERIODS


@dataclass(frozen=True)
class Verdict:
    """The state that an alarm is in, and why."""

    state: AlarmState
    reason: str


def window(alarm: Alarm, now: float) -> tuple[int, int]:
    """Return from when to when an alarm's periods last: the whole ones before now."""
    end = int(now // alarm.period_s * alarm.period_s)
    return end - alarm.periods_needed * alarm.period_s, end


def oldest_point(alarm: Alarm, now: float) -> float:
    """Return from when on points count for an alarm."""
    return first_needed(window(alarm, now)[0], alarm.period_s)


def evaluate(alarm: Alarm, points: Sequence[Point], old: AlarmState, now: float) -> Verdict:
    """Tell what state an alarm is in.

    Args:
        alarm: its definition.
        points: the metric's, in order, from `oldest_point` on.
        old: the state it was in.
        now: time of day.
    """
    start, end = window(alarm, now)
    found = {
        one.start: STATISTICS[alarm.statistic](one.values)
        for one in periods(points, start, end, alarm.period_s)
    }
    values = [found.get(begin) for begin in range(start, end, alarm.period_s)]
    return judge(alarm, values, old)


def judge(alarm: Alarm, values: Sequence[float | None], old: AlarmState) -> Verdict:
    """Tell what state an alarm is in.

    Args:
        alarm: its definition.
        values: of `periods_needed` periods, the newest last; None: missing.
        old: the state it was in.
    """
    there = [one for one in values if one is not None][-alarm.evaluation_periods :]
    breaches = [COMPARISONS[alarm.comparison](one, alarm.threshold) for one in there]
    state = _state(alarm, breaches, old)
    return Verdict(state, _reason(alarm, there, sum(breaches)))


def _state(alarm: Alarm, breaches: Sequence[bool], old: AlarmState) -> AlarmState:
    """Decide by the values there are, where some are missing by what those count as."""
    missing = alarm.evaluation_periods - len(breaches)
    found, needed = sum(breaches), alarm.datapoints_to_alarm
    match alarm.missing:
        case Missing.BREACHING:
            return _alarm_if(found + missing >= needed)
        case Missing.NOT_BREACHING:
            return _alarm_if(found >= needed)
        case Missing.MISSING:
            if not breaches:
                return AlarmState.INSUFFICIENT_DATA
            return _alarm_if(found >= min(needed, len(breaches)))
        case Missing.IGNORE:
            is_open = found < needed <= found + missing
            return old if is_open else _alarm_if(found >= needed)


def _alarm_if(is_breaching: bool) -> AlarmState:
    return AlarmState.ALARM if is_breaching else AlarmState.OK


def _reason(alarm: Alarm, there: Sequence[float], breaching: int) -> str:
    shown = ", ".join(f"{one:g}" for one in there[-5:])
    if not there:
        return f"Threshold Crossed: no datapoints were received for {_count(alarm)}"
    return (
        f"Threshold Crossed: {breaching} of the last {len(there)} datapoints [{shown}] were "
        f"{alarm.comparison} ({alarm.threshold:g}); {alarm.datapoints_to_alarm} of "
        f"{_count(alarm)} make an alarm, missing ones count as {alarm.missing.value}"
    )


def _count(alarm: Alarm) -> str:
    plural = "s" if alarm.evaluation_periods > 1 else ""
    return f"{alarm.evaluation_periods} period{plural} of {alarm.period_s} s"
