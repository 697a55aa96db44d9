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
        holders = self._revive()
        if not self._mirror.is_connected and holders:
            self._let_one_in(holders)
        elif not holders:
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

    def _revive(self) -> list[int]:
        """Start what stopped with its disk.

        Returns:
            The numbers of the servers whose disks are left.
        """
        holders = []
        revived = False
        for slot, machine in self._places():
            if machine is None or machine.state is MachineState.TERMINATED:
                continue
            holders.append(slot.server_id)
            if machine.state is MachineState.STOPPED:
                self._provider.start(machine.id, epoch=self._epoch)
                self._did.append(f"primary {slot.server_id}: {machine.id} started with its disk")
                revived = True
        if revived and len(holders) > len(self._desired.slots) // 2:
            self._await_quorum()
        return holders

    def _let_one_in(self, holders: list[int]) -> None:
        """Launch one empty primary beside those that hold the state."""
        ensemble = Ensemble(
            members=frozenset(one.server_id for one in self._desired.slots),
            was_formed=True,
            holding=frozenset(holders),
        )
        for slot, machine in self._places():
            if machine is None or machine.state is MachineState.TERMINATED:
                admit_empty(slot.server_id, ensemble)
                new = self._launch(slot, is_founding=False)
                self._did.append(
                    f"primary {slot.server_id}: {new.id} launched empty; it takes the state from "
                    f"server {', '.join(map(str, holders))}"
                )
                return
        raise Conflict(
            "no primary is lost, and yet they form no quorum: they may be cut off, frozen, or out "
            "of disk. " + self._told()
        )

    def _begin_anew(self, from_backup: bool) -> None:
        if not from_backup:
            raise Conflict(
                "no primary's disk is left, and with them the cluster's records are lost. "
                "`atoll fleet repair --from-backup` begins anew with the last that was seen; steps "
                "that had not ended run again. " + self._told()
            )
        for slot in self._desired.slots:
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
