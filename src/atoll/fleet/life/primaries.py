"""When a primary is replaced: one at a time, and only where the others keep the state.

A primary's address and name stay with its place (slot). The old machine is ended before its
address is used again: nothing of it can answer any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from atoll.fleet.life.observed import Observed, ReplacePrimary
from atoll.fleet.life.records import Desired, FleetStatus, InstanceRecord, Slot
from atoll.fleet.providers.port import Machine, MachineState
from atoll.fleet.states import InstanceState

_BEGINNING = (
    InstanceState.AWAITING_FULFILLMENT,
    InstanceState.PROVISIONING,
    InstanceState.BOOTSTRAPPING,
)


@dataclass(frozen=True)
class Occupant:
    """Who holds a slot now, and who held it last.

    Attributes:
        slot: the place.
        current, last: the two.
        holders: how many held it so far.
    """

    slot: Slot
    current: InstanceRecord | None
    last: InstanceRecord | None
    holders: int


@dataclass(frozen=True)
class PrimariesPlan:
    """What is to be done about primaries.

    Attributes:
        actions: in order.
        blocked: why a lost primary is not being replaced now, by its address; the last failure
            where that is tried again just now.
    """

    actions: tuple[ReplacePrimary, ...] = ()
    blocked: dict[str, str] = field(default_factory=dict)

    @property
    def is_due(self) -> bool:
        """Whether a primary is to be replaced, now or when that is possible."""
        return bool(self.actions or self.blocked)


def occupants(desired: Desired, records: dict[str, InstanceRecord]) -> list[Occupant]:
    """Tell who holds each slot."""
    return [_occupant(slot, records) for slot in desired.slots]


def _occupant(slot: Slot, records: dict[str, InstanceRecord]) -> Occupant:
    held = [one for one in records.values() if one.machine.address_id == slot.address.id]
    held.sort(key=lambda one: recency(one.machine))
    alive = [one for one in held if one.is_alive]
    return Occupant(slot, alive[-1] if alive else None, held[-1] if held else None, len(held))


def recency(machine: Machine) -> tuple[bool, float, str]:
    """Return what orders the machines of one address: it is the last one's to be not yet gone.

    Times alone do not tell: the clock may have been set back since.
    """
    return machine.state is not MachineState.TERMINATED, machine.launched_at, machine.id


def plan_primaries(
    desired: Desired, records: dict[str, InstanceRecord], observed: Observed, status: FleetStatus
) -> PrimariesPlan:
    """Decide which primary to replace now, if any.

    Args:
        desired: what the cluster shall be.
        records: its instances, up to date.
        observed: what is seen now.
        status: where their fleet stands: while it pauses after a failure nothing is tried.
    """
    paused = status.message if status.retry_in_s > 0 else ""
    places = occupants(desired, records)
    wanting = [one for one in places if _wants_replacement(one, desired)]
    blocked = {
        one.slot.address.private_ip: paused or _why_not(one, places, observed) for one in wanting
    }
    free = [one for one in wanting if not blocked[one.slot.address.private_ip]]
    for one in free[1:]:
        blocked[one.slot.address.private_ip] = _one_at_a_time(one)
    for one in free[:1]:
        blocked[one.slot.address.private_ip] = status.message
    action = tuple(_replacement(desired, one) for one in free[:1])
    return PrimariesPlan(action, {ip: why for ip, why in blocked.items() if why})


def _wants_replacement(place: Occupant, desired: Desired) -> bool:
    if place.current is None:
        return True
    is_ill = place.current.state is InstanceState.SUSPECT
    return is_ill and place.current.bad_for_s >= desired.health.primary_grace_s


def _why_not(place: Occupant, places: list[Occupant], observed: Observed) -> str:
    name = _name(place)
    if observed.machines is None:
        return f"{name} cannot be replaced: the provider does not answer: {observed.provider_error}"
    others = observed.in_sync - {place.slot.server_id}
    needed = len(places) // 2 + 1
    if len(places) == 1 or len(others) < needed:
        return (
            f"{name} is not replaced: of the other ZooKeeper servers {needed} must keep the state, "
            f"and {len(others)} are in sync; if they do not come back: atoll fleet repair"
        )
    states = [one.current.state for one in places if one is not place and one.current is not None]
    return _one_at_a_time(place) if any(state in _BEGINNING for state in states) else ""


def _one_at_a_time(place: Occupant) -> str:
    return f"{_name(place)} waits: another primary is being replaced, one at a time"


def _name(place: Occupant) -> str:
    return f"primary {place.slot.server_id} ({place.slot.address.private_ip})"


def _replacement(desired: Desired, place: Occupant) -> ReplacePrimary:
    # Also one that stopped by itself is ended: its address must be free, and it must not come back.
    old = place.last
    after = old.machine.id if old is not None else "nothing"
    # Counted, too: of machines that are gone the last is not certain.
    number = f"primary{place.slot.server_id}-{place.holders}"
    token = f"{desired.cluster_id}-{number}-after-{after}"
    old_id = old.machine.id if old is not None else None
    return ReplacePrimary(place.slot, old_id, _why(old), token)


def _why(record: InstanceRecord | None) -> str:
    if record is None:
        return "it was never there"
    if record.is_alive:
        return f"unhealthy for {record.bad_for_s:.0f} s: {record.complaint}"
    return record.message
