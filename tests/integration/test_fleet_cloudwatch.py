"""CloudWatch's API over a fleet's measures and alarms, and Prometheus' page."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from fleet_clients import KEY, SECRET, aws_of, boto3_of
from fleet_lab import SUBNETS, Lab, awaited
from fleetspecs import request_spec

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.cloudwatch import cloudwatch_service
from atoll.fleet.host.exposition import METRICS, MetricsPage
from atoll.fleet.monitoring.monitor import Monitor
from atoll.fleet.monitoring.opening import Monitoring
from atoll.fleet.monitoring.sending import Sender
from atoll.fleet.wire.message import Request
from atoll.fleet.wire.server import serve

RATIO = "MultiMasterInstanceGroupNodesRunningPercentage"
NAMESPACE = "AWS/ElasticMapReduce"
SNS = "arn:aws:sns:us-east-1:000000000000:topic"


def metric(cluster, name=RATIO):
    dimensions = [{"Name": "JobFlowId", "Value": cluster}]
    return {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": dimensions}


def query(cluster, stat="Average", period=60, **more):
    return {
        "Id": "a",
        "MetricStat": {"Metric": metric(cluster), "Period": period, "Stat": stat},
        **more,
    }


def alarm(cluster, **more):
    return {
        "AlarmName": "mine",
        "Threshold": 1.0,
        "ComparisonOperator": "LessThanThreshold",
        "Statistic": "Minimum",
        "Period": 10,
        "EvaluationPeriods": 1,
        "AlarmActions": ["https://example.org/hook", SNS],
        **metric(cluster),
        **more,
    }


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"), notified=("https://example.org/own",))
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def url(lab):
    service = cloudwatch_service(lab.metrics, lab.alarms, Sender().check, Account())
    with serve([service], ("127.0.0.1", 0), keys={KEY: SECRET}) as server:
        yield server.url


@pytest.fixture(scope="module")
def cloudwatch(url):
    return boto3_of(url)("cloudwatch")


@pytest.fixture(scope="module")
def cluster(lab):
    return lab.live(lab.fleet.create(request_spec("Instances", "Ec2SubnetIds", [SUBNETS[0]])).id)


@pytest.fixture
def points(lab):
    """A cluster nobody watches, with a value each 10 s: ten minutes long, each minute's number.

    It begins at an even minute: CloudWatch's periods do.
    """
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    start = now - timedelta(minutes=10 + now.minute % 2)
    for second in range(0, 600, 10):
        at = start.timestamp() + second
        lab.metrics.write("j-POINTS", at, {RATIO: float(second // 60)}, is_change=False)
    return start


def refusal(call, **parameters):
    with pytest.raises(ClientError) as found:
        call(**parameters)
    return found.value.response["Error"]


def state(cloudwatch, name):
    return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]["StateValue"]


def test_metric_data_are_paged_in_the_order_asked_for(cloudwatch, points):
    span = {"StartTime": points, "EndTime": points + timedelta(minutes=10)}
    asked = {**span, "MetricDataQueries": [query("j-POINTS")], "ScanBy": "TimestampAscending"}
    pages = cloudwatch.get_paginator("get_metric_data").paginate(**asked, MaxDatapoints=4)
    results = [page["MetricDataResults"][0] for page in pages]
    assert [len(one["Values"]) for one in results] == [4, 4, 2]
    assert [value for one in results for value in one["Values"]] == list(map(float, range(10)))
    assert results[0]["Timestamps"][0] == points
    newest = cloudwatch.get_metric_data(**span, MetricDataQueries=[query("j-POINTS", "Sum")])
    assert newest["MetricDataResults"][0]["Values"][:2] == [54.0, 48.0]


def test_metric_statistics_have_what_was_asked_for(cloudwatch, points):
    found = cloudwatch.get_metric_statistics(
        **metric("j-POINTS"),
        StartTime=points,
        EndTime=points + timedelta(minutes=2),
        Period=120,
        Statistics=["Average", "SampleCount"],
    )
    (one,) = found["Datapoints"]
    assert (one["Average"], one["SampleCount"], one["Unit"]) == (0.5, 12, "Percent")


def test_metrics_are_listed_by_cluster_and_name(cloudwatch, points):
    named = cloudwatch.list_metrics(Namespace=NAMESPACE, MetricName=RATIO)["Metrics"]
    assert metric("j-POINTS") in named
    of = [{"Name": "JobFlowId", "Value": "j-NONE"}]
    assert cloudwatch.list_metrics(Dimensions=of)["Metrics"] == []


def test_metric_that_is_not_there_has_no_data(cloudwatch, points):
    asked = {"StartTime": points, "EndTime": points + timedelta(minutes=1)}
    found = cloudwatch.get_metric_data(MetricDataQueries=[query("j-NONE")], **asked)
    (result,) = found["MetricDataResults"]
    assert (result["StatusCode"], result["Values"]) == ("Complete", [])


def test_command_line_reads_metrics_and_sets_alarms(url, points, tmp_path):
    aws = aws_of(url, tmp_path)
    names = ["--namespace", NAMESPACE, "--metric-name", RATIO]
    names += ["--dimensions", "Name=JobFlowId,Value=j-POINTS"]
    span = ["--start-time", points.isoformat(), "--end-time", datetime.now(UTC).isoformat()]
    period = ["--period", "60", "--statistics", "Maximum"]
    found = aws("cloudwatch", "get-metric-statistics", *names, *span, *period)
    assert len(found["Datapoints"]) == 10
    rule = ["--threshold", "1", "--comparison-operator", "LessThanThreshold"]
    rule += ["--evaluation-periods", "2", "--period", "60", "--statistic", "Minimum"]
    aws("cloudwatch", "put-metric-alarm", "--alarm-name", "cli", *names, *rule)
    (alarm,) = aws("cloudwatch", "describe-alarms", "--alarm-names", "cli")["MetricAlarms"]
    assert (alarm["StateValue"], alarm["Threshold"]) == ("INSUFFICIENT_DATA", 1.0)
    aws("cloudwatch", "delete-alarms", "--alarm-names", "cli")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Metrics": [query("j-1")]}, "Metrics is not supported"),
        ({"Namespace": "AWS/EC2"}, "no such metric"),
        ({"Period": 45}, "period 45"),
        ({"Period": 5}, "too short"),
        ({"DatapointsToAlarm": 2}, "more than EvaluationPeriods"),
        ({"TreatMissingData": "maybe"}, "none of missing"),
        ({"EvaluationPeriods": 9000}, "86,400"),
        ({"ComparisonOperator": "LessThanLowerThreshold"}, "not supported by Atoll"),
        ({"AlarmActions": ["mailto:a@b.org"]}, "no mail server"),
        ({"OKActions": ["sms:1"]}, "cannot be notified"),
    ],
)
def test_alarm_that_cannot_be_is_refused_in_words(cloudwatch, change, words):
    assert words in refusal(cloudwatch.put_metric_alarm, **alarm("j-1", **change))["Message"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Id": "b", "Expression": "a * 2"}, "Expression is not supported"),
        ({"MetricStat": {"Metric": metric("j"), "Period": 60, "Stat": "p99"}}, "p99"),
        ({"MetricStat": {"Metric": metric("j"), "Period": 61, "Stat": "Sum"}}, "period 61"),
    ],
)
def test_data_that_cannot_be_had_are_refused_in_words(cloudwatch, points, change, words):
    asked = {"MetricDataQueries": [{**query("j"), **change}], "StartTime": points}
    error = refusal(cloudwatch.get_metric_data, EndTime=datetime.now(UTC), **asked)
    assert words in error["Message"]


def test_alarm_rings_by_its_metric_and_its_history_says_so(lab, cloudwatch):
    now = time.time()
    for back in range(60, 0, -5):
        lab.metrics.write("j-ILL", now - back, {RATIO: 2 / 3}, is_change=False)
    cloudwatch.put_metric_alarm(**alarm("j-ILL"))
    lab.monitor.evaluate()
    assert state(cloudwatch, "mine") == "ALARM"
    history = cloudwatch.describe_alarm_history(AlarmName="mine")["AlarmHistoryItems"]
    assert [one["HistoryItemType"] for one in history] == [
        "Action",
        "StateUpdate",
        "ConfigurationUpdate",
    ]
    assert SNS in history[0]["HistorySummary"]
    (waiting,) = [one for _, one in lab.alarms.due(time.time()) if one.alarm_name == "mine"]
    assert waiting.target == "https://example.org/hook"


def test_disabled_alarm_changes_its_state_and_notifies_nobody(lab, cloudwatch):
    cloudwatch.put_metric_alarm(**alarm("j-NONE", AlarmName="quiet"))
    cloudwatch.disable_alarm_actions(AlarmNames=["quiet"])
    before = lab.alarms.waiting()
    cloudwatch.set_alarm_state(AlarmName="quiet", StateValue="ALARM", StateReason="drill")
    assert (state(cloudwatch, "quiet"), lab.alarms.waiting()) == ("ALARM", before)
    cloudwatch.enable_alarm_actions(AlarmNames=["quiet"])
    lab.monitor.evaluate()
    assert state(cloudwatch, "quiet") == "INSUFFICIENT_DATA"
    error = refusal(cloudwatch.set_alarm_state, AlarmName="x", StateValue="OK", StateReason="")
    assert error["Code"] == "ResourceNotFound"


def test_ill_primary_is_measured_and_rings_the_cluster_s_own_alarm(lab, cloudwatch, cluster):
    ill = lab.primaries(cluster)[0]
    awaited(lambda: lab.monitor.latest(cluster).get(RATIO) == 1.0)
    lab.lives[cluster].silent.add(ill.id)
    awaited(lambda: lab.monitor.latest(cluster)[RATIO] < 1.0)
    later = Monitor(lab.registry, lab.metrics, lab.alarms, clock=lambda: time.time() + 10)
    later.evaluate()
    lab.lives[cluster].silent.discard(ill.id)
    states = {one.alarm.name: one.state for one in lab.alarms.all() if one.alarm.is_own}
    assert states[f"nightly {cluster} primary lost"] == "ALARM"
    assert states[f"nightly {cluster} quorum lost"] == "OK"
    awaited(lambda: lab.monitor.latest(cluster)[RATIO] == 1.0)


def page_of(lab, token=None, headers=()):
    monitoring = Monitoring(lab.metrics, lab.alarms, lab.monitor, lambda: True)
    page = MetricsPage(lab.fleet, monitoring, token)
    return page.answer(Request("GET", METRICS, headers))


def test_prometheus_page_shows_clusters_alarms_and_the_host(lab, cluster):
    awaited(lambda: lab.monitor.latest(cluster).get(RATIO) == 1.0)
    answer = page_of(lab)
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    of = f'{{cluster="{cluster}"}}'
    assert f"atoll_fleet_multi_master_instance_group_nodes_running{of} 3" in lines
    assert any(line.startswith("atoll_fleet_looks_total ") for line in lines)
    assert any('state="OK"' in line and line.startswith("atoll_fleet_alarm") for line in lines)


def test_prometheus_page_wants_a_token_where_it_is_told_to(lab):
    assert page_of(lab, "t").status == 401
    assert page_of(lab, "t", (("authorization", "Bearer t"),)).status == 200


def test_lost_quorum_is_measured_though_the_cluster_cannot_tell(lab, cluster):
    lab.lives[cluster].ending.set()
    awaited(lambda: lab.monitor.latest(cluster)[RATIO] == 0.0)
    kinds = [one.kind for one in lab.fleet.events(cluster)]
    assert "NO_QUORUM" in kinds
