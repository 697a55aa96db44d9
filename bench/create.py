"""Create end to end - plan, ingest, train, index - against a table and an index per bucket."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import sets, snippet
from bench.measure import Figures, Meter, alternate, fresh, median
from bench.report import Row, compared
from bench.sizes import Sizes

NAME = "create"


def create(
    uri: str, paths: list[str], bucket_rows: int, index: str, dtype: str = "float32"
) -> Figures:
    """Measure ours; worker processes count."""
    import atoll
    import atoll.vectors.build  # loaded before the clock, as lancedb is for the snippet

    with Meter() as meter:
        collection = atoll.create(
            uri, paths, bucket_rows=bucket_rows, index=index, dtype=dtype, calibrate=False
        )
    return {
        "rows": len(collection),
        "buckets": len(collection.buckets),
        "num_partitions": collection.spec.index.num_partitions,
        **meter.figures,
    }


def _fresh_create(scratch: Path, index: str, **arguments: Any) -> Figures:
    uri = scratch / f"collection-{index}"
    shutil.rmtree(uri, ignore_errors=True)
    figures: Figures = fresh(create, uri=str(uri), index=index, **arguments)
    return figures


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    say("making the vectors")
    made = fresh(
        sets.write_vectors,
        folder=str(scratch),
        data=data,
        files=sizes.buckets,
        rows=sizes.buckets * sizes.bucket_rows,
        queries=sizes.queries,
    )
    ours = partial(_fresh_create, scratch, paths=made["paths"], bucket_rows=sizes.bucket_rows)
    runs: dict[str, list[Figures]] = {"baseline": []}
    for number in range(sizes.baseline_buckets):
        variants = {
            "rabitq": partial(ours, index="rabitq"),
            "ivf_pq": partial(ours, index="ivf_pq"),
        }
        for name, found in alternate(1, variants, say).items():
            runs.setdefault(name, []).extend(found)
        uri = str(scratch / f"post-{number}")
        paths = [made["paths"][number]]
        one = {"baseline": partial(fresh, snippet.index, uri=uri, paths=paths)}
        runs["baseline"] += alternate(1, one, say)["baseline"]
        shutil.rmtree(uri)
    return {"set": made["name"], "runs": runs}, _rows(runs, sizes)


def _rows(runs: dict[str, list[Figures]], sizes: Sizes) -> list[Row]:
    base = runs["baseline"]
    rows = sum(run["rows"] for run in base)
    index_s = sum(run["cpu_s"] for run in base)
    note = f"baseline ran {len(base)} of {sizes.buckets} buckets, its rate taken for all"
    found = []
    for index in ("rabitq", "ivf_pq"):
        rate = runs[index][0]["rows"] / median(runs[index], "cpu_s")
        for way, named in (("snippet", "the post's snippet"), ("reader", "lancedb add(reader)")):
            ingest_s = sum(run[f"ingest_{way}"]["cpu_s"] for run in base)
            what = f"{index}, shared model, against {named} + IvfPq trained per bucket"
            theirs = rows / (index_s + ingest_s)
            found.append(compared(NAME, what, rate, theirs, "vectors/CPU-s", least=4, note=note))
    return found
