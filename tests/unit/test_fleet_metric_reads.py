"""GetMetricData's bounds, over measures without clusters."""

from datetime import UTC, datetime

import pytest

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.metricreads import MOST_QUERIES, MetricReads
from atoll.fleet.monitoring.metrics import Point

START = 1_700_000_040
SPAN = {
    "StartTime": datetime.fromtimestamp(START, UTC),
    "EndTime": datetime.fromtimestamp(START + 180, UTC),
}


class Store:
    """Has a value each minute of each cluster but one, and counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def points(self, cluster_id, metric, start, end):
        self.asked.append(cluster_id)
        values = [] if cluster_id == "j-NONE" else range(3)
        return [Point(START + 60.0 * minute, float(minute)) for minute in values]


def query(number, cluster="j-1", **more):
    dimensions = [{"Name": "JobFlowId", "Value": cluster}]
    metric = {
        "Namespace": "AWS/ElasticMapReduce", "MetricName": "IsIdle", "Dimensions": dimensions,
    }  # fmt: skip
    stat = {"Metric": metric, "Period": 60, "Stat": "Maximum", **more}
    return {"Id": f"q{number}", "MetricStat": stat}


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def ask(store):
    handler = MetricReads(store).handlers()["GetMetricData"]
    return lambda queries, **more: handler({"MetricDataQueries": queries, **SPAN, **more})


def values(answer):
    return [(one["Id"], value) for one in answer["MetricDataResults"] for value in one["Values"]]


def test_more_queries_than_cloudwatch_takes_are_refused_before_any_is_computed(ask, store):
    with pytest.raises(InvalidInput, match="501 queries"):
        ask([query(number) for number in range(MOST_QUERIES + 1)])
    assert store.asked == []


def test_a_full_page_computes_no_further_query(ask, store):
    answer = ask([query(number, f"j-{number}") for number in range(50)], MaxDatapoints=4)
    assert len(values(answer)) == 4
    assert store.asked == ["j-0", "j-1"]


def test_a_query_of_a_later_page_is_held_against_the_rules_at_once(ask):
    with pytest.raises(InvalidInput, match="p99"):
        ask([query(0), query(1), query(2, Stat="p99")], MaxDatapoints=1)


@pytest.mark.parametrize("order", ["TimestampAscending", "TimestampDescending"])
@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_pages_together_have_every_value_once_in_order(ask, order, size):
    queries = [query(0), query(1, "j-NONE"), query(2)]
    found, seen, token = [], [], {}
    while True:
        answer = ask(queries, ScanBy=order, MaxDatapoints=size, **token)
        found += values(answer)
        seen += [one["Id"] for one in answer["MetricDataResults"]]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    expected = [0.0, 1.0, 2.0] if order == "TimestampAscending" else [2.0, 1.0, 0.0]
    assert found == [(id_, value) for id_ in ("q0", "q2") for value in expected]
    assert set(seen) == {"q0", "q1", "q2"}
