"""Ends a cluster: every machine, every kept address, then its record."""

from __future__ import annotations

import time
from dataclasses import replace

from atoll.core.errors import Unavailable
from atoll.fleet.control.mirror import Mirror
from atoll.fleet.life.instances import advance, ended
from atoll.fleet.life.observed import Observed
from atoll.fleet.life.records import ClusterStatus, Event, Known
from atoll.fleet.providers.port import MachineState, Provider
from atoll.fleet.registry import ClusterRecord, Ending, Phase, Registry
from atoll.fleet.states import (
    ClusterReason,
    ClusterState,
    FleetState,
    InstanceReason,
    StepState,
)

# Above that of any controller: whoever still acts for the cluster is refused from now on.
LAST_EPOCH = 1 << 40


def begin(registry: Registry, cluster_id: str, ending: Ending) -> ClusterRecord:
    """Write down that a cluster is to end; whoever watches it carries that out."""
    now = time.time()

    def marked(old: ClusterRecord) -> ClusterRecord:
        if old.phase in (Phase.ENDING, Phase.ENDED):
            return old
        status = replace(
            old.known.status,
            state=ClusterState.TERMINATING,
            reason=ClusterReason(ending.reason),
            message=ending.message,
        )
        known = replace(old.known, status=status)
        return replace(old, phase=Phase.ENDING, ending=replace(ending, at=now), known=known)

    before = registry.get(cluster_id)
    record = registry.change(cluster_id, marked)
    if before.phase not in (Phase.ENDING, Phase.ENDED):
        event = Event(now, "CLUSTER_TERMINATING", cluster_id, ending.message, ending.is_failure)
        registry.tell_here(cluster_id, event)
    return record


def clear(provider: Provider, record: ClusterRecord, mirror: Mirror | None) -> bool:
    """End every machine of a cluster; to be done again until none lives.

    Returns:
        Whether any lived.

    Raises:
        Unavailable: the provider does not answer, or machines did not end.
    """
    assert record.ending is not None
    if mirror is not None:
        _tell_controller(mirror)
    left = living(provider, record.id)
    if left:
        provider.terminate(left, epoch=LAST_EPOCH, reason=record.ending.message)
    return bool(left)


def living(provider: Provider, cluster_id: str) -> list[str]:
    """List the machines of a cluster that live, or may come back to life."""
    machines = provider.machines(cluster_id)
    return [one.id for one in machines if one.state is not MachineState.TERMINATED]


def close(provider: Provider, registry: Registry, record: ClusterRecord) -> None:
    """Give a cleared cluster's addresses back, and write down that it has ended.

    Raises:
        Unavailable: the provider does not answer.
    """
    assert record.ending is not None
    for address in provider.addresses(record.id):
        provider.release(address.id, epoch=LAST_EPOCH)
    now = time.time()
    seen = Observed(now, 0.0, tuple(provider.machines(record.id)))
    registry.change(record.id, lambda old: _ended(old, seen, now))
    state = registry.get(record.id).known.status.state
    message = f"cluster {record.desired.spec.name} is {state.value}: {record.ending.message}"
    event = Event(now, f"CLUSTER_{state.value}", record.id, message, record.ending.is_failure)
    registry.tell_here(record.id, event)


def _tell_controller(mirror: Mirror) -> None:
    """Ask the cluster's controller to launch nothing any more; it is refused anyway."""
    try:
        found = mirror.store.desired()
        if found is not None:
            mirror.store.change(replace(found[0], is_ending=True), found[1])
    except Unavailable:
        return


def _ended(old: ClusterRecord, seen: Observed, now: float) -> ClusterRecord:
    assert old.ending is not None
    reason, message = InstanceReason.CLUSTER_TERMINATED, "the cluster was terminated"
    records, _ = advance(old.known.instances, seen, old.desired.health)
    instances = {
        id_: ended(one, reason, message, now) if old.known.instances.get(id_, one).is_alive else one
        for id_, one in records.items()
    }
    steps = tuple(
        replace(one, state=StepState.CANCELLED, message=message, ended_at=now)
        if not one.state.is_over
        else one
        for one in old.steps
    )
    status = _ended_status(old.known.status, old.ending, now)
    return replace(old, phase=Phase.ENDED, known=Known(status, instances), steps=steps)


def _ended_status(status: ClusterStatus, ending: Ending, now: float) -> ClusterStatus:
    fleets = {
        id_: replace(one, state=FleetState.TERMINATED, ended_at=now)
        for id_, one in status.fleets.items()
    }
    state = ClusterState.TERMINATED_WITH_ERRORS if ending.is_failure else ClusterState.TERMINATED
    return replace(status, state=state, ended_at=now, fleets=fleets, blocked={})
