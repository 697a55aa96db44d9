"""CloudWatch's API over a host's measures and alarms: the service that `wire` serves."""

from __future__ import annotations

from collections.abc import Callable

from atoll.fleet.aws.account import Account
from atoll.fleet.aws.alarmcalls import AlarmCalls
from atoll.fleet.aws.metricreads import MetricReads
from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.monitoring.metricstore import MetricStore
from atoll.fleet.wire.errors import CLOUDWATCH
from atoll.fleet.wire.service import Service


def cloudwatch_service(
    metrics: MetricStore,
    alarms: AlarmStore,
    check_target: Callable[[str], None],
    account: Account,
) -> Service:
    """Return CloudWatch's API.

    Args:
        metrics: the host's measures.
        alarms: its alarms.
        check_target: raises `InvalidInput` for who cannot be notified.
        account: whose they are.
    """
    reads = MetricReads(metrics).handlers()
    calls = AlarmCalls(alarms, check_target, account).handlers()
    return Service("cloudwatch", {**reads, **calls}, CLOUDWATCH)
