"""Runs in steps: executed by a state machine, wide ones, and their time against k."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from bench import distant, servers, standing
from bench.measure import Figures, fresh
from bench.report import Row, compared, measured
from bench.world import World

NAME = "remote"
CONCURRENCY = 8
REFINE = 5
WIDE_QUERIES = CURVE_QUERIES = 3
OF_BUCKETS = ("search", "measure")
MOST_MB, MOST_RATIO = 2, 2


def measure(world: World) -> tuple[dict[str, Any], list[Row]]:
    """Measure executions of the state machine, wide runs, and time against k."""
    from atoll.deploy.render import SearchStack, render

    home = world.here / "functions"
    home.mkdir()
    with servers.ministack_server() as aws:
        template = render(SearchStack(world.bucket, image=servers.IMAGE))
        stack = servers.deployed(
            aws, servers.Store(**world.store), template, home,
            concurrency=CONCURRENCY, disk_cache=False,
        )  # fmt: skip
        world.say("the stack is there")
        executed, rows = _executions(world, stack)
        wide, more = _wide(world, stack)
    curve, last = _curves(world)
    return {"executions": executed, "wide": wide, "curve": curve}, [*rows, *more, *last]


# -- executions -----------------------------------------------------------------------------------


def _executions(world: World, stack: Any) -> tuple[dict[str, Any], list[Row]]:
    nprobes, refine = world.setting
    found, rows = {}, []
    for name in ("far", "many"):
        runs = [
            _executed(world, stack, name, number, standing.K, nprobes, refine)
            for number in range(world.sizes.executions)
        ]
        found[name] = runs
        buckets, count = _buckets(world, name)
        rows.append(
            measured(
                NAME, f"state machine, {buckets} buckets of {count:,}, k = {standing.K}: p50",
                median(run["seconds"] for run in runs), "s",
                note=f"of {len(runs)} executions, every function a process that starts, "
                f"{CONCURRENCY} at once; {_by_step(runs)}",
            )
        )  # fmt: skip
    return found, rows


def _buckets(world: World, name: str) -> tuple[int, int]:
    sizes = world.sizes
    return {
        "far": (sizes.far_buckets, sizes.far_rows), "many": (sizes.many_buckets, sizes.many_rows)
    }[name]  # fmt: skip


def _executed(
    world: World, stack: Any, name: str, number: int, k: int, nprobes: int | None, refine: int
) -> Figures:
    """Have one query carried out; seconds from the start of the execution to its end."""
    import atoll
    from atoll.vectors.options import search_options

    collection = atoll.open(world.url(name), settings=distant.settings_of(world.store))
    asked = np.array(np.load(world.made["queries"], mmap_mode="r")[number : number + 1])
    options = search_options(k=k, nprobes=nprobes, refine_factor=refine)
    run = collection.begin_run(world.url(f"runs/{uuid.uuid4().hex}"), asked, options)
    began = time.perf_counter()
    stack.result(run.storage.url)
    seconds = time.perf_counter() - began
    summary = run.summary()
    assert summary is not None, "refining writes it"
    assert not summary["failed_buckets"], summary
    world.say(f"{name}, k = {k:,}: executed in {seconds:.1f} s")
    return {"seconds": seconds, "works": summary["works"]}


def _by_step(runs: Sequence[Figures]) -> str:
    """Tell what steps took by their own clocks, the longest of each kind."""
    told = []
    for number, work in enumerate(runs[0]["works"]):
        longest = median(run["works"][number]["longest_s"] for run in runs)
        told.append(f"{work['step']} {longest:.2f} s")
    return "by the steps' own clocks " + ", ".join(told)


# -- 50,000 neighbours ----------------------------------------------------------------------------


def _wide(world: World, stack: Any) -> tuple[dict[str, Any], list[Row]]:
    """Ask for 50,000 and for 1,000 neighbours, as far as steps go and as a whole."""
    most = world.sizes.wide_k
    few = most // 50
    numbers = list(range(WIDE_QUERIES))
    true = fresh(
        distant.exact, uri=str(world.here / "far" / "collection"), numbers=numbers,
        queries=world.made["queries"], k=most,
    )  # fmt: skip
    found: dict[str, Any] = {"few": few, "most": most}
    # So many are found in few partitions, but not the nearest: only all of them hold a recall.
    for name, k, nprobes, refine in (
        ("few", few, None, REFINE), ("default", most, None, REFINE),
        ("whole", most, world.partitions, REFINE), ("unrefined", most, world.partitions, 1),
    ):  # fmt: skip
        runs = _in_steps(world, "far", numbers, k, refine, nprobes)
        recall = np.mean(
            [len({*run.pop("names")} & {*names[:k]}) / k
             for run, names in zip(runs, true, strict=True)]
        )  # fmt: skip
        found[f"{name} runs"], found[f"{name} recall"] = runs, float(recall)
    for name, k, nprobes in (("few", few, None), ("whole", most, world.partitions)):
        found[f"{name} executions"] = [
            _executed(world, stack, "far", number, k, nprobes, REFINE)
            for number in range(min(2, world.sizes.executions))
        ]
    return found, _wide_rows(found, world.sizes.far_buckets)


def _in_steps(
    world: World, name: str, numbers: list[int], k: int, refine: int, nprobes: int | None = None
) -> list[Figures]:
    runs: list[Figures] = fresh(
        distant.steps, store=world.store, uri=world.url(name), results=world.url("runs"),
        small=world.small, queries=world.made["queries"], numbers=numbers, k=k,
        nprobes=nprobes, refine=refine,
    )  # fmt: skip
    return runs


def _seconds(run: Figures) -> float:
    """How long a run takes whose functions all start at once."""
    slowest = [max((one["seconds"] for one in run[each]), default=0) for each in OF_BUCKETS]
    return float(run["plan"]["seconds"] + sum(slowest) + run["refine"]["seconds"])


def _wide_rows(found: dict[str, Any], buckets: int) -> list[Row]:
    few, most = found["few"], found["most"]
    what = f"k = {most:,}"
    against = f"{what} against {few:,}, {buckets} buckets"
    part = max(max(run["parts"]) for run in found["whole runs"]) / 1e6
    rows = [
        measured(
            NAME, f"{what}: a bucket returns", part, "MB", most=MOST_MB,
            note="every partition probed; the most, over 3 queries",
        )
    ]  # fmt: skip
    narrow = median(map(_seconds, found["few runs"]))
    for name, words in (
        ("whole", f"every partition probed, refine factor {REFINE}"),
        ("unrefined", "every partition probed, refine factor 1"),
        ("default", "default settings"),
    ):
        runs = found[f"{name} runs"]
        read = [sum(one["bytes_in"] for one in [*run["measure"], run["refine"]]) for run in runs]
        slowest = [max((one["seconds"] for one in run["measure"]), default=0) for run in runs]
        rows.append(
            compared(
                NAME, f"{against}: plan, slowest steps of a bucket and refine, {words}",
                median(map(_seconds, runs)), narrow, "s", most=MOST_RATIO,
                note=f"recall {found[f'{name} recall']:.3f} against "
                f"{found['few recall']:.3f}; measure and refine read {median(read) / 1e6:.0f} MB; "
                f"the slowest measure takes {median(slowest):.1f} s, refine "
                f"{median(run['refine']['seconds'] for run in runs):.1f} s",
            )
        )  # fmt: skip
    walls = [
        median(run["seconds"] for run in found[f"{name} executions"]) for name in ("whole", "few")
    ]
    rows.append(
        compared(
            NAME, f"{against}: wall of the execution, every partition probed", *walls, "s",
            most=MOST_RATIO, note="most of it starts processes on two cores",
        )
    )  # fmt: skip
    return rows


# -- time against k -------------------------------------------------------------------------------


def _curves(world: World) -> tuple[dict[str, Any], list[Row]]:
    """Measure runs of one bucket and of many at several k; estimate the same."""
    sizes = world.sizes
    found: dict[str, Any] = {"ks": sizes.curve_ks, "rows": sizes.curve_rows, "curves": []}
    rows = []
    for name, buckets in (("one", 1), ("curve", sizes.curve_buckets)):
        seconds, works = [], []
        for k in sizes.curve_ks:
            runs = _in_steps(world, name, list(range(CURVE_QUERIES)), k, REFINE)
            seconds.append(median(map(_seconds, runs)))
            works.append(_parts_of(runs))
            world.say(f"{buckets} buckets, k = {k:,}: {seconds[-1]:.2f} s")
        estimated = _estimated(world, name)
        found["curves"].append(
            {"buckets": buckets, "seconds": seconds, "estimated": estimated, "steps": works}
        )
        low, high = sizes.curve_ks[0], sizes.curve_ks[-1]
        what = f"time against k, {buckets} bucket{'s' if buckets > 1 else ''} of "
        rows.append(
            compared(
                NAME, f"{what}{sizes.curve_rows:,}: k = {high:,} against {low}",
                seconds[-1], seconds[0], "s",
                note=f"linear in k would be {high // low:,}; at k "
                + ", ".join(f"{k:,}: {each:.2f} s"
                            for k, each in zip(sizes.curve_ks, seconds, strict=True)),
            )
        )  # fmt: skip
    return found, rows


def _parts_of(runs: Sequence[Figures]) -> dict[str, float]:
    """Median seconds of each step, the slowest of those of buckets; the largest part, in bytes."""
    slowest = {
        each: median(max((one["seconds"] for one in run[each]), default=0) for run in runs)
        for each in OF_BUCKETS
    }
    return {
        "plan": median(run["plan"]["seconds"] for run in runs),
        **slowest,
        "refine": median(run["refine"]["seconds"] for run in runs),
        "part_bytes": max(max(run["parts"]) for run in runs),
    }


def _estimated(world: World, name: str) -> list[float]:
    """Estimate the same runs on Lambda, functions started."""
    import msgspec

    from atoll.storage import open_storage
    from atoll.vectors import manifests
    from atoll.vectors.pricing.searchcost import Runtime, search_cost
    from atoll.vectors.pricing.shape import SearchSettings, shape_of

    manifest = manifests.latest_manifest(open_storage(world.here / name / "collection"))
    shape = shape_of(manifest, len(msgspec.json.encode(manifest)))
    runtime = Runtime(start_s=0, latency_s=world.DELAY_S)
    return [
        search_cost(
            shape, SearchSettings(k=k, refine_factor=REFINE, widens=True), runtime
        ).latency_s
        for k in world.sizes.curve_ks
    ]
