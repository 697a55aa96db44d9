"""k = 50,000 with exact distances, against the post's call, which returns the vectors, too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import standing, systems
from bench.measure import Figures, Meter, alternate, fresh, median
from bench.report import Row, compared
from bench.sizes import Sizes

NAME = "wide"
QUERIES = 5


def ask(kind: str, folder: str, queries: str, k: int, nprobes: int) -> Figures:
    """Measure a few warm wide queries; in a fresh process."""
    system = systems.BY_KIND[kind](folder)
    asked = np.load(queries)[: QUERIES + 1]

    def one(query: Any) -> Any:
        if kind == "atoll":
            return system.search(query[None], k, (nprobes, 1))
        return system.nearest(query, k, (nprobes, 1), ("id", "_distance", "embedding"))

    one(asked[0])
    counts = []
    with Meter() as meter:
        for query in asked[1:]:
            counts.append(len(one(query)))
    return {"hits": int(np.median(counts)), **meter.figures}


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    variants = {}
    for kind in ("atoll", "lance_pq"):
        folder, _ = standing.built(scratch, kind, sizes, say)
        # All partitions are probed: both can then find all that is asked for.
        variants[kind] = partial(
            fresh,
            ask,
            kind=kind,
            folder=folder,
            queries=made["queries"],
            k=sizes.wide_k,
            nprobes=sizes.clustered_rows,
        )
    runs = alternate(sizes.repeats, variants, say)

    def cost(kind: str) -> float:
        return 1000 * median(runs[kind], "cpu_s") / QUERIES

    hits = {kind: found[0]["hits"] for kind, found in runs.items()}
    rows = [
        compared(
            NAME,
            f"k = {sizes.wide_k:,} refined, {made['rows']:,} rows, against the post's call",
            # A speed-up: theirs over ours.
            1000 / cost("atoll"),
            1000 / cost("lance_pq"),
            "queries/CPU-s",
            least=(3, 7),
            note=f"{hits['atoll']:,} and {hits['lance_pq']:,} hits, every partition probed",
        )
    ]
    return {"set": made["name"], "runs": runs}, rows
