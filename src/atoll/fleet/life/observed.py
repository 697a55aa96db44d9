"""What a round of the controller sees, and what it may decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from atoll.fleet.life.records import Event, Heartbeat, Known, Order, Slot
from atoll.fleet.providers.port import Machine
from atoll.fleet.states import ClusterReason


@dataclass(frozen=True)
class Heart:
    """An agent's last heartbeat.

    Attributes:
        beat: the heartbeat; None: none was ever seen.
        silent_s: seconds, by the observer's own clock, since it beat.
        is_present: whether its session with ZooKeeper lives.
        is_asked: whether anybody could tell; if not, nothing is held against the instance.
    """

    beat: Heartbeat | None
    silent_s: float
    is_present: bool = True
    is_asked: bool = True


@dataclass(frozen=True)
class StepsSeen:
    """How much work there is.

    Attributes:
        unfinished: steps that run or wait.
        fatal: failed steps that end a cluster that is not protected: by id what is to be said.
    """

    unfinished: int = 0
    fatal: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """The world as one round sees it.

    Attributes:
        now: time of day, for people; see `elapsed_s` for how long things last.
        elapsed_s: seconds that passed since the round before.
        machines: the provider's list; None: it did not answer.
        provider_error: why it did not.
        hearts: by machine id.
        in_sync: numbers of the ZooKeeper servers that follow the leader, itself included.
        steps: the work.
    """

    now: float
    elapsed_s: float
    machines: tuple[Machine, ...] | None
    provider_error: str = ""
    hearts: Mapping[str, Heart] = field(default_factory=dict)
    in_sync: frozenset[int] = frozenset()
    steps: StepsSeen = StepsSeen()


@dataclass(frozen=True)
class ReplacePrimary:
    """End what holds a slot, and launch another machine at its address.

    Attributes:
        slot: the place.
        old_id: the machine to end first; None: the slot is empty.
        why: what is wrong with that one.
        token: the launch's.
    """

    slot: Slot
    old_id: str | None
    why: str
    token: str


@dataclass(frozen=True)
class LaunchFleet:
    """Launch capacity for a core or task fleet."""

    fleet_id: str
    order: Order
    is_resize: bool


@dataclass(frozen=True)
class Drain:
    """Tell an instance's agent to take no new work."""

    machine_id: str
    reason: str


@dataclass(frozen=True)
class Terminate:
    """End machines."""

    machine_ids: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class EndCluster:
    """End the whole cluster."""

    reason: ClusterReason
    message: str


Action: TypeAlias = ReplacePrimary | LaunchFleet | Drain | Terminate | EndCluster


@dataclass(frozen=True)
class Plan:
    """What a round decides.

    Attributes:
        known: what is known from now on; written down before anything is done.
        actions: to be carried out in this order.
        events: what is to be told.
    """

    known: Known
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
