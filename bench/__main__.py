"""Run the benches: `python -m bench [--only NAME] [--data FOLDER] [--nightly] [--quick]`.

Each variant runs in a fresh process, ours and the baseline in turn; costs are CPU-seconds of all
threads and child processes, so that other load on the machine matters little. With --quick, whose
figures mean nothing, one process does it all. One JSON per bench goes to the output folder, one
table to standard output. Recall is asserted, time never.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bench import (
    allocator,
    batch,
    cold,
    contract,
    create,
    embedding,
    fanout,
    huge,
    index,
    ingest,
    kernels,
    meshaudit,
    meshgrants,
    meshload,
    meshsearch,
    meshstart,
    partitions,
    projection,
    query,
    remote,
    report,
    search,
    spottraces,
    wide,
)
from bench.measure import one_process
from bench.sizes import NIGHTLY, QUICK, Sizes

DAILY = (
    ingest,
    create,
    index,
    partitions,
    search,
    contract,
    query,
    batch,
    wide,
    fanout,
    cold,
    remote,
    kernels,
    embedding,
    allocator,
    spottraces,
    meshsearch,
    meshgrants,
    meshaudit,
    meshload,
    meshstart,
)
AT_NIGHT = (huge, query, batch, wide, fanout, cold, meshsearch, meshload)
BENCHES = {module.NAME: module.run for module in (*DAILY, huge)}


def main() -> None:
    """Run what was asked for, print the table, leave the JSON."""
    options = _options()
    chosen = options.only or [module.NAME for module in (AT_NIGHT if options.nightly else DAILY)]
    if options.scratch is not None:
        options.scratch.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="atoll-bench-", dir=options.scratch) as scratch,
        one_process() if options.quick else nullcontext(),
    ):
        rows = [row for name in chosen for row in _run(name, Path(scratch), options)]
    facts = report.versions()
    print(report.table(rows))
    if options.quick:
        print("\nSmoke sizes: the figures mean nothing.")
    daily = options.out.parent if options.nightly else options.out
    if rates := projection.from_results(daily):
        print("\nThe post's 3.5 billion, projected:\n")
        print("\n".join(projection.steps(rates)))
    print(f"\n{_sentence(report.machine())}; {', '.join(f'{k} {v}' for k, v in facts.items())}")
    print(f"JSON: {options.out}/")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", action="append", choices=BENCHES, help="one bench; repeatable")
    parser.add_argument("--data", help="folder with the sets that are not ours to ship")
    parser.add_argument("--out", type=Path, help="folder of the JSONs; bench/results")
    parser.add_argument(
        "--scratch",
        type=Path,
        help="folder for vectors and tables, made if need be; what the bench puts there goes",
    )
    parser.add_argument("--nightly", action="store_true", help="a million rows; 10 million built")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: proves that it runs")
    options = parser.parse_args()
    if options.out is None:
        results = report.ROOT / "bench" / "results"
        options.out = results / "nightly" if options.nightly else results
    return options


def _run(name: str, scratch: Path, options: argparse.Namespace) -> list[report.Row]:
    before, start = report.machine(), time.perf_counter()
    sizes = QUICK if options.quick else NIGHTLY if options.nightly else Sizes()
    folder = scratch / name
    folder.mkdir()
    result, rows = BENCHES[name](folder, options.data, sizes, _sayer(name))
    shutil.rmtree(folder)
    if options.quick:
        # Bars are for the real sizes.
        rows = [report.unjudged(row) for row in rows]
    after = report.machine()["load"]
    took = round(time.perf_counter() - start, 1)
    facts = {"quick": options.quick, "machine": before | {"load_after": after}, "took_s": took}
    report.write(options.out, name, facts | result, rows)
    return rows


def _sayer(name: str) -> Callable[[str], None]:
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{name} {time.perf_counter() - start:4.0f} s] {text}", file=sys.stderr, flush=True)

    return say


def _sentence(machine: dict[str, Any]) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
        f" {machine['system']}, load {machine['load']} at the end"
    )


if __name__ == "__main__":
    main()
