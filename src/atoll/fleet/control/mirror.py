"""Looks into a living cluster's ZooKeeper, and keeps what it sees."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from atoll.core.errors import Conflict, Unavailable
from atoll.fleet.engine.client import ensemble_client
from atoll.fleet.engine.zookeeper import CLIENT_PORT
from atoll.fleet.life.records import Desired, Known, Step
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.registry import ClusterRecord, Phase, Registry

logger = logging.getLogger(__name__)

SESSION_SECONDS = 4.0


@dataclass(frozen=True)
class Seen:
    """What a look at a cluster's records finds."""

    desired: Desired
    known: Known
    steps: tuple[Step, ...]
    epoch: int


def told(record: ClusterRecord, desired: Desired) -> Desired:
    """Return what a cluster shall be once it has heard what its host was asked for meanwhile."""
    if record.phase is Phase.LAUNCHING:
        is_protected = record.desired.termination_protected
        return replace(desired, termination_protected=is_protected, awaits_host=False)
    if record.lifts_protection:
        return replace(desired, termination_protected=False)
    return desired


def merged(old: ClusterRecord, seen: Seen) -> ClusterRecord:
    """Return a cluster's record after a look.

    What the host was asked for stays until the cluster has it; as long it counts as launching. What
    a cluster that ends has left behind is not looked at.
    """
    if old.phase in (Phase.ENDING, Phase.ENDED):
        return old
    desired = told(old, seen.desired)
    is_told = desired == seen.desired
    handed_in = {one.id for one in seen.steps}
    if old.phase is Phase.LAUNCHING and not (
        is_told and all(one.id in handed_in for one in _unfinished(old))
    ):
        return old
    # The steps a cluster was created with are the host's to know, and shown by it.
    spec = replace(desired.spec, steps=old.desired.spec.steps)
    return replace(
        old,
        desired=replace(desired, spec=spec),
        known=seen.known,
        steps=seen.steps,
        epoch=max(seen.epoch, old.epoch),
        phase=Phase.LIVING,
        lifts_protection=not is_told,
    )


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
            Unavailable: its ensemble does not answer, or is another cluster's.
        """
        if not self.is_connected:
            raise Unavailable(
                f"cluster {self._cluster_id} has no quorum of its ZooKeeper servers now; see "
                f"atoll fleet events {self._cluster_id}",
                cluster_id=self._cluster_id,
            )
        found = self._store.desired()
        if found is not None and found[0].cluster_id != self._cluster_id:
            # A local cloud gives the addresses of an ended cluster to the next.
            raise Unavailable(
                f"cluster {self._cluster_id} is gone: {found[0].cluster_id} has its addresses now",
                cluster_id=self._cluster_id,
            )
        return self._store

    def look(self) -> ClusterRecord | None:
        """Hand in what the cluster has yet to hear of, and keep what is seen of it.

        Returns:
            Its record; None: the cluster has written nothing yet, or does not answer.
        """
        if not self.is_connected:
            return None
        try:
            store = self.store
            self._hand_over(store)
            found, known = store.desired(), store.known()
            if found is None or known is None:
                return None
            before = self._registry.get(self._cluster_id)
            steps, epoch = tuple(store.steps()), _epoch(store, before.epoch)
            self._registry.keep_steps(self._cluster_id, forgotten(before.steps, steps))
            source = f"cluster since {store.born()}"
            newest = self._registry.newest(self._cluster_id, source)
            self._registry.tell(self._cluster_id, source, store.events(after=newest))
        except (Unavailable, Conflict) as error:
            logger.info("cluster not seen id=%s error=%s", self._cluster_id, error)
            return None
        seen = Seen(found[0], known, steps, epoch)
        return self._registry.change(self._cluster_id, lambda old: merged(old, seen))

    def _hand_over(self, store: ClusterStore) -> None:
        """Tell the cluster what was asked for while it could not be told.

        Raises:
            Conflict: somebody else changed it just now.
        """
        record = self._registry.get(self._cluster_id)
        if record.phase is Phase.LAUNCHING:
            for step in _unfinished(record):
                store.add_step(step)
        elif not record.lifts_protection:
            return
        found = store.desired()
        if found is not None and (wanted := told(record, found[0])) != found[0]:
            store.change(wanted, found[1])

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


def _unfinished(record: ClusterRecord) -> list[Step]:
    """Return what is to be handed in: of what ended, a cluster may forget some at once."""
    return [one for one in record.steps if not one.state.is_over]


def forgotten(before: Sequence[Step], now: Sequence[Step]) -> list[Step]:
    """Return the steps that had ended and are not there any more."""
    there = {one.id for one in now}
    return [one for one in before if one.state.is_over and one.id not in there]
