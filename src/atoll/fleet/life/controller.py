"""The controller of one cluster: observe, plan, act, again and again.

One of the primaries' agents is it, elected by ZooKeeper (kazoo's recipe). Each new one counts the
epoch up; an older one can neither write records nor, where the provider can tell, change anything.
What a round decided is written down before it is done, so that a successor does not do it twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from atoll.core.errors import (
    AtollError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
)
from atoll.fleet.capacity import InsufficientCapacity, NoFreeAddress
from atoll.fleet.life.capacity import after_launch, after_silence, failed
from atoll.fleet.life.instances import KEPT_INSTANCES
from atoll.fleet.life.observed import (
    Action,
    Drain,
    EndCluster,
    LaunchFleet,
    ReplacePrimary,
    Terminate,
)
from atoll.fleet.life.observing import Observer
from atoll.fleet.life.placing import placement
from atoll.fleet.life.plan import plan
from atoll.fleet.life.records import ClusterStatus, Desired, Event, FleetStatus, Known
from atoll.fleet.life.store import ClusterStore
from atoll.fleet.model import Market
from atoll.fleet.providers.port import FleetRequest, Provider
from atoll.fleet.states import ClusterState

logger = logging.getLogger(__name__)

ROUND_SECONDS = 0.5
KEPT_SECONDS = 30 * 86400.0
"""EMR lists ended instances for 30 days, at most so many."""
_REFUSALS = (InsufficientCapacity, NoFreeAddress, InvalidInput, Forbidden, NotFound)
"""A cluster tells of these and goes on: permissions, images and groups can be mended meanwhile."""


class Controller:
    """Runs rounds as long as it is the elected one."""

    def __init__(self, store: ClusterStore, provider: Provider, machine_id: str) -> None:
        """Take the cluster's records, its provider, and the machine this runs on."""
        self._store, self._provider, self._machine_id = store, provider, machine_id
        self._epoch = 0
        self._known: Known | None = None
        self._saved: Known | None = None
        self._observer = Observer(store, provider)
        self._refused: set[str] = set()

    def run(self, founding: Desired | None, is_leading: Callable[[], bool]) -> None:
        """Take the cluster over and look after it until `is_leading` says no.

        Args:
            founding: what the cluster shall be, where it is new.
            is_leading: asked before every round and every action.

        Raises:
            Conflict: a newer controller took over, or the host ends the cluster.
            Unavailable: ZooKeeper does not answer.
        """
        self._store.prepare()
        if founding is not None:
            self._store.found(founding)
        self._epoch = self._store.next_epoch()
        self._saved = self._known = self._store.known()
        logger.info("controller took over machine=%s epoch=%d", self._machine_id, self._epoch)
        while is_leading():
            started = time.monotonic()
            self._round(is_leading)
            time.sleep(max(0.0, ROUND_SECONDS - (time.monotonic() - started)))

    def _round(self, is_leading: Callable[[], bool]) -> None:
        found = self._store.desired()
        if found is None:
            return
        desired, _ = found
        observed = self._observer.look(desired)
        known = self._known or _beginning(desired)
        decided = plan(desired, known, observed)
        self._known = _pruned(decided.known, observed.now)
        self._write()
        self._store.tell(decided.events)
        for action in decided.actions:
            if not is_leading():
                return
            self._act(desired, action, observed.now)
        if decided.actions:
            self._write()
            logger.info("round did=%s", "; ".join(map(_said, decided.actions)))

    def _write(self) -> None:
        assert self._known is not None
        self._store.save(self._known, self._saved, epoch=self._epoch)
        self._saved = self._known

    def _act(self, desired: Desired, action: Action, now: float) -> None:
        match action:
            case ReplacePrimary():
                self._replace(desired, action, now)
            case LaunchFleet():
                self._launch(desired, action)
            case Terminate():
                self._terminate(action, now)
            case Drain():
                self._store.order_drain(action.machine_id, action.reason)
            case EndCluster():
                self._end(desired, action, now)

    def _replace(self, desired: Desired, action: ReplacePrimary, now: float) -> None:
        fleet, slot = desired.primary_fleet, action.slot
        name = f"primary {slot.server_id} ({slot.address.private_ip})"
        try:
            self._check_capacity(slot.instance_type, desired.subnet_id)
            if action.old_id is not None:
                self._end_primary(action.old_id, f"replaced: {action.why}")
                # Its machine is certainly gone: nobody need wait for its sessions to end.
                self._store.release_leadership(self._observer.sessions_of(action.old_id))
            machine = self._provider.launch_primary(
                desired.primary_type(slot),
                slot.address,
                fleet.id,
                placement(desired, fleet, epoch=self._epoch),
                token=action.token,
            )
        except AtollError as error:
            _raise_if_over(error)
            message = f"{name} could not be replaced: {error}; trying again"
            self._set_fleet(fleet.id, lambda old: failed(old, message))
            return
        # What failed before is over; the pause is short again when all are ready.
        self._set_fleet(fleet.id, lambda old: replace(old, message=""))
        message = f"{name}: {action.old_id} is replaced by {machine.id}: {action.why}"
        self._store.tell([Event(now, "PRIMARY_REPLACED", machine.id, message, is_warning=True)])

    def _end_primary(self, machine_id: str, why: str) -> None:
        # Providers forget machines that ended a day or two ago.
        with suppress(NotFound):
            self._provider.terminate([machine_id], epoch=self._epoch, reason=why)

    def _check_capacity(self, instance_type: str, subnet_id: str) -> None:
        """Refuse to end a primary, however ill, that nothing could take the place of."""
        pools = self._provider.pools([instance_type], [subnet_id])
        on_demand = [one for one in pools if one.market is Market.ON_DEMAND]
        if not any(one.capacity is None or one.capacity > 0 for one in on_demand):
            raise InsufficientCapacity(
                f"no {instance_type} is to be had on demand in {subnet_id}",
                instance_type=instance_type,
                subnet_id=subnet_id,
            )

    def _launch(self, desired: Desired, action: LaunchFleet) -> None:
        fleet = desired.fleet(action.fleet_id)
        assert fleet is not None
        order = action.order
        request = FleetRequest(
            fleet.id, fleet.spec, order.on_demand, order.spot, is_resize=action.is_resize
        )
        place = placement(desired, fleet, epoch=self._epoch)
        try:
            launched = self._provider.launch_fleet(request, place, token=order.token)
            error = ""
        except _REFUSALS as refusal:
            launched, error = [], refusal.message
        except AtollError as silence:
            _raise_if_over(silence)
            told = silence.message
            self._set_fleet(fleet.id, lambda old: after_silence(fleet, old, told))
            return
        self._set_fleet(fleet.id, lambda old: after_launch(fleet, old, launched, error))

    def _terminate(self, action: Terminate, now: float) -> None:
        """End machines: each by itself where one of them may not be ended.

        The next round sees who lives, and tries again.
        """
        ids = action.machine_ids
        try:
            self._provider.terminate(ids, epoch=self._epoch, reason=action.reason)
            self._refused.difference_update(ids)
        except Unavailable as error:
            logger.warning("not terminated machines=%s error=%s", ids, error)
        except AtollError as error:
            _raise_if_over(error)
            if len(ids) == 1:
                self._tell_refused(ids[0], error.message, now)
                return
            for id_ in ids:
                self._terminate(replace(action, machine_ids=(id_,)), now)

    def _tell_refused(self, machine_id: str, why: str, now: float) -> None:
        logger.warning("not terminated machine=%s error=%s", machine_id, why)
        if machine_id not in self._refused:
            self._refused.add(machine_id)
            message = f"{machine_id} cannot be ended and goes on costing money: {why}; trying again"
            self._store.tell([Event(now, "BLOCKED", machine_id, message, is_warning=True)])

    def _end(self, desired: Desired, action: EndCluster, now: float) -> None:
        """Write down that the cluster ends; from the next round on its workers are ended.

        The primaries hold that record: whoever accompanies the cluster from outside reads it, ends
        them too, and gives their addresses back. It may be a while before it is there to do so.
        """
        assert self._known is not None
        ending = replace(
            self._known.status,
            state=ClusterState.TERMINATING,
            reason=action.reason,
            message=action.message,
        )
        self._known = replace(self._known, status=ending)
        self._write()
        kind = f"CLUSTER_{ClusterState.TERMINATING.value}"
        self._store.tell([Event(now, kind, desired.cluster_id, action.message, is_warning=True)])

    def _set_fleet(self, fleet_id: str, change: Callable[[FleetStatus], FleetStatus]) -> None:
        assert self._known is not None
        status = self._known.status
        fleets = {**status.fleets, fleet_id: change(status.fleets[fleet_id])}
        self._known = replace(self._known, status=replace(status, fleets=fleets))


def _raise_if_over(error: AtollError) -> None:
    """Raise what a provider refuses because another controller, or the host, acts now.

    Any other refusal concerns what was asked for, and must not cost the cluster its controller.
    """
    if isinstance(error, Conflict) and "highest" in error.details:
        raise error


def _beginning(desired: Desired) -> Known:
    return Known(ClusterStatus(ClusterState.STARTING, created_at=desired.created_at))


def _pruned(known: Known, now: float) -> Known:
    """Forget instances that ended long ago, and the oldest where there are too many."""
    ended = sorted(
        (one.ended_at or now, id_) for id_, one in known.instances.items() if not one.is_alive
    )
    old = {id_ for at, id_ in ended if now - at > KEPT_SECONDS}
    too_many = max(0, len(known.instances) - KEPT_INSTANCES)
    old |= {id_ for _, id_ in ended[:too_many]}
    if not old:
        return known
    return replace(
        known, instances={id_: one for id_, one in known.instances.items() if id_ not in old}
    )


def _said(action: Action) -> str:
    match action:
        case ReplacePrimary():
            return f"replace primary {action.slot.server_id}"
        case LaunchFleet():
            return f"launch {action.order.on_demand}+{action.order.spot} for {action.fleet_id}"
        case Terminate():
            return f"end {', '.join(action.machine_ids)}"
        case Drain():
            return f"drain {action.machine_id}"
        case EndCluster():
            return "end the cluster"
