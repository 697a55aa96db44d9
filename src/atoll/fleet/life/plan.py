"""The controller's decision: from what shall be and what is seen to what is to be done.

Pure: no clock, no I/O. Reading order: `plan`, then `instances.advance`, `primaries`, `capacity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from atoll.fleet.life.capacity import at_rest, noted, plan_fleet
from atoll.fleet.life.instances import advance
from atoll.fleet.life.observed import Action, EndCluster, Observed, Plan, Terminate
from atoll.fleet.life.primaries import occupants, plan_primaries
from atoll.fleet.life.records import (
    ClusterStatus,
    Desired,
    Event,
    FleetStatus,
    InstanceRecord,
    Known,
)
from atoll.fleet.model import Role
from atoll.fleet.providers.port import MachineState
from atoll.fleet.states import (
    ClusterReason,
    ClusterState,
    FleetState,
    InstanceReason,
    InstanceState,
)


def plan(desired: Desired, known: Known, observed: Observed) -> Plan:
    """Decide what a cluster needs now.

    Args:
        desired: what it shall be.
        known: what the round before left.
        observed: what is seen now.

    Returns:
        What is known from now on, what to do in which order, and what to tell.
    """
    records, events = advance(known.instances, observed, desired.health)
    status = _with_all_fleets(desired, known.status, observed.now)
    if desired.is_ending or known.status.state is ClusterState.TERMINATING:
        return _ending(Known(status, records), events, observed)
    status = _counted_down(desired, status, observed.elapsed_s)
    status = _noted(desired, status, known.instances, records)
    first = status.fleets[desired.primary_fleet.id]
    primaries = plan_primaries(desired, records, observed, first)
    workers = {
        fleet.id: plan_fleet(desired, fleet, Known(status, records), observed)
        for fleet in desired.fleets
        if fleet.spec.role is not Role.MASTER
    }
    draining = [pair for one in workers.values() for pair in one.draining]
    records, left = _left(records, draining, observed.now)
    fleets = {id_: one.status for id_, one in workers.items()}
    first = _primary_fleet(desired, first, records, observed.now)
    is_whole = first.state is FleetState.RUNNING and not primaries.is_due
    fleets[desired.primary_fleet.id] = at_rest(first) if is_whole else first
    blocked = primaries.blocked | {id_: one.blocked for id_, one in workers.items() if one.blocked}
    changed = replace(status, fleets=fleets, blocked=blocked)
    changed, ends = _cluster(desired, changed, records, observed)
    actions: list[Action] = [*primaries.actions]
    for one in workers.values():
        actions += one.actions
    events += left + _told(desired, known.status, changed, observed.now)
    return Plan(Known(changed, records), (*actions, *ends), tuple(events))


def _with_all_fleets(desired: Desired, status: ClusterStatus, now: float) -> ClusterStatus:
    new = {
        one.id: FleetStatus(
            FleetState.PROVISIONING, created_at=now, is_added=status.ready_at is not None
        )
        for one in desired.fleets
        if one.id not in status.fleets
    }
    return replace(status, fleets={**status.fleets, **new})


def _ending(known: Known, events: Sequence[Event], observed: Observed) -> Plan:
    """End the workers; the primaries, which hold the records, are ended from outside."""
    fleets = {
        id_: replace(one, state=FleetState.TERMINATING)
        for id_, one in known.status.fleets.items()
        if one.state is not FleetState.TERMINATED
    }
    status = replace(known.status, state=ClusterState.TERMINATING, fleets=fleets)
    left = tuple(
        id_
        for id_, one in known.instances.items()
        if one.machine.role is not Role.MASTER and one.machine.state is not MachineState.TERMINATED
    )
    ends = (Terminate(left, status.message or "the cluster ends"),)
    is_possible = left and observed.machines is not None
    return Plan(Known(status, known.instances), ends if is_possible else (), tuple(events))


def _counted_down(desired: Desired, status: ClusterStatus, elapsed_s: float) -> ClusterStatus:
    id_ = desired.primary_fleet.id
    old = status.fleets[id_]
    new = replace(old, retry_in_s=max(0.0, old.retry_in_s - elapsed_s))
    return replace(status, fleets={**status.fleets, id_: new})


def _noted(
    desired: Desired,
    status: ClusterStatus,
    before: dict[str, InstanceRecord],
    records: dict[str, InstanceRecord],
) -> ClusterStatus:
    fleets = {one.id: noted(one, status.fleets[one.id], before, records) for one in desired.fleets}
    return replace(status, fleets={**status.fleets, **fleets})


def _left(
    records: dict[str, InstanceRecord], draining: Sequence[tuple[InstanceRecord, str]], now: float
) -> tuple[dict[str, InstanceRecord], list[Event]]:
    """Write down who takes no new work from now on."""
    records, events = dict(records), []
    for one, why in draining:
        leaving = replace(one, state=InstanceState.DRAINING, complaint=why, waited_s=0.0)
        records[one.machine.id] = leaving
        machine = one.machine
        message = f"{machine.role.value} {machine.id} ({machine.private_ip}) drains: {why}"
        events.append(Event(now, "INSTANCE_DRAINING", one.id, message))
    return records, events


def _primary_fleet(
    desired: Desired, old: FleetStatus, records: dict[str, InstanceRecord], now: float
) -> FleetStatus:
    holders = [one.current for one in occupants(desired, records)]
    is_whole = all(one is not None for one in holders)
    is_ready = all(one is not None and one.state.is_ready for one in holders)
    if old.ready_at is not None:
        return replace(old, state=FleetState.RUNNING if is_ready else FleetState.RESIZING)
    if is_ready:
        return replace(old, state=FleetState.RUNNING, ready_at=now)
    return replace(old, state=FleetState.BOOTSTRAPPING if is_whole else old.state)


def _cluster(
    desired: Desired,
    status: ClusterStatus,
    records: dict[str, InstanceRecord],
    observed: Observed,
) -> tuple[ClusterStatus, tuple[EndCluster, ...]]:
    status = _arrived(desired, status, observed)
    is_idle = status.ready_at is not None and observed.steps.unfinished == 0
    idle_for_s = status.idle_for_s + observed.elapsed_s if is_idle else 0.0
    status = replace(status, idle_for_s=idle_for_s)
    if desired.termination_protected:
        # It stays, also when protection is lifted long after.
        status = replace(status, overruled=tuple(observed.steps.fatal))
    if end := _end(desired, status, records, observed):
        return status, (end,)
    return status, ()


def _arrived(desired: Desired, status: ClusterStatus, observed: Observed) -> ClusterStatus:
    needed = [one.id for one in desired.fleets if one.spec.role is not Role.TASK]
    is_ready = all(status.fleets[id_].ready_at is not None for id_ in needed)
    if status.state is ClusterState.STARTING:
        # Whoever plans runs on a primary.
        return replace(status, state=ClusterState.BOOTSTRAPPING)
    if status.ready_at is None and not is_ready:
        return status
    is_working = observed.steps.unfinished > 0
    state = ClusterState.RUNNING if is_working else ClusterState.WAITING
    return replace(status, state=state, ready_at=status.ready_at or observed.now)


def _end(
    desired: Desired,
    status: ClusterStatus,
    records: dict[str, InstanceRecord],
    observed: Observed,
) -> EndCluster | None:
    """Find a reason to end the cluster."""
    if status.ready_at is None:
        for one in records.values():
            if one.reason is InstanceReason.BOOTSTRAP_FAILURE:
                message = f"{one.machine.role.value} {one.machine.id}: {one.message}"
                return EndCluster(ClusterReason.BOOTSTRAP_FAILURE, message)
        return None
    if desired.termination_protected:
        return None
    for step_id, message in observed.steps.fatal.items():
        if step_id not in status.overruled:
            return EndCluster(ClusterReason.STEP_FAILURE, message)
    idle_timeout_s = desired.spec.idle_timeout_s
    if idle_timeout_s is not None and status.idle_for_s >= idle_timeout_s:
        message = f"no step for {status.idle_for_s:.0f} s"
        return EndCluster(ClusterReason.ALL_STEPS_COMPLETED, message)
    is_done = observed.steps.unfinished == 0 and not desired.awaits_host
    if not desired.spec.keeps_alive and is_done:
        return EndCluster(ClusterReason.ALL_STEPS_COMPLETED, "all steps ended")
    return None


def _told(desired: Desired, old: ClusterStatus, new: ClusterStatus, now: float) -> list[Event]:
    """Tell of changed states, and once of each thing that cannot be done."""
    events = []
    if new.state is not old.state:
        message = f"cluster {desired.spec.name} is {new.state.value}"
        events.append(Event(now, f"CLUSTER_{new.state.value}", desired.cluster_id, message))
    for fleet in desired.fleets:
        state = new.fleets[fleet.id].state
        if fleet.id not in old.fleets or state is not old.fleets[fleet.id].state:
            message = f"fleet {fleet.spec.name} is {state.value}"
            is_warning = state is FleetState.SUSPENDED
            events.append(Event(now, f"FLEET_{state.value}", fleet.id, message, is_warning))
    for subject, why in new.blocked.items():
        if old.blocked.get(subject) != why:
            events.append(Event(now, "BLOCKED", subject, why, is_warning=True))
    for subject in old.blocked.keys() - new.blocked.keys():
        events.append(Event(now, "UNBLOCKED", subject, "it can go on"))
    return events
