"""From an auto-approved request to a grant that is COMPLETED, as a person sees it over HTTP.

One request after another for tables that are public or internal, in the same project; what is
clocked begins when the request is sent, and ends when the grant, asked for again and again, is said
to be COMPLETED.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import Figures, fresh, quantiles
from bench.report import Row, measured, skipped
from bench.sizes import Sizes

NAME = "meshgrants"
LISTINGS = 1000
BAR_MS = 200
PAUSE_S = 0.02


def grant(folder: str, database: str, requests: int) -> Figures:
    """Ask so often, and clock each until its grant holds."""
    from bench.meshplant import Plant, classifications, listing_id
    from bench.meshserved import Person, serving, token

    plant = Plant(LISTINGS, projects=100, users=1, guests=0)
    listed = enumerate(classifications(plant))
    open_ = [listing_id(number) for number, one in listed if one != "CONFIDENTIAL"]
    with serving(Path(folder) / "home", plant, database) as server:
        person = Person(server.url, token(server, "user-0"))
        load = os.getloadavg()[0]
        times = [_granted(person, one) for one in open_[:requests]]
    return {"load": load, "ms": quantiles(times), "most_ms": max(times), "requests": len(times)}


def _granted(person: Any, listing_id: str) -> float:
    start = time.perf_counter()
    wanted = {"listings": [{"listing_id": listing_id}], "request_reason": "to measure"}
    [request] = person.ask("POST", "/projects/project-of-0/subscription-requests", **wanted)[
        "requests"
    ]
    assert request["status"] == "ACCEPTED", request
    given = {"project_id": "project-of-0", "listing_id": listing_id}
    [subscription] = person.ask("GET", "/subscriptions", **given)["items"]
    while True:
        given = {"subscription_id": subscription["id"]}
        [found] = person.ask("GET", "/subscription-grants", **given)["items"]
        if found["status"] == "COMPLETED":
            return 1e3 * (time.perf_counter() - start)
        assert found["status"] in ("PENDING", "IN_PROGRESS"), found
        time.sleep(PAUSE_S)


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    from bench.meshserved import DATABASES, absent

    found: dict[str, Any] = {}
    rows = []
    for database in DATABASES:
        what = f"p95 of {sizes.grants} requests, until the grant is COMPLETED, {database}"
        if why := absent(database):
            rows.append(skipped(NAME, what, why))
            continue
        folder = scratch / database
        folder.mkdir()
        one = fresh(grant, folder=str(folder), database=database, requests=sizes.grants)
        say(f"{database}: {one}")
        found[database] = one
        note = f"p50 {one['ms']['p50_ms']:.0f}, most {one['most_ms']:.0f}"
        rows.append(measured(NAME, what, one["ms"]["p95_ms"], "ms", most=BAR_MS, note=note))
    return found, rows
