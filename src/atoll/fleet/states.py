"""The state machines of clusters, fleets, instances and steps: EMR's names, EMR's edges.

Source: Amazon EMR API reference 2009-03-31, ClusterStatus, InstanceFleetStatus, InstanceStatus and
StepStatus. `SUSPECT` and `DRAINING` of an instance are ours: the API shows them as RUNNING.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class ClusterState(StrEnum):
    """Where a cluster stands."""

    STARTING = "STARTING"
    BOOTSTRAPPING = "BOOTSTRAPPING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    TERMINATED_WITH_ERRORS = "TERMINATED_WITH_ERRORS"

    @property
    def is_ready(self) -> bool:
        """Whether it takes work."""
        return self in (ClusterState.RUNNING, ClusterState.WAITING)

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return not CLUSTER_EDGES[self]


class ClusterReason(StrEnum):
    """Why a cluster changed its state."""

    INTERNAL_ERROR = "INTERNAL_ERROR"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    INSTANCE_FAILURE = "INSTANCE_FAILURE"
    INSTANCE_FLEET_TIMEOUT = "INSTANCE_FLEET_TIMEOUT"
    BOOTSTRAP_FAILURE = "BOOTSTRAP_FAILURE"
    USER_REQUEST = "USER_REQUEST"
    STEP_FAILURE = "STEP_FAILURE"
    ALL_STEPS_COMPLETED = "ALL_STEPS_COMPLETED"


class FleetState(StrEnum):
    """Where an instance fleet stands."""

    PROVISIONING = "PROVISIONING"
    BOOTSTRAPPING = "BOOTSTRAPPING"
    RUNNING = "RUNNING"
    RESIZING = "RESIZING"
    SUSPENDED = "SUSPENDED"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"


class InstanceState(StrEnum):
    """Where an instance stands."""

    AWAITING_FULFILLMENT = "AWAITING_FULFILLMENT"
    PROVISIONING = "PROVISIONING"
    BOOTSTRAPPING = "BOOTSTRAPPING"
    RUNNING = "RUNNING"
    SUSPECT = "SUSPECT"
    DRAINING = "DRAINING"
    TERMINATED = "TERMINATED"

    @property
    def is_ready(self) -> bool:
        """Whether it works, as far as is known for certain."""
        return self in (InstanceState.RUNNING, InstanceState.SUSPECT)

    @property
    def shown(self) -> InstanceState:
        """Return the state as EMR's API names it."""
        is_ours = self in (InstanceState.SUSPECT, InstanceState.DRAINING)
        return InstanceState.RUNNING if is_ours else self


class InstanceReason(StrEnum):
    """Why an instance ended."""

    INTERNAL_ERROR = "INTERNAL_ERROR"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    INSTANCE_FAILURE = "INSTANCE_FAILURE"
    BOOTSTRAP_FAILURE = "BOOTSTRAP_FAILURE"
    CLUSTER_TERMINATED = "CLUSTER_TERMINATED"


class StepState(StrEnum):
    """Where a step stands."""

    PENDING = "PENDING"
    CANCEL_PENDING = "CANCEL_PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return not STEP_EDGES[self]


_C, _F, _I, _S = ClusterState, FleetState, InstanceState, StepState

CLUSTER_EDGES: Mapping[ClusterState, tuple[ClusterState, ...]] = {
    _C.STARTING: (_C.BOOTSTRAPPING, _C.TERMINATING, _C.TERMINATED_WITH_ERRORS),
    _C.BOOTSTRAPPING: (_C.RUNNING, _C.WAITING, _C.TERMINATING, _C.TERMINATED_WITH_ERRORS),
    _C.RUNNING: (_C.WAITING, _C.TERMINATING, _C.TERMINATED_WITH_ERRORS),
    _C.WAITING: (_C.RUNNING, _C.TERMINATING, _C.TERMINATED_WITH_ERRORS),
    _C.TERMINATING: (_C.TERMINATED, _C.TERMINATED_WITH_ERRORS),
    _C.TERMINATED: (),
    _C.TERMINATED_WITH_ERRORS: (),
}

FLEET_EDGES: Mapping[FleetState, tuple[FleetState, ...]] = {
    _F.PROVISIONING: (_F.BOOTSTRAPPING, _F.RUNNING, _F.SUSPENDED, _F.TERMINATING),
    _F.BOOTSTRAPPING: (_F.RUNNING, _F.RESIZING, _F.SUSPENDED, _F.TERMINATING),
    _F.RUNNING: (_F.RESIZING, _F.SUSPENDED, _F.TERMINATING),
    _F.RESIZING: (_F.RUNNING, _F.SUSPENDED, _F.TERMINATING),
    _F.SUSPENDED: (_F.RESIZING, _F.RUNNING, _F.TERMINATING),
    _F.TERMINATING: (_F.TERMINATED,),
    _F.TERMINATED: (),
}

INSTANCE_EDGES: Mapping[InstanceState, tuple[InstanceState, ...]] = {
    _I.AWAITING_FULFILLMENT: (_I.PROVISIONING, _I.TERMINATED),
    _I.PROVISIONING: (_I.BOOTSTRAPPING, _I.TERMINATED),
    _I.BOOTSTRAPPING: (_I.RUNNING, _I.TERMINATED),
    _I.RUNNING: (_I.SUSPECT, _I.DRAINING, _I.TERMINATED),
    _I.SUSPECT: (_I.RUNNING, _I.DRAINING, _I.TERMINATED),
    _I.DRAINING: (_I.TERMINATED,),
    # A primary that had stopped and was started again, with its disk: see `atoll fleet repair`.
    _I.TERMINATED: (_I.BOOTSTRAPPING,),
}

STEP_EDGES: Mapping[StepState, tuple[StepState, ...]] = {
    _S.PENDING: (_S.RUNNING, _S.CANCEL_PENDING, _S.CANCELLED, _S.INTERRUPTED),
    _S.RUNNING: (_S.COMPLETED, _S.FAILED, _S.CANCEL_PENDING, _S.CANCELLED, _S.INTERRUPTED),
    _S.CANCEL_PENDING: (_S.CANCELLED, _S.COMPLETED, _S.FAILED, _S.INTERRUPTED),
    _S.COMPLETED: (),
    _S.CANCELLED: (),
    _S.FAILED: (),
    _S.INTERRUPTED: (),
}

State = TypeVar("State", ClusterState, FleetState, InstanceState, StepState)


def can_become(edges: Mapping[State, tuple[State, ...]], old: State, new: State) -> bool:
    """Tell whether a thing may go from one state to another; staying is always allowed."""
    return old == new or new in edges[old]
