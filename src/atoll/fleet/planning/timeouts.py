"""What becomes of capacity that does not come.

At launch only spot has a timeout: then the rest of it is sought on demand, or the cluster ends.
All that is sought later is a resize, a fleet added later and the replacement of reclaimed spot
included: after its timeout that market is sought no more, the fleet is suspended, and spot is never
moved to on-demand. Whoever counts the seconds begins anew when targets change, and in a resize when
units arrive.

Source: EMR API reference, SpotProvisioningSpecification, SpotResizingSpecification and
OnDemandResizingSpecification; EMR management guide, "Configure provisioning timeouts".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from atoll.fleet.model import FleetSpec, TimeoutAction
from atoll.fleet.states import ClusterReason

MINUTE_SECONDS = 60


@dataclass(frozen=True)
class Held:
    """What a fleet has.

    Attributes:
        on_demand: capacity units on demand.
        spot: the same as spot; instances with a notice no longer count.
        moved: units of the spot target that are sought on demand since the timeout at launch.
    """

    on_demand: int = 0
    spot: int = 0
    moved: int = 0


class Outcome(StrEnum):
    """What follows for a fleet."""

    COMPLETE = "COMPLETE"
    SEEK = "SEEK"
    SWITCH_TO_ON_DEMAND = "SWITCH_TO_ON_DEMAND"
    TERMINATE_CLUSTER = "TERMINATE_CLUSTER"
    SUSPEND = "SUSPEND"


@dataclass(frozen=True)
class Verdict:
    """What to do now.

    Attributes:
        outcome: what follows.
        on_demand: capacity units to ask for on demand.
        spot: the same as spot.
        moved: `Held.moved` from now on; SWITCH_TO_ON_DEMAND raises it, and is said once.
        reason: what is given up and why; empty where nothing is.
        cluster_reason: of a cluster that ends.
    """

    outcome: Outcome
    on_demand: int
    spot: int
    moved: int
    reason: str = ""
    cluster_reason: ClusterReason | None = None


def at_launch(fleet: FleetSpec, held: Held, *, waited_s: float) -> Verdict:
    """Decide on what is missing while a fleet is provisioned for the first time.

    Args:
        fleet: the targets and the timeout.
        held: what there is.
        waited_s: seconds since provisioning began.
    """
    on_demand, spot = _missing(fleet, held)
    if not on_demand and not spot:
        return Verdict(Outcome.COMPLETE, 0, 0, held.moved)
    if not spot or not _is_over(fleet.spot.timeout_minutes, waited_s):
        return Verdict(Outcome.SEEK, on_demand, spot, held.moved)
    missing = (
        f"{spot} of {fleet.target_spot} spot units of fleet '{fleet.name}' did not come within"
        f" {fleet.spot.timeout_minutes} minutes"
    )
    if fleet.spot.timeout_action is TimeoutAction.TERMINATE_CLUSTER:
        return Verdict(
            Outcome.TERMINATE_CLUSTER,
            0,
            0,
            held.moved,
            f"{missing}: the cluster ends, as its timeout action says",
            ClusterReason.INSTANCE_FLEET_TIMEOUT,
        )
    reason = f"{missing}: they are sought on demand"
    return Verdict(Outcome.SWITCH_TO_ON_DEMAND, on_demand + spot, 0, held.moved + spot, reason)


def at_resize(fleet: FleetSpec, held: Held, *, waited_s: float) -> Verdict:
    """Decide on what is missing after a resize, a lost instance or reclaimed spot.

    Args:
        fleet: the targets and the timeouts.
        held: what there is.
        waited_s: seconds that something has been missing.
    """
    on_demand, spot = _missing(fleet, held)
    if not on_demand and not spot:
        return Verdict(Outcome.COMPLETE, 0, 0, held.moved)
    limits = fleet.resizing.on_demand_timeout_minutes, fleet.resizing.spot_timeout_minutes
    kinds = (on_demand, limits[0], "on-demand"), (spot, limits[1], "spot")
    given_up = [
        f"{units} {market} units did not come within {limit} minutes"
        for units, limit, market in kinds
        if units and _is_over(limit, waited_s)
    ]
    sought = [0 if _is_over(limit, waited_s) else units for units, limit, _ in kinds]
    outcome = Outcome.SEEK if any(sought) else Outcome.SUSPEND
    reason = f"fleet '{fleet.name}': {', '.join(given_up)}" if given_up else ""
    return Verdict(outcome, sought[0], sought[1], held.moved, reason)


def _missing(fleet: FleetSpec, held: Held) -> tuple[int, int]:
    on_demand = fleet.target_on_demand + held.moved - held.on_demand
    return max(on_demand, 0), max(fleet.target_spot - held.moved - held.spot, 0)


def _is_over(minutes: int | None, waited_s: float) -> bool:
    return minutes is not None and waited_s >= minutes * MINUTE_SECONDS
