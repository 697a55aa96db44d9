"""Many people who use one server at once, each over a connection of their own.

Each does one thing after another, chosen by weights, and pauses in between, a second on average.
Everything is a request of its own kind; whatever is answered with an error counts as one. Half a
minute before the first that counts, they have begun.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import MIB, Figures, fresh, pss_bytes, quantiles
from bench.report import Row, measured, skipped
from bench.sizes import Sizes

NAME = "meshload"
PAUSE_S = 1.0
WARM_SHARE = 0.05
# How often what is done.
WEIGHTS = {
    "search": 30,
    "listed asset": 25,
    "list of listings": 10,
    "who am I": 10,
    "request": 8,
    "comment": 5,
    "quality": 7,
    "publishing": 5,
}


def use(folder: str, database: str, listings: int, users: int, seconds: float) -> Figures:
    """Serve a plant, and have people use it."""
    from bench.meshplant import Plant
    from bench.meshserved import serving, token

    plant = Plant(listings, projects=max(users, listings // 10), users=users, guests=0)
    with serving(Path(folder) / "home", plant, database) as server:
        people = [_User(number, plant, server, token) for number in range(users)]
        threads = [threading.Thread(target=one.work) for one in people]
        for thread in threads:
            thread.start()
        time.sleep(WARM_SHARE * seconds)
        for one in people:
            one.counts = True
        most, loads, deadline = 0, [], time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            most = max(most, pss_bytes(server.pid))
            loads.append(os.getloadavg()[0])
            time.sleep(min(1.0, left))
        for one in people:
            one.is_done = True
        for thread in threads:
            thread.join()
        health = server.do("VerifyAudit")
    assert health["is_whole"], health
    return {"load": max(loads), "peak_mib": most / MIB, **_summed(people, seconds)}


def _summed(people: list[_User], seconds: float) -> Figures:
    times = {what: [t for one in people for t in one.times[what]] for what in WEIGHTS}
    number = sum(map(len, times.values()))
    return {
        "requests": number,
        "per_s": number / seconds,
        "errors": [error for one in people for error in one.errors],
        "kinds": {what: {"requests": len(t), **_figures(t)} for what, t in times.items()},
    }


def _figures(times: list[float]) -> Figures:
    return quantiles(times) if len(times) > 1 else {}


class _User:
    """One of the people.

    Attributes:
        counts: whether what is done now is counted.
        is_done: whether to stop.
        times: milliseconds by what was done.
        errors: what went wrong.
    """

    def __init__(self, number: int, plant: Any, server: Any, token: Callable[..., str]) -> None:
        from bench.meshcorpus import Corpus
        from bench.meshserved import Person

        self._number, self._plant = number, plant
        self._person = Person(server.url, token(server, f"user-{number}"))
        self._random = random.Random(number)
        corpus = Corpus(number + 2, plant.projects)
        self._queries = [*corpus.queries(Corpus(1, plant.projects).entries(200))]
        self._own = _assets_of(number, plant)
        self._wanted = self._random.sample(range(min(plant.listings, 1000)), _wanted(plant))
        self._requests: list[str] = []
        self.counts = self.is_done = False
        self.times: dict[str, list[float]] = {what: [] for what in WEIGHTS}
        self.errors: list[str] = []

    def work(self) -> None:
        doing = {
            "search": self._search,
            "listed asset": self._look,
            "list of listings": self._list,
            "who am I": self._ask_who,
            "request": self._request,
            "comment": self._comment,
            "quality": self._measure,
            "publishing": self._publish,
        }
        time.sleep(self._random.random() * PAUSE_S)
        while not self.is_done:
            [what] = self._random.choices([*WEIGHTS], [*WEIGHTS.values()])
            counts, start = self.counts, time.perf_counter()
            try:
                doing[what]()
            except Exception as error:
                self.errors.append(f"{what}: {error!r}"[:500])
            if counts:
                self.times[what].append(1e3 * (time.perf_counter() - start))
            time.sleep(self._random.expovariate(1 / PAUSE_S))

    def _search(self) -> None:
        text = self._random.choice(self._queries)["text"]
        self._person.ask("GET", "/search/listings", text=text)

    def _look(self) -> None:
        number = self._random.randrange(self._plant.listings)
        self._person.ask("GET", f"/listings/listing-{number:07d}/asset")

    def _list(self) -> None:
        self._person.ask("GET", "/listings", limit=50)

    def _ask_who(self) -> None:
        self._person.ask("GET", "/me")

    def _request(self) -> None:
        if not self._wanted:
            raise AssertionError("there is nothing left to ask for")
        wanted = {"listing_id": f"listing-{self._wanted.pop():07d}"}
        path = f"/projects/project-of-{self._number}/subscription-requests"
        made = self._person.ask("POST", path, listings=[wanted], request_reason="to measure")
        self._requests.append(made["requests"][0]["id"])

    def _comment(self) -> None:
        if not self._requests:
            return self._request()
        path = f"/subscription-requests/{self._random.choice(self._requests)}/comments"
        return self._person.ask("POST", path, text="what does column 3 mean?")

    def _measure(self) -> None:
        given = {"form_name": "quality", "timestamp": time.time_ns() // 1000}
        path = f"/assets/{self._random.choice(self._own)}/time-series-data-points"
        self._person.ask("POST", path, score=100 * self._random.random(), **given)

    def _publish(self) -> None:
        path = f"/assets/{self._random.choice(self._own)}/listing-change-sets"
        self._person.ask("POST", path, action="PUBLISH")


def _wanted(plant: Any) -> int:
    return min(plant.listings, 1000) * 4 // 5


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    from bench.meshserved import DATABASES, absent

    found: dict[str, Any] = {}
    rows = []
    who = f"{sizes.load_users} users at once, {sizes.load_s:g} s"
    for database in DATABASES:
        if why := absent(database):
            rows.append(skipped(NAME, f"{who}, {database}", why))
            continue
        folder = scratch / database
        folder.mkdir()
        one = fresh(
            use,
            folder=str(folder),
            database=database,
            listings=sizes.load_listings,
            users=sizes.load_users,
            seconds=sizes.load_s,
        )
        say(f"{database}: {one['requests']:,} requests, {len(one['errors'])} errors")
        found[database] = one
        rows += _rows(f"{who}, {database}", one)
    return found, rows


def _rows(who: str, found: Figures) -> list[Row]:
    rate = f"of {found['requests']:,} requests, {found['per_s']:.0f} a second"
    rows = [measured(NAME, f"{who}: errors", len(found["errors"]), most=0, note=rate)]
    for what, one in found["kinds"].items():
        if "p95_ms" in one:
            note = f"p50 {one['p50_ms']:.0f}, p99 {one['p99_ms']:.0f}, of {one['requests']:,}"
            rows.append(measured(NAME, f"{who}: p95 of {what}", one["p95_ms"], "ms", note=note))
    memory = measured(NAME, f"{who}: most memory of the server (PSS)", found["peak_mib"], "MiB")
    return [*rows, memory]


def _assets_of(number: int, plant: Any) -> list[str]:
    """Name assets of a user's projects that can be published again: not made of others."""
    from bench.meshcorpus import Corpus
    from bench.meshplant import asset_id

    entries = enumerate(Corpus(1, plant.projects).entries(min(plant.listings, 2000)))
    return [
        asset_id(place)
        for place, one in entries
        if one.basis == "source-based" and int(one.project.split()[1]) % plant.users == number
    ]
