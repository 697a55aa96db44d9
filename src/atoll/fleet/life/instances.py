"""How an instance's state follows from what its provider and its agent say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from atoll.fleet.life.observed import Heart, Observed
from atoll.fleet.life.records import Event, Heartbeat, InstanceRecord
from atoll.fleet.model import HealthPolicy, Role
from atoll.fleet.providers.port import ENDED_ITSELF, Machine, MachineState
from atoll.fleet.states import InstanceReason, InstanceState

FAILURES_A_MINUTE = 3
KEPT_INSTANCES = 2000
"""Records that are kept; of more, those go that ended first."""
_UNHEARD = Heart(None, float("inf"), is_present=False)


def advance(
    records: dict[str, InstanceRecord], observed: Observed, policy: HealthPolicy
) -> tuple[dict[str, InstanceRecord], list[Event]]:
    """Bring the records of all instances up to what is observed.

    Returns:
        The records by machine id, and an event for each that changed its state.
    """
    new: dict[str, InstanceRecord] = {}
    events: list[Event] = []
    for known in _with_newcomers(records, observed):
        record = known
        if _is_back(known):
            # It may well be ready, but not before it was told that it is back.
            record = _revived(known)
        elif known.is_alive:
            heart = observed.hearts.get(known.machine.id, _UNHEARD)
            record = _advance_one(known, heart, observed, policy)
        if record.state is not known.state or known.machine.id not in records:
            events.append(_told(record, observed.now))
        new[record.machine.id] = record
    return new, events


def _is_back(record: InstanceRecord) -> bool:
    """Whether a primary that had stopped was started again, with its disk."""
    is_primary = record.machine.role is Role.MASTER
    served = record.ready_at is not None
    return is_primary and served and not record.is_alive and record.machine.is_alive


def _revived(record: InstanceRecord) -> InstanceRecord:
    begun = _into(record, InstanceState.BOOTSTRAPPING)
    return replace(begun, reason=None, message="", ended_at=None, complaint="", bad_for_s=0.0)


def never_ready(
    before: Mapping[str, InstanceRecord], records: Mapping[str, InstanceRecord]
) -> list[InstanceRecord]:
    """Find the instances that ended since, without ever having been ready."""
    return [
        one
        for id_, one in records.items()
        if not one.is_alive and one.ready_at is None and (id_ not in before or before[id_].is_alive)
    ]


def complaint_about(heart: Heart, policy: HealthPolicy, *, busy_for_s: float) -> str:
    """Say what is wrong with a running instance; empty where nothing is."""
    beat = heart.beat
    if not heart.is_asked:
        return ""
    if beat is None or not heart.is_present or heart.silent_s > policy.heartbeat_timeout_s:
        return "its agent is not heard"
    if beat.phase == "failed":
        return beat.message
    if beat.disk_percent > policy.disk_percent:
        return f"its disk is {beat.disk_percent:.0f} % full, over {policy.disk_percent:g} %"
    if busy_for_s >= policy.cpu_for_s:
        return f"its processors were over {policy.cpu_percent:g} % busy for {busy_for_s:.0f} s"
    return "; ".join(_ailing(beat, policy))


def _ailing(beat: Heartbeat, policy: HealthPolicy) -> Sequence[str]:
    found = []
    for name, daemon in sorted(beat.daemons.items()):
        if daemon.failing_probes >= policy.failing_probes:
            found.append(f"its {name} does not answer")
        elif daemon.failures >= FAILURES_A_MINUTE:
            found.append(f"its {name} failed {daemon.failures} times within a minute")
    return found


def _with_newcomers(records: dict[str, InstanceRecord], observed: Observed) -> list[InstanceRecord]:
    """Return all records with the provider's last word on each, new machines among them."""
    if observed.machines is None:
        return list(records.values())
    seen = {one.id: one for one in observed.machines}
    known = [replace(one, machine=_last_word(one, seen.get(id_))) for id_, one in records.items()]
    fresh = [
        InstanceRecord(
            _instance_id(machine),
            machine,
            InstanceState.AWAITING_FULFILLMENT,
            created_at=machine.launched_at,
        )
        for id_, machine in seen.items()
        # Where no more are kept, one that ended is not new: it has been forgotten.
        if id_ not in records and (machine.is_alive or len(records) < KEPT_INSTANCES)
    ]
    return known + fresh


def _last_word(record: InstanceRecord, machine: Machine | None) -> Machine:
    old = record.machine
    if machine is not None:
        # EC2 forgets where a machine was as soon as it ended.
        return replace(
            machine,
            private_ip=machine.private_ip or old.private_ip,
            private_dns=machine.private_dns or old.private_dns,
            subnet_id=machine.subnet_id or old.subnet_id,
        )
    if not old.is_alive:
        return old
    return replace(old, state=MachineState.TERMINATED, reason="the provider knows it no longer")


def _instance_id(machine: Machine) -> str:
    return "ci-" + machine.id.removeprefix("i-")


def _advance_one(
    old: InstanceRecord, heart: Heart, observed: Observed, policy: HealthPolicy
) -> InstanceRecord:
    waited_s = old.waited_s + observed.elapsed_s
    record = replace(old, waited_s=waited_s, is_active=_is_active(heart))
    if not record.machine.is_alive:
        return ended(record, _reason(record), _end(record.machine), observed.now)
    if record.state is InstanceState.AWAITING_FULFILLMENT:
        record = _into(record, InstanceState.PROVISIONING)
    if record.state is InstanceState.PROVISIONING and record.machine.state is MachineState.RUNNING:
        record = _into(record, InstanceState.BOOTSTRAPPING)
    if record.state in (InstanceState.PROVISIONING, InstanceState.BOOTSTRAPPING):
        return _bootstrapped(record, heart, observed, policy)
    if record.state is InstanceState.DRAINING:
        return record
    return _judged(record, heart, observed, policy)


def _is_active(heart: Heart) -> bool:
    if heart.beat is None or not heart.is_present:
        return False
    master = heart.beat.daemons.get("master")
    return master is not None and master.detail == "ALIVE"


def _reason(record: InstanceRecord) -> InstanceReason:
    # EC2's `boot.sh` and an agent that reaches no ensemble shut a machine down that they cannot
    # bring up.
    if record.ready_at is None and record.machine.reason.startswith(ENDED_ITSELF):
        return InstanceReason.BOOTSTRAP_FAILURE
    return InstanceReason.INSTANCE_FAILURE


def _end(machine: Machine) -> str:
    return f"the machine was {machine.state.value}: {machine.reason or 'no reason is known'}"


def _bootstrapped(
    record: InstanceRecord, heart: Heart, observed: Observed, policy: HealthPolicy
) -> InstanceRecord:
    beat = heart.beat
    if beat is not None and beat.phase == "failed":
        return ended(record, InstanceReason.BOOTSTRAP_FAILURE, beat.message, observed.now)
    is_ready = beat is not None and beat.phase == "ready"
    if is_ready and not complaint_about(heart, policy, busy_for_s=0):
        ready = _into(record, InstanceState.RUNNING)
        return replace(ready, ready_at=observed.now)
    if record.waited_s > policy.bootstrap_timeout_s:
        doing = beat.message if beat is not None and beat.message else "its agent was not heard"
        message = f"not ready within {policy.bootstrap_timeout_s:g} s: {doing}"
        return ended(record, InstanceReason.BOOTSTRAP_FAILURE, message, observed.now)
    return record


def _judged(
    record: InstanceRecord, heart: Heart, observed: Observed, policy: HealthPolicy
) -> InstanceRecord:
    if record.machine.reclaim_at is not None:
        notice = replace(record, complaint="the provider takes it back (spot)")
        return _into(notice, InstanceState.DRAINING)
    if not heart.is_asked:
        return record  # ill or well as it was: nobody could tell
    busy_for_s = _busy(record, heart, observed.elapsed_s, policy)
    complaint = complaint_about(heart, policy, busy_for_s=busy_for_s)
    record = replace(record, busy_for_s=busy_for_s, complaint=complaint)
    if complaint and record.state is InstanceState.RUNNING:
        return replace(_into(record, InstanceState.SUSPECT), bad_for_s=0.0)
    if complaint:
        return replace(record, bad_for_s=record.bad_for_s + observed.elapsed_s)
    if record.state is InstanceState.SUSPECT:
        return replace(_into(record, InstanceState.RUNNING), bad_for_s=0.0)
    return record


def _busy(record: InstanceRecord, heart: Heart, elapsed_s: float, policy: HealthPolicy) -> float:
    # Workers are there to be busy.
    is_primary = record.machine.role is Role.MASTER
    if not is_primary or heart.beat is None or heart.beat.cpu_percent < policy.cpu_percent:
        return 0.0
    return record.busy_for_s + elapsed_s


def _into(record: InstanceRecord, state: InstanceState) -> InstanceRecord:
    return replace(record, state=state, waited_s=0.0)


def ended(
    record: InstanceRecord, reason: InstanceReason, message: str, now: float
) -> InstanceRecord:
    """Return the record of an instance that ended."""
    return replace(
        _into(record, InstanceState.TERMINATED),
        reason=reason,
        message=message,
        ended_at=now,
        is_active=False,
    )


def _told(record: InstanceRecord, now: float) -> Event:
    name = f"{record.machine.role.value} {record.machine.id} ({record.machine.private_ip})"
    why = record.message or record.complaint
    message = f"{name} is {record.state.value}" + (f": {why}" if why else "")
    is_warning = record.state in (InstanceState.SUSPECT, InstanceState.TERMINATED)
    return Event(now, f"INSTANCE_{record.state.value}", record.id, message, is_warning)
