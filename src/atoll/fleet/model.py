"""What a cluster shall be: the nouns of a specification, frozen, whatever form it came in.

Reading order: InstanceTypeConfig, FleetSpec, ClusterSpec. Words are those of Amazon EMR's API
(RunJobFlow) where it has one. All values were checked by `atoll.fleet.spec.validate` before code
below sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What the instances of a fleet are for."""

    MASTER = "MASTER"
    CORE = "CORE"
    TASK = "TASK"


class Market(StrEnum):
    """How an instance is paid for."""

    ON_DEMAND = "ON_DEMAND"
    SPOT = "SPOT"


class SpotStrategy(StrEnum):
    """How spot pools are chosen."""

    PRICE_CAPACITY_OPTIMIZED = "price-capacity-optimized"
    CAPACITY_OPTIMIZED = "capacity-optimized"
    CAPACITY_OPTIMIZED_PRIORITIZED = "capacity-optimized-prioritized"
    LOWEST_PRICE = "lowest-price"
    DIVERSIFIED = "diversified"


class OnDemandStrategy(StrEnum):
    """How on-demand types are chosen."""

    LOWEST_PRICE = "lowest-price"
    PRIORITIZED = "prioritized"


class TimeoutAction(StrEnum):
    """What happens when spot capacity does not come in time at launch."""

    SWITCH_TO_ON_DEMAND = "SWITCH_TO_ON_DEMAND"
    TERMINATE_CLUSTER = "TERMINATE_CLUSTER"


class ActionOnFailure(StrEnum):
    """What a failed step means for the cluster."""

    TERMINATE_CLUSTER = "TERMINATE_CLUSTER"
    CANCEL_AND_WAIT = "CANCEL_AND_WAIT"
    CONTINUE = "CONTINUE"


@dataclass(frozen=True)
class InstanceTypeConfig:
    """One instance type a fleet may use.

    Attributes:
        instance_type: as EC2 names it.
        weighted_capacity: capacity units that one such instance counts, 1 or more.
        bid_price: most US dollars an hour for spot; None: see the next.
        bid_price_percent: most for spot, in percent of the on-demand price.
        priority: 0 is tried first; for the prioritized strategies only.
        disk_gib: the instance's disk; None: the type's usual.
    """

    instance_type: str
    weighted_capacity: int = 1
    bid_price: float | None = None
    bid_price_percent: float = 100.0
    priority: float | None = None
    disk_gib: int | None = None


@dataclass(frozen=True)
class SpotProvisioning:
    """How spot capacity is sought when a cluster starts.

    Attributes:
        strategy: how pools are chosen.
        timeout_minutes: 5 to 1440; only the first provisioning counts.
        timeout_action: what then becomes of the capacity that is missing.
    """

    strategy: SpotStrategy = SpotStrategy.PRICE_CAPACITY_OPTIMIZED
    timeout_minutes: int = 60
    timeout_action: TimeoutAction = TimeoutAction.SWITCH_TO_ON_DEMAND


@dataclass(frozen=True)
class Resizing:
    """How capacity is sought after the start: resizes, replacements, reclaimed spot.

    Attributes:
        spot_strategy: None: as at the start.
        on_demand_strategy: None: as at the start.
        spot_timeout_minutes: 5 to 10080; None: no end.
        on_demand_timeout_minutes: the same for on-demand.
    """

    spot_strategy: SpotStrategy | None = None
    on_demand_strategy: OnDemandStrategy | None = None
    spot_timeout_minutes: int | None = None
    on_demand_timeout_minutes: int | None = None


@dataclass(frozen=True)
class FleetSpec:
    """One instance fleet.

    Attributes:
        role: MASTER, CORE or TASK.
        name: for people.
        target_on_demand: capacity units wanted on demand.
        target_spot: capacity units wanted as spot.
        types: what it may be made of.
        spot: how spot is provisioned at the start.
        on_demand_strategy: how on-demand is provisioned at the start.
        resizing: the same for later.
    """

    role: Role
    name: str
    target_on_demand: int
    target_spot: int
    types: tuple[InstanceTypeConfig, ...]
    spot: SpotProvisioning = SpotProvisioning()
    on_demand_strategy: OnDemandStrategy = OnDemandStrategy.LOWEST_PRICE
    resizing: Resizing = Resizing()

    def weight_of(self, instance_type: str) -> int:
        """Return the capacity units of a type, 1 for one the fleet does not list."""
        weights = {one.instance_type: one.weighted_capacity for one in self.types}
        return weights.get(instance_type, 1)


@dataclass(frozen=True)
class BootstrapAction:
    """A script that each instance runs before its daemons start.

    Attributes:
        name: for people.
        path: a local path or a storage URL of the script.
        args: its arguments.
    """

    name: str
    path: str
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepSpec:
    """A piece of work for the cluster.

    Attributes:
        name: for people.
        args: the command and its arguments, run on a primary.
        action_on_failure: what a failure means for the cluster.
        jar: EMR's word for what runs `args`; "command-runner.jar" is the one Atoll has.
    """

    name: str
    args: tuple[str, ...]
    action_on_failure: ActionOnFailure = ActionOnFailure.CONTINUE
    jar: str = "command-runner.jar"


@dataclass(frozen=True)
class HealthPolicy:
    """When an instance counts as unhealthy, and what follows.

    Attributes:
        heartbeat_timeout_s: a heart that did not beat for so long is missed.
        failing_probes: so many failed probes of a daemon in a row make it unhealthy.
        disk_percent: a fuller disk is unhealthy.
        cpu_percent: a primary busier than this for `cpu_for_s` is unhealthy.
        cpu_for_s: how long.
        primary_grace_s: how long a suspect primary may recover before it is replaced.
        worker_grace_s: the same for core and task instances.
        bootstrap_timeout_s: an instance that is not ready by then failed.
        replaces_unhealthy: whether unhealthy core and task instances are replaced; primaries
            always are.
    """

    heartbeat_timeout_s: float = 3.0
    failing_probes: int = 3
    disk_percent: float = 90.0
    cpu_percent: float = 95.0
    cpu_for_s: float = 300.0
    primary_grace_s: float = 10.0
    worker_grace_s: float = 60.0
    bootstrap_timeout_s: float = 600.0
    replaces_unhealthy: bool = True


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster as wanted.

    Attributes:
        name: for people; need not be unique.
        release_label: EMR's, such as "emr-7.10.0".
        fleets: one MASTER, at most one CORE, any number of TASK fleets.
        subnet_ids: where it may be; one is chosen at launch. Empty: the provider's default.
        applications: what EMR was asked to install.
        spread_primaries: whether each primary must be on hardware of its own.
        termination_protected: `terminate` is refused until this is lifted.
        keeps_alive: stays (WAITING) when no step is left.
        idle_timeout_s: ends after so long without work; None: never.
        step_concurrency: steps that run at once, 1 to 256.
        bootstrap_actions: run in this order on every instance.
        steps: submitted at the start.
        spark_properties: Spark's own configuration, as `spark.x.y` to value.
        health: when instances are replaced.
        tags: key to value.
        log_uri, service_role, job_flow_role, key_name, custom_ami, root_volume_gib,
        primary_security_group, worker_security_group, service_security_group,
        additional_primary_groups, additional_worker_groups: EC2's and EMR's own, kept for the
            provider that knows them.
    """

    name: str
    release_label: str
    fleets: tuple[FleetSpec, ...]
    subnet_ids: tuple[str, ...] = ()
    applications: tuple[str, ...] = ("Spark",)
    spread_primaries: bool = False
    termination_protected: bool = False
    keeps_alive: bool = True
    idle_timeout_s: int | None = None
    step_concurrency: int = 1
    bootstrap_actions: tuple[BootstrapAction, ...] = ()
    steps: tuple[StepSpec, ...] = ()
    spark_properties: dict[str, str] = field(default_factory=dict)
    health: HealthPolicy = HealthPolicy()
    tags: dict[str, str] = field(default_factory=dict)
    log_uri: str | None = None
    service_role: str | None = None
    job_flow_role: str | None = None
    key_name: str | None = None
    custom_ami: str | None = None
    root_volume_gib: int | None = None
    primary_security_group: str | None = None
    worker_security_group: str | None = None
    service_security_group: str | None = None
    additional_primary_groups: tuple[str, ...] = ()
    additional_worker_groups: tuple[str, ...] = ()

    @property
    def primaries(self) -> FleetSpec:
        """The fleet of primaries."""
        return next(one for one in self.fleets if one.role is Role.MASTER)

    @property
    def is_highly_available(self) -> bool:
        """Whether it survives the loss of a primary."""
        return self.primaries.target_on_demand == 3
