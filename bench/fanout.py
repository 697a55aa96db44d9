"""The same rows in 8 buckets and in one, the same partitions: what a query then costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import snippet, standing, systems
from bench.measure import fresh
from bench.report import Row, compared
from bench.sizes import Sizes

NAME = "fanout"
# One process takes up to twice what another takes for the same queries; each is short.
PROCESSES = 3
SETTING = (20, 5)


def build_ours(uri: str, paths: list[str], bucket_rows: int, num_partitions: int) -> int:
    """Build with a given number of partitions; returns the number of buckets."""
    import atoll

    collection = atoll.create(
        f"{uri}/collection",
        paths,
        dtype="float16",
        bucket_rows=bucket_rows,
        num_partitions=num_partitions,
    )
    return len(collection.buckets)


def build_lance(uri: str, paths: list[str], num_partitions: int) -> None:
    """Make a table and an IVF_RQ index for each file."""
    import lance

    for number, path in enumerate(paths):
        table = lance.write_dataset(snippet.slabs([path]), f"{uri}/{number}.lance")
        table.create_index(
            "embedding", "IVF_RQ", num_bits=1, metric="cosine", num_partitions=num_partitions
        )


class LanceTables(systems.LanceRq):
    """Every table asked in turn, the answers merged."""

    def __init__(self, folder: str) -> None:
        import lance

        self.tables = [lance.dataset(path) for path in sorted(Path(folder).glob("*.lance"))]

    def search(self, queries: Any, k: int, setting: systems.Setting) -> Any:
        import pyarrow as pa

        found = []
        for query in queries:
            parts = [self.nearest(query, k, setting, table=table) for table in self.tables]
            whole = pa.concat_tables(parts)
            order = np.argsort(whole["_distance"].to_numpy(), kind="stable")[:k]
            found.append(whole.take(order))
        return found


def ask_tables(folder: str, made: dict[str, Any], timed: int) -> Any:
    """Measure `LanceTables`; in a fresh process."""
    systems.BY_KIND["lance_tables"] = LanceTables
    return standing.one_by_one("lance_tables", folder, made, timed, [list(SETTING)])[0]


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    partitions = max(4, made["rows"] // 400)
    ours = {}
    for name, share in (("one", 1), ("many", sizes.fanned)):
        uri, bucket_rows = str(scratch / name), -(-made["rows"] // share)
        count = fresh(
            build_ours,
            uri=uri,
            paths=made["paths"],
            bucket_rows=bucket_rows,
            num_partitions=partitions,
        )
        ours[name] = (uri, count)
    say(f"ours in {ours['one'][1]} and {ours['many'][1]} buckets of {partitions} partitions")
    tables = scratch / "lance"
    fresh(build_lance, uri=str(tables / "many"), paths=made["paths"], num_partitions=partitions)
    folder, _ = standing.built(scratch, "lance_rq", sizes, say)
    found: dict[str, list[Any]] = {}
    for _ in range(sizes.repeats):
        for _ in range(PROCESSES):
            for name, (uri, _) in ours.items():
                found.setdefault(name, []).append(_measure("atoll", uri, made, sizes))
        found.setdefault("lance one", []).append(_measure("lance_rq", folder, made, sizes))
        found.setdefault("lance many", []).append(
            fresh(ask_tables, folder=str(tables / "many"), made=made, timed=sizes.single)
        )
        say(", ".join(f"{name} {each[-1]['cpu_ms']:.2f} CPU ms" for name, each in found.items()))
    return {"set": made["name"], "runs": found}, _rows(found, ours, made)


def _measure(kind: str, folder: str, made: dict[str, Any], sizes: Sizes) -> Any:
    return fresh(
        standing.one_by_one,
        kind=kind,
        folder=folder,
        made=made,
        timed=sizes.single,
        settings=[SETTING],
    )[0]


def _rows(found: dict[str, list[Any]], ours: Any, made: dict[str, Any]) -> list[Row]:
    def cost(name: str) -> float:
        return float(np.median([run["cpu_ms"] for run in found[name]]))

    def recalls(*names: str) -> str:
        shares = " and ".join(f"{found[name][0]['recall']:.4f}" for name in names)
        return f"recall@{standing.K} {shares}, nprobes {SETTING[0]} refine {SETTING[1]}"

    what = f"{ours['many'][1]} buckets against {ours['one'][1]}, CPU of one query"
    tables = f"{len(made['paths'])} lance IVF_RQ tables in turn against 1, CPU of one query"
    return [
        compared(
            NAME,
            f"{what}, {made['rows']:,} rows",
            cost("many"),
            cost("one"),
            "CPU ms",
            most=(1.5, 1.1),
            note=recalls("many", "one"),
        ),
        compared(
            NAME,
            tables,
            cost("lance many"),
            cost("lance one"),
            "CPU ms",
            note=recalls("lance many", "lance one"),
        ),
    ]
