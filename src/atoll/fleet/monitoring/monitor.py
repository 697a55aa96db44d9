"""Keeps the measures of all clusters, and evaluates alarms on them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from atoll.core.errors import AtollError, NotFound
from atoll.fleet.monitoring.alarms import evaluate, oldest_point
from atoll.fleet.monitoring.alarmstore import AlarmStore, KeptAlarm
from atoll.fleet.monitoring.measures import measures
from atoll.fleet.monitoring.metricstore import MetricStore
from atoll.fleet.monitoring.ownalarms import own_alarms
from atoll.fleet.monitoring.ringing import ring
from atoll.fleet.registry import ClusterRecord, Phase, Registry

logger = logging.getLogger(__name__)

REPEAT_SECONDS = 10.0
"""Measures that stay are written so often."""
EVALUATE_SECONDS = 5.0
PRUNE_SECONDS = 3600.0


class Monitor(threading.Thread):
    """One host's. `looked` may be called from any thread."""

    def __init__(
        self,
        registry: Registry,
        metrics: MetricStore,
        alarms: AlarmStore,
        notified: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take where all is remembered, whom a cluster's own alarms notify, the time of day."""
        super().__init__(name="alarms", daemon=True)
        self._registry, self._metrics, self._alarms = registry, metrics, alarms
        self._notified, self._clock = notified, clock
        self._written: dict[str, tuple[float, dict[str, float]]] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._rounds = self._failures = 0

    @property
    def rounds(self) -> int:
        """How often the host has looked at a cluster since it started."""
        return self._rounds

    @property
    def failures(self) -> int:
        """How many of the looks failed."""
        return self._failures

    def latest(self, cluster_id: str) -> dict[str, float]:
        """Return what was measured last of a cluster; empty: nothing yet."""
        return self._written.get(cluster_id, (0.0, {}))[1]

    def failed(self) -> None:
        """Count a look that failed."""
        with self._lock:
            self._failures += 1

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()

    def looked(self, record: ClusterRecord, answering: Collection[str] | None) -> None:
        """Take down what was just seen of a cluster; see `measures` for the arguments."""
        with self._lock:
            self._rounds += 1
        if record.id not in self._written:
            self._alarms.put_own(record.id, own_alarms(record, self._notified))
        if record.phase not in (Phase.LAUNCHING, Phase.LIVING):
            self._written.pop(record.id, None)
            return
        now, found = self._clock(), measures(record, answering)
        at, old = self._written.get(record.id, (float("-inf"), {}))
        is_change = found != old
        # A clock that was set back must not silence anything.
        if is_change or not 0 <= now - at < REPEAT_SECONDS:
            self._metrics.write(record.id, now, found, is_change=is_change)
            self._written[record.id] = now, found

    def run(self) -> None:
        """Evaluate all alarms again and again."""
        pruned_at = float("-inf")
        while not self._stopping.wait(EVALUATE_SECONDS):
            try:
                self.evaluate()
                if time.monotonic() - pruned_at > PRUNE_SECONDS:
                    self._metrics.prune(self._clock())
                    self._alarms.prune(self._clock())
                    pruned_at = time.monotonic()
            except AtollError as error:
                logger.warning("alarms not evaluated error=%s", error)
            except Exception:
                # Nobody else evaluates them from here: the next round may fare better.
                logger.exception("alarms not evaluated")

    def evaluate(self) -> None:
        """Evaluate each alarm once."""
        for kept in self._alarms.all():
            if kept.alarm.is_own and self._has_ended(kept.alarm.cluster_id):
                self._alarms.delete(kept.alarm.name)
            else:
                self._evaluate_one(kept)

    def _evaluate_one(self, kept: KeptAlarm) -> None:
        now, alarm = self._clock(), kept.alarm
        points = self._metrics.points(alarm.cluster_id, alarm.metric, oldest_point(alarm, now), now)
        verdict = evaluate(alarm, points, kept.state, now)
        if verdict.state is not kept.state and ring(self._alarms, kept, verdict, now):
            logger.info("alarm changed name=%s state=%s", alarm.name, verdict.state)

    def _has_ended(self, cluster_id: str) -> bool:
        try:
            return self._registry.get(cluster_id).phase is Phase.ENDED
        except NotFound:
            return True
