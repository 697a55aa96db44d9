"""CloudWatch's calls on alarms, over a store without clusters."""

import sqlite3

import pytest

from atoll.core.errors import InvalidInput, NotFound
from atoll.fleet.aws.account import Account
from atoll.fleet.aws.alarmcalls import AlarmCalls
from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.monitoring.sending import Sender

ALARM = {
    "AlarmName": "mine",
    "Threshold": 1.0,
    "ComparisonOperator": "LessThanThreshold",
    "Statistic": "Minimum",
    "Period": 10,
    "EvaluationPeriods": 1,
    "Namespace": "AWS/ElasticMapReduce",
    "MetricName": "IsIdle",
    "Dimensions": [{"Name": "JobFlowId", "Value": "j-1"}],
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.sqlite"


@pytest.fixture
def store(path):
    store = AlarmStore(path)
    yield store
    store.close()


@pytest.fixture
def ask(store):
    handlers = AlarmCalls(store, Sender().check, Account()).handlers()
    return lambda name, **request: handlers[name](request)


def spoil(path, name):
    """Damage an alarm's record in the host's file."""
    with sqlite3.connect(path) as file:
        file.execute("UPDATE alarms SET alarm = '{\"alarm\": 7}' WHERE name = ?", (name,))
    file.close()


@pytest.mark.parametrize("threshold", [float("inf"), float("-inf"), float("nan")])
def test_a_threshold_that_is_no_number_is_refused(ask, store, threshold):
    with pytest.raises(InvalidInput, match="Threshold"):
        ask("PutMetricAlarm", **{**ALARM, "Threshold": threshold})
    assert store.all() == []


def test_a_record_that_cannot_be_read_keeps_no_other_alarm_back(ask, store, path, caplog):
    for name in ("a", "spoilt", "z"):
        ask("PutMetricAlarm", **{**ALARM, "AlarmName": name})
    spoil(path, "spoilt")
    shown = ask("DescribeAlarms")["MetricAlarms"]
    assert [one["AlarmName"] for one in shown] == ["a", "z"]
    assert "spoilt" in caplog.text


@pytest.mark.parametrize("way_out", ["delete", "put"])
def test_a_record_that_cannot_be_read_can_be_deleted_or_put_anew(ask, store, path, way_out):
    ask("PutMetricAlarm", **ALARM)
    spoil(path, "mine")
    if way_out == "delete":
        ask("DeleteAlarms", AlarmNames=["mine"])
        assert store.names() == []
    else:
        ask("PutMetricAlarm", **ALARM)
        assert store.get("mine").alarm.threshold == 1.0


def test_where_one_alarm_is_not_there_none_is_deleted(ask, store):
    ask("PutMetricAlarm", **ALARM)
    with pytest.raises(NotFound, match="other"):
        ask("DeleteAlarms", AlarmNames=["mine", "other"])
    assert store.names() == ["mine"]
