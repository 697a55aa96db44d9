"""Collections in an object store, 20 ms away: cold, warm and batch searches, bills, functions.

The store is Ceph on this machine, its daemons' memory its disk. A proxy before it counts requests
by itself and delays each. What is measured, in modules of their own:

    distant         what single processes ask
    remotebills     what the estimate says of that
    remotesteps     steps and executions of a run, time against k
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import distant, remotebills, remotesteps, servers, standing
from bench.cold import fewest_probes
from bench.measure import Figures, fresh
from bench.report import Row, compared, measured, skipped
from bench.sizes import Sizes
from bench.world import World, opened

NAME = "remote"
# Requests and milliseconds of a bucket of 100,000 rows: the goals of a cold query.
MOST_REQUESTS, MOST_MS = 12, 300
WARM_BEFORE, WARM_COUNT = 50, 20
# Longer than the queries of the bench take, so that none of them looks for a newer version.
CONSISTENCY_S = 600.0


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    if why := servers.absent():
        return {}, [skipped(NAME, "searches of an object store", why)]
    facts: dict[str, Any] = {"delay_s": World.DELAY_S, "load": []}
    rows: list[Row] = []
    with opened(scratch, sizes, say) as world:
        world.setting = _setting(world)
        facts |= {"set": world.made["name"], "setting": world.setting}
        parts = (_cold, _warm, _batch, remotebills.measure, remotesteps.measure)
        for part in parts:
            facts["load"].append(round(os.getloadavg()[0], 2))
            found, more = part(world)
            facts |= found
            rows += more
            for row in more:
                say(" | ".join(filter(None, row.cells())))
    return facts, rows


def _setting(world: World) -> list[int]:
    """Choose the setting that reads least of those with enough recall; asserted on many queries."""
    points = fresh(
        standing.at_once, kind="atoll", folder=str(world.here / "far"), made=world.made,
        count=world.sizes.judged, settings=None,
    )  # fmt: skip
    setting = fewest_probes(points)
    recall = next(point["recall"] for point in points if point["setting"] == setting)
    enough = recall >= standing.TARGET
    assert enough or world.sizes.far_rows < standing.K * 1000, "no setting has the recall wanted"
    world.say(f"recall@{standing.K} {recall:.4f} with nprobes/refine {setting}")
    world.recall = recall
    world.partitions = fresh(distant.partitions, uri=str(world.here / "far" / "collection"))
    return setting


# -- cold -----------------------------------------------------------------------------------------


def _cold(world: World) -> tuple[dict[str, Any], list[Row]]:
    """Ask queries of processes that have just started; the proxy counts."""
    sizes, queries = world.sizes, world.made["queries"]
    found: dict[str, list[Figures]] = {}
    for number in range(sizes.cold):
        asked = {"store": world.store, "queries": queries, "number": number, "k": standing.K}
        found.setdefault("atoll", []).append(
            world.counted(
                distant.cold,
                uri=world.url("far"),
                small=world.small,
                setting=world.setting,
                **asked,
            )
        )
        for name, setting in (("lance", (20, None)), ("lance refined", (20, 5))):
            found.setdefault(name, []).append(
                world.counted(
                    distant.cold_lance,
                    uri=world.url("lance/bucket.lance"),
                    setting=setting,
                    **asked,
                )
            )
    for figures in found["atoll"]:
        # Counted where they are asked for, and by the proxy.
        assert figures["requests"] == figures["seen"], figures
    nprobes, refine = world.setting
    steps = fresh(
        distant.steps, store=world.store, uri=world.url("far"), results=world.url("runs"),
        small=world.small, queries=queries, numbers=list(range(sizes.cold)), k=standing.K,
        nprobes=nprobes, refine=refine,
    )  # fmt: skip
    mapped = [one for each in steps for one in each["search"]]
    return {"cold": found, "map_steps": mapped}, _cold_rows(world, found, mapped)


def _cold_rows(world: World, found: dict[str, list[Figures]], mapped: list[Figures]) -> list[Row]:
    buckets = world.sizes.far_buckets
    ours = found["atoll"]
    what = f"cold query, k = {standing.K}, a bucket of {world.sizes.far_rows:,}"
    how = f"recall@{standing.K} {world.recall:.3f}, nprobes/refine {world.words}"
    whole = f"open and search {buckets} buckets, divided by {buckets}"
    rows = [
        measured(
            NAME, f"{what}, {whole}: requests", max(f["seen"] for f in ours) / buckets,
            most=(None, MOST_REQUESTS), note=f"most of {len(ours)} queries; {how}",
        ),
        measured(
            NAME, f"{what}, {whole}: bytes", max(f["bytes_out"] for f in ours) / buckets / 1e6,
            "MB",
        ),
        measured(
            NAME, f"{what}, {whole}: time", 1000 * median(f["seconds"] for f in ours) / buckets,
            "ms", most=(None, MOST_MS), note="median",
        ),
        measured(
            NAME, f"{what}, the map step alone: requests", max(f["requests"] for f in mapped),
            most=(None, MOST_REQUESTS), note=f"most of {len(mapped)}, its writes included; {how}",
        ),
        measured(
            NAME, f"{what}, the map step alone: bytes", max(f["bytes_in"] for f in mapped) / 1e6,
            "MB",
        ),
        measured(
            NAME, f"{what}, the map step alone: time",
            1000 * median(f["seconds"] for f in mapped), "ms", most=(None, MOST_MS),
            note=f"median; the slowest {1000 * max(f['seconds'] for f in mapped):.0f} ms",
        ),
    ]  # fmt: skip
    for name, words in (("lance", "no refining"), ("lance refined", "refine factor 5")):
        theirs = found[name]
        size = max(f["bytes_out"] for f in theirs) / 1e6
        rows.append(
            compared(
                NAME, f"{what}, requests against the post's call, nprobes 20, {words}",
                max(f["seen"] for f in ours) / buckets, max(f["seen"] for f in theirs),
                note=f"it reads {size:.2f} MB in "
                f"{1000 * median(f['seconds'] for f in theirs):.0f} ms",
            )
        )  # fmt: skip
    return rows


# -- warm -----------------------------------------------------------------------------------------


def _warm(world: World) -> tuple[dict[str, Any], list[Row]]:
    """Ask new queries of a collection that is warm, far away and on this disk.

    Far away in two ways: with all codes kept and every search looking for a newer version, as by
    default; and with all there is kept, looking now and then.
    """
    given = {
        "queries": world.made["queries"], "k": standing.K, "setting": world.setting,
        "before": min(WARM_BEFORE, world.sizes.judged // 2),
        "count": min(WARM_COUNT, world.sizes.judged // 2),
    }  # fmt: skip
    found = {}
    local = {"store": None, "uri": str(world.here / "far" / "collection"), "cache": ""}
    far = {"store": world.store, "uri": world.url("far")}
    found["disk"] = fresh(distant.warm, **local, **given)
    kept = {name: str(world.here / f"kept-{name}") for name in ("far", "near", "all")}
    filled = {}
    for name, cache in kept.items():
        filled[name] = fresh(distant.fill, cache=cache, vectors=name == "all", **far)
    found["far"] = fresh(distant.warm, cache=kept["far"], **far, **given)
    with world.at_once():
        found["near"] = fresh(distant.warm, cache=kept["near"], **far, **given)
    found["all"] = fresh(
        distant.warm, cache=kept["all"], consistency_s=CONSISTENCY_S, **far, **given
    )
    assert found["all"]["requests"] == 0, found["all"]
    return {"warm": found, "filled": filled}, _warm_rows(world, found)


def _warm_rows(world: World, found: dict[str, Figures]) -> list[Row]:
    what = f"warm query not asked before, {world.made['rows']:,} rows"
    away = f"{1000 * world.DELAY_S:.0f} ms away"
    looking = "codes kept by `atoll warm --codes`, each search looks for a newer version"
    resting = f"`atoll warm --vectors`, a look every {CONSISTENCY_S:.0f} s"
    return [
        compared(
            NAME, f"{what}: p50, {words}, against a local folder",
            1000 * found[name]["p50_s"], 1000 * found["disk"]["p50_s"], "ms", most=bound,
            note=f"{found[name]['requests']:.0f} requests a query; {how}",
        )
        for name, words, how, bound in (
            ("all", f"{away}, all kept", resting, 2),
            ("far", f"{away}, codes kept", looking, None),
            ("near", "no delay, codes kept", looking, None),
        )
    ]  # fmt: skip


# -- batch ----------------------------------------------------------------------------------------


def _batch(world: World) -> tuple[dict[str, Any], list[Row]]:
    """Have all queries answered by `atoll batch-search`; beside it, one by one, warm."""
    nprobes, refine = world.setting
    home = world.here / "batch"
    home.mkdir()
    words = ("-k", standing.K, "--nprobes", nprobes, "--refine-factor", refine)
    environment = servers.Store(**world.store).environment(home) | {"ATOLL_SCRATCH": str(home)}
    count = world.sizes.many
    _, _, seconds = servers.command(
        "batch-search", world.url("far"), world.made["queries"], *words, "--workers", 2,
        "--format", "parquet", "-o", home / "out", "-q", environment=environment,
    )  # fmt: skip
    summary = world.read_json(home / "out" / "summary.json")
    works = {work["step"]: work for work in summary["works"]}
    # Two workers: half of what their steps took by the clock, one after the other.
    inside = works["plan"]["seconds"] + works["search"]["seconds"] / 2 + works["refine"]["seconds"]
    names = world.names_of_parquet(home / "out" / "hits.parquet", world.sizes.judged)
    recall = standing.Truth(world.made["truth"]).recall(names, standing.K)
    assert abs(recall - world.recall) < 0.01, (recall, world.recall)
    alone = fresh(
        distant.warm, store=world.store, uri=world.url("far"), cache=str(world.here / "kept-far"),
        queries=world.made["queries"], before=0, count=min(world.sizes.single, 100),
        k=standing.K, setting=world.setting,
    )  # fmt: skip
    lone = 1 / float(np.mean(alone["seconds"]))
    facts = {"seconds": seconds, "works": summary["works"], "one_by_one": alone}
    what = f"{count:,} queries by batch-search, against one by one of a warm process"
    note = f"{seconds:.1f} s in all, recall@{standing.K} {recall:.3f}; one by one {1 / lone:.3f} s"
    rows = [
        compared(
            NAME, f"{what}: start and copies counted", count / seconds, lone, "queries/s", note=note
        ),
        compared(
            NAME, f"{what}: searching, merging, writing only", count / inside, lone, "queries/s",
            note="by the steps' own clocks",
        ),
    ]  # fmt: skip
    return {"batch": facts}, rows
