"""What is written down about a cluster: what it shall be, what it is, what happened.

All of it lies in the cluster's own ZooKeeper (`atoll.fleet.life.store`). Times of day are for
people; how long something lasts is counted in seconds that pass, round by round, so that a clock
that jumps neither hastens nor delays anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from atoll.fleet.model import (
    ClusterSpec,
    FleetSpec,
    HealthPolicy,
    InstanceTypeConfig,
    Market,
    Role,
    StepSpec,
)
from atoll.fleet.providers.port import Address, Machine, ProviderAt
from atoll.fleet.states import (
    ClusterReason,
    ClusterState,
    FleetState,
    InstanceReason,
    InstanceState,
    StepState,
)


@dataclass(frozen=True)
class Slot:
    """A primary's place: server number, address and type stay, machines come and go.

    Attributes:
        server_id: ZooKeeper's number of it, from 1.
        address: the kept address.
        instance_type: all primaries have the same, replacements too.
    """

    server_id: int
    address: Address
    instance_type: str


@dataclass(frozen=True)
class Fleet:
    """An instance fleet of a cluster: its id and what it shall be now."""

    id: str
    spec: FleetSpec


@dataclass(frozen=True)
class Desired:
    """What a cluster shall be now; written by whoever asks for a change.

    Attributes:
        cluster_id: "j-...".
        provider: who supplies its machines.
        spec: as it was created; targets and protection below are the current ones.
        subnet_id, zone: where all its machines stand.
        slots: the places of its primaries.
        fleets: all fleets, added ones too, with their current targets.
        termination_protected: whether `terminate` is refused.
        is_ending: whether it is being terminated; then nothing is launched any more.
        created_at: when, in seconds since the epoch.
        awaits_host: whether its host has yet to hand in the steps it was created with; until then
            it does not end for want of any.
    """

    cluster_id: str
    provider: ProviderAt
    spec: ClusterSpec
    subnet_id: str
    zone: str
    slots: tuple[Slot, ...]
    fleets: tuple[Fleet, ...]
    termination_protected: bool
    created_at: float
    is_ending: bool = False
    awaits_host: bool = False

    @property
    def current_spec(self) -> ClusterSpec:
        """The specification with what was changed since the cluster was created."""
        return replace(
            self.spec,
            fleets=tuple(one.spec for one in self.fleets),
            termination_protected=self.termination_protected,
        )

    @property
    def health(self) -> HealthPolicy:
        """When its instances are replaced."""
        return self.spec.health

    @property
    def primary_fleet(self) -> Fleet:
        """The fleet of primaries."""
        return next(one for one in self.fleets if one.spec.role is Role.MASTER)

    def primary_type(self, slot: Slot) -> InstanceTypeConfig:
        """Return what a primary's place asks of its machine, its disk included."""
        types = self.primary_fleet.spec.types
        bare = InstanceTypeConfig(slot.instance_type)
        return next((one for one in types if one.instance_type == slot.instance_type), bare)

    def fleet(self, fleet_id: str) -> Fleet | None:
        """Return a fleet by id."""
        return next((one for one in self.fleets if one.id == fleet_id), None)


@dataclass(frozen=True)
class Daemon:
    """What an agent knows of a daemon it supervises.

    Attributes:
        detail: the daemon's own word for its part: "leader", "follower", "ALIVE", "STANDBY".
        is_up: whether the last probe answered.
        failing_probes: probes in a row that did not.
        failures: how often it failed within the last minute; it was started again each time.
        busy: of a worker, the processors that executors hold.
        sessions: of a master, its sessions with ZooKeeper.
    """

    detail: str = ""
    is_up: bool = False
    failing_probes: int = 0
    failures: int = 0
    busy: int = 0
    sessions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Heartbeat:
    """What an agent tells of its instance, once a second.

    Attributes:
        machine_id: the provider's id.
        beat: counts up; a heart that does not is not beating.
        phase: "bootstrapping", "ready" or "failed".
        message: why it failed, or what it is doing.
        disk_percent: how full its disk is.
        cpu_percent: how busy agent and daemons keep its processors, of those it has.
        daemons: by name: "zookeeper", "master", "worker".
        is_draining: whether it takes no new work.
    """

    machine_id: str
    beat: int
    phase: str
    message: str = ""
    disk_percent: float = 0.0
    cpu_percent: float = 0.0
    daemons: dict[str, Daemon] = field(default_factory=dict)
    is_draining: bool = False


@dataclass(frozen=True)
class InstanceRecord:
    """An instance's life so far.

    Attributes:
        id: "ci-...".
        machine: the provider's last word on it.
        state: EMR's, and ours.
        reason, message: why it ended.
        created_at, ready_at, ended_at: times of day.
        waited_s: seconds it has been in its present state.
        complaint: what is wrong with it now; empty: nothing.
        bad_for_s: seconds that it has been so.
        busy_for_s: seconds that its processors have been too busy.
        is_active: whether its Spark master is the active one, by its last heartbeat.
    """

    id: str
    machine: Machine
    state: InstanceState
    created_at: float
    ready_at: float | None = None
    ended_at: float | None = None
    reason: InstanceReason | None = None
    message: str = ""
    waited_s: float = 0.0
    complaint: str = ""
    bad_for_s: float = 0.0
    busy_for_s: float = 0.0
    is_active: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.state is not InstanceState.TERMINATED

    @property
    def is_serving(self) -> bool:
        """Whether it counts toward the target: alive and not on its way out."""
        return self.is_alive and self.state is not InstanceState.DRAINING

    @property
    def market(self) -> Market:
        """How it is paid for."""
        return self.machine.market


@dataclass(frozen=True)
class Order:
    """A launch that was decided and may or may not have reached the provider."""

    token: str
    on_demand: int
    spot: int


@dataclass(frozen=True)
class FleetStatus:
    """Where a fleet stands.

    Attributes:
        state: EMR's.
        message: why, for people.
        created_at, ready_at, ended_at: times of day; it is ready when its targets are met first.
        moved_to_on_demand: spot units that the provisioning timeout turned into on-demand ones.
        is_added: whether the cluster was ready before it was asked for: EMR's timeout at launch
            is for the fleets of the start.
        asked_for: the on-demand and spot targets that the round before saw.
        waited_s: seconds that capacity has been missing, since the targets changed last; at a
            resize since units arrived last.
        order: a launch under way.
        orders: launches so far, for tokens.
        retry_in_s: seconds before the next try to launch.
        backoff_s: how long the next pause will be.
    """

    state: FleetState
    created_at: float
    ready_at: float | None = None
    ended_at: float | None = None
    message: str = ""
    moved_to_on_demand: int = 0
    is_added: bool = False
    asked_for: tuple[int, int] | None = None
    waited_s: float = 0.0
    order: Order | None = None
    orders: int = 0
    retry_in_s: float = 0.0
    backoff_s: float = 1.0

    @property
    def is_starting(self) -> bool:
        """Whether it is provisioned with the cluster, for the first time."""
        return self.ready_at is None and not self.is_added


@dataclass(frozen=True)
class ClusterStatus:
    """Where a cluster stands.

    Attributes:
        state: EMR's.
        created_at, ready_at, ended_at: times of day.
        reason, message: why it changed last.
        fleets: by fleet id.
        blocked: what could not be done and why, by subject; told once, until it changes.
        idle_for_s: seconds without a step, since it was ready.
        overruled: ids of steps whose failure would have ended it, had it not been protected then.
    """

    state: ClusterState
    created_at: float
    ready_at: float | None = None
    ended_at: float | None = None
    reason: ClusterReason | None = None
    message: str = ""
    fleets: dict[str, FleetStatus] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    idle_for_s: float = 0.0
    overruled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What is known of a cluster from the rounds before: its status and instances by machine id."""

    status: ClusterStatus
    instances: dict[str, InstanceRecord] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something that happened, or could not.

    Attributes:
        at: time of day.
        kind: a short name, such as "PRIMARY_REPLACED"; the guide lists all.
        subject: id of the cluster, fleet, instance or step.
        message: what and why, for people.
        is_warning: whether it needs a look.
    """

    at: float
    kind: str
    subject: str
    message: str
    is_warning: bool = False


@dataclass(frozen=True)
class Step:
    """A step and what became of it.

    Attributes:
        id: "s-...".
        spec: the work.
        state: EMR's.
        message: why it failed or was cancelled.
        created_at, started_at, ended_at: times of day.
        attempts: how often it was started; more than once when its primary was lost.
        machine_id: where it runs or ran last.
        log: the folder of its output there: `stdout` and `stderr`.
    """

    id: str
    spec: StepSpec
    state: StepState
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    message: str = ""
    attempts: int = 0
    machine_id: str = ""
    log: str = ""
