"""What a request of CloudWatch's names: a metric of a cluster, a statistic, a period."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.core.errors import InvalidInput
from atoll.fleet.monitoring.measures import UNITS
from atoll.fleet.monitoring.metrics import STATISTICS
from atoll.fleet.monitoring.ringing import DIMENSION, NAMESPACE


def metric_of(request: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the cluster and the metric that a request names; None: Atoll has no such metric.

    As with CloudWatch, a metric that is not there is no error: it has no data.
    """
    dimensions = {one["Name"]: one["Value"] for one in request.get("Dimensions", [])}
    name = request.get("MetricName")
    if request.get("Namespace") != NAMESPACE or name not in UNITS or set(dimensions) != {DIMENSION}:
        return None
    return dimensions[DIMENSION], name


def metric_view(cluster_id: str, metric: str) -> dict[str, Any]:
    """Return a Metric."""
    dimension = {"Name": DIMENSION, "Value": cluster_id}
    return {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": [dimension]}


def check_unit(metric: str | None, unit: str | None) -> bool:
    """Tell whether a metric has the unit that a request asks for; None asks for none."""
    return unit is None or metric is None or UNITS[metric] == unit


def check_statistic(name: str) -> str:
    """Return a statistic's name.

    Raises:
        InvalidInput: Atoll has no such statistic.
    """
    if name not in STATISTICS:
        raise InvalidInput(
            f"statistic {name!r} is not supported by Atoll; take one of {', '.join(STATISTICS)}"
        )
    return name


def check_period(seconds: int) -> int:
    """Return a period.

    Raises:
        InvalidInput: CloudWatch has no such period.
    """
    # Source: CloudWatch API reference, MetricStat: Period.
    if seconds not in (1, 5, 10, 20, 30) and (seconds < 60 or seconds % 60):
        raise InvalidInput(
            f"period {seconds} is not valid; take 1, 5, 10, 20, 30 or a multiple of 60"
        )
    return seconds
