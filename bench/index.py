"""One bucket of 100,000: what its index costs, and what a vector takes on storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import create, standing, systems
from bench.measure import Figures, alternate, fresh, median
from bench.query import build_cpu_s
from bench.report import Row, compared
from bench.sizes import Sizes

NAME = "index"
# 12.9 TiB over 3.5 billion vectors: the post's own figure.
POST_BYTES = 12.9 * 2**40 / 3.5e9


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    _, post = standing.built(scratch, "lance_pq", sizes, say)
    stored = {
        kind: standing.built(scratch, kind, sizes, say)[1] for kind in ("atoll", "atoll_int8")
    }
    runs = alternate(
        sizes.repeats,
        {index: partial(_create, scratch, made, index) for index in ("flat", "rabitq")},
        say,
    )
    facts = {
        "set": made["name"],
        "runs": runs,
        "post": post,
        "stored": stored["atoll"],
        "narrow": stored["atoll_int8"],
    }
    return facts, [*_costs(runs, post, made), *_sizes(stored, post)]


def _create(scratch: Path, made: dict[str, Any], index: str) -> Figures:
    uri = scratch / index
    shutil.rmtree(uri, ignore_errors=True)
    figures: Figures = fresh(
        create.create,
        uri=str(uri),
        paths=made["paths"],
        bucket_rows=made["rows"],
        index=index,
        dtype="float16",
    )
    return figures


def _costs(runs: dict[str, list[Figures]], post: Figures, made: dict[str, Any]) -> list[Row]:
    whole = median(runs["rabitq"], "cpu_s")
    # What the index adds to a build: training, assigning, sorting, encoding.
    index = whole - median(runs["flat"], "cpu_s")
    rows = f"one bucket of {made['rows']:,}"
    return [
        compared(
            NAME,
            f"index of {rows}, own training included, against the post's parameters: times cheaper",
            1 / index,
            1 / post["cpu_s"],
            "buckets/CPU-s",
            least=(15, 25),
            note=f"{index:.2f} and {post['cpu_s']:.1f} CPU-s",
        ),
        compared(
            NAME,
            f"ingest + index of {rows}, against lancedb add(reader) + the post's index",
            made["rows"] / whole,
            made["rows"] / build_cpu_s(post),
            "vectors/CPU-s",
        ),
    ]


def _sizes(stored: dict[str, Figures], post: Figures) -> list[Row]:
    note = f"the post's query path stores {post['bytes'] / post['rows']:,.0f} B here"
    bounds = {"atoll": (0.52, None), "atoll_int8": (0.52, 0.30)}
    return [
        compared(
            NAME,
            f"bytes per vector as {systems.BY_KIND[kind].dtype}, everything in the collection's"
            " folder, against the post's 4.05 KB",
            stored[kind]["bytes"] / stored[kind]["rows"],
            POST_BYTES,
            "B",
            most=bounds[kind],
            note=note,
        )
        for kind in bounds
    ]
