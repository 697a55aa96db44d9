"""The allocator's laws over a million random allocations: how many are broken."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from atoll.fleet.capacity import Pool
from atoll.fleet.model import InstanceTypeConfig, Market, OnDemandStrategy, SpotStrategy
from atoll.fleet.planning.allocate import Allocation, allocate
from atoll.testing.allocation_laws import (
    CENT,
    Case,
    least_price,
    order_violations,
    random_case,
    spot_violations,
    violations,
)
from bench.measure import Figures, Meter, fresh
from bench.report import Row, measured
from bench.sizes import Sizes

NAME = "allocator"
OF_ONE_SEED = len(SpotStrategy) + len(OnDemandStrategy)
EXAMPLES = 5
TIMED_CALLS = 300
Broken = Iterator[str]


def check(allocations: int) -> Figures:
    """Allocate random cases with every strategy and name the laws that are broken."""
    broken: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    seeds = -(-allocations // OF_ONE_SEED)
    with Meter() as meter:
        for seed in range(seeds):
            for law in _broken(seed):
                broken[law] += 1
                if len(examples) < EXAMPLES:
                    examples.append({"law": law, "seed": seed})
    done = seeds * OF_ONE_SEED
    return {"allocations": done, "broken": dict(broken), "examples": examples, **meter.figures}


def _broken(seed: int) -> Broken:
    spot, usual = random_case(seed, Market.SPOT), random_case(seed, Market.ON_DEMAND)
    found = {strategy: _allocated(spot, strategy) for strategy in SpotStrategy}
    yield from spot_violations(spot, found)
    usually = {strategy: _allocated(usual, strategy) for strategy in OnDemandStrategy}
    for case, allocations in ((spot, found), (usual, usually)):
        for strategy, allocation in allocations.items():
            yield from violations(case, allocation)
            yield from order_violations(case, strategy, allocation)


def _allocated(case: Case, strategy: SpotStrategy | OnDemandStrategy) -> Allocation:
    return allocate(case.units, case.types, case.pools, market=case.market, strategy=strategy)


def against_optimum(cases: int) -> Figures:
    """Compare lowest-price with the best of all choices, in cases small enough to try them all."""
    ratios = []
    with Meter() as meter:
        for seed in range(cases):
            case = random_case(seed, Market.ON_DEMAND, most_types=3, most_units=12)
            found = _allocated(case, OnDemandStrategy.LOWEST_PRICE)
            best = least_price(case)
            if best and not found.missing_units:
                ratios.append(found.price_per_hour / best)
    return {
        "cases": len(ratios),
        "optimal": sum(ratio <= 1 + CENT for ratio in ratios) / len(ratios),
        "mean": sum(ratios) / len(ratios),
        "worst": max(ratios),
        **meter.figures,
    }


def speed() -> Figures:
    """Measure one call for 500 units of 30 types, by strategy, in microseconds of CPU."""
    draw = random.Random(1)
    types = [InstanceTypeConfig(f"t{n}", draw.choice((1, 2, 4, 8))) for n in range(30)]
    pools = [
        Pool(
            one.instance_type,
            market,
            "subnet-1",
            price,
            draw.choice((None, 3, 10)),
            draw.randint(1, 9),
        )
        for one in types
        for market, price in ((Market.ON_DEMAND, 1.0), (Market.SPOT, draw.random()))
    ]
    case, figures = Case(500, types, pools, Market.SPOT), {}
    for strategy in SpotStrategy:
        with Meter() as meter:
            for _ in range(TIMED_CALLS):
                _allocated(case, strategy)
        figures[strategy.value] = round(meter.figures["cpu_s"] / TIMED_CALLS * 1e6)
    return figures


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    laws = fresh(check, allocations=sizes.allocations)
    broken = sum(laws["broken"].values())
    say(f"{laws['allocations']:,} allocations: {broken} laws broken, {laws['cpu_s']:.0f} CPU-s")
    best = fresh(against_optimum, cases=sizes.optima)
    calls = fresh(speed)
    rows = [
        measured(NAME, f"laws broken in {laws['allocations']:,} allocations", broken, most=(0, 0)),
        measured(
            NAME,
            "lowest-price, most ever paid of the least possible",
            best["worst"],
            "x",
            most=(2, None),
            note=f"least in {best['optimal']:.1%} of {best['cases']:,}; mean {best['mean']:.4f}",
        ),
        measured(NAME, "slowest strategy, 500 units of 30 types", max(calls.values()), "us"),
    ]
    return {"laws": laws, "against_optimum": best, "microseconds": calls}, rows
