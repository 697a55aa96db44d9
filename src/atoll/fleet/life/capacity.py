"""How a core or task fleet is brought to its targets and kept there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from atoll.fleet.life.instances import never_ready
from atoll.fleet.life.observed import Action, Drain, EndCluster, LaunchFleet, Observed, Terminate
from atoll.fleet.life.records import Desired, Fleet, FleetStatus, InstanceRecord, Known, Order
from atoll.fleet.model import Market, TimeoutAction
from atoll.fleet.planning.scaling import Endable, to_end
from atoll.fleet.planning.timeouts import Held, Outcome, Verdict, at_launch, at_resize
from atoll.fleet.providers.port import Machine, MachineState
from atoll.fleet.states import FleetState, InstanceState

DRAIN_SECONDS = 3600.0
FIRST_BACKOFF_SECONDS = 1.0
MOST_BACKOFF_SECONDS = 60.0
MOST_REPLACED_AT_ONCE = 1 / 3
MARKETS = (Market.ON_DEMAND, Market.SPOT)


@dataclass(frozen=True)
class FleetPlan:
    """What is to be done about a fleet.

    Attributes:
        status: where it stands from now on.
        actions: in order.
        blocked: what cannot be done, or an empty string.
        draining: the records of those that take no new work from now on, and why.
    """

    status: FleetStatus
    actions: tuple[Action, ...] = ()
    blocked: str = ""
    draining: tuple[tuple[InstanceRecord, str], ...] = ()


def provisioned(fleet: Fleet, records: Sequence[InstanceRecord], market: Market) -> int:
    """Return the capacity units of a market that the fleet's serving instances count."""
    return sum(
        fleet.spec.weight_of(one.machine.instance_type)
        for one in records
        if one.machine.fleet_id == fleet.id and one.is_serving and one.market is market
    )


def noted(
    fleet: Fleet,
    status: FleetStatus,
    before: Mapping[str, InstanceRecord],
    records: Mapping[str, InstanceRecord],
) -> FleetStatus:
    """Take note of what changed since the round before: targets, arrivals, failures."""
    own = {id_: one for id_, one in records.items() if one.machine.fleet_id == fleet.id}
    status = _retargeted(fleet, status)
    has_come = any(one.is_serving and id_ not in before for id_, one in own.items())
    if has_come and not status.is_starting:
        status = replace(status, waited_s=0.0)
    return _after_falls(fleet, status, never_ready(before, own))


def _retargeted(fleet: Fleet, status: FleetStatus) -> FleetStatus:
    """Begin anew where the user changed the targets, also where the fleet was given up."""
    wanted = fleet.spec.target_on_demand, fleet.spec.target_spot
    if status.asked_for in (None, wanted):
        return replace(status, asked_for=wanted)
    if status.state is FleetState.SUSPENDED:
        status = replace(status, state=FleetState.RESIZING, message="")
    return replace(status, asked_for=wanted, moved_to_on_demand=0, waited_s=0.0)


def _after_falls(
    fleet: Fleet, status: FleetStatus, fallen: Sequence[InstanceRecord]
) -> FleetStatus:
    """Pause after instances that ended and had never been ready.

    That is a launch that failed: the next would most likely fare alike, and each costs money.
    """
    if not fallen or status.state is FleetState.SUSPENDED:
        return status
    last = fallen[-1]
    return failed(
        status,
        f"fleet {fleet.spec.name}: {last.machine.id} ended before it was ready: {last.message}; "
        "trying again",
    )


def plan_fleet(desired: Desired, fleet: Fleet, known: Known, observed: Observed) -> FleetPlan:
    """Decide what a core or task fleet needs now."""
    status = known.status.fleets[fleet.id]
    own = [one for one in known.instances.values() if one.machine.fleet_id == fleet.id]
    sick, leaving = _sick(desired, fleet, status, own), _leaving(own, observed)
    ends = tuple(Terminate((one.machine.id,), why) for one, why in [*sick, *leaving])
    drains = tuple(Drain(one.machine.id, one.complaint) for one in own if _is_untold(one, observed))
    gone = {one.machine.id for one, _ in sick}
    plan = _toward_targets(
        fleet,
        status,
        [one for one in own if one.machine.id not in gone],
        observed,
        is_living=known.status.ready_at is not None,
    )
    return replace(plan, actions=(*ends, *drains, *plan.actions))


def _sick(
    desired: Desired, fleet: Fleet, status: FleetStatus, own: list[InstanceRecord]
) -> list[tuple[InstanceRecord, str]]:
    """Choose the unhealthy instances to replace now: never all at once."""
    health = desired.health
    held = [provisioned(fleet, own, market) for market in MARKETS]
    is_short = any(has < wants for has, wants in zip(held, targets(fleet, status), strict=True))
    ill = [
        one
        for one in own
        if one.state is InstanceState.SUSPECT and one.bad_for_s >= health.worker_grace_s
    ]
    # While capacity is missing, what is ill is better than nothing.
    if not health.replaces_unhealthy or is_short:
        return []
    # Where many fall ill together, the network or the controller is more likely at fault.
    serving = [one for one in own if one.is_serving]
    beginning = sum(not one.state.is_ready for one in serving)
    most = max(0, max(1, int(len(serving) * MOST_REPLACED_AT_ONCE)) - beginning)
    chosen = sorted(ill, key=lambda one: -one.bad_for_s)[:most]
    return [(one, f"unhealthy for {one.bad_for_s:.0f} s: {one.complaint}") for one in chosen]


def _leaving(own: list[InstanceRecord], observed: Observed) -> list[tuple[InstanceRecord, str]]:
    """Find instances that drained, and machines left of those that count no more.

    Such are stopped ones, which nobody will start again, ones that did not become ready, and ones
    that the provider lists again after it did not know them: all of them cost money.
    """
    if observed.machines is None:
        return []
    found = []
    for one in own:
        if one.state is InstanceState.DRAINING and _has_drained(one, observed):
            found.append((one, one.complaint))
        elif not one.is_alive and one.machine.state is not MachineState.TERMINATED:
            found.append((one, one.message))
    return found


def _is_untold(record: InstanceRecord, observed: Observed) -> bool:
    """Tell whether an instance that shall drain does not: it may never have been told."""
    heart = observed.hearts.get(record.machine.id)
    if record.state is not InstanceState.DRAINING or heart is None or heart.beat is None:
        return False
    return not heart.beat.is_draining


def _has_drained(record: InstanceRecord, observed: Observed) -> bool:
    if record.machine.reclaim_at is not None:
        return False  # its provider ends it
    heart = observed.hearts.get(record.machine.id)
    if heart is None or not heart.is_present or heart.beat is None:
        return True
    worker = heart.beat.daemons.get("worker")
    is_done = heart.beat.is_draining and (worker is None or worker.busy == 0)
    return is_done or record.waited_s > DRAIN_SECONDS


def _toward_targets(
    fleet: Fleet,
    status: FleetStatus,
    own: list[InstanceRecord],
    observed: Observed,
    *,
    is_living: bool,
) -> FleetPlan:
    held = Held(
        provisioned(fleet, own, Market.ON_DEMAND),
        provisioned(fleet, own, Market.SPOT),
        min(status.moved_to_on_demand, fleet.spec.target_spot),
    )
    verdict = _verdict(fleet, status, held, is_living=is_living)
    is_short = verdict.outcome is not Outcome.COMPLETE
    status = _counted(status, is_short, observed.elapsed_s)
    if status.state is FleetState.SUSPENDED:
        return FleetPlan(status, blocked=status.message)
    if is_short:
        verdict = _verdict(fleet, status, held, is_living=is_living)
        return _short(fleet, status, verdict, observed)
    drained = _drained(fleet, status, own, observed)
    is_ready = all(one.state.is_ready for one in own if one.is_serving)
    status = _settled(status, is_ready and not drained.actions, observed.now)
    return replace(drained, status=status)


def _verdict(fleet: Fleet, status: FleetStatus, held: Held, *, is_living: bool) -> Verdict:
    # What works already is not ended for what it lacks.
    would_end = fleet.spec.spot.timeout_action is TimeoutAction.TERMINATE_CLUSTER
    is_launch = status.is_starting and not (is_living and would_end)
    decide = at_launch if is_launch else at_resize
    return decide(fleet.spec, held, waited_s=status.waited_s)


def targets(fleet: Fleet, status: FleetStatus) -> tuple[int, int]:
    """Return the units wanted on demand and as spot, after what a timeout moved."""
    moved = min(status.moved_to_on_demand, fleet.spec.target_spot)
    return fleet.spec.target_on_demand + moved, fleet.spec.target_spot - moved


def _counted(status: FleetStatus, is_short: bool, elapsed_s: float) -> FleetStatus:
    """Count the time that capacity is missing; take up a suspended fleet that lacks nothing."""
    if status.state is FleetState.SUSPENDED and not is_short:
        status = replace(status, state=FleetState.RESIZING, message="")
    status = replace(status, retry_in_s=max(0.0, status.retry_in_s - elapsed_s))
    return replace(status, waited_s=status.waited_s + elapsed_s if is_short else 0.0)


def _short(fleet: Fleet, status: FleetStatus, verdict: Verdict, observed: Observed) -> FleetPlan:
    """Seek what is missing, as long as the fleet's timeouts allow."""
    match verdict.outcome:
        case Outcome.TERMINATE_CLUSTER:
            assert verdict.cluster_reason is not None
            return FleetPlan(status, (EndCluster(verdict.cluster_reason, verdict.reason),))
        case Outcome.SUSPEND:
            message = f"{verdict.reason}; change its targets to have it tried again"
            suspended = replace(status, state=FleetState.SUSPENDED, message=message, order=None)
            return FleetPlan(suspended, blocked=message)
        case Outcome.SWITCH_TO_ON_DEMAND:
            status = replace(
                status, moved_to_on_demand=verdict.moved, order=None, retry_in_s=0.0, waited_s=0.0
            )
            return replace(_sought(fleet, status, verdict, observed), blocked=verdict.reason)
        case _:
            return _sought(fleet, status, verdict, observed)


def _sought(fleet: Fleet, status: FleetStatus, verdict: Verdict, observed: Observed) -> FleetPlan:
    is_launch = status.ready_at is None
    if not is_launch:
        status = replace(status, state=FleetState.RESIZING)
    if observed.machines is None:
        reason = f"the provider does not answer: {observed.provider_error}"
        return FleetPlan(status, blocked=f"fleet {fleet.spec.name} cannot be filled: {reason}")
    if status.retry_in_s > 0:
        return FleetPlan(status, blocked=status.message)
    # An order that was written down may have reached the provider: the same token asks again.
    if status.order is None:
        # The time tells it from orders of an ensemble that was lost.
        token = f"{fleet.id}-{status.created_at:.0f}-order{status.orders}"
        order = Order(token, verdict.on_demand, verdict.spot)
        status = replace(status, order=order, orders=status.orders + 1)
    assert status.order is not None
    action = LaunchFleet(fleet.id, status.order, is_resize=not is_launch)
    return FleetPlan(status, (action,), blocked=verdict.reason or status.message)


def _drained(
    fleet: Fleet, status: FleetStatus, own: list[InstanceRecord], observed: Observed
) -> FleetPlan:
    """Let go of instances that a lowered target no longer needs."""
    chosen: list[InstanceRecord] = []
    for market, wanted in zip(MARKETS, targets(fleet, status), strict=True):
        serving = {one.machine.id: one for one in own if one.is_serving and one.market is market}
        endable = [_endable(fleet, one, observed) for one in serving.values()]
        chosen += [serving[id_] for id_ in to_end(endable, wanted)]
    why = f"the target of fleet {fleet.spec.name} was lowered"
    # What became ready this very round is left to the next: one edge of the diagram at a time.
    working = [one for one in chosen if one.state.is_ready and one.waited_s > 0]
    ends = [one for one in chosen if not one.state.is_ready]
    return FleetPlan(
        status,
        (
            *(Terminate((one.machine.id,), why) for one in ends),
            *(Drain(one.machine.id, why) for one in working),
        ),
        draining=tuple((one, why) for one in working),
    )


def _endable(fleet: Fleet, record: InstanceRecord, observed: Observed) -> Endable:
    machine = record.machine
    heart = observed.hearts.get(machine.id)
    worker = heart.beat.daemons.get("worker") if heart is not None and heart.beat else None
    return Endable(
        machine.id,
        fleet.spec.weight_of(machine.instance_type),
        worker.busy if worker is not None else 0,
        machine.launched_at,
    )


def _settled(status: FleetStatus, is_ready: bool, now: float) -> FleetStatus:
    status = replace(status, order=None, retry_in_s=0.0)
    if is_ready:
        status = at_rest(status)
    if status.ready_at is None:
        if not is_ready:
            # Who was given up before it was ever ready is not at its first launch any more.
            is_again = status.state is FleetState.RESIZING
            return status if is_again else replace(status, state=FleetState.BOOTSTRAPPING)
        return replace(status, state=FleetState.RUNNING, ready_at=now, message="")
    state = FleetState.RUNNING if is_ready else FleetState.RESIZING
    return replace(status, state=state, message="")


def after_launch(
    fleet: Fleet, status: FleetStatus, launched: Sequence[Machine], error: str
) -> FleetStatus:
    """Return where a fleet stands after its order was carried out.

    Args:
        fleet: the fleet.
        status: where it stood, with the order.
        launched: what the provider gave, maybe less than was asked for.
        error: why it gave nothing; empty where it gave something.
    """
    order = status.order
    assert order is not None
    got = sum(fleet.spec.weight_of(one.instance_type) for one in launched)
    asked = order.on_demand + order.spot
    if got >= asked:
        # The next pause is short again only when all are ready: what is bought may not start.
        return replace(status, order=None, message="")
    why = error or "no more capacity at these types and prices"
    message = f"fleet {fleet.spec.name} got {got} of {asked} units: {why}; trying again"
    return replace(failed(status, message), order=None)


def after_silence(fleet: Fleet, status: FleetStatus, error: str) -> FleetStatus:
    """Return where a fleet stands when the provider did not answer: the order stays open."""
    return failed(status, f"fleet {fleet.spec.name} waits for the provider: {error}")


def at_rest(status: FleetStatus) -> FleetStatus:
    """Return where a fleet stands that has all it wants, ready: a next failure is a first one."""
    return replace(status, message="", retry_in_s=0.0, backoff_s=FIRST_BACKOFF_SECONDS)


def failed(status: FleetStatus, message: str) -> FleetStatus:
    """Return where a fleet stands after a launch that failed: it pauses, longer each time."""
    return replace(
        status,
        message=message,
        retry_in_s=status.backoff_s,
        backoff_s=min(2 * status.backoff_s, MOST_BACKOFF_SECONDS),
    )
