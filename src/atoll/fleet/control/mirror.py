"""Looks into a living cluster's ZooKeeper, and keeps what it sees."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from atoll.core.errors import Unavailable
from atoll.fleet.control.registry import ClusterRecord, Phase, Registry
from atoll.fleet.engine.client import ensemble_client
from atoll.fleet.engine.zookeeper import CLIENT_PORT
from atoll.fleet.life.records import Desired, Step
from atoll.fleet.life.store import ClusterStore, has_ended

logger = logging.getLogger(__name__)

SESSION_SECONDS = 4.0


class Mirror:
    """One cluster's."""

    def __init__(self, registry: Registry, desired: Desired) -> None:
        """Begin to connect; nothing is awaited."""
        self._registry, self._cluster_id = registry, desired.cluster_id
        hosts = ",".join(f"{one.address.private_ip}:{CLIENT_PORT}" for one in desired.slots)
        self._client = ensemble_client(hosts, session_s=SESSION_SECONDS)
        self._client.start_async()
        self._store = ClusterStore(self._client)

    @property
    def is_connected(self) -> bool:
        """Whether the ensemble answers."""
        return bool(self._client.connected)

    @property
    def store(self) -> ClusterStore:
        """The cluster's records.

        Raises:
            Unavailable: its ensemble does not answer.
        """
        if not self.is_connected:
            raise Unavailable(
                f"cluster {self._cluster_id} has no quorum of its ZooKeeper servers now; see "
                f"atoll fleet events {self._cluster_id}",
                cluster_id=self._cluster_id,
            )
        return self._store

    def look(self) -> ClusterRecord | None:
        """Keep what is seen; None: the cluster has written nothing yet, or does not answer."""
        if not self.is_connected:
            return None
        try:
            store = self._store
            found, known = store.desired(), store.known()
            if found is None or known is None:
                return None
            before = self._registry.get(self._cluster_id)
            steps, epoch = tuple(store.steps()), _epoch(store, before.epoch)
            self._registry.keep_steps(self._cluster_id, forgotten(before.steps, steps))
            source = f"cluster since {store.born()}"
            newest = self._registry.newest(self._cluster_id, source)
            self._registry.tell(self._cluster_id, source, store.events(after=newest))
        except Unavailable as error:
            logger.info("cluster not seen id=%s error=%s", self._cluster_id, error)
            return None
        return self._registry.change(
            self._cluster_id,
            lambda old: replace(
                old,
                desired=found[0],
                known=known,
                steps=steps,
                epoch=max(epoch, old.epoch),
                phase=Phase.LIVING if old.phase is Phase.LAUNCHING else old.phase,
            ),
        )

    def close(self) -> None:
        """Let go of the cluster."""
        self._client.stop()
        self._client.close()


def _epoch(store: ClusterStore, seen: int) -> int:
    """Read the controller's epoch; one that a repair left behind is brought up to it."""
    epoch = store.epoch()
    if epoch < seen:
        store.raise_epoch(seen)
    return max(epoch, seen)


def forgotten(before: Sequence[Step], now: Sequence[Step]) -> list[Step]:
    """Return the steps that had ended and are not there any more."""
    there = {one.id for one in now}
    return [one for one in before if has_ended(one) and one.id not in there]
