"""A world for plan(): machines, hearts and a provider in virtual time, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from atoll.fleet.life.capacity import after_launch, failed
from atoll.fleet.life.observed import (
    Drain,
    EndCluster,
    Heart,
    LaunchFleet,
    Observed,
    Plan,
    ReplacePrimary,
    StepsSeen,
    Terminate,
)
from atoll.fleet.life.plan import plan
from atoll.fleet.life.records import (
    ClusterStatus,
    Daemon,
    Desired,
    Event,
    Fleet,
    Heartbeat,
    Known,
    Slot,
)
from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Market, Role
from atoll.fleet.providers.port import Address, Machine, MachineState, ProviderAt
from atoll.fleet.states import ClusterState

ROUND_SECONDS = 0.5
BOOT_SECONDS = 5.0
SMALL, LARGE = InstanceTypeConfig("m5.xlarge", 1), InstanceTypeConfig("m5.2xlarge", 2)


def desired(core: int = 2, task: int = 0, **changes) -> Desired:
    fleets = [
        Fleet("if-p", FleetSpec(Role.MASTER, "primaries", 3, 0, (SMALL,))),
        Fleet("if-c", FleetSpec(Role.CORE, "core", core, 0, (SMALL, LARGE))),
        Fleet("if-t", FleetSpec(Role.TASK, "task", 0, task, (SMALL,))),
    ]
    slots = tuple(
        Slot(n, Address(f"eni-{n}", "subnet-1", f"10.0.0.{n}", f"ip-10-0-0-{n}"), "m5.xlarge")
        for n in (1, 2, 3)
    )
    spec = ClusterSpec("c", "emr-7.10.0", tuple(one.spec for one in fleets), **changes)
    return Desired(
        "j-1", ProviderAt("local"), spec, "subnet-1", "zone-a", slots, tuple(fleets), False, 0.0
    )


@dataclass
class Body:
    """A machine's inside."""

    machine: Machine
    age_s: float = 0.0
    heard: bool = True
    disk_percent: float = 10.0
    cpu_percent: float = 5.0
    failures: int = 0
    busy: int = 0
    draining: bool = False
    fails: bool = False
    is_hidden: bool = False


@dataclass
class World:
    """Everything there is; `step` lets half a second pass and one round be planned."""

    desired: Desired
    known: Known = field(
        default_factory=lambda: Known(ClusterStatus(ClusterState.STARTING, created_at=0.0))
    )
    bodies: dict[str, Body] = field(default_factory=dict)
    launches: dict[str, list[str]] = field(default_factory=dict)
    capacity: int = 100
    is_silent: bool = False
    bootstraps_fail: bool = False
    loses_orders: bool = False
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    ended: EndCluster | None = None
    steps: StepsSeen = field(default_factory=StepsSeen)
    seen_in_sync: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for slot in self.desired.slots:
            self._launch(f"first-{slot.server_id}", Role.MASTER, "if-p", SMALL, slot.address)

    def _launch(self, token, role, fleet_id, kind, address=None, market=Market.ON_DEMAND) -> str:
        number = len(self.bodies) + 1
        ip = address.private_ip if address else f"10.0.1.{number}"
        self.bodies[f"i-{number}"] = Body(
            Machine(
                f"i-{number}", "j-1", fleet_id, role, market, kind.instance_type,
                MachineState.RUNNING, ip, f"ip-{ip}", "subnet-1", "zone-a", self.now,
                address_id=address.id if address else None, token=token,
            ),
            fails=self.bootstraps_fail,
        )  # fmt: skip
        return f"i-{number}"

    def end(
        self, id_: str, state: MachineState = MachineState.TERMINATED, reason: str = "it was ended"
    ) -> None:
        body = self.bodies[id_]
        body.machine = replace(body.machine, state=state, reason=reason)

    def alive(self, role: Role) -> list[str]:
        return [
            id_ for id_, one in self.bodies.items()
            if one.machine.is_alive and one.machine.role is role
        ]  # fmt: skip

    def in_sync(self) -> frozenset[int]:
        ready = {
            one.machine.address_id
            for one in self.bodies.values()
            if one.machine.is_alive and one.age_s >= BOOT_SECONDS and one.heard and not one.fails
        }
        return frozenset(s.server_id for s in self.desired.slots if s.address.id in ready)

    def observe(self) -> Observed:
        hearts = {
            id_: Heart(self._beat(id_, one), 0.0 if one.heard else 99.0, is_present=one.heard)
            for id_, one in self.bodies.items()
            if one.machine.is_alive
        }
        self.seen_in_sync = self.in_sync()
        listed = tuple(one.machine for one in self.bodies.values() if not one.is_hidden)
        machines = None if self.is_silent else listed
        return Observed(
            self.now, ROUND_SECONDS, machines, "silent" if self.is_silent else "", hearts,
            self.seen_in_sync, self.steps,
        )  # fmt: skip

    def _beat(self, id_: str, body: Body) -> Heartbeat:
        phase = "bootstrapping"
        if body.age_s >= BOOT_SECONDS:
            phase = "failed" if body.fails else "ready"
        daemons = {"worker": Daemon(is_up=True, busy=body.busy, failures=body.failures)}
        return Heartbeat(
            id_, int(self.now * 2), phase, disk_percent=body.disk_percent,
            cpu_percent=body.cpu_percent, daemons=daemons, is_draining=body.draining,
        )  # fmt: skip

    def step(self) -> Plan:
        self.now += ROUND_SECONDS
        for one in self.bodies.values():
            one.age_s += ROUND_SECONDS
        decided = plan(self.desired, self.known, self.observe())
        self.known = decided.known
        self.events += decided.events
        for action in decided.actions:
            self._do(action)
        return decided

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / ROUND_SECONDS)):
            self.step()

    def _do(self, action) -> None:
        match action:
            case ReplacePrimary():
                self._replace(action)
            case LaunchFleet():
                self._fill(action)
            case Terminate():
                for id_ in () if self.is_silent else action.machine_ids:
                    self.end(id_)
            case Drain():
                self.bodies[action.machine_id].draining = not self.loses_orders
            case EndCluster():
                self.ended = action

    def _set(self, fleet_id, change) -> None:
        status = self.known.status
        fleets = {**status.fleets, fleet_id: change(status.fleets[fleet_id])}
        self.known = replace(self.known, status=replace(status, fleets=fleets))

    def _replace(self, action: ReplacePrimary) -> None:
        if self.is_silent or self.capacity < 1:
            self._set("if-p", lambda old: failed(old, "no capacity"))
            return
        if action.old_id:
            self.end(action.old_id)
        if action.token not in self.launches:
            new = self._launch(action.token, Role.MASTER, "if-p", SMALL, action.slot.address)
            self.launches[action.token] = [new]
        self._set("if-p", lambda old: replace(old, message=""))

    def _fill(self, action: LaunchFleet) -> None:
        fleet = self.desired.fleet(action.fleet_id)
        assert fleet is not None
        if action.order.token not in self.launches:
            new = []
            for market, units in (
                (Market.ON_DEMAND, action.order.on_demand), (Market.SPOT, action.order.spot)
            ):  # fmt: skip
                for _ in range(min(units, self.capacity)):
                    self.capacity -= 1
                    new.append(self._launch("", fleet.spec.role, fleet.id, SMALL, market=market))
            self.launches[action.order.token] = new
        machines = [self.bodies[id_].machine for id_ in self.launches[action.order.token]]
        self._set(fleet.id, lambda old: after_launch(fleet, old, machines, ""))
