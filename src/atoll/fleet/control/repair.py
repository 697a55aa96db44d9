"""Brings a cluster back whose ZooKeeper has lost its quorum, and with it its controller.

What holds the state is brought back first; an empty server is let in only beside one that holds
it, one at a time (`atoll.fleet.engine.ensemble`). Nothing that holds state is ever wiped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from atoll.core.errors import Conflict
from atoll.fleet.control.mirror import Mirror
from atoll.fleet.control.registry import ClusterRecord, Phase, Registry
from atoll.fleet.engine.ensemble import Ensemble, admit_empty
from atoll.fleet.life.placing import placement
from atoll.fleet.life.primaries import recency
from atoll.fleet.life.records import Event, Slot
from atoll.fleet.model import InstanceTypeConfig
from atoll.fleet.providers.port import Machine, MachineState, Provider

QUORUM_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Attributes:
        did: in order, one line each.
        has_quorum: whether the cluster's ZooKeeper answers now.
    """

    did: tuple[str, ...]
    has_quorum: bool


class Repairer:
    """Repairs one cluster."""

    def __init__(
        self, provider: Provider, registry: Registry, record: ClusterRecord, mirror: Mirror
    ) -> None:
        """Take the cluster and what it is made with."""
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
        if self._record.phase is not Phase.LIVING:
            raise Conflict(f"cluster {self._record.id} is {self._record.phase.value}, not living")
        if self._mirror.is_connected:
            raise Conflict(
                f"cluster {self._record.id} has a quorum; its controller replaces what is lost"
            )
        self._registry.change(self._record.id, lambda old: replace(old, epoch=self._epoch))
        self._revive()
        if not self._mirror.is_connected:
            holding, admitted = self._holding()
            if holding:
                self._let_one_in(holding, admitted)
            else:
                self._begin_anew(from_backup)
        has_quorum = self._await_quorum()
        for line in self._did:
            event = Event(time.time(), "REPAIR", self._record.id, line, is_warning=True)
            self._registry.tell_here(self._record.id, event)
        return Repair(tuple(self._did), has_quorum)

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
                self._did.append(f"primary {slot.server_id}: {machine.id} started with its disk")
                revived = True
        if revived and len(self._holding()[0]) > len(self._desired.slots) // 2:
            self._await_quorum()

    def _holding(self) -> tuple[frozenset[int], frozenset[int]]:
        """Return the servers whose disks hold the state, and those that were let in empty.

        Only who was once in service is known to hold it: an empty server has a marker from its
        first start on, and may vote.
        """
        holding: set[int] = set()
        admitted: set[int] = set()
        for slot, machine in self._places():
            if machine is not None and machine.state is not MachineState.TERMINATED:
                seen = self._record.known.instances.get(machine.id)
                served = seen is not None and seen.ready_at is not None
                (holding if served else admitted).add(slot.server_id)
        return frozenset(holding), frozenset(admitted)

    def _let_one_in(self, holding: frozenset[int], admitted: frozenset[int]) -> None:
        """Launch one empty primary beside those that hold the state, unless one comes already."""
        for slot, machine in self._places():
            if slot.server_id in admitted and machine is not None:
                if not self._is_late(machine):
                    self._did.append(f"primary {slot.server_id}: {machine.id} was let in, starts")
                    return
                self._end(machine)
        members = frozenset(one.server_id for one in self._desired.slots)
        for slot in self._desired.slots:
            if slot.server_id not in holding:
                admit_empty(slot.server_id, Ensemble(members, holding=holding))
                new = self._launch(slot, is_founding=False)
                self._did.append(
                    f"primary {slot.server_id}: {new.id} launched empty; it takes the state from "
                    f"server {', '.join(map(str, sorted(holding)))}"
                )
                return
        raise Conflict(
            "no primary is lost, and yet they form no quorum: they may be cut off, frozen, or out "
            "of disk. " + self._told()
        )

    def _is_late(self, machine: Machine) -> bool:
        return time.time() - machine.launched_at > self._desired.health.bootstrap_timeout_s

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
        for slot, machine in self._places():
            if machine is not None:
                self._end(machine)
            new = self._launch(slot, is_founding=True)
            self._did.append(f"primary {slot.server_id}: {new.id} launched for a new ensemble")
        # The steps that were seen are handed in again when it answers.
        self._registry.change(self._record.id, lambda old: replace(old, phase=Phase.LAUNCHING))

    def _launch(self, slot: Slot, *, is_founding: bool) -> Machine:
        fleet = self._desired.primary_fleet
        place = placement(self._desired, fleet, epoch=self._epoch, is_founding=is_founding)
        token = f"{self._record.id}-primary{slot.server_id}-repair{self._epoch}"
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
