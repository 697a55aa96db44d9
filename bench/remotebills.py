"""What the estimate says of searches, against what they ask of the store."""

from __future__ import annotations

from collections.abc import Sequence
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
    # What is asked for does not depend on how long an answer takes.
    with world.at_once():
        found = [_setting(world, k, nprobes) for k, nprobes in SETTINGS]
    return {"bills": found}, [
        *_rows("a cold search by one process", found, "search"),
        *_rows("a run of steps", found, "run"),
    ]


def _setting(world: World, k: int, nprobes: int) -> dict[str, Any]:
    """Count searches, and estimate them as `--budget` and `--via auto` do.

    The collection was calibrated as it was created, with rows of its own.
    """
    from atoll.vectors.pricing.searchcost import cold_search, search_cost
    from atoll.vectors.pricing.shape import SearchSettings

    asked = {
        "store": world.store,
        "uri": world.url("far"),
        "queries": world.made["queries"],
        "numbers": list(range(world.sizes.billed)),
        "k": k,
    }
    counts = fresh(distant.counted, setting=[nprobes, REFINE], **asked)
    runs = fresh(
        distant.steps, results=world.url("runs"), small=world.small, nprobes=nprobes,
        refine=REFINE, **asked,
    )  # fmt: skip
    shape, settings = _shape(world), SearchSettings(k=k, nprobes=nprobes, refine_factor=REFINE)
    search, run = cold_search(shape, settings), search_cost(shape, settings).bill
    return {
        "k": k,
        "nprobes": nprobes,
        "counted": {
            "search": tuple(np.mean(counts, axis=0)),
            "run": tuple(np.mean([_of_run(each) for each in runs], axis=0)),
        },
        "expected": {
            "search": (search.gets, search.bytes_in),
            "run": (run.requests, run.bytes_in + run.bytes_out),
        },
    }


def _shape(world: World) -> Any:
    """Describe the collection as a search's quote does."""
    import msgspec

    from atoll.storage import open_storage
    from atoll.vectors import blobs, manifests
    from atoll.vectors.pricing.shape import shape_of

    storage = open_storage(world.here / "far" / "collection")
    manifest = manifests.latest_manifest(storage)
    assert manifest.calibration is not None, "the bench calibrates it as it is created"
    known = blobs.get_calibration(storage, manifest.calibration)
    return shape_of(manifest, len(msgspec.json.encode(manifest)), known)


def _of_run(run: dict[str, Any]) -> tuple[float, float]:
    works = [run["plan"], *run["search"], *run["measure"], run["refine"]]
    moved = sum(work["bytes_in"] + work["bytes_out"] for work in works)
    return sum(work["requests"] for work in works), moved


def _rows(what: str, found: Sequence[dict[str, Any]], kind: str) -> list[Row]:
    rows = []
    for number, name in enumerate(("requests", "bytes")):
        off = [_percent(each, kind, number) for each in found]
        note = "most of k 10, 100, 1,000 with nprobes 5, 20; by setting: "
        note += ", ".join(f"{each:+.0f}" for each in off)
        title = f"estimate against count of {what}: {name}, off by"
        rows.append(measured(NAME, title, max(map(abs, off)), "%", most=MOST_PERCENT, note=note))
    return rows


def _percent(each: dict[str, Any], kind: str, number: int) -> float:
    return 100 * (float(each["expected"][kind][number] / each["counted"][kind][number]) - 1)
