"""34 real spot traces: share of the target held and cost against on-demand, by policy and strategy.

Each trace alone is a fleet of one pool, where all strategies are the same; policies are compared on
these. Traces of one experiment, region and kind of machine together are fleets with a choice, where
strategies are compared: in one zone, chosen at launch as EMR's rule is, and over all zones of the
region as if the rule were not. The target is as many units as the trace knows: 16 or 4 nodes; where
it knows one node, "there is one" is read as enough for the whole target of 8 units.
"""

from __future__ import annotations

import gzip
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from atoll.fleet.capacity import Pool, Subnet
from atoll.fleet.model import ClusterSpec, FleetSpec, InstanceTypeConfig, Market, Role, SpotStrategy
from atoll.fleet.planning.subnets import preview
from bench import sets
from bench.measure import Figures, Meter, fresh
from bench.report import Row, measured, skipped
from bench.sizes import Sizes
from bench.spotreplay import NOTICE_SECONDS, Policy, Replayed, TracedPool, replay

NAME = "spottraces"
TRACES = "spot-traces-rle.json"
PRICES = "spot-prices-2022-05-31-linux.tsv.gz"
UNITS_OF_ONE = 8

SPOT_ONLY = Policy("spot only")
SWITCHED = Policy("spot, to on-demand 20 min after launch", switch_minutes=20)
REPLACED = Policy("spot, on-demand while there is none", replaces=True)
POLICIES = (
    SPOT_ONLY,
    SWITCHED,
    Policy("the same, resizes end after 60 min", switch_minutes=20, suspend_minutes=60),
    Policy("half on demand, half spot", on_demand_share=0.5),
    REPLACED,
    Policy("the same, nodes serve after 5 min", replaces=True, boot_s=300.0),
)


@dataclass(frozen=True)
class Kind:
    """A kind of machine of the traces.

    Attributes:
        instance_type: whose prices are taken.
        family: kinds of one family serve one fleet.
        weight: its capacity units.
        on_demand_price: US dollars an hour in us-east-1 and us-west-2, from memory, 2022.
    """

    instance_type: str
    family: str
    weight: int
    on_demand_price: float


# The traces do not name the type of the CPU machines: a usual one of 64 vCPU stands in for them,
# and for Google's, too, of which there are no prices here.
KINDS = {
    "k80_1": Kind("p2.xlarge", "k80", 1, 0.90),
    "k80_8": Kind("p2.8xlarge", "k80", 8, 7.20),
    "v100_1": Kind("p3.2xlarge", "v100", 1, 3.06),
    "v100_8": Kind("p3.16xlarge", "v100", 8, 24.48),
    "intel_64": Kind("m5.16xlarge", "64 vCPU", 1, 3.072),
    "c3-88": Kind("m5.16xlarge", "88 vCPU", 1, 3.072),
}


@dataclass(frozen=True)
class Trace:
    """One trace, as a pool.

    Attributes:
        name: the file's.
        group: experiment, region and family: what one fleet could be made of.
        zone: where.
        target: capacity units that a fleet on it wants.
        pool: nodes over time.
        seconds: how long.
    """

    name: str
    group: str
    zone: str
    target: int
    pool: TracedPool
    seconds: float


def read_traces(path: str, prices: dict[tuple[str, str], float]) -> list[Trace]:
    """Read all traces; see the README beside them for the format."""
    found = json.loads(Path(path).read_text())["traces"]
    return [_trace(name, facts, prices) for name, facts in sorted(found.items())]


def _trace(name: str, facts: dict[str, Any], prices: dict[tuple[str, str], float]) -> Trace:
    experiment, _, file = name.rpartition("/")
    zone, _, tail = file.removesuffix(".json").partition("_")
    region, kind = zone.rstrip("abcdef").rstrip("-"), KINDS[tail]
    counts, ticks = zip(*facts["rle"], strict=True)
    most = max(counts)
    target = UNITS_OF_ONE if most == 1 else most
    nodes = target // kind.weight // most
    times = [ticked * facts["gap_seconds"] for ticked in accumulate(ticks, initial=0)]
    price = prices.get((region, kind.instance_type)) or _usual(prices, kind.instance_type)
    pool = TracedPool(
        tail,
        kind.weight,
        price,
        kind.on_demand_price,
        times[:-1],
        [count * nodes for count in counts],
    )
    return Trace(name, f"{experiment}/{region} {kind.family}", zone, target, pool, times[-1])


def read_prices(path: str) -> dict[tuple[str, str], float]:
    """Read the median spot price of each (region, type): how zones map to ids is not known."""
    regions = {"use1": "us-east-1", "use2": "us-east-2", "usw2": "us-west-2"}
    found = defaultdict(list)
    with gzip.open(path, "rt") as lines:
        for line in lines:
            zone, kind, price = line.split("\t")[:3] if "\t" in line else ("", "", "")
            if region := regions.get(re.sub(r"-az\d+$", "", zone)):
                found[region, kind].append(float(price))
    return {key: statistics.median(values) for key, values in found.items()}


def _usual(prices: dict[tuple[str, str], float], instance_type: str) -> float:
    return statistics.median(price for (_, kind), price in prices.items() if kind == instance_type)


def policies(traces: str, prices: str) -> Figures:
    """Replay each trace alone under each policy, whole."""
    there = read_traces(traces, read_prices(prices))
    with Meter() as meter:
        found = {
            policy.name: {trace.name: asdict(_alone(trace, policy)) for trace in there}
            for policy in POLICIES
        }
    return {"policies": found, **meter.figures}


def _alone(trace: Trace, policy: Policy) -> Replayed:
    strategy = SpotStrategy.PRICE_CAPACITY_OPTIMIZED
    return replay([trace.pool], trace.target, strategy, policy, start=0, end=trace.seconds)


def strategies(traces: str, prices: str, launches: int) -> Figures:
    """Replay each fleet with a choice under each strategy, launched at several times."""
    groups: dict[str, list[Trace]] = defaultdict(list)
    for trace in read_traces(traces, read_prices(prices)):
        groups[trace.group].append(trace)
    choices = {name: members for name, members in groups.items() if len(members) > 1}
    with Meter() as meter:
        found = [
            {"group": name, **facts}
            for name, members in choices.items()
            for launch in range(launches)
            for facts in _launched(members, (launch + 1) / (2 * launches))
        ]
    return {"launches": launches, "fleets": list(_averaged(found)), **meter.figures}


def _averaged(launched: Sequence[Figures]) -> Iterator[Figures]:
    """Average over the launches of a fleet in one place, under one strategy and policy."""
    keys = "group", "policy", "place", "strategy"
    found: dict[tuple[str, ...], list[Figures]] = defaultdict(list)
    for one in launched:
        found[tuple(one[key] for key in keys)].append(one)
    for names, ones in sorted(found.items()):
        yield {
            **dict(zip(keys, names, strict=True)),
            "zones": [one["zone"] for one in ones],
            "held": statistics.mean(one["held"] for one in ones),
            "cost": statistics.mean(one["cost"] for one in ones),
            "reclaimed": sum(one["reclaimed"] for one in ones),
        }


def _launched(members: Sequence[Trace], share: float) -> Iterator[dict[str, Any]]:
    """Launch at a share of the time and replay half of the whole time from there."""
    whole = min(trace.seconds for trace in members)
    start, end = share * whole, (share + 0.5) * whole
    target = members[0].target
    for strategy in SpotStrategy:
        zone = _zone(members, strategy, start)
        places = {
            "one zone": [trace.pool for trace in members if trace.zone == zone],
            "all zones": [
                replace(trace.pool, name=f"{trace.pool.name} {trace.zone}") for trace in members
            ],
        }
        for place, pools in places.items():
            for policy in (SWITCHED, REPLACED):
                done = replay(pools, target, strategy, policy, start=start, end=end)
                yield {
                    "place": place,
                    "strategy": strategy.value,
                    "policy": policy.name,
                    "zone": zone,
                    **asdict(done),
                }


def _zone(members: Sequence[Trace], strategy: SpotStrategy, now: float) -> str:
    """Choose the zone as a launch does; the pools of a zone are a subnet."""
    zones = sorted({trace.zone for trace in members})
    types = {trace.pool.name: trace.pool.weight for trace in members}
    fleet = FleetSpec(
        Role.TASK,
        "task",
        0,
        members[0].target,
        tuple(InstanceTypeConfig(name, weight) for name, weight in types.items()),
    )
    fleet = replace(fleet, spot=replace(fleet.spot, strategy=strategy))
    pools = [pool for trace in members for pool in _offered(trace, now)]
    subnets = [Subnet(zone, zone, "vpc", False, free_addresses=1000) for zone in zones]
    return preview(ClusterSpec("replay", "emr-7.10.0", (fleet,)), subnets, pools).subnet.id


def _offered(trace: Trace, now: float) -> tuple[Pool, Pool]:
    pool = trace.pool
    return (
        Pool(pool.name, Market.SPOT, trace.zone, pool.spot_price, pool.nodes(now), pool.score(now)),
        Pool(pool.name, Market.ON_DEMAND, trace.zone, pool.on_demand_price, None),
    )


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    traces, prices = sets.find(data, TRACES), sets.find(data, PRICES)
    if traces is None or prices is None:
        return {}, [skipped(NAME, "spot traces", f"DATA has no {TRACES} and {PRICES}")]
    paths = {"traces": str(traces), "prices": str(prices)}
    alone = fresh(policies, **paths)
    say(f"policies: {alone['cpu_s']:.0f} CPU-s")
    chosen = fresh(strategies, **paths, launches=sizes.replays)
    say(f"strategies: {chosen['cpu_s']:.0f} CPU-s")
    model = {
        "notice_s": NOTICE_SECONDS,
        "units_of_one": UNITS_OF_ONE,
        "policies": [asdict(policy) for policy in POLICIES],
    }
    rows = [*_policy_rows(alone["policies"]), *_strategy_rows(chosen["fleets"])]
    return {"model": model, "alone": alone, "chosen": chosen}, rows


def _policy_rows(found: dict[str, dict[str, Figures]]) -> Iterator[Row]:
    for policy, of_traces in found.items():
        held = [one["held"] for one in of_traces.values()]
        cost = [one["cost"] for one in of_traces.values()]
        is_goal = policy == REPLACED.name
        yield measured(
            NAME,
            f"{policy}: target held, mean of {len(held)} traces",
            statistics.mean(held),
            least=(None, 0.99) if is_goal else None,
            note=f"least {min(held):.3f}",
        )
        yield measured(
            NAME,
            f"{policy}: cost / on-demand",
            statistics.mean(cost),
            most=(None, 0.6) if is_goal else None,
            note=f"most {max(cost):.3f}",
        )


def _strategy_rows(fleets: Sequence[Figures]) -> Iterator[Row]:
    found = defaultdict(list)
    for one in fleets:
        found[one["policy"], one["place"], one["strategy"]].append(one)
    for (policy, place, strategy), ones in sorted(found.items()):
        held = statistics.mean(one["held"] for one in ones)
        cost = statistics.mean(one["cost"] for one in ones)
        taken = sum(one["reclaimed"] for one in ones)
        yield measured(
            NAME,
            f"{place}, {strategy}: target held ({policy})",
            held,
            note=f"cost {cost:.3f} of on-demand, {taken:,} nodes reclaimed",
        )
