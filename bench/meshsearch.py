"""Search over a catalog: words, authorisation and facets with counts, one query after the other.

Twice: the index alone, whose entries lie in 500 classes of visibility, of which the viewer has
half; and the whole operation over a database of assets that are all published, as somebody in one
of a thousand projects asks, who may find them all, and as a guest, who finds the public ones. A
round asks all queries once, of a mesh that was just opened: what it remembers, which classes
somebody sees, what the policies decided, how much there is without any words, it learns in the
round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from bench.measure import Figures, Meter, fresh, quantiles, size_bytes
from bench.meshcorpus import CLASSES, Corpus
from bench.report import Row, measured
from bench.sizes import Sizes

NAME = "meshsearch"
FACETS = ("project", "unit", "term", "classification", "has_pii")
ROUNDS = 3
# Milliseconds for 95 % of queries, by entries.
BARS = {100_000: 15.0, 1_000_000: 50.0}
VIEWERS = [f"user-{number}" for number in range(1, 21)]


def build(folder: str, entries: int) -> Figures:
    """Make the index."""
    from atoll.mesh.discovery import Index

    with Meter() as meter:
        Index.rebuilt(Path(folder), Corpus(1).entries(entries), position=1)
    return {"bytes": size_bytes(folder), **meter.figures}


def ask(folder: str, queries: int) -> Figures:
    """Ask each query once a round, and clock it."""
    from atoll.mesh.discovery import Index, Query

    visible = frozenset(f"class-{number}" for number in range(0, CLASSES, 2))
    asked = [
        Query(visible, facets=FACETS, **query)
        for query in Corpus(2).queries(Corpus(1).entries(queries))
    ]

    @contextmanager
    def asking() -> Iterator[Callable[[Any], int]]:
        with Index.open(Path(folder)) as index:
            yield lambda query: index.search(query).total

    return _rounds(asking, asked)


def make(folder: str, listings: int) -> Figures:
    """Make a mesh in a folder, with a plant of that many listings."""
    from bench import meshplant

    home = Path(folder)
    with Meter() as meter:
        meshplant.make(home, home / "lake", meshplant.Plant(listings))
    return meter.figures


def take_over(folder: str) -> Figures:
    """Have the mesh make its index of all that there is."""
    from atoll.mesh.hosting import Mesh

    with Meter() as meter, closing(Mesh(Path(folder))) as mesh:
        _perform(mesh, "user-guest-0")
    return {"bytes": size_bytes(Path(folder) / "index"), **meter.figures}


def perform(folder: str, queries: int) -> Figures:
    """Search as a person would, each query once a round; before, as others for the first time."""
    from atoll.mesh.hosting import Mesh

    asked = [_asked(one) for one in Corpus(2).queries(Corpus(1).entries(queries))]

    @contextmanager
    def asking(who: str) -> Iterator[Callable[[Any], int]]:
        with closing(Mesh(Path(folder))) as mesh:
            yield lambda query: _perform(mesh, who, **query)

    with closing(Mesh(Path(folder))) as mesh:
        first = _clocked(lambda who: _perform(mesh, who), VIEWERS)
    return {
        "first": first,
        **_rounds(lambda: asking("user-0"), asked),
        "guest": _rounds(lambda: asking("user-guest-0"), asked),
    }


def _asked(query: dict[str, Any]) -> dict[str, Any]:
    """Ask in the words of the operation, by the plant's ids."""
    from bench.meshplant import unit_id

    filters = []
    for facet, values in query["filters"].items():
        for value in values:
            filters.append(f"{facet}={unit_id(value) if facet == 'unit' else value.upper()}")
    return {"text": query["text"], "filters": tuple(filters), "sort": query["sort"]}


def _perform(mesh: Any, who: str, **asked: Any) -> int:
    """Return how many were found."""
    from atoll.mesh.operations.calls import Caller
    from atoll.mesh.service import OPERATIONS

    operation = OPERATIONS["SearchListings"]
    caller = Caller(who, "bench", frozenset({"read"}))
    ask = operation.ask(facets=FACETS, **asked)
    return int(mesh.performer.perform(operation, caller, {}, ask).total)


def _rounds(
    asking: Callable[[], AbstractContextManager[Callable[[Any], int]]], queries: Sequence[Any]
) -> Figures:
    """Ask each query once a round, and clock it."""
    rounds = []
    for _ in range(ROUNDS):
        with asking() as ask:
            rounds.append(_clocked(ask, queries))
    totals = rounds[0].pop("answers")
    for one in rounds[1:]:
        del one["answers"]
    return {"rounds": rounds, "median_total": statistics.median(totals), "most": max(totals)}


def _clocked(ask: Callable[[Any], int], queries: Sequence[Any]) -> Figures:
    load, wall, cpu, answers = os.getloadavg()[0], [], [], []
    for query in queries:
        start = time.perf_counter(), time.process_time()
        answers.append(ask(query))
        wall.append(1e3 * (time.perf_counter() - start[0]))
        cpu.append(1e3 * (time.process_time() - start[1]))
    return {"load": load, "wall": quantiles(wall), "cpu": quantiles(cpu), "answers": answers}


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    folder, home = str(scratch / "index"), str(scratch / "home")
    built = fresh(build, folder=folder, entries=sizes.listings)
    say(f"{sizes.listings:,} entries indexed in {built['wall_s']:.0f} s")
    asked = fresh(ask, folder=folder, queries=sizes.searches)
    made = fresh(make, folder=home, listings=sizes.listings)
    taken = fresh(take_over, folder=home)
    say(f"as many assets made in {made['wall_s']:.0f} s, indexed in {taken['wall_s']:.0f} s")
    performed = fresh(perform, folder=home, queries=sizes.searches)
    facts = {"built": built, "asked": asked, "made": made, "taken": taken, "performed": performed}
    return {"entries": sizes.listings, **facts}, [*_rows(sizes, asked, performed)]


def _rows(sizes: Sizes, asked: Figures, performed: Figures) -> Iterator[Row]:
    bar = BARS.get(sizes.listings)
    of_rounds = f"the median of {ROUNDS} rounds"
    of = f"{sizes.searches:,} searches over {sizes.listings:,}"
    yield measured(NAME, f"p95 of {of} listings: the index", _median(asked), "ms", note=of_rounds)
    for who, found, most in (
        ("a member of projects", performed, bar),
        ("a guest, who finds a third", performed["guest"], bar),
    ):
        cpu = _median(found, "cpu")
        note = f"{of_rounds}; {cpu:.1f} CPU-ms"
        what = f"p95 of {of} assets: the operation, for {who}"
        yield measured(NAME, what, _median(found), "ms", most=most, note=note)
    first = performed["first"]["wall"]["p50_ms"]
    what = f"p50 of the first search of {len(VIEWERS)} people, among 1,000 projects"
    yield measured(NAME, what, first, "ms", note="what they may see is decided then")


def _median(found: Figures, clock: str = "wall") -> float:
    return statistics.median(float(one[clock]["p95_ms"]) for one in found["rounds"])
