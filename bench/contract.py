"""The recall contract: what was asked for against what other held-out queries measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import sets, standing, systems
from bench.measure import fresh
from bench.report import Row, compared, measured, skipped
from bench.sizes import Sizes

NAME = "contract"
ASKED = (0.90, 0.95, 0.99)
# At most so far below what was asked, the bar; never below and at most so far above, the goal.
BELOW, ABOVE = 0.01, 0.02
# Rows of the real set, at most: its windows end before.
REAL_ROWS = 100_000


def kept(folder: str, made: dict[str, Any], count: int) -> dict[str, Any]:
    """Calibrate a collection, ask it for each recall and measure what it gives; in a fresh process.

    Returns:
        by recall asked for: the recall measured, or why it was refused.
    """
    import atoll

    collection = atoll.open(f"{folder}/collection")
    collection.calibrate(k=[standing.K])
    queries, true = np.load(made["queries"])[:count], standing.Truth(made["truth"])
    found: dict[str, Any] = {}
    for asked in ASKED:
        try:
            table = collection.search(queries, standing.K, recall=asked)
        except atoll.InvalidInput as refused:
            found[str(asked)] = {"refused": str(refused)}
            continue
        names = systems.names_of(table, count)
        how = (table.schema.metadata or {}).get(b"atoll", b"{}").decode()
        found[str(asked)] = {"recall": true.recall(names, standing.K), "how": how}
    return found


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    made = standing.clustered(scratch, sizes, say)
    folder, _ = standing.built(scratch, "atoll", sizes, say)
    rows, facts = _at_defaults(scratch, made, sizes, say), {}
    facts["clustered"] = fresh(kept, folder=folder, made=made, count=sizes.judged)
    rows += _rows("clustered", facts["clustered"])
    if sets.find(data, sets.UNIPROT):
        real = _real(scratch, data, sizes, say)
        folder = str(scratch)
        fresh(standing.build, kind="atoll", paths=real["paths"], folder=folder)
        facts["real"] = fresh(kept, folder=folder, made=real, count=sizes.judged)
        rows += _rows(real["name"], facts["real"])
    else:
        why = f"{sets.UNIPROT} is not ours to ship; give the folder that has it as DATA"
        rows.append(skipped(NAME, "recall asked of UniProt windows x randconv", why))
    return facts, rows


def _at_defaults(
    scratch: Path, made: dict[str, Any], sizes: Sizes, say: Callable[[str], None]
) -> list[Row]:
    """Hold ours against the post's index, both with nprobes 20 and refine factor 5."""
    found = {}
    for kind in ("atoll", "atoll_int8", "lance_pq"):
        folder, _ = standing.built(scratch, kind, sizes, say)
        found[kind] = fresh(
            standing.at_once,
            kind=kind,
            folder=folder,
            made=made,
            count=sizes.judged,
            settings=[systems.DEFAULT],
        )[0]["recall"]
    name = f"recall@{standing.K} at refine 5, clustered, against ivf_pq by the post"
    row = compared(NAME, name, found["atoll"], found["lance_pq"])
    bounds = {"bar": ">= 0.98", "goal": ">= 0.995"}
    narrow = f"recall@{standing.K} at refine 5, clustered, stored as int8"
    return [
        replace(row, is_met=found["atoll"] >= 0.98, reaches_goal=found["atoll"] >= 0.995, **bounds),
        measured(NAME, narrow, found["atoll_int8"], least=0.98),
    ]


def _real(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> dict[str, Any]:
    rows = min(REAL_ROWS, sizes.clustered_rows)
    say("embedding UniProt windows")
    made: dict[str, Any] = fresh(
        sets.write_vectors,
        folder=str(scratch),
        data=data,
        files=1,
        rows=rows,
        queries=sizes.judged,
    )
    made["truth"] = str(scratch / "truth.npz")
    fresh(
        sets.truth,
        paths=made["paths"],
        queries=made["queries"],
        k=standing.DEPTH,
        answer=made["truth"],
    )
    return made


def _rows(name: str, found: dict[str, Any]) -> list[Row]:
    rows = []
    for asked in ASKED:
        what = f"recall {asked} asked of {name}"
        each = found[str(asked)]
        if "refused" in each:
            rows.append(Row(NAME, what, note=f"refused: {each['refused']}"))
            continue
        over = each["recall"] - asked
        rows.append(
            Row(
                NAME,
                what,
                each["recall"],
                bar=f">= {asked - BELOW:g}",
                goal=f"{asked:g} to {min(1, asked + ABOVE):g}",
                is_met=over >= -BELOW,
                reaches_goal=0 <= over <= ABOVE,
            )
        )
    return rows
