"""Ingest and index at the post's 14,142 partitions, on one slice of such a bucket.

The model is trained by a create of one slice; the slice that is measured is then added, as a bucket
of 200 million rows is built from many. Rates are per CPU-second, so per core that is kept busy.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import projection, synthetic
from bench.measure import Figures, Meter, alternate, fresh, median
from bench.report import Row, compared
from bench.sizes import Sizes

NAME = "partitions"


def train(uri: str, path: str, num_partitions: int) -> Figures:
    """Measure the create that trains; in a fresh process."""
    import atoll
    import atoll.vectors.build

    with Meter() as meter:
        collection = atoll.create(
            uri, path, dtype="float16", num_partitions=num_partitions, calibrate=False
        )
    return {"rows": len(collection), **meter.figures}


def add(uri: str, path: str) -> Figures:
    """Measure an add under the model that is there; in a fresh process."""
    import atoll
    import atoll.vectors.build

    collection = atoll.open(uri)
    before = len(collection)
    with Meter() as meter:
        collection.add(path, calibrate=False)
    return {"rows": len(collection) - before, **meter.figures}


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    paths = fresh(
        synthetic.write_files,
        folder=str(scratch),
        files=1 + sizes.repeats,
        rows_per_file=sizes.slice_rows,
    )
    uri = str(scratch / "collection")
    trained = fresh(train, uri=uri, path=paths[0], num_partitions=sizes.slice_partitions)
    say(f"trained and built in {trained['cpu_s']:.1f} CPU-s")
    runs: list[Figures] = []
    for path in paths[1:]:
        runs += alternate(1, {"add": lambda path=path: fresh(add, uri=uri, path=path)}, say)["add"]
    rate = sizes.slice_rows / median(runs, "cpu_s")
    row = compared(
        NAME,
        f"ingest + index at {sizes.slice_partitions:,} partitions, a slice of"
        f" {sizes.slice_rows:,}, per core, against the post's {projection.POST_RATE} per vCPU",
        rate,
        projection.POST_RATE,
        "vectors/s",
        least=(12, 35),
        note="a projection: CPU-seconds of local disk; a vCPU is half a core",
    )
    return {"trained": trained, "runs": runs, "rate": rate}, [row]
