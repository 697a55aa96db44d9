"""What can be asked of the fleet: the operations behind the command line and every API.

Changes to a living cluster are written into its own ZooKeeper, where its controller finds them;
what is asked for is answered from there, or, where it does not answer, from what was seen last.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atoll.core.errors import AtollError, Conflict, InvalidInput, NotFound, Unavailable
from atoll.fleet.control.advising import advice_on
from atoll.fleet.control.ending import begin
from atoll.fleet.control.ids import new_cluster_id, new_fleet_id, new_step_id
from atoll.fleet.control.repair import Repair, Repairer
from atoll.fleet.control.watch import Onlooker, Watch
from atoll.fleet.life.placing import require_launchable
from atoll.fleet.life.records import (
    ClusterStatus,
    Desired,
    Event,
    Fleet,
    FleetStatus,
    Known,
    Slot,
    Step,
)
from atoll.fleet.model import (
    ClusterSpec,
    FleetSpec,
    InstanceTypeConfig,
    Resizing,
    Role,
    StepSpec,
)
from atoll.fleet.monitoring.alarmstore import AlarmStore
from atoll.fleet.planning.advice import Advice
from atoll.fleet.planning.fleets import plan_fleet
from atoll.fleet.planning.subnets import LaunchPreview, preview, require_addresses
from atoll.fleet.providers.port import Address, Provider, ProviderAt
from atoll.fleet.registry import ClusterRecord, Ending, Phase, Registry, Told
from atoll.fleet.spec.reader import Notice
from atoll.fleet.spec.validate import check
from atoll.fleet.states import ClusterReason, ClusterState, FleetState, StepState

logger = logging.getLogger(__name__)

MOST_STEPS = 256
"""EMR's: steps that are pending or run at once."""


@dataclass(frozen=True)
class Resize:
    """A change of a fleet's targets; what is None stays.

    Attributes:
        fleet_id: the fleet.
        on_demand, spot: capacity units wanted.
        resizing: timeouts and strategies from now on.
        types: what it may be made of from now on; instances of other types stay.
    """

    fleet_id: str
    on_demand: int | None = None
    spot: int | None = None
    resizing: Resizing | None = None
    types: tuple[InstanceTypeConfig, ...] | None = None


class FleetService:
    """All clusters of one host. Calls may come from any thread."""

    def __init__(
        self,
        provider: Provider,
        at: ProviderAt,
        registry: Registry,
        onlooker: Onlooker,
        alarms: AlarmStore,
    ) -> None:
        """Take the provider, how clusters reach it, and the registry; go on with its clusters.

        Args:
            provider: who supplies machines.
            at: how clusters reach it.
            registry: what the host remembers.
            onlooker: told each second what was seen of each cluster.
            alarms: the host's.
        """
        self._provider, self._at, self._registry = provider, at, registry
        self._onlooker, self._alarms = onlooker, alarms
        self._watches: dict[str, Watch] = {}
        self._awaited_since: dict[str, float] = {}
        self._lock = threading.Lock()
        for record in registry.all():
            if record.phase is not Phase.ENDED:
                self._watch(record.id)

    def close(self) -> None:
        """Let go of all clusters; they go on."""
        for watch in list(self._watches.values()):
            watch.stop()

    # Clusters.

    def preview(self, spec: ClusterSpec) -> LaunchPreview:
        """Plan a launch without launching; see `planning.subnets.preview` for what it raises."""
        planned = self._planned(spec)
        require_launchable(self._desired(spec, planned))
        return replace(planned, warnings=(*planned.warnings, *self._provider.warnings(spec)))

    def _planned(self, spec: ClusterSpec) -> LaunchPreview:
        self._provider.require(spec)
        subnets = self._provider.subnets(spec.subnet_ids)
        types = sorted({one.instance_type for fleet in spec.fleets for one in fleet.types})
        pools = self._provider.pools(types, [one.id for one in subnets])
        return preview(spec, subnets, pools)

    def create(self, spec: ClusterSpec, cluster_id: str | None = None) -> ClusterRecord:
        """Begin a cluster.

        Args:
            spec: what it shall be.
            cluster_id: a new one that the caller has written down; None makes one.

        Raises:
            InvalidInput: the specification breaks a rule of EMR's, or is too long.
            NoFreeAddress: no subnet has room; nothing was launched.
            InsufficientCapacity: the primaries are not to be had; nothing was launched.
        """
        check(spec)
        planned = self._planned(spec)
        desired = self._desired(spec, planned, cluster_id)
        require_launchable(desired)
        now = desired.created_at
        fleets = {one.id: FleetStatus(FleetState.PROVISIONING, now) for one in desired.fleets}
        record = ClusterRecord(
            desired=desired,
            phase=Phase.LAUNCHING,
            known=Known(ClusterStatus(ClusterState.STARTING, now, fleets=fleets)),
            steps=tuple(_step(one, now, number) for number, one in enumerate(spec.steps)),
        )
        where = f"in {planned.subnet.id} ({planned.subnet.zone}); {planned.nodes} machines planned"
        message = f"cluster {spec.name} is STARTING {where}"
        self._registry.add(record, Event(now, "CLUSTER_STARTING", record.id, message))
        self._watch(record.id)
        return record

    def _desired(
        self, spec: ClusterSpec, planned: LaunchPreview, cluster_id: str | None = None
    ) -> Desired:
        return Desired(
            cluster_id=cluster_id or new_cluster_id(),
            provider=self._at,
            spec=spec,
            subnet_id=planned.subnet.id,
            zone=planned.subnet.zone,
            slots=_slots(planned),
            fleets=tuple(Fleet(new_fleet_id(), one) for one in spec.fleets),
            termination_protected=spec.termination_protected,
            created_at=time.time(),
            awaits_host=True,
        )

    def note(self, cluster_id: str, notices: Sequence[Notice]) -> None:
        """Tell what of a request was taken but is not done as EMR would.

        That it cannot be written down fails nothing: whoever asked would ask for a second cluster.
        """
        for one in notices:
            message = f"{one.path}: {one.message}" if one.path else one.message
            logger.info("request noted cluster=%s notice=%s", cluster_id, message)
            event = Event(time.time(), "REQUEST_NOTICE", cluster_id, message)
            try:
                self._registry.tell_here(cluster_id, event)
            except AtollError as error:
                logger.warning("notice not kept cluster=%s error=%s", cluster_id, error)

    def clusters(self) -> list[ClusterRecord]:
        """Return all clusters, the newest first."""
        return self._registry.all()

    def cluster(self, cluster_id: str) -> ClusterRecord:
        """Return a cluster.

        Raises:
            NotFound: there is none of that id.
        """
        return self._registry.get(cluster_id)

    def find(self, name_or_id: str) -> ClusterRecord:
        """Return a cluster by its id, or by its name where only one of that name lives.

        Raises:
            NotFound: there is none.
            Conflict: several of that name live, or none does and several ended.
        """
        records = self._registry.all()
        named = [one for one in records if name_or_id in (one.id, one.desired.spec.name)]
        living = [one for one in named if one.phase is not Phase.ENDED]
        found = living or named
        if not found:
            raise NotFound(f"there is no cluster {name_or_id!r}; see: atoll fleet list")
        if len(living) > 1:
            ids = ", ".join(one.id for one in living)
            raise Conflict(f"several clusters are named {name_or_id!r}: {ids}; name one by its id")
        return found[0]

    def events(self, cluster_id: str) -> list[Event]:
        """Return a cluster's events, the oldest first."""
        self._registry.get(cluster_id)
        return self._registry.events(cluster_id)

    def told(self, cluster_id: str) -> list[Told]:
        """Return a cluster's events with their numbers, for whoever asks again and again."""
        self._registry.get(cluster_id)
        return self._registry.told(cluster_id)

    def measures(self, cluster_id: str) -> dict[str, float]:
        """Return what was measured last of a cluster, by metric; see `monitoring.measures`."""
        self._registry.get(cluster_id)
        return self._onlooker.latest(cluster_id)

    def advice(self, cluster_id: str) -> list[Advice]:
        """Check the best practices on a cluster."""
        record = self._registry.get(cluster_id)
        subnets = self._provider.subnets([record.desired.subnet_id])
        return advice_on(record, subnets, [one.alarm for one in self._alarms.all()])

    def warnings(self, cluster_id: str) -> list[str]:
        """Say what, at its provider, speaks against a cluster as it is now."""
        return self._provider.warnings(self._registry.get(cluster_id).desired.current_spec)

    def protect(self, cluster_id: str, is_protected: bool) -> None:
        """Allow or forbid to terminate a cluster, also one that is being launched.

        Raises:
            Unavailable: it is to be forbidden, and the cluster has no quorum.
        """

        def changed(old: ClusterRecord) -> ClusterRecord:
            new = replace(old, lifts_protection=False)
            return _protected(new, is_protected) if old.phase is Phase.LAUNCHING else new

        if self._registry.change(cluster_id, changed).phase is Phase.LAUNCHING:
            return  # its mirror hands that on
        try:
            self._change(cluster_id, lambda old: replace(old, termination_protected=is_protected))
        except Unavailable:
            if is_protected:
                raise
            # Nobody is there to hear of it. It shall be possible to end the cluster all the same.
            self._registry.change(
                cluster_id, lambda old: replace(_protected(old, False), lifts_protection=True)
            )

    def change_spec(self, cluster_id: str, change: Callable[[ClusterSpec], ClusterSpec]) -> None:
        """Change what a cluster shall be, beside its fleets; the next rounds go by it."""
        self._change(cluster_id, lambda old: replace(old, spec=change(old.spec)))

    def terminate(self, cluster_id: str) -> None:
        """Begin to end a cluster; one that has ended is no error.

        Raises:
            InvalidInput: it is protected.
        """
        record = self._registry.get(cluster_id)
        if record.phase in (Phase.ENDING, Phase.ENDED):
            return
        if record.desired.termination_protected:
            # EMR's words, and how to go on.
            raise InvalidInput(
                "Could not shut down one or more job flows since they are termination protected: "
                f"{cluster_id}; lift it first: atoll fleet terminate --unprotect {cluster_id}",
                cluster_id=cluster_id,
            )
        ending = Ending(ClusterReason.USER_REQUEST.value, "Terminated by user request", False)
        begin(self._registry, cluster_id, ending)
        with self._lock:
            watch = self._watches.get(cluster_id)
        if watch is not None:
            watch.wake()

    def repair(self, cluster_id: str, from_backup: bool = False) -> Repair:
        """Bring back a cluster without quorum; see `Repairer.run` for what it raises."""
        watch = self._watch_of(cluster_id)
        with watch.paused():
            record = self._registry.get(cluster_id)
            repairer = Repairer(
                self._provider,
                self._registry,
                record,
                watch.mirror,
                awaited_since=self._awaited_since,
            )
            return repairer.run(from_backup=from_backup)

    # Fleets.

    def fleet(self, cluster_id: str, fleet_id: str) -> Fleet:
        """Return a fleet as it shall be now.

        Raises:
            NotFound: there is no such cluster, or it has no such fleet.
        """
        fleet = self._registry.get(cluster_id).desired.fleet(fleet_id)
        if fleet is None:
            # EMR's words.
            raise NotFound(f"Instance fleet id '{fleet_id}' is not valid.", fleet_id=fleet_id)
        return fleet

    def resize(self, cluster_id: str, resize: Resize) -> Fleet:
        """Change a fleet's targets.

        Raises:
            InvalidInput: the fleet is the primaries', or the targets are none.
            NoFreeAddress: the subnet has no room for what is added; nothing was changed.
            NotFound: the cluster has no such fleet.
        """
        record = self._registry.get(cluster_id)
        fleet = self.fleet(cluster_id, resize.fleet_id)
        if fleet.spec.role is Role.MASTER:
            raise InvalidInput("the fleet of primaries cannot be resized", fleet_id=fleet.id)
        wanted = _resized(fleet.spec, resize)
        self._check_room(record, fleet.spec, wanted)

        def changed(old: Desired) -> Desired:
            fleets = tuple(
                replace(one, spec=_resized(one.spec, resize)) if one.id == fleet.id else one
                for one in old.fleets
            )
            return replace(old, fleets=fleets)

        self._change(cluster_id, changed)
        return replace(fleet, spec=wanted)

    def add_fleet(self, cluster_id: str, spec: FleetSpec) -> Fleet:
        """Add a task fleet.

        Raises:
            InvalidInput: it is no task fleet, or the cluster has one (EMR allows one).
            NoFreeAddress: the subnet has no room for it; nothing was changed.
        """
        record = self._registry.get(cluster_id)
        if spec.role is not Role.TASK:
            raise InvalidInput("only a task fleet can be added to a cluster that lives")
        nothing = replace(spec, target_on_demand=0, target_spot=0)
        self._check_room(record, nothing, spec)
        fleet = Fleet(new_fleet_id(), spec)
        self._change(cluster_id, lambda old: replace(old, fleets=(*old.fleets, fleet)))
        return fleet

    def _check_room(self, record: ClusterRecord, old: FleetSpec, new: FleetSpec) -> None:
        """Refuse, before any machine starts, what the subnet has no addresses for."""
        subnet_id = record.desired.subnet_id
        (subnet,) = self._provider.subnets([subnet_id])
        pools = self._provider.pools([one.instance_type for one in new.types], [subnet_id])
        added = plan_fleet(
            new,
            pools,
            on_demand=max(0, new.target_on_demand - old.target_on_demand),
            spot=max(0, new.target_spot - old.target_spot),
            is_resize=True,
        )
        require_addresses(subnet, [added])

    # Steps.

    def add_steps(self, cluster_id: str, specs: Sequence[StepSpec]) -> list[str]:
        """Hand in work.

        Returns:
            The ids of the steps.

        Raises:
            InvalidInput: too many wait, or the cluster is ending.
        """
        record = self._registry.get(cluster_id)
        self._refuse_ended(record)
        waiting = sum(not one.state.is_over for one in record.steps)
        if waiting + len(specs) > MOST_STEPS:
            # EMR's words.
            raise InvalidInput(
                f"Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') "
                f"for cluster exceeded: {waiting} of {MOST_STEPS} there, {len(specs)} more asked",
                cluster_id=cluster_id,
            )
        now = time.time()
        steps = [_step(spec, now, number) for number, spec in enumerate(specs)]

        def handed_in(old: ClusterRecord) -> ClusterRecord:
            is_launching = old.phase is Phase.LAUNCHING
            return replace(old, steps=(*old.steps, *steps)) if is_launching else old

        if self._registry.change(cluster_id, handed_in).phase is Phase.LAUNCHING:
            return [one.id for one in steps]  # its mirror hands them on
        store = self._watch_of(cluster_id).mirror.store
        for step in steps:
            store.add_step(step)
        self._look_now(cluster_id)
        return [one.id for one in steps]

    def steps(self, cluster_id: str) -> list[Step]:
        """Return a cluster's steps as last seen, the oldest first; those it forgot, too."""
        seen = self._registry.get(cluster_id).steps
        old = [*self._registry.old_steps(cluster_id), *seen]
        return sorted(
            {one.id: one for one in old}.values(), key=lambda one: (one.created_at, one.id)
        )

    def cancel_steps(self, cluster_id: str, step_ids: Sequence[str]) -> dict[str, str]:
        """Ask for steps to be cancelled, also while they run.

        Returns:
            By id, why it cannot be; empty where it will be.

        Raises:
            Conflict: the cluster is ending, or has ended.
        """
        self._watch_of(cluster_id)
        record = self._registry.get(cluster_id)
        known = {one.id: one for one in record.steps}
        outcomes = {}
        for id_ in step_ids:
            if id_ not in known:
                outcomes[id_] = f"Step id '{id_}' is not valid."
                continue
            outcomes[id_] = self._cancelled(cluster_id, known[id_])
        self._look_now(cluster_id)
        return outcomes

    def _cancelled(self, cluster_id: str, step: Step) -> str:
        def cancel(old: Step) -> Step:
            if old.state is StepState.PENDING:
                why = "cancelled by user request"
                return replace(old, state=StepState.CANCELLED, message=why, ended_at=time.time())
            return replace(old, state=StepState.CANCEL_PENDING)

        try:
            self._watch_of(cluster_id).mirror.store.change_step(step.id, cancel)
        except AtollError as error:
            return error.message
        return ""

    def calls(self) -> dict[str, Callable[..., Any]]:
        """Return what the host's own API offers, by name."""
        offered = (
            self.preview,
            self.create,
            self.clusters,
            self.cluster,
            self.find,
            self.events,
            self.told,
            self.measures,
            self.note,
            self.advice,
            self.warnings,
            self.protect,
            self.terminate,
            self.repair,
            self.resize,
            self.add_fleet,
            self.add_steps,
            self.steps,
            self.cancel_steps,
        )
        return {one.__name__: one for one in offered}

    # Under the hood.

    def _change(self, cluster_id: str, change: Callable[[Desired], Desired]) -> None:
        record = self._registry.get(cluster_id)
        self._refuse_ended(record)
        if record.phase is Phase.LAUNCHING:
            raise Conflict(
                f"cluster {cluster_id} is being launched; wait until it is WAITING or RUNNING",
                cluster_id=cluster_id,
            )
        store = self._watch_of(cluster_id).mirror.store
        while True:
            found = store.desired()
            assert found is not None
            desired, version = found
            try:
                store.change(change(desired), version)
            except Conflict:
                continue  # somebody else changed something; the change is made to that
            break
        self._look_now(cluster_id)

    def _refuse_ended(self, record: ClusterRecord) -> None:
        if record.phase in (Phase.ENDING, Phase.ENDED):
            # EMR's words.
            raise InvalidInput(
                f"A job flow that is shutting down, terminated, or finished may not be modified: "
                f"{record.id} is {record.known.status.state.value}",
                cluster_id=record.id,
            )

    def _look_now(self, cluster_id: str) -> None:
        """See what was changed, so that the next question finds it."""
        self._watch_of(cluster_id).mirror.look()

    def _watch_of(self, cluster_id: str) -> Watch:
        """Return who looks after a cluster.

        Raises:
            Conflict: it is ending, or has ended.
            NotFound: there is none of that id.
        """
        record = self._registry.get(cluster_id)
        with self._lock:
            watch = self._watches.get(cluster_id)
        if watch is None or record.phase in (Phase.ENDING, Phase.ENDED):
            raise Conflict(
                f"cluster {cluster_id} is {record.known.status.state.value}; nothing of it can be "
                "changed any more",
                cluster_id=cluster_id,
            )
        return watch

    def _watch(self, cluster_id: str) -> None:
        watch = Watch(self._provider, self._registry, cluster_id, self._onlooker)
        with self._lock:
            living = {id_: one for id_, one in self._watches.items() if one.is_alive()}
            self._watches = {**living, cluster_id: watch}
            watch.start()


def _protected(old: ClusterRecord, is_protected: bool) -> ClusterRecord:
    return replace(old, desired=replace(old.desired, termination_protected=is_protected))


def _slots(planned: LaunchPreview) -> tuple[Slot, ...]:
    """Number the primaries' places; their addresses are reserved later."""
    primaries = next(one for one in planned.fleets if one.fleet.role is Role.MASTER)
    (purchase,) = primaries.on_demand.purchases
    nowhere = Address("", planned.subnet.id, "", "")
    return tuple(
        Slot(number, nowhere, purchase.instance_type) for number in range(1, purchase.count + 1)
    )


def _step(spec: StepSpec, now: float, number: int) -> Step:
    # They are run in the order of their creation.
    return Step(new_step_id(), spec, StepState.PENDING, created_at=now + number / 1e6)


def _resized(spec: FleetSpec, resize: Resize) -> FleetSpec:
    on_demand = spec.target_on_demand if resize.on_demand is None else resize.on_demand
    spot = spec.target_spot if resize.spot is None else resize.spot
    if on_demand < 0 or spot < 0:
        raise InvalidInput(f"targets {on_demand} and {spot} are none; give 0 or more")
    if spec.role is Role.CORE and on_demand + spot < 1:
        raise InvalidInput("a core fleet needs at least one capacity unit")
    return replace(
        spec,
        target_on_demand=on_demand,
        target_spot=spot,
        resizing=spec.resizing if resize.resizing is None else resize.resizing,
        types=spec.types if resize.types is None else resize.types,
    )
