"""Brings a cluster back whose ZooKeeper has lost its quorum, and with it its controller.

What holds the state is brought back first; an empty server is let in only beside one that holds
it, one at a time (`atoll.fleet.engine.ensemble`). Nothing that may hold state is ever wiped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from atoll.core.errors import Conflict
from atoll.fleet.control.launching import launch_primaries
from atoll.fleet.control.mirror import Mirror
from atoll.fleet.engine.ensemble import Ensemble, admit_empty
from atoll.fleet.life.placing import placement
from atoll.fleet.life.primaries import recency
from atoll.fleet.life.records import Event, Slot
from atoll.fleet.model import InstanceTypeConfig
from atoll.fleet.providers.port import Machine, MachineState, Provider
from atoll.fleet.registry import ClusterRecord, Phase, Registry

QUORUM_SECONDS = 60.0
_POLL_SECONDS = 0.2
_LET_IN = "repair"
"""Part of the token of each machine that a repair lets in empty, and of no other."""


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Attributes:
        did: in order, one line each.
        has_quorum: whether the cluster's ZooKeeper answers now.
    """

    did: tuple[str, ...]
    has_quorum: bool


@dataclass(frozen=True)
class _Standing:
    """What is known of the servers whose machine or disk is there, by their numbers.

    Attributes:
        holding: was seen in service, so it holds the state: an empty server has a marker from its
            first start on, and may vote.
        admitted: let in empty by a repair, and never seen in service.
        unknown: launched by the controller, and it may have served while nobody looked.
    """

    holding: frozenset[int]
    admitted: frozenset[int]
    unknown: frozenset[int]


class Repairer:
    """Repairs one cluster."""

    def __init__(
        self,
        provider: Provider,
        registry: Registry,
        record: ClusterRecord,
        mirror: Mirror,
        *,
        awaited_since: dict[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the cluster and what it is made with.

        Args:
            provider, registry, record, mirror: the cluster's.
            awaited_since: since when each machine that was let in is awaited, by this clock; kept
                from one repair to the next.
            clock: seconds that pass, whatever the time of day is set to.
        """
        self._awaited_since, self._clock = awaited_since, clock
        self._provider, self._registry, self._mirror = provider, registry, mirror
        self._record, self._desired = record, record.desired
        self._epoch = record.epoch + 1
        self._did: list[str] = []

    def run(self, *, from_backup: bool) -> Repair:
        """Bring the quorum back.

        Args:
            from_backup: where no primary's disk is left: begin anew from the last that was seen
                of the cluster. Spark's own records are lost then; what jobs wrote is not.

        Raises:
            Conflict: it has a quorum, is not living, or nothing safe can be done; the message says
                what is known of each primary.
        """
        # One that was begun anew and does not come up may be begun anew once more.
        is_begun = self._record.phase is Phase.LAUNCHING and self._record.anew > 0
        if self._record.phase is not Phase.LIVING and not is_begun:
            raise Conflict(f"cluster {self._record.id} is {self._record.phase.value}, not living")
        if self._mirror.is_connected:
            raise Conflict(
                f"cluster {self._record.id} has a quorum; its controller replaces what is lost"
            )
        self._registry.change(self._record.id, lambda old: replace(old, epoch=self._epoch))
        self._revive()
        if not self._mirror.is_connected:
            standing = self._standing()
            if standing.unknown:
                self._refuse(standing.unknown)
            elif standing.holding:
                self._let_one_in(standing.holding, standing.admitted)
            else:
                self._begin_anew(from_backup)
        has_quorum = self._await_quorum()
        return Repair(tuple(self._did), has_quorum)

    def _tell(self, line: str) -> None:
        self._did.append(line)
        event = Event(time.time(), "REPAIR", self._record.id, line, is_warning=True)
        self._registry.tell_here(self._record.id, event)

    def _places(self) -> list[tuple[Slot, Machine | None]]:
        """Return each slot with the last machine at its address."""
        machines = sorted(self._provider.machines(self._record.id), key=recency)
        newest = {one.address_id: one for one in machines}
        return [(slot, newest.get(slot.address.id)) for slot in self._desired.slots]

    def _revive(self) -> None:
        """Start what stopped with its disk."""
        revived = False
        for slot, machine in self._places():
            if machine is not None and machine.state is MachineState.STOPPED:
                self._provider.start(machine.id, epoch=self._epoch)
                self._tell(f"primary {slot.server_id}: {machine.id} started with its disk")
                revived = True
        standing = self._standing()
        if revived and len(standing.holding | standing.unknown) > len(self._desired.slots) // 2:
            self._await_quorum()

    def _standing(self) -> _Standing:
        """Tell which servers hold the state, which are empty, and of which nobody can tell."""
        kinds: dict[str, set[int]] = {"holding": set(), "admitted": set(), "unknown": set()}
        machines = self._provider.machines(self._record.id)
        for slot, machine in self._places():
            if machine is not None and machine.state is not MachineState.TERMINATED:
                kinds[self._kind(machine, machines)].add(slot.server_id)
        return _Standing(**{kind: frozenset(ids) for kind, ids in kinds.items()})

    def _kind(self, machine: Machine, machines: Sequence[Machine]) -> str:
        seen = self._record.known.instances.get(machine.id)
        if seen is not None and seen.ready_at is not None:
            return "holding"
        # Who launches anything else is a controller, which needs a quorum: one that was let in
        # before may have been part of it.
        later = [one for one in machines if one.launched_at > machine.launched_at]
        is_empty = _is_let_in(machine) and all(map(_is_let_in, later))
        return "admitted" if is_empty else "unknown"

    def _refuse(self, unknown: frozenset[int]) -> None:
        raise Conflict(
            f"server {', '.join(map(str, sorted(unknown)))} may hold the cluster's state: it was "
            "not seen in service, and may have been while this host did not look. Wait until it "
            "answers; where it never will, end its machine at the provider and repair again. "
            + self._told()
        )

    def _let_one_in(self, holding: frozenset[int], admitted: frozenset[int]) -> None:
        """Launch one empty primary beside those that hold the state, unless one comes already."""
        for slot, machine in self._places():
            if slot.server_id in admitted and machine is not None:
                if not self._is_late(machine):
                    self._tell(f"primary {slot.server_id}: {machine.id} was let in, starts")
                    return
                self._end(machine)
        members = frozenset(one.server_id for one in self._desired.slots)
        for slot in self._desired.slots:
            if slot.server_id not in holding:
                admit_empty(slot.server_id, Ensemble(members, holding=holding))
                new = self._launch(slot)
                self._awaited_s(new)
                self._tell(
                    f"primary {slot.server_id}: {new.id} launched empty; it takes the state from "
                    f"server {', '.join(map(str, sorted(holding)))}"
                )
                return
        raise Conflict(
            "no primary is lost, and yet they form no quorum: they may be cut off, frozen, or out "
            "of disk. " + self._told()
        )

    def _is_late(self, machine: Machine) -> bool:
        return self._awaited_s(machine) > self._desired.health.bootstrap_timeout_s

    def _awaited_s(self, machine: Machine) -> float:
        now = self._clock()
        return now - self._awaited_since.setdefault(machine.id, now)

    def _end(self, machine: Machine) -> None:
        """End, for certain, what never served; its address is free then."""
        if machine.state is not MachineState.TERMINATED:
            why = "it was let in and never served"
            self._provider.terminate([machine.id], epoch=self._epoch, reason=why)

    def _begin_anew(self, from_backup: bool) -> None:
        if not from_backup:
            raise Conflict(
                "no primary's disk is left, and with them the cluster's records are lost. "
                "`atoll fleet repair --from-backup` begins anew with the last that was seen; steps "
                "that had not ended run again. " + self._told()
            )
        for _, machine in self._places():
            if machine is not None:
                self._end(machine)
        # Before the first launch: should this be cut off, the cluster's watch goes on with it, and
        # hands the steps that were seen in again when the new ensemble answers.
        record = self._registry.change(self._record.id, self._anew)
        for machine in launch_primaries(self._provider, self._registry, record):
            self._tell(f"{machine.id} ({machine.private_ip}) launched for a new ensemble")

    def _anew(self, old: ClusterRecord) -> ClusterRecord:
        desired = replace(old.desired, awaits_host=True)
        return replace(old, desired=desired, phase=Phase.LAUNCHING, anew=self._epoch)

    def _launch(self, slot: Slot) -> Machine:
        fleet = self._desired.primary_fleet
        place = placement(self._desired, fleet, epoch=self._epoch)
        token = f"{self._record.id}-primary{slot.server_id}-{_LET_IN}{self._epoch}"
        return self._provider.launch_primary(
            InstanceTypeConfig(slot.instance_type), slot.address, fleet.id, place, token=token
        )

    def _told(self) -> str:
        lines = [
            f"primary {slot.server_id} ({slot.address.private_ip}): "
            + (f"{machine.id} {machine.state.value}" if machine else "no machine")
            for slot, machine in self._places()
        ]
        return "; ".join(lines)

    def _await_quorum(self) -> bool:
        deadline = time.monotonic() + QUORUM_SECONDS
        while time.monotonic() < deadline:
            if self._mirror.is_connected:
                return True
            time.sleep(_POLL_SECONDS)
        return False


def _is_let_in(machine: Machine) -> bool:
    return machine.token.rpartition("-")[2].startswith(_LET_IN)
