"""A host's measures and alarms, opened together and closed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.monitoring.metricstore import MetricStore
from atoll.fleet.monitoring.monitor import Monitor
from atoll.fleet.registry import Registry


@dataclass(frozen=True)
class Monitoring:
    """What is opened.

    Attributes:
        metrics: measures over time.
        alarms: alarms, their history, what is still to be notified.
        monitor: keeps the one and evaluates the other.
        is_sending: tells whether notifications are being sent.
    """

    metrics: MetricStore
    alarms: AlarmStore
    monitor: Monitor
    is_sending: Callable[[], bool]


@contextmanager
def monitored(
    path: Path, registry: Registry, notified: tuple[str, ...], is_sending: Callable[[], bool]
) -> Iterator[Monitoring]:
    """Measure clusters and evaluate alarms while the block runs.

    Args:
        path: of the host's file.
        registry: what the host remembers of clusters.
        notified: whom the alarms of each cluster notify.
        is_sending: tells whether notifications are being sent.
    """
    with ExitStack() as stack:
        metrics, alarms = MetricStore(path), AlarmStore(path)
        stack.callback(metrics.close)
        stack.callback(alarms.close)
        monitor = Monitor(registry, metrics, alarms, notified)
        monitor.start()
        stack.callback(monitor.stop)
        yield Monitoring(metrics, alarms, monitor, is_sending)
