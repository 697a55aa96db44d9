"""What several benches need and a run makes once: the clustered set, its truth, every index.

Also the measurements they share: CPU time by setting of one query at a time, or of many at once,
and the choice of each system's cheapest setting at equal recall.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench import sets, systems
from bench.measure import Figures, fresh, size_bytes
from bench.sizes import Sizes

K = 10
# The recall@10 that ours must have; a peer's must be within SLACK of what ours then has.
TARGET, SLACK = 0.95, 0.002
# Neighbours in the truth, so that ties at rank k count.
DEPTH = 30
ROUNDING = 1e-5
PASSES = 2


@dataclass(frozen=True)
class Point:
    """What a system does in one setting: recall@10, CPU milliseconds a query, median wall."""

    setting: tuple[int, ...]
    recall: float
    cpu_ms: float
    p50_ms: float = 0.0


def clustered(scratch: Path, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    """Make the set once a run: name, paths, queries, rows, truth."""
    folder = scratch.parent / "shared"
    facts = folder / "set.json"
    if not facts.exists():
        folder.mkdir(exist_ok=True)
        say(f"making {sizes.clustered_rows:,} clustered vectors and their true neighbours")
        made = fresh(
            sets.write_clustered,
            folder=str(folder),
            files=sizes.clustered_files,
            rows=sizes.clustered_rows,
            queries=sizes.many,
        )
        made["truth"] = str(folder / "truth.npz")
        fresh(
            sets.truth,
            paths=made["paths"],
            queries=made["queries"],
            k=DEPTH,
            answer=made["truth"],
            most=sizes.judged,
        )
        facts.write_text(json.dumps(made))
    found: dict[str, Any] = json.loads(facts.read_text())
    return found


def absent(kind: str) -> str:
    """Say what is missing for a system; empty where nothing is."""
    package = systems.PACKAGES.get(kind)
    if package is None or find_spec(package):
        return ""
    return f"{package} is not installed; `make bench` installs it"


def built(
    scratch: Path, kind: str, sizes: Sizes, say: Callable[[str], None]
) -> tuple[str, Figures]:
    """Build a system's index of the set once a run: its folder, and what building cost."""
    made = clustered(scratch, sizes, say)
    folder = scratch.parent / "shared" / kind
    facts = folder / "built.json"
    if not facts.exists():
        folder.mkdir()
        figures = fresh(build, kind=kind, paths=made["paths"], folder=str(folder))
        say(f"{kind} built: {figures['cpu_s']:.1f} CPU-s, {figures['peak_rss_mib']:.0f} MiB")
        facts.write_text(json.dumps(figures))
    return str(folder), json.loads(facts.read_text())


def build(kind: str, paths: list[str], folder: str) -> Figures:
    """Build; in a fresh process."""
    figures: Figures = systems.BY_KIND[kind].build(paths, folder)
    return figures | {"bytes": size_bytes(folder)}


def one_by_one(
    kind: str, folder: str, made: dict[str, Any], timed: int, settings: list[list[int]] | None
) -> list[dict[str, Any]]:
    """Measure warm single queries in every setting; in a fresh process."""
    system = systems.BY_KIND[kind](folder)
    queries = np.load(made["queries"])
    judged = queries[:timed]
    true = Truth(made["truth"])
    points = []
    for setting in map(tuple, settings or system.settings):
        # The first pass warms caches and is the one that recall is taken of.
        found = [system.names(system.search(query[None], K, setting), 1)[0] for query in judged]
        cpu, wall = [], []
        for _ in range(PASSES):
            start = time.process_time()
            for query in judged:
                began = time.perf_counter()
                system.search(query[None], K, setting)
                wall.append(time.perf_counter() - began)
            cpu.append((time.process_time() - start) / len(judged))
        points.append(_point(setting, true.recall(found, K), np.median(cpu), np.median(wall)))
    return points


def at_once(
    kind: str, folder: str, made: dict[str, Any], count: int, settings: list[list[int]] | None
) -> list[dict[str, Any]]:
    """Measure `count` queries in one call, in every setting; in a fresh process."""
    system = systems.BY_KIND[kind](folder)
    queries = np.load(made["queries"])[:count]
    true = Truth(made["truth"])
    points = []
    for setting in map(tuple, settings or system.settings):
        system.search(queries[:K], K, setting)
        start, began = time.process_time(), time.perf_counter()
        answer = system.search(queries, K, setting)
        cpu, wall = time.process_time() - start, time.perf_counter() - began
        found = system.names(answer, count)
        points.append(_point(setting, true.recall(found, K), cpu / count, wall / count))
    return points


def _point(setting: tuple[int, ...], recall: float, cpu_s: Any, wall_s: Any) -> dict[str, Any]:
    return {
        "setting": setting,
        "recall": recall,
        "cpu_ms": 1000 * float(cpu_s),
        "p50_ms": 1000 * float(wall_s),
    }


def cheapest(points: Sequence[dict[str, Any]], recall: float) -> Point:
    """Choose the cheapest setting of at least that recall, or else the one of most recall."""
    enough = [point for point in points if point["recall"] >= recall]
    best = (
        min(enough, key=lambda point: point["cpu_ms"])
        if enough
        else max(points, key=lambda point: point["recall"])
    )
    return Point(tuple(best["setting"]), best["recall"], best["cpu_ms"], best["p50_ms"])


def cores() -> int:
    return len(os.sched_getaffinity(0))


def words(kind: str, point: Point) -> str:
    """Say which setting, and what recall it has."""
    knobs = zip(systems.BY_KIND[kind].knobs, point.setting, strict=True)
    said = " ".join(f"{name} {value}" for name, value in knobs)
    return f"{said} recall@{K} {point.recall:.4f}"


class Truth:
    """The true neighbours of the first queries of a set."""

    def __init__(self, path: str) -> None:
        found = np.load(path)
        self.ids, self.distances = found["ids"], found["distances"]

    def recall(self, answers: Sequence[Sequence[str]], k: int) -> float:
        """Measure the mean share of the true k nearest that was found, ties by distance.

        Queries beyond those whose truth is known are left out.
        """
        shares = []
        for found, ids, distances in zip(answers, self.ids, self.distances, strict=False):
            is_near = distances <= distances[k - 1] + ROUNDING
            shares.append(min(k, len(set(found) & set(ids[is_near]))) / k)
        return float(np.mean(shares))
