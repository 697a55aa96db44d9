"""CloudWatch's metrics over what the host keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from atoll.core.errors import InvalidInput
from atoll.fleet.aws.metricrequests import (
    check_period,
    check_statistic,
    check_unit,
    metric_of,
    metric_view,
)
from atoll.fleet.aws.paging import page
from atoll.fleet.aws.values import given, instant, refuse
from atoll.fleet.control.measures import UNITS
from atoll.fleet.control.metrics import STATISTICS, Period, first_needed, periods
from atoll.fleet.control.metricstore import MetricStore

MOST_DATAPOINTS = 100_800
"""CloudWatch's, of one GetMetricData."""
MOST_STATISTICS = 1_440
"""CloudWatch's, of one GetMetricStatistics."""
LISTED_METRICS = 500
_RECENT_SECONDS = 3 * 3600.0
_ONE_ACCOUNT = "this host is one account"
# A query, when a period of it begins (None: it has none), its value.
_Row: TypeAlias = tuple[dict[str, Any], int | None, float]


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
        ids = [one["Id"] for one in queries]
        if len(set(ids)) < len(ids):
            raise InvalidInput("two queries have the same Id; each needs its own")
        most = request.get("MaxDatapoints", MOST_DATAPOINTS)
        if not 1 <= most <= MOST_DATAPOINTS:
            raise InvalidInput(f"MaxDatapoints is {most}; 1 to {MOST_DATAPOINTS:,} are allowed")
        is_ascending = request.get("ScanBy") == "TimestampAscending"
        found: list[_Row] = []
        for query in queries:
            values = self._values(query, request)
            if query.get("ReturnData", True):
                ordered = values if is_ascending else values[::-1]
                found += [(query, *one) for one in ordered] or [(query, None, 0.0)]
        return _data_page(found, request.get("NextToken"), most)

    def _values(self, query: dict[str, Any], request: dict[str, Any]) -> list[tuple[int, float]]:
        """Return start and value of each period, in order."""
        why = "query each metric by MetricStat, and compute with the answers"
        refuse(query, {"Expression": why, "AccountId": _ONE_ACCOUNT})
        if "MetricStat" not in query:
            raise InvalidInput(f"query {query['Id']} has no MetricStat")
        stat = query["MetricStat"]
        statistic = check_statistic(stat["Stat"])
        found = self._periods(stat["Metric"], stat["Period"], stat.get("Unit"), request)
        return [(one.start, STATISTICS[statistic](one.values)) for one in found]

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
        views = [
            metric_view(cluster_id, metric)
            for cluster_id in sorted(known)
            for metric in sorted(known[cluster_id])
        ]
        found, token = page(
            views,
            request.get("NextToken"),
            key=lambda one: f"{one['Dimensions'][0]['Value']} {one['MetricName']}",
            wanted=lambda one: _is_wanted(one, request),
            size=LISTED_METRICS,
        )
        return given(Metrics=found, NextToken=token)


def _data_page(found: list[_Row], token: str | None, most: int) -> dict[str, Any]:
    """Cut a page of datapoints of all queries, and put those of a query together."""
    cut, following = page(found, token, key=lambda one: f"{one[0]['Id']} {one[1]}", size=most)
    results: dict[str, dict[str, Any]] = {}
    for query, start, value in cut:
        label = query.get("Label") or query["MetricStat"]["Metric"].get("MetricName", "")
        empty = {"Id": query["Id"], "Label": label, "Timestamps": [], "Values": []}
        result = results.setdefault(query["Id"], {**empty, "StatusCode": "Complete"})
        if start is not None:
            result["Timestamps"].append(instant(start))
            result["Values"].append(float(value))
    if following is not None and cut:
        results[cut[-1][0]["Id"]]["StatusCode"] = "PartialData"
    return given(MetricDataResults=list(results.values()), NextToken=following)


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
