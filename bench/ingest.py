"""Ingest of 200,000 x 960 from HDF5: ours stored as float32 and float16, and the post's snippet.

Ours is a whole create without an index: plan, duplicate-id check, validation of every row,
checksums of sources and columns, id index, manifest. The snippet does none of that.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import snippet, synthetic
from bench.measure import Figures, Meter, alternate, fresh, median
from bench.report import Row, compared
from bench.sizes import Sizes

NAME = "ingest"


def create(uri: str, paths: list[str], dtype: str) -> Figures:
    """Measure ours."""
    import atoll
    import atoll.vectors.build  # loaded before the clock, as lancedb is for the snippet

    with Meter() as meter:
        collection = atoll.create(uri, paths, dtype=dtype, index="flat")
    return {"rows": len(collection), "buckets": len(collection.buckets), **meter.figures}


def _on_clean_ground(uri: Path, work: Callable[..., Figures], **arguments: Any) -> Figures:
    try:
        figures: Figures = fresh(work, uri=str(uri), **arguments)
        return figures
    finally:
        shutil.rmtree(uri, ignore_errors=True)


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    per_file, files = sizes.ingest_rows // 2, 2 * sizes.ingest_growth
    say(f"writing {files} files of {per_file:,} x {synthetic.DIM}")
    paths = fresh(synthetic.write_files, folder=str(scratch), files=files, rows_per_file=per_file)
    some, out = paths[:2], scratch / "table"
    ours = partial(_on_clean_ground, out, create)
    runs = alternate(
        sizes.repeats,
        {
            "snippet": partial(_on_clean_ground, out, snippet.ingest, paths=some),
            "float32": partial(ours, paths=some, dtype="float32"),
            "float16": partial(ours, paths=some, dtype="float16"),
            "reader": partial(_on_clean_ground, out, snippet.ingest, paths=some, fast=True),
        },
        say,
    )
    say(f"growing to {per_file * files:,} rows")
    grown = alternate(1, {"float32 grown": partial(ours, paths=paths, dtype="float32")}, say)
    runs |= grown
    set_name = f"synthetic clusters, {sizes.ingest_rows:,} x {synthetic.DIM} float32 in HDF5"
    return {"set": set_name, "runs": runs}, _rows(runs, sizes)


def _rows(runs: dict[str, list[Figures]], sizes: Sizes) -> list[Row]:
    def rate(name: str) -> float:
        return runs[name][0]["rows"] / median(runs[name], "cpu_s")

    def memory(name: str) -> float:
        return median(runs[name], "peak_rss_mib")

    unit, against = "rows/CPU-s", "against the post's snippet"
    grown = f"{sizes.ingest_rows * sizes.ingest_growth:,}"
    return [
        compared(
            NAME,
            f"stored as float32, {against}",
            rate("float32"),
            rate("snippet"),
            unit,
            least=(6, 9),
        ),
        compared(
            NAME,
            f"stored as float16, {against}",
            rate("float16"),
            rate("snippet"),
            unit,
            least=(6, 9),
        ),
        compared(
            NAME,
            "stored as float32, against lancedb add(reader of slabs)",
            rate("float32"),
            rate("reader"),
            unit,
            note="it checks nothing",
        ),
        compared(
            NAME,
            f"peak RSS, float32, {against}",
            memory("float32"),
            memory("snippet"),
            "MiB",
            most=(0.25, 0.2),
        ),
        compared(
            NAME,
            f"peak RSS, float16, {against}",
            memory("float16"),
            memory("snippet"),
            "MiB",
            most=(0.25, 0.2),
        ),
        compared(
            NAME,
            f"peak RSS, float32, {grown} rows against {sizes.ingest_rows:,}",
            memory("float32 grown"),
            memory("float32"),
            "MiB",
            most=sizes.flat,
        ),
    ]
