"""10 million x 960 on this machine: built file by file, the source drawn as it goes.

Every file is drawn, searched for the queries' true neighbours, added as a bucket and removed, so
the disk holds one file of source at a time. What is measured is the building alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import sets, standing, synthetic, systems
from bench.measure import MIB, Figures, Meter, TreePeak, fresh, size_bytes
from bench.report import Row, measured
from bench.sizes import Sizes

NAME = "huge"
GIB = 1 << 30
MOST_MIB = 8 * 1024
VECTOR_BYTES = 2 * synthetic.DIM
# Codes, ids and factors beside a vector, generously; and copies of a file's rows that spill.
BESIDE_BYTES = 400
SPILLS = 3
QUERIES = 200


def grow(uri: str, path: str, memory_bytes: int) -> Figures:
    """Create the collection, or add to it; in a fresh process."""
    import atoll
    import atoll.vectors.build

    settings = atoll.Settings(memory_bytes=memory_bytes, scratch=Path(uri).parent)
    with Meter() as meter:
        try:
            collection = atoll.open(uri, settings=settings)
        except atoll.NotFound:
            collection = atoll.create(uri, path, dtype="float16", settings=settings)
        else:
            collection.add(path)
    return {"rows": len(collection), **meter.figures}


def needed_bytes(sizes: Sizes) -> int:
    """Estimate what the disk must hold at once."""
    a_file = sizes.huge_file_rows * VECTOR_BYTES
    return sizes.huge_rows * (VECTOR_BYTES + BESIDE_BYTES) + (1 + SPILLS) * a_file


def check_disk(folder: Path, sizes: Sizes) -> None:
    """Refuse before anything is written what would fill the disk."""
    needed, free = needed_bytes(sizes), shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(
            f"a build of {sizes.huge_rows:,} rows needs {needed / GIB:.0f} GiB of disk, and"
            f" {free / GIB:.0f} GiB are free at {folder}; give another folder with --scratch"
        )


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    check_disk(scratch, sizes)
    queries = scratch / "queries.npy"
    np.save(queries, synthetic.queries(QUERIES))
    made = {"queries": str(queries), "truth": str(scratch / "truth.npz"), "rows": sizes.huge_rows}
    steps = []
    for start in range(0, sizes.huge_rows, sizes.huge_file_rows):
        steps.append(_step(scratch, start, made, sizes))
        say(
            f"{steps[-1]['rows']:,} rows: {steps[-1]['cpu_s']:.1f} CPU-s,"
            f" {steps[-1]['wall_s']:.1f} s, {steps[-1]['all_peak_mib']:.0f} MiB"
        )
    point = fresh(
        standing.one_by_one,
        kind="atoll",
        folder=str(scratch),
        made=made,
        timed=min(QUERIES, sizes.single),
        settings=[systems.DEFAULT],
    )[0]
    cpu, wall = (sum(step[key] for step in steps) for key in ("cpu_s", "wall_s"))
    facts = {
        "set": f"synthetic clusters, {sizes.huge_rows:,} x {synthetic.DIM}, float16",
        "memory_bytes": sizes.huge_memory_bytes,
        "steps": steps,
        "point": point,
        "stored_bytes": size_bytes(scratch / "collection"),
        "largest": f"{sizes.huge_rows:,} rows at {sizes.huge_rows / cpu:,.0f} vectors/CPU-s",
        "busy": min(1.0, cpu / wall / standing.cores()),
    }
    return facts, _rows(facts, cpu, wall, sizes)


def _step(scratch: Path, start: int, made: dict[str, Any], sizes: Sizes) -> Figures:
    source = str(scratch / f"rows-{start}.h5")
    stop = min(sizes.huge_rows, start + sizes.huge_file_rows)
    fresh(synthetic.write_file, path=source, start=start, stop=stop, dtype="float16")
    fresh(
        sets.truth,
        paths=[source],
        queries=made["queries"],
        k=standing.DEPTH,
        answer=made["truth"],
    )
    with TreePeak() as peak:
        figures: Figures = fresh(
            grow,
            uri=str(scratch / "collection"),
            path=source,
            memory_bytes=sizes.huge_memory_bytes,
        )
    Path(source).unlink()
    return figures | {"all_peak_mib": round(peak.bytes / MIB, 1)}


def _rows(facts: dict[str, Any], cpu: float, wall: float, sizes: Sizes) -> list[Row]:
    steps, point = facts["steps"], facts["point"]
    peaks = [step["all_peak_mib"] for step in steps]
    what = f"{sizes.huge_rows:,} x {synthetic.DIM}"
    recall = f"recall@{standing.K} {point['recall']:.4f}, nprobes 20 refine 5"
    return [
        measured(
            NAME,
            f"{what}, ingest + index from float16 HDF5",
            sizes.huge_rows / cpu,
            "vectors/CPU-s",
            note=f"{wall / 60:.0f} min of wall time, {facts['busy']:.0%} of the cores busy",
        ),
        measured(
            NAME, f"{what}, peak RSS of all processes together", max(peaks), "MiB", most=MOST_MIB
        ),
        measured(
            NAME,
            f"{what}, peak RSS of the last file's add over the second's",
            peaks[-1] / peaks[min(1, len(peaks) - 1)],
            most=(sizes.flat, 1.1),
        ),
        measured(NAME, f"{what}, stored", facts["stored_bytes"] / sizes.huge_rows, "B/vector"),
        measured(NAME, f"{what}, one warm query", point["cpu_ms"], "CPU ms", note=recall),
    ]
