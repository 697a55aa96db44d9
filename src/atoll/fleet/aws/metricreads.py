"""CloudWatch's metrics over what the host keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.metricrequests import (
    check_period,
    check_statistic,
    check_unit,
    metric_of,
    metric_view,
)
from atoll.fleet.aws.paging import key_of, marker_of, page
from atoll.fleet.aws.values import given, instant, refuse
from atoll.fleet.monitoring.measures import UNITS
from atoll.fleet.monitoring.metrics import STATISTICS, Period, first_needed, periods
from atoll.fleet.monitoring.metricstore import MetricStore

MOST_DATAPOINTS = 100_800
"""CloudWatch's, of one GetMetricData."""
MOST_STATISTICS = 1_440
"""CloudWatch's, of one GetMetricStatistics."""
MOST_QUERIES = 500
"""CloudWatch's, of one GetMetricData."""
LISTED_METRICS = 500
_RECENT_SECONDS = 3 * 3600.0
_ONE_ACCOUNT = "this host is one account"
_FIRST = -(1 << 62)


class _Row(NamedTuple):
    """A datapoint: its place among all, the query's number first, and when its period begins.

    A query without any has a row without a start.
    """

    key: tuple[int, int]
    start: int | None
    value: float


class MetricReads:
    """Answers from the host's measures."""

    def __init__(self, metrics: MetricStore) -> None:
        """Take where measures are kept."""
        self._metrics = metrics

    def handlers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return a handler by operation."""
        return {
            "GetMetricData": self._data,
            "GetMetricStatistics": self._statistics,
            "ListMetrics": self._list,
        }

    def _data(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"LabelOptions": "labels are texts without times in them"})
        queries = request["MetricDataQueries"]
        _check_queries(queries)
        most = request.get("MaxDatapoints", MOST_DATAPOINTS)
        if not 1 <= most <= MOST_DATAPOINTS:
            raise InvalidInput(f"MaxDatapoints is {most}; 1 to {MOST_DATAPOINTS:,} are allowed")
        token = request.get("NextToken")
        after = (0, _FIRST) if token is None else key_of(token, like=(0, 0))
        rows: list[_Row] = []
        for number, query in enumerate(queries):
            if number >= after[0] and query.get("ReturnData", True) and len(rows) <= most:
                found = self._rows(number, query, request)
                rows += [one for one in found if one.key > after]
        return _data_page(queries, rows, most)

    def _rows(self, number: int, query: dict[str, Any], request: dict[str, Any]) -> list[_Row]:
        """Compute a query: its rows in the order asked for; one without value if it has none."""
        sign = 1 if request.get("ScanBy") == "TimestampAscending" else -1
        rows = [
            _Row((number, sign * start), start, value)
            for start, value in self._values(query, request)
        ]
        return rows[::sign] or [_Row((number, 0), None, 0.0)]

    def _values(self, query: dict[str, Any], request: dict[str, Any]) -> list[tuple[int, float]]:
        """Return start and value of each period, in order."""
        stat = query["MetricStat"]
        found = self._periods(stat["Metric"], stat["Period"], stat.get("Unit"), request)
        return [(one.start, STATISTICS[stat["Stat"]](one.values)) for one in found]

    def _periods(
        self, metric: dict[str, Any], seconds: int, unit: str | None, request: dict[str, Any]
    ) -> list[Period]:
        start = request["StartTime"].timestamp()
        end = min(request["EndTime"].timestamp(), time.time())
        if request["StartTime"] >= request["EndTime"]:
            raise InvalidInput("The parameter StartTime must be less than the parameter EndTime.")
        if (end - start) / check_period(seconds) > MOST_DATAPOINTS:
            raise InvalidInput(
                f"more than {MOST_DATAPOINTS:,} periods were asked for; take longer ones"
            )
        known = metric_of(metric)
        if known is None or not check_unit(known[1], unit):
            return []
        points = self._metrics.points(*known, first_needed(start, seconds), end)
        return periods(points, start, end, seconds)

    def _statistics(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"ExtendedStatistics": "there are no percentiles"})
        names = [check_statistic(one) for one in request.get("Statistics", [])]
        if not names:
            raise InvalidInput("Must specify either Statistics or ExtendedStatistics")
        unit = request.get("Unit")
        found = self._periods(request, request["Period"], unit, request)
        if len(found) > MOST_STATISTICS:
            raise InvalidInput(
                f"{len(found):,} datapoints were asked for; {MOST_STATISTICS:,} are the most"
            )
        name = request["MetricName"]
        datapoints = [
            {
                "Timestamp": instant(one.start),
                "Unit": UNITS[name],
                **{statistic: STATISTICS[statistic](one.values) for statistic in names},
            }
            for one in found
        ]
        return {"Label": name, "Datapoints": datapoints}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse(request, {"OwningAccount": _ONE_ACCOUNT})
        since = time.time() - _RECENT_SECONDS if "RecentlyActive" in request else 0.0
        known = self._metrics.metrics(since)
        views = [metric_view(cluster_id, one) for cluster_id in known for one in known[cluster_id]]
        found, token = page(
            views,
            request.get("NextToken"),
            key=lambda one: (one["Dimensions"][0]["Value"], one["MetricName"]),
            wanted=lambda one: _is_wanted(one, request),
            size=LISTED_METRICS,
        )
        return given(Metrics=found, NextToken=token)


def _check_queries(queries: Sequence[dict[str, Any]]) -> None:
    """Refuse queries before any is computed: those of later pages are computed later."""
    if len(queries) > MOST_QUERIES:
        raise InvalidInput(f"{len(queries):,} queries were given; {MOST_QUERIES} are the most")
    if len({one["Id"] for one in queries}) < len(queries):
        raise InvalidInput("two queries have the same Id; each needs its own")
    why = "query each metric by MetricStat, and compute with the answers"
    for one in queries:
        refuse(one, {"Expression": why, "AccountId": _ONE_ACCOUNT})
        if "MetricStat" not in one:
            raise InvalidInput(f"query {one['Id']} has no MetricStat")
        check_statistic(one["MetricStat"]["Stat"])
        check_period(one["MetricStat"]["Period"])


def _data_page(queries: Sequence[dict[str, Any]], rows: list[_Row], most: int) -> dict[str, Any]:
    """Cut a page of datapoints of all queries, and put those of a query together."""
    cut, is_more = rows[:most], len(rows) > most
    results: dict[str, dict[str, Any]] = {}
    for row in cut:
        query = queries[row.key[0]]
        label = query.get("Label") or query["MetricStat"]["Metric"].get("MetricName", "")
        empty = {"Id": query["Id"], "Label": label, "Timestamps": [], "Values": []}
        result = results.setdefault(query["Id"], {**empty, "StatusCode": "Complete"})
        if row.start is not None:
            result["Timestamps"].append(instant(row.start))
            result["Values"].append(float(row.value))
    if is_more:
        results[queries[cut[-1].key[0]]["Id"]]["StatusCode"] = "PartialData"
    token = marker_of(cut[-1].key) if is_more else None
    return given(MetricDataResults=list(results.values()), NextToken=token)


def _is_wanted(metric: dict[str, Any], request: dict[str, Any]) -> bool:
    return (
        request.get("Namespace") in (None, metric["Namespace"])
        and request.get("MetricName") in (None, metric["MetricName"])
        and all(
            one["Name"] == metric["Dimensions"][0]["Name"]
            and one.get("Value") in (None, metric["Dimensions"][0]["Value"])
            for one in request.get("Dimensions", [])
        )
    )
