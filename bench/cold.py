"""What a cold query reads: a fresh process, from the manifest to the ids, every request counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import standing, systems
from bench.measure import MIB, Figures, fresh
from bench.report import Row, measured
from bench.sizes import Sizes

NAME = "cold"
DEEP_K = 100
MOST_MB = 8


def ask_ours(folder: str, queries: str, number: int, k: int, setting: list[int]) -> Figures:
    """Count what one query reads of ours, choosing requests as for an object store."""
    import atoll
    import atoll.storage
    from atoll.storage import count_usage
    from atoll.vectors import byteranges

    # The collection lies on this disk, where a request costs nothing and none would be saved.
    atoll.storage.LOCAL_GAP_BYTES = atoll.storage.REMOTE_GAP_BYTES
    byteranges.READS_SINGLY = False
    asked = np.load(queries, mmap_mode="r")[number : number + 1]
    with count_usage() as usage:
        collection = atoll.open(f"{folder}/collection")
        table = collection.search(np.array(asked), k, nprobes=setting[0], refine_factor=setting[1])
    names = systems.names_of(table, 1)
    return {"requests": usage.reads, "bytes": usage.bytes_read, "names": names[0]}


def ask_lance(folder: str, queries: str, number: int, k: int, setting: list[int]) -> Figures:
    """Count what one query reads of Lance's IVF_PQ table, opening it included."""
    system = systems.LancePq(folder)
    opened = system.table.io_stats_incremental()
    asked = np.load(queries, mmap_mode="r")[number]
    names = system.nearest(np.array(asked), k, tuple(setting))["id"].to_pylist()
    read = system.table.io_stats_incremental()
    return {
        "requests": opened.read_iops + read.read_iops,
        "bytes": opened.read_bytes + read.read_bytes,
        "names": names,
    }


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    true = standing.Truth(made["truth"])
    ours, built = standing.built(scratch, "atoll", sizes, say)
    theirs, _ = standing.built(scratch, "lance_pq", sizes, say)
    points = fresh(
        standing.at_once, kind="atoll", folder=ours, made=made, count=sizes.judged, settings=None
    )
    setting = fewest_probes(points)
    say(f"ours reaches recall@{standing.K} {standing.TARGET} with nprobes/refine {setting}")
    rows, facts = [], {"set": made["name"], "setting": setting, "runs": {}}
    for k in (standing.K, DEEP_K):
        runs = {
            "atoll": _runs(ask_ours, ours, made, sizes, k, setting),
            "lance": _runs(ask_lance, theirs, made, sizes, k, list(systems.DEFAULT)),
        }
        facts["runs"][k] = runs
        probes = min(setting[0], built["num_partitions"])
        rows += _rows(runs, k, probes, true, made["rows"])
        say(f"k = {k}: " + ", ".join(f"{name} {_worst(each)}" for name, each in runs.items()))
    return facts, rows


def fewest_probes(points: list[dict[str, Any]]) -> list[int]:
    """Choose the setting of enough recall that reads least: fewest probes, then candidates."""
    enough = [point["setting"] for point in points if point["recall"] >= standing.TARGET]
    most = max(points, key=lambda point: float(point["recall"]))["setting"]
    return list(min(enough, default=most))


def _runs(
    ask: Callable[..., Figures],
    folder: str,
    made: dict[str, Any],
    sizes: Sizes,
    k: int,
    setting: list[int],
) -> list[Figures]:
    one = partial(fresh, ask, folder=folder, queries=made["queries"], k=k, setting=setting)
    return [one(number=number) for number in range(sizes.cold)]


def _worst(runs: list[Figures]) -> tuple[int, float]:
    most = max(run["requests"] for run in runs), max(run["bytes"] for run in runs)
    return most[0], round(most[1] / MIB, 2)


def _rows(runs: dict[str, list[Figures]], k: int, probes: int, true: Any, count: int) -> list[Row]:
    bounds = (40, 12) if k == standing.K else (3 * probes + 30, 3 * probes + 8)
    reads, _ = _worst(runs["atoll"])
    size = max(run["bytes"] for run in runs["atoll"]) / 1e6
    lance, lance_mib = _worst(runs["lance"])
    note = f"most of {len(runs['atoll'])} queries; nprobes {probes}; lance IVF_PQ"
    if k == standing.K:
        note = f"recall@{k} {true.recall([run['names'] for run in runs['atoll']], k):.3f}, {note}"
    what = f"cold query, k = {k}, {count:,} rows"
    return [
        measured(
            NAME,
            f"{what}: reads",
            reads,
            most=bounds,
            note=f"{note} {lance} reads",
        ),
        measured(NAME, f"{what}: bytes", size, "MB", most=MOST_MB, note=f"{note} {lance_mib} MiB"),
    ]
