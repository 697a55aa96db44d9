"""Run the benches: `python -m bench [--only NAME] [--data FOLDER] [--out FOLDER] [--quick]`.

Each variant runs in a fresh process, ours and the baseline in turn; costs are CPU-seconds of all
threads and child processes, so that other load on the machine matters little. One JSON per bench
goes to the output folder, one table to standard output. Recall is asserted, time never.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import create, embedding, ingest, report, search
from bench.sizes import QUICK, Sizes

BENCHES = {module.NAME: module.run for module in (ingest, create, search, embedding)}


def main() -> None:
    options = _options()
    rows: list[report.Row] = []
    for name in options.only or BENCHES:
        rows += _run(name, options)
    facts = report.versions()
    print(report.table(rows))
    if options.quick:
        print("\nSmoke sizes: the figures mean nothing.")
    print(f"\n{_sentence(report.machine())}; {', '.join(f'{k} {v}' for k, v in facts.items())}")
    print(f"JSON: {options.out}/")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--only", action="append", choices=BENCHES, help="one bench; repeatable")
    parser.add_argument("--data", help="folder with the sets that are not ours to ship")
    parser.add_argument("--out", type=Path, default=report.ROOT / "bench" / "results")
    parser.add_argument("--scratch", type=Path, help="folder for vectors and tables, emptied after")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: proves that it runs")
    return parser.parse_args()


def _run(name: str, options: argparse.Namespace) -> list[report.Row]:
    before, start = report.machine(), time.perf_counter()
    sizes = QUICK if options.quick else Sizes()
    with tempfile.TemporaryDirectory(prefix="atoll-bench-", dir=options.scratch) as scratch:
        result, rows = BENCHES[name](Path(scratch), options.data, sizes, _sayer(name))
    if options.quick:
        # Bars are for the real sizes.
        rows = [replace(row, is_met=None) for row in rows]
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
