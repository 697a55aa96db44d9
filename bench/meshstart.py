"""How soon `atoll serve` answers, and what it holds when nobody asks anything.

From the start of its process until the first answer, in an empty folder, and again with a plant of
a hundred assets; memory is PSS, what it shares with others in part, of it and all processes below
it, some seconds after somebody signed in and searched.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import MIB, Figures, fresh, pss_bytes
from bench.report import Row, measured
from bench.sizes import Sizes

NAME = "meshstart"
ASSETS = 100
START_BAR_S, MEMORY_BAR_MIB = 3, 300
IDLE_S = 5


def start(folder: str) -> Figures:
    """Start a server in a new folder, fill it, and start it again."""
    from bench.meshplant import Plant, fill
    from bench.meshserved import mesh_server

    home = Path(folder)
    load, begin = os.getloadavg()[0], time.perf_counter()
    with mesh_server(home, signs_in=False) as server:
        server.client.ask("GET", "/openapi.json")
        first = time.perf_counter() - begin
        server.stop()
        plant = Plant(ASSETS, projects=10, users=10, guests=0)
        fill(f"sqlite:///{home / 'mesh.db'}", home / "lake", plant)
        begin = time.perf_counter()
        server.restart()
        server.client.ask("GET", "/openapi.json")
        again = time.perf_counter() - begin
        server.sign_in()
        server.client.ask("GET", "/search/listings", query={"text": "weld"})
        time.sleep(IDLE_S)
        idle = pss_bytes(server.pid)
    return {"load": load, "first_s": first, "again_s": again, "idle_mib": idle / MIB}


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    runs = []
    for number in range(sizes.starts):
        runs.append(fresh(start, folder=str(scratch / f"home-{number}")))
        say(f"{runs[-1]}")

    def median(key: str) -> float:
        return float(statistics.median(one[key] for one in runs))

    note = f"the median of {len(runs)} runs"
    rows = [
        measured(
            NAME,
            f"from the start of `atoll serve` to its first answer, {when}",
            median(key),
            "s",
            most=START_BAR_S,
            note=f"{note}; most {max(one[key] for one in runs):.2f}",
        )
        for when, key in (
            ("in an empty folder", "first_s"),
            (f"with {ASSETS} assets to index", "again_s"),
        )
    ]
    what = "memory of an idle server and its processes (PSS)"
    held = measured(NAME, what, median("idle_mib"), "MiB", most=MEMORY_BAR_MIB, note=note)
    return {"runs": runs}, [*rows, held]
