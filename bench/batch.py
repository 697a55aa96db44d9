"""10,000 queries at once, against one by one and against libraries in RAM, at equal recall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import query, standing, systems
from bench.measure import fresh
from bench.report import Row, compared, skipped
from bench.sizes import Sizes

NAME = "batch"
# Bar and goal: queries per CPU-second of ours over theirs.
BOUNDS = {"faiss": (2, 5), "hnswlib": (None, 2), "usearch": (None, None)}
ALONE = "lance_rq"


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    present = [kind for kind in BOUNDS if not standing.absent(kind)]
    rows = [
        skipped(NAME, f"against {systems.BY_KIND[kind].label}", standing.absent(kind))
        for kind in BOUNDS
        if kind not in present
    ]

    def measure(kind: str, work: Any, settings: Any = None, **how: Any) -> Any:
        folder, _ = standing.built(scratch, kind, sizes, say)
        return fresh(work, kind=kind, folder=folder, made=made, settings=settings, **how)

    # Settings are chosen with as many queries as have a truth, then timed with all.
    tried = {
        kind: measure(kind, standing.at_once, count=sizes.judged) for kind in ["atoll", *present]
    }
    chosen = query.equal(tried)
    found = {}
    for kind, point in chosen.items():
        runs = [
            measure(kind, standing.at_once, [point.setting], count=sizes.many)[0]
            for _ in range(sizes.repeats)
        ]
        found[kind] = sorted(runs, key=lambda run: float(run["cpu_ms"]))[len(runs) // 2]
        say(f"{kind}: {1000 / found[kind]['cpu_ms']:,.0f} queries/CPU-s")
    alone = {
        "atoll": measure(
            "atoll", standing.one_by_one, [chosen["atoll"].setting], timed=sizes.single
        ),
        ALONE: measure(ALONE, standing.one_by_one, timed=sizes.single),
    }
    facts = {"set": made["name"], "queries": sizes.many, "tried": tried, "found": found}
    return facts | {"one_by_one": alone}, [*_rows(found, alone, chosen, sizes), *rows]


def _rows(found: Any, alone: Any, chosen: Any, sizes: Sizes) -> list[Row]:
    def rate(point: Any) -> float:
        return 1000 / float(point["cpu_ms"])

    many = f"{sizes.many:,} queries at once"
    ours = found["atoll"]
    lone = standing.cheapest(alone[ALONE], ours["recall"] - standing.SLACK)
    unit = "queries/CPU-s"
    rows = [
        compared(
            NAME,
            f"{many} against one by one through {systems.BY_KIND[ALONE].label}",
            rate(ours),
            1000 / lone.cpu_ms,
            unit,
            least=(30, 60),
            note=query.note_of(chosen | {ALONE: lone}, ALONE),
        ),
        compared(
            NAME, f"{many} against our own one by one", rate(ours), rate(alone["atoll"][0]), unit
        ),
    ]
    for kind, bounds in BOUNDS.items():
        if kind in found:
            what = f"{many} against {systems.BY_KIND[kind].label}"
            note = query.note_of(chosen, kind)
            theirs = rate(found[kind])
            rows.append(compared(NAME, what, rate(ours), theirs, unit, least=bounds, note=note))
    return rows
