"""When an alarm rings, held against the tables of CloudWatch's guide."""

from dataclasses import replace

import pytest

from atoll.fleet.monitoring.alarms import (
    COMPARISONS,
    Alarm,
    AlarmState,
    Missing,
    evaluate,
    judge,
    oldest_point,
)
from atoll.fleet.monitoring.metrics import Point

THREE_OF_THREE = Alarm("a", "j-1", "IsIdle", "Minimum", 10, 3, 3, 0.5, "GreaterThanThreshold")
TWO_OF_THREE = replace(THREE_OF_THREE, datapoints_to_alarm=2)
VALUES = {"0": 0.0, "X": 1.0, "-": None}
STATES = {
    "OK": AlarmState.OK,
    "ALARM": AlarmState.ALARM,
    "NONE": AlarmState.INSUFFICIENT_DATA,
    "SAME": None,
}
# Source: CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data": datapoints,
# then missing, ignore, breaching, notBreaching.
TABLE = [
    ("0-X-X", "OK OK OK OK"),
    ("----0", "OK OK OK OK"),
    ("-----", "NONE SAME ALARM OK"),
    ("0XX-X", "ALARM ALARM ALARM ALARM"),
    ("--X--", "ALARM SAME ALARM OK"),
]


def states_of(alarm, datapoints, old):
    values = [VALUES[one] for one in datapoints]
    return [judge(replace(alarm, missing=how), values, old).state for how in Missing]


@pytest.mark.parametrize(("datapoints", "expected"), TABLE)
@pytest.mark.parametrize("old", list(AlarmState))
def test_three_of_three_rings_as_in_the_guide(datapoints, expected, old):
    wanted = [STATES[word] or old for word in expected.split()]
    assert states_of(THREE_OF_THREE, datapoints, old) == wanted


@pytest.mark.parametrize(
    ("datapoints", "expected"),
    [
        ("0-X-X", "ALARM ALARM ALARM ALARM"),
        ("00X0X", "ALARM ALARM ALARM ALARM"),
        ("0-X--", "OK OK ALARM OK"),
        ("----0", "OK OK ALARM OK"),
        ("-----", "NONE SAME ALARM OK"),
        ("----X", "ALARM SAME ALARM OK"),
    ],
)
def test_two_of_three_ring_where_two_breach(datapoints, expected):
    old = AlarmState.OK
    if datapoints == "0-X--":
        # One of two breaches, and one is missing: whether it rings is open.
        expected = "OK SAME ALARM OK"
    wanted = [STATES[word] or old for word in expected.split()]
    assert states_of(TWO_OF_THREE, datapoints, old) == wanted


@pytest.mark.parametrize(
    ("comparison", "breaching"),
    [
        ("GreaterThanThreshold", [False, False, True]),
        ("GreaterThanOrEqualToThreshold", [False, True, True]),
        ("LessThanThreshold", [True, False, False]),
        ("LessThanOrEqualToThreshold", [True, True, False]),
    ],
)
def test_comparisons_are_strict_or_not_as_they_say(comparison, breaching):
    assert [COMPARISONS[comparison](value, 1.0) for value in (0.0, 1.0, 2.0)] == breaching


def test_only_whole_periods_before_now_count():
    points = [Point(at, 0.0) for at in range(0, 100, 10)] + [Point(100.0, 1.0), Point(109.0, 1.0)]
    one = replace(THREE_OF_THREE, evaluation_periods=1, datapoints_to_alarm=1)
    assert oldest_point(one, 109.9) == 40
    assert evaluate(one, points, AlarmState.OK, 109.9).state is AlarmState.OK
    assert evaluate(one, points, AlarmState.OK, 110.0).state is AlarmState.ALARM


def test_reason_names_values_threshold_and_how_many_it_takes():
    reason = judge(THREE_OF_THREE, [0.0, 1.0, 1.0, 1.0, 1.0], AlarmState.OK).reason
    assert "3 of the last 3 datapoints [1, 1, 1]" in reason
    assert "GreaterThanThreshold (0.5)" in reason
