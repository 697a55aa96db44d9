"""One warm query, and the table of peers: same vectors, same queries, equal recall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import standing, systems
from bench.measure import fresh
from bench.report import Row, compared, measured, skipped
from bench.sizes import Sizes
from bench.standing import SLACK, TARGET, Point, words

NAME = "query"
# Bar and goal against each: ours / theirs, CPU time of a query.
BOUNDS = {"lance_pq": (0.25, 0.1), "lance_rq": (0.25, 0.1), "faiss": (None, 1.0)}


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    points: dict[str, Any] = {}
    builds: dict[str, Any] = {}
    rows = []
    for kind, system in systems.BY_KIND.items():
        if why := standing.absent(kind):
            rows.append(skipped(NAME, f"peer {system.label}", why))
            continue
        folder, builds[kind] = standing.built(scratch, kind, sizes, say)
        points[kind] = fresh(
            standing.one_by_one,
            kind=kind,
            folder=folder,
            made=made,
            timed=sizes.single,
            settings=None,
        )
        say(f"{system.label}: measured in {len(points[kind])} settings")
    chosen = equal(points)
    facts = {"set": made["name"], "target": TARGET, "builds": builds, "points": points}
    return facts, [*_against(chosen, made["rows"]), *_peers(chosen, builds), *rows]


def equal(points: dict[str, list[dict[str, Any]]]) -> dict[str, Point]:
    """Choose each system's setting: ours by the target, the others by what ours then has."""
    ours = standing.cheapest(points["atoll"], TARGET)
    others = {
        kind: standing.cheapest(each, ours.recall - SLACK)
        for kind, each in points.items()
        if kind != "atoll"
    }
    return {"atoll": ours, **others}


def note_of(chosen: dict[str, Point], kind: str) -> str:
    """Say both settings, and where the other falls short of an equal recall."""
    ours, theirs = chosen["atoll"], chosen[kind]
    short = "" if theirs.recall >= ours.recall - SLACK else " (its most: NOT equal)"
    return f"ours {words('atoll', ours)}; theirs {words(kind, theirs)}{short}"


def _against(chosen: dict[str, Point], count: int) -> list[Row]:
    return [
        compared(
            NAME,
            f"one warm query, {count:,} rows, against {systems.BY_KIND[kind].label}",
            chosen["atoll"].cpu_ms,
            chosen[kind].cpu_ms,
            "CPU ms",
            most=bounds,
            note=note_of(chosen, kind),
        )
        for kind, bounds in BOUNDS.items()
        if kind in chosen
    ]


def _peers(chosen: dict[str, Point], builds: dict[str, Any]) -> list[Row]:
    """One row for each system: build rate, time, queries a second and core, bytes, memory."""
    rows = []
    for kind, point in chosen.items():
        figures = builds[kind]
        per_vector = figures["bytes"] / figures["rows"]
        note = (
            f"built {figures['rows'] / build_cpu_s(figures):,.0f} vectors/CPU-s,"
            f" p50 {point.p50_ms:.2f} ms, {point.cpu_ms:.3f} CPU ms, {per_vector:,.0f} B/vector,"
            f" {words(kind, point)}"
        )
        what = f"peer {systems.BY_KIND[kind].label}"
        rows.append(measured(NAME, what, 1000 / point.cpu_ms, "queries/CPU-s", note=note))
    return rows


def build_cpu_s(figures: dict[str, Any]) -> float:
    """Sum up what a build cost, the table included where there is one."""
    return float(figures["cpu_s"] + figures.get("ingest_reader", {"cpu_s": 0})["cpu_s"])
