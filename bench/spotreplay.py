"""A fleet on spot pools that come and go, in virtual time, under the planning code as it ships.

The model, all of it:

- A pool has as many nodes as its trace says at that time. The newest above that are reclaimed: they
  have a notice NOTICE_SECONDS before, serve until then, and are sought anew from the notice on.
  Nobody gets a node that would be under notice at once.
- A node serves `Policy.boot_s` after it was bought; it is paid from the purchase on.
- On-demand nodes are to be had at any time, at on-demand price. Spot prices do not move.
- A pool's score is what its past says: ten times the share of the last SCORE_SECONDS with nodes.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from atoll.fleet.capacity import Pool
from atoll.fleet.model import (
    FleetSpec,
    InstanceTypeConfig,
    Market,
    Resizing,
    Role,
    SpotProvisioning,
    SpotStrategy,
)
from atoll.fleet.planning.allocate import Purchase
from atoll.fleet.planning.fleets import plan_fleet
from atoll.fleet.planning.scaling import Endable, to_end
from atoll.fleet.planning.timeouts import Held, Outcome, at_launch, at_resize

NOTICE_SECONDS = 120.0
SCORE_SECONDS = 86_400.0
PLACE = "here"


@dataclass(frozen=True)
class Policy:
    """How a fleet is made of both markets.

    Attributes:
        name: for the table.
        on_demand_share: of the target, always on demand.
        switch_minutes: the timeout at launch, after which the rest is sought on demand; None: the
            fleet was launched before, and the rules of resizes count from the first second.
        suspend_minutes: the timeout of resizes; None: no end.
        replaces: whether a resize of the on-demand target (ModifyInstanceFleet) follows at once for
            spot units that are not to be had, and is taken back when spot serves again.
        boot_s: how long after the purchase a node serves.
    """

    name: str
    on_demand_share: float = 0.0
    switch_minutes: int | None = None
    suspend_minutes: int | None = None
    replaces: bool = False
    boot_s: float = 120.0


@dataclass(frozen=True)
class TracedPool:
    """A spot pool with its past and future.

    Attributes:
        name: the instance type (with the zone, where several zones are pooled).
        weight: capacity units of a node.
        spot_price, on_demand_price: US dollars an hour.
        times: seconds at which the number of nodes changes, from 0, ascending.
        counts: nodes from that time on.
    """

    name: str
    weight: int
    spot_price: float
    on_demand_price: float
    times: Sequence[float]
    counts: Sequence[int]

    def nodes(self, now: float) -> int:
        """Return the nodes that are there now and will not be under notice."""
        first = bisect_right(self.times, now) - 1
        return min(self.counts[first : bisect_right(self.times, now + NOTICE_SECONDS)])

    def changes(self, start: float, end: float) -> Iterator[float]:
        """List the times at which `nodes` may change."""
        for time in self.times:
            for moment in (time, time - NOTICE_SECONDS):
                if start < moment < end:
                    yield moment

    def score(self, now: float) -> float:
        """Return ten times the share of the last day with any node; 0 without a past."""
        since = max(now - SCORE_SECONDS, 0.0)
        first = max(bisect_right(self.times, since) - 1, 0)
        marks = [since, *self.times[first + 1 : bisect_right(self.times, now)], now]
        there = sum(
            after - before
            for count, (before, after) in zip(self.counts[first:], pairwise(marks), strict=False)
            if count
        )
        return 10 * there / (now - since) if now > since else 0.0


@dataclass
class Node:
    """A machine: paid from `bought` on, serving from `ready` on, until `ends`."""

    number: int
    market: Market
    pool: str
    weight: int
    price: float
    bought: float
    ready: float
    ends: float = float("inf")


@dataclass(frozen=True)
class Replayed:
    """What came of a replay.

    Attributes:
        held: share of the target that served, overshoot not counted, over the whole time.
        cost: paid, over what the target costs as cheapest on-demand for the whole time.
        reclaimed: nodes taken back.
        bought: nodes bought.
    """

    held: float
    cost: float
    reclaimed: int
    bought: int


def replay(
    pools: Sequence[TracedPool],
    target: int,
    strategy: SpotStrategy,
    policy: Policy,
    *,
    start: float,
    end: float,
) -> Replayed:
    """Launch a fleet at `start` and keep it up until `end`, in seconds of the traces."""
    fleet = _fleet(pools, target, strategy, policy)
    run = _Run(pools, fleet, policy, target, start)
    alarms = [time for pool in pools for time in pool.changes(start, end)]
    if policy.switch_minutes is not None:
        alarms.append(start + policy.switch_minutes * 60)
    heapq.heapify(alarms)
    while run.now < end:
        for alarm in run.act():
            heapq.heappush(alarms, alarm)
        while alarms and alarms[0] <= run.now:
            heapq.heappop(alarms)
        run.go_on(min(alarms[0] if alarms else end, end))
    cheapest = min(pool.on_demand_price / pool.weight for pool in pools)
    whole = target * (end - start)
    return Replayed(run.served / whole, run.paid / (whole * cheapest), run.reclaimed, run.numbered)


def _fleet(
    pools: Sequence[TracedPool], target: int, strategy: SpotStrategy, policy: Policy
) -> FleetSpec:
    usual = round(target * policy.on_demand_share)
    return FleetSpec(
        Role.TASK,
        "task",
        usual,
        target - usual,
        tuple(InstanceTypeConfig(pool.name, pool.weight) for pool in pools),
        SpotProvisioning(strategy, policy.switch_minutes or 60),
        resizing=Resizing(spot_timeout_minutes=policy.suspend_minutes),
    )


@dataclass
class _Run:
    """A replay that is under way."""

    pools: Sequence[TracedPool]
    fleet: FleetSpec
    policy: Policy
    target: int
    now: float
    nodes: list[Node] = field(default_factory=list)
    served: float = 0.0
    paid: float = 0.0
    reclaimed: int = 0
    numbered: int = 0
    moved: int = 0

    def __post_init__(self) -> None:
        self.since = self.now
        self.is_launched = self.policy.switch_minutes is None

    def go_on(self, until: float) -> None:
        """Count what serves and what is paid until the next thing happens."""
        lasts = until - self.now
        serving = sum(node.weight for node in self.nodes if node.ready <= self.now < node.ends)
        self.served += min(serving, self.target) * lasts
        self.paid += sum(node.price for node in self.nodes) * lasts
        self.now = until

    def act(self) -> list[float]:
        """Do all that is due now; returns when to look again, besides the traces' changes."""
        self.nodes = [node for node in self.nodes if node.ends > self.now]
        alarms = [alarm for pool in self.pools for alarm in self._reclaim(pool)]
        alarms += self._buy()
        if self.policy.replaces:
            self._take_back()
        return alarms

    def _held(self, market: Market) -> int:
        kept = (node for node in self.nodes if node.market is market and node.ends == float("inf"))
        return sum(node.weight for node in kept)

    def _spot_of(self, pool: TracedPool) -> list[Node]:
        return [
            node
            for node in self.nodes
            if node.market is Market.SPOT and node.pool == pool.name and node.ends == float("inf")
        ]

    def _reclaim(self, pool: TracedPool) -> list[float]:
        """Give notice to the newest nodes of a pool that holds more than there are."""
        there = self._spot_of(pool)
        going = there[pool.nodes(self.now) :]
        for node in going:
            node.ends = self.now + NOTICE_SECONDS
        if going:
            self.reclaimed += len(going)
            self.since = self.now
        return [self.now + NOTICE_SECONDS] * bool(going)

    def _buy(self) -> list[float]:
        held = Held(self._held(Market.ON_DEMAND), self._held(Market.SPOT), self.moved)
        decide = at_resize if self.is_launched else at_launch
        verdict = decide(self.fleet, held, waited_s=self.now - self.since)
        self.moved = verdict.moved
        if verdict.outcome is Outcome.COMPLETE:
            self.is_launched = True
        if not verdict.on_demand and not verdict.spot:
            return []
        plan = plan_fleet(
            self.fleet,
            self._offered(),
            on_demand=verdict.on_demand,
            spot=verdict.spot,
            is_resize=self.is_launched,
        )
        bought = [*plan.on_demand.purchases, *plan.spot.purchases]
        if self.policy.replaces:
            bought += self._replacement(plan.spot.missing_units, held)
        for purchase in bought:
            self._take(purchase)
        return [self.now + self.policy.boot_s] * bool(bought)

    def _replacement(self, missing: int, held: Held) -> tuple[Purchase, ...]:
        """Resize the on-demand target by the spot units that are not to be had."""
        more = missing - max(held.on_demand - self.fleet.target_on_demand, 0)
        plan = plan_fleet(self.fleet, self._offered(), on_demand=more, spot=0, is_resize=True)
        return plan.on_demand.purchases

    def _take_back(self) -> None:
        """End the on-demand nodes that spot serves for again."""
        serving = [
            node for node in self.nodes if node.ready <= self.now and node.ends == float("inf")
        ]
        usual = [node for node in self.nodes if node.market is Market.ON_DEMAND]
        spot = sum(node.weight for node in serving if node.market is Market.SPOT)
        least = max(self.target - spot, self.fleet.target_on_demand)
        gone = to_end(
            [Endable(str(node.number), node.weight, 0, node.bought) for node in usual],
            least,
        )
        self.nodes = [node for node in self.nodes if str(node.number) not in gone]

    def _offered(self) -> list[Pool]:
        spot = [
            Pool(
                pool.name,
                Market.SPOT,
                PLACE,
                pool.spot_price,
                max(pool.nodes(self.now) - len(self._spot_of(pool)), 0),
                pool.score(self.now),
            )
            for pool in self.pools
        ]
        usual = [
            Pool(pool.name, Market.ON_DEMAND, PLACE, pool.on_demand_price, None)
            for pool in self.pools
        ]
        return spot + usual

    def _take(self, purchase: Purchase) -> None:
        for _ in range(purchase.count):
            self.nodes.append(
                Node(
                    self.numbered,
                    purchase.market,
                    purchase.instance_type,
                    purchase.weight,
                    purchase.price,
                    self.now,
                    self.now + self.policy.boot_s,
                )
            )
            self.numbered += 1
