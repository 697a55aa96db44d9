"""Accompanies one cluster from its launch to its end, from outside of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from atoll.core.errors import (
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.control.ending import begin, clear, close, living
from atoll.fleet.control.launching import launch_primaries
from atoll.fleet.control.mirror import Mirror
from atoll.fleet.engine.zookeeper_probe import probe_zookeeper
from atoll.fleet.life.instances import advance
from atoll.fleet.life.observed import Heart, Observed
from atoll.fleet.life.primaries import occupants
from atoll.fleet.life.records import Event, Known
from atoll.fleet.providers.port import ENDED_ITSELF, Provider
from atoll.fleet.registry import ClusterRecord, Ending, Phase, Registry
from atoll.fleet.states import ClusterReason, ClusterState

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
LAUNCH_ATTEMPTS = 5
_REFUSALS = (InsufficientCapacity, NoFreeAddress, Conflict, InvalidInput, Forbidden, NotFound)
BLIND_SECONDS = 5.0
"""A client that was connected to a lost server needs a moment to find another."""
PROBE_SECONDS = 0.5


class Onlooker(Protocol):
    """Is told of each look at a cluster."""

    def looked(self, record: ClusterRecord, answering: Collection[str] | None) -> None:
        """Take what was seen last.

        Args:
            record: of the cluster.
            answering: where the cluster does not answer, the addresses of the primaries that do by
                themselves, else None.
        """
        ...

    def latest(self, cluster_id: str) -> dict[str, float]:
        """Return what was measured last of a cluster."""
        ...

    def failed(self) -> None:
        """Take notice of a look that failed, at the cluster or at its provider."""
        ...


class Watch(threading.Thread):
    """One cluster's."""

    def __init__(
        self, provider: Provider, registry: Registry, cluster_id: str, onlooker: Onlooker
    ) -> None:
        """Take what the cluster is made with, and who is told; start the thread to begin."""
        super().__init__(name=f"watch-{cluster_id}", daemon=True)
        self._provider, self._registry, self.cluster_id = provider, registry, cluster_id
        self._onlooker = onlooker
        self._answering: Collection[str] | None = None
        self._mirror: Mirror | None = None
        self._launched: int | None = None
        self._attempts = 0
        self._complaint = ""
        self._clear_since: float | None = None
        self._blind_for_s = 0.0
        self._looked_at = time.monotonic()
        self._acting = threading.Lock()
        self._woken, self._stopping = threading.Event(), threading.Event()

    @property
    def mirror(self) -> Mirror:
        """The look into the cluster.

        Raises:
            Unavailable: its primaries are being launched, or it has ended.
        """
        if (mirror := self._mirror) is None:
            raise Unavailable(
                f"cluster {self.cluster_id} cannot be asked: it has not begun or has ended",
                cluster_id=self.cluster_id,
            )
        return mirror

    def wake(self) -> None:
        """Have it look now."""
        self._woken.set()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep from acting while the block runs."""
        with self._acting:
            yield

    def stop(self) -> None:
        """End the thread; the cluster goes on."""
        self._stopping.set()
        self._woken.set()
        self.join()
        self._let_go()

    def _let_go(self) -> None:
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            mirror.close()

    def run(self) -> None:
        """Look until the cluster has ended."""
        while not self._stopping.is_set():
            self._woken.clear()
            with self._surviving(), self._acting:
                self._look()
            # Told even where the look failed: what is known then is known from before.
            with self._surviving():
                record = self._registry.get(self.cluster_id)
                self._onlooker.looked(record, self._answering)
                if record.phase is Phase.ENDED:
                    break
            self._woken.wait(LOOK_SECONDS)
        # Its addresses may be another cluster's soon.
        self._let_go()

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Log what fails in the block; the next round tries again."""
        try:
            yield
        except Unavailable as error:
            self._onlooker.failed()
            logger.warning("cluster not looked after id=%s error=%s", self.cluster_id, error)
        except Exception:
            # Nobody else looks after it from here: the next look may fare better.
            self._onlooker.failed()
            logger.exception("cluster not looked after id=%s", self.cluster_id)

    def _look(self) -> None:
        record = self._registry.get(self.cluster_id)
        now = time.monotonic()
        elapsed_s, self._looked_at = now - self._looked_at, now
        match record.phase:
            case Phase.LAUNCHING:
                self._launch(record, elapsed_s)
            case Phase.LIVING:
                self._accompany(record, elapsed_s)
            case Phase.ENDING:
                self._end(record)

    def _launch(self, record: ClusterRecord, elapsed_s: float) -> None:
        if self._launched != record.anew:
            try:
                launch_primaries(self._provider, self._registry, record)
            except _REFUSALS as error:
                self._attempts += 1
                if self._attempts >= LAUNCH_ATTEMPTS:
                    self._give_up(record, ClusterReason.VALIDATION_ERROR, error.message)
                if not record.anew:
                    return
                # Two of three are a quorum: they may be at work, and launch the third themselves.
            else:
                self._launched = record.anew
            record = self._registry.get(self.cluster_id)
        self._connect(record)
        if self.mirror.look() is None and self._launched == record.anew:
            self._await_controller(record, elapsed_s)

    def _connect(self, record: ClusterRecord) -> None:
        if self._mirror is None:
            self._mirror = Mirror(self._registry, record.desired)

    def _await_controller(self, record: ClusterRecord, elapsed_s: float) -> None:
        """Keep the records of the first primaries, until a controller does."""
        record = self._keep_machines(record, elapsed_s)
        # A place may have had another machine before, of an ensemble that was lost.
        last = [one.last for one in occupants(record.desired, record.known.instances) if one.last]
        dead = [one for one in last if not one.is_alive]
        if dead:
            one = dead[0]
            what = f"primary {one.machine.id} ended before the cluster began: {one.message}"
            has_failed = one.machine.reason.startswith(ENDED_ITSELF)
            reason = "BOOTSTRAP_FAILURE" if has_failed else "INSTANCE_FAILURE"
            self._give_up(record, ClusterReason(reason), what)

    def _keep_machines(self, record: ClusterRecord, elapsed_s: float) -> ClusterRecord:
        machines = tuple(self._provider.machines(self.cluster_id))
        # What cannot be asked is not held against an instance.
        hearts = {one.id: Heart(None, 0.0, is_asked=False) for one in machines}
        seen = Observed(time.time(), elapsed_s, machines, hearts=hearts)
        instances, events = advance(record.known.instances, seen, record.desired.health)
        for event in events:
            self._registry.tell_here(self.cluster_id, event)
        return self._registry.change(
            self.cluster_id, lambda old: replace(old, known=Known(old.known.status, instances))
        )

    def _accompany(self, record: ClusterRecord, elapsed_s: float) -> None:
        self._connect(record)
        seen = self.mirror.look()
        if seen is None:
            self._tell_blind(record, elapsed_s)
            return
        self._blind_for_s, self._answering = 0.0, None
        status = seen.known.status
        if status.state is ClusterState.TERMINATING:
            reason = status.reason or ClusterReason.INTERNAL_ERROR
            is_failure = reason is not ClusterReason.ALL_STEPS_COMPLETED
            ending = Ending(reason.value, status.message, is_failure)
            begin(self._registry, self.cluster_id, ending)

    def _complain(self, message: str) -> None:
        """Tell of something once, until it is something else."""
        if message != self._complaint:
            event = Event(time.time(), "REPAIR", self.cluster_id, message, is_warning=True)
            self._registry.tell_here(self.cluster_id, event)
        self._complaint = message

    def _tell_blind(self, record: ClusterRecord, elapsed_s: float) -> None:
        """Show which machines there are, where the cluster itself cannot be asked for long.

        Until then its controller is at work, and tells of them itself.
        """
        before, self._blind_for_s = self._blind_for_s, self._blind_for_s + elapsed_s
        if self._blind_for_s < BLIND_SECONDS:
            return
        self._keep_machines(record, elapsed_s)
        if before < BLIND_SECONDS:
            message = (
                "the cluster's ZooKeeper does not answer: fewer than two of its servers are in "
                "service; running jobs go on; if it stays so: atoll fleet repair "
                f"{self.cluster_id}"
            )
            event = Event(time.time(), "NO_QUORUM", self.cluster_id, message, is_warning=True)
            self._registry.tell_here(self.cluster_id, event)
        addresses = [one.address.private_ip for one in record.desired.slots]
        self._answering = frozenset(filter(_answers, addresses))

    def _end(self, record: ClusterRecord) -> None:
        """End it, and look again as long as a machine may yet appear that was ordered before."""
        if clear(self._provider, record, self._mirror):
            self._clear_since = None
        # Asked anew: what its controller ordered meanwhile would cost money for ever.
        if living(self._provider, self.cluster_id):
            return
        now = time.monotonic()
        if self._clear_since is None:
            self._clear_since = now
        if now - self._clear_since >= self._provider.lag_s:
            close(self._provider, self._registry, record)

    def _give_up(self, record: ClusterRecord, reason: ClusterReason, message: str) -> None:
        """End what cannot begin; one that is begun anew has workers, whose jobs may still run."""
        if record.anew:
            self._complain(
                f"the new ensemble is not there yet: {message}; if it stays so, end what is left "
                f"of its primaries, then: atoll fleet repair --from-backup {self.cluster_id}"
            )
            return
        ending = Ending(reason.value, message, is_failure=True)
        begin(self._registry, self.cluster_id, ending)


def _answers(address: str) -> bool:
    """Tell whether a primary's ZooKeeper answers, be it in a quorum or not."""
    try:
        probe_zookeeper(address, timeout_s=PROBE_SECONDS)
    except (Unavailable, Corrupt):
        return False
    return True
