"""What the estimate says of searches, against what they ask of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench import distant
from bench.measure import fresh
from bench.report import Row, measured
from bench.world import World

NAME = "remote"
SETTINGS = tuple((k, nprobes) for k in (10, 100, 1000) for nprobes in (5, 20))
REFINE = 5
MOST_PERCENT = 10


def measure(world: World) -> tuple[dict[str, Any], list[Row]]:
    """Count cold searches and runs of steps in several settings; estimate the same."""
    skew = fresh(distant.skew, uri=str(world.here / "far" / "collection"))
    # What is asked for does not depend on how long an answer takes.
    with world.at_once():
        found = [_setting(world, k, nprobes, skew) for k, nprobes in SETTINGS]
    return {"bills": found, "skew": skew}, [
        *_rows("a cold search by one process", found, "search"),
        *_rows("a run of steps", found, "run"),
    ]


def _setting(world: World, k: int, nprobes: int, skew: float) -> dict[str, Any]:
    """Count searches; learn from the first ones how rows lie, hold the estimate to the others.

    How uneven partitions are was learned from a calibration.
    """
    from atoll.vectors.pricing.searchcost import cold_search, search_cost
    from atoll.vectors.pricing.shape import SearchSettings
    from bench.learning import learned

    count = world.sizes.billed
    asked = {
        "store": world.store,
        "uri": world.url("far"),
        "queries": world.made["queries"],
        "k": k,
    }
    learn, held = list(range(count)), list(range(count, 2 * count))
    counts = np.array(
        fresh(distant.counted, numbers=[*learn, *held], setting=[nprobes, REFINE], **asked)
    )
    runs = fresh(
        distant.steps, results=world.url("runs"), small=world.small, numbers=held,
        nprobes=nprobes, refine=REFINE, **asked,
    )  # fmt: skip
    shape, settings = _shape(world), SearchSettings(k=k, nprobes=nprobes, refine_factor=REFINE)
    uneven = replace(shape, partition_skew=skew)
    known = learned(uneven, settings, *counts[:count].mean(axis=0))
    counted = {
        "search": tuple(counts[count:].mean(axis=0)),
        "run": tuple(np.mean([_of_run(each) for each in runs], axis=0)),
    }
    expected = {}
    for name, each in (("offered", shape), ("learned", known)):
        search, run = cold_search(each, settings), search_cost(each, settings).bill
        expected[name] = {
            "search": (search.gets, search.bytes_in),
            "run": (run.requests, run.bytes_in + run.bytes_out),
        }
    return {"k": k, "nprobes": nprobes, "counted": counted, "expected": expected}


def _shape(world: World) -> Any:
    """Describe the collection as a search's quote does."""
    import msgspec

    from atoll.storage import open_storage
    from atoll.vectors import manifests
    from atoll.vectors.pricing.shape import shape_of

    manifest = manifests.latest_manifest(open_storage(world.here / "far" / "collection"))
    return shape_of(manifest, len(msgspec.json.encode(manifest)))


def _of_run(run: dict[str, Any]) -> tuple[float, float]:
    works = [run["plan"], *run["search"], *run["measure"], run["refine"]]
    moved = sum(work["bytes_in"] + work["bytes_out"] for work in works)
    return sum(work["requests"] for work in works), moved


def _rows(what: str, found: Sequence[dict[str, Any]], kind: str) -> list[Row]:
    rows = []
    for number, name in enumerate(("requests", "bytes")):
        off = {how: [_percent(each, how, kind, number) for each in found]
               for how in ("learned", "offered")}  # fmt: skip
        note = "most of k 10, 100, 1,000 with nprobes 5, 20; by setting: "
        note += ", ".join(f"{each:+.0f}" for each in off["learned"])
        note += "; as `--budget` and `--via auto` have it, nothing learned: "
        note += ", ".join(f"{each:+.0f}" for each in off["offered"])
        worst = max(abs(each) for each in off["learned"])
        title = f"estimate against count of {what}: {name}, off by"
        rows.append(measured(NAME, title, worst, "%", most=MOST_PERCENT, note=note))
    return rows


def _percent(each: dict[str, Any], how: str, kind: str, number: int) -> float:
    return 100 * (float(each["expected"][how][kind][number] / each["counted"][kind][number]) - 1)
