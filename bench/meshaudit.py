"""The audit at size: who had access among millions of events, and verifying a million.

The first tenth of the events is a chain like that of a mesh: most of them say who looked at what or
was refused; every fiftieth changes access. One asset has a thousand changes of its own among them,
one project another thousand, to as many assets. The other tenths are copies of the first, later and
of other assets and projects, so that the chain ends with the first; what is looked up is in all of
them. SQLite's file is read through the system's cache, which holds as much of it as fits.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from bench.measure import Figures, Meter, fresh
from bench.report import Row, measured
from bench.sizes import Sizes

NAME = "meshaudit"
TIMES = 5
COPIES = 9
# Changes of access of the one asset, and of the one project.
CHANGES = 1000
SPAN_US = 86_400_000_000
AT_ONCE = 5000
WHO_BAR_S, VERIFY_BAR_S, VERIFY_EVENTS = 1, 15, 1_000_000


def build(folder: str, events: int) -> Figures:
    """Make a mesh with the chain, a tenth of so many events."""
    from atoll.mesh.audit.keys import Key
    from atoll.mesh.model.jobs import Cursor
    from atoll.mesh.service.telling import CURSOR
    from atoll.mesh.store.database import opened, writing_to
    from atoll.mesh.store.events import append
    from bench.meshplant import STAMP, Plant, keep, make

    home = Path(folder)
    make(home, home / "lake", Plant(10, projects=1, users=1, guests=0))
    key = Key(bytes.fromhex((home / "audit.key").read_text().strip()))
    engine = opened(f"sqlite:///{home / 'mesh.db'}")
    waiting, clock = _events(events // 10), time.time_ns() // 1000 - (COPIES + 2) * SPAN_US
    with Meter() as meter:
        # Nobody is told of these any more.
        keep(engine, [Cursor(id=CURSOR, position=1 << 40, **STAMP)])
        step = SPAN_US // (events // 10)
        with writing_to(engine) as connection:
            while some := list(islice(waiting, AT_ONCE)):
                append(connection, some, clock, key)
                clock += step * len(some)
    engine.dispose()
    return meter.figures


def _events(number: int) -> Iterator[Any]:
    from atoll.mesh.audit.model import new_event

    choose = random.Random(0)
    every = max(2, number // (2 * CHANGES))
    for place in range(number):
        if place % every == 0:
            yield _change(place // every)
        elif place % 50 == 1:
            yield _access(
                "GRANTED", f"asset-x{choose.randrange(100_000)}", place, f"project-{place}"
            )
        else:
            of = f"project-x{choose.randrange(1000)}"
            yield new_event(
                choose.choice(("GetListing", "GetListedAsset", "PostTimeSeriesDataPoints")),
                choose.choices(("ALLOWED", "DENIED"), (95, 5))[0],
                principal=f"user-{choose.randrange(5000)}",
                via=f"token-{choose.getrandbits(64):016x}",
                project=of,
                resource_kind="listing",
                resource_id=f"listing-{choose.getrandbits(64):016x}",
                asset_id=f"asset-x{choose.randrange(100_000)}",
                details={"before": "ACTIVE", "after": "ACTIVE", "rows": place},
                policies=("members-view",),
            )


def _change(number: int) -> Any:
    """Give access to the asset and to the project in turn, and take every third away again."""
    turn = number // 2
    kind, subscription = ("REVOKED", turn - 2) if turn % 3 == 2 else ("GRANTED", turn)
    if number % 2 == 0:
        return _access(kind, "asset-0000000", subscription, f"project-y{subscription}")
    return _access(kind, f"asset-y{subscription}", subscription, "project-0")


def _access(kind: Any, asset_id: str, subscription: int, project: str) -> Any:
    from atoll.mesh.audit.access import AccessChange, change_details
    from atoll.mesh.audit.model import new_event

    id_ = f"subscription-{subscription}"
    change = AccessChange(kind, asset_id, id_, project=project, why="to forecast demand")
    return new_event(
        "GrantAccess" if kind == "GRANTED" else "EndAccess",
        "ALLOWED",
        principal="user-0",
        via="session-0",
        project=project,
        resource_kind="subscription",
        resource_id=id_,
        asset_id=asset_id,
        details=change_details(change),
    )


def verify(folder: str) -> Figures:
    """Verify the chain, as an administrator has it done."""
    from atoll.mesh.hosting import Mesh

    with closing(Mesh(Path(folder))) as mesh:
        times = []
        for _ in range(3):
            took, found = _clocked(mesh, "VerifyAudit")
            assert found.is_whole, found
            times.append(took)
    return {"times_s": times, "events": found.events, "load": os.getloadavg()[0]}


def multiply(folder: str) -> Figures:
    """Copy the events, and add their indexes anew."""
    import sqlalchemy as sa

    from atoll.mesh.store.database import opened, writing_to
    from atoll.mesh.store.events import EVENTS

    database = Path(folder) / "mesh.db"
    engine = opened(f"sqlite:///{database}")
    with Meter() as meter:
        with writing_to(engine) as connection:
            for index in EVENTS.indexes:
                index.drop(connection)
            last = connection.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar_one()
            for copy in range(1, COPIES + 1):
                other = {
                    "seq": EVENTS.c.seq + copy * last,
                    "at": EVENTS.c.at + copy * SPAN_US,
                    "asset_id": EVENTS.c.asset_id + f"-{copy}",
                    "project": EVENTS.c.project + f"-{copy}",
                }
                columns = [other.get(one.name, one) for one in EVENTS.c]
                asked = sa.select(*columns).where(EVENTS.c.seq <= last)
                connection.execute(EVENTS.insert().from_select(list(EVENTS.c.keys()), asked))
        with writing_to(engine) as connection:
            for index in EVENTS.indexes:
                index.create(connection)
    engine.dispose()
    return {"bytes": database.stat().st_size, **meter.figures}


def who(folder: str) -> Figures:
    """Ask who had access, now and long ago, several times."""
    from atoll.mesh.hosting import Mesh

    long_ago = time.time_ns() // 1000 - (COPIES + 2) * SPAN_US + SPAN_US // 2
    asked = {
        "asset, now": ("ListAssetAccess", {"asset_id": "asset-0000000"}, 0),
        "asset, then": ("ListAssetAccess", {"asset_id": "asset-0000000"}, long_ago),
        "project, now": ("ListProjectAccess", {"project_id": "project-0"}, 0),
        "project, then": ("ListProjectAccess", {"project_id": "project-0"}, long_ago),
    }
    found: Figures = {"load": os.getloadavg()[0]}
    with closing(Mesh(Path(folder))) as mesh:
        for what, (name, ids, at) in asked.items():
            several = [_clocked(mesh, name, ids, at=at) for _ in range(TIMES)]
            times = [took for took, _ in several]
            holders = len(several[0][1].access)
            found[what] = {"first_s": times[0], "median_s": statistics.median(times)}
            found[what] |= {"most_s": max(times), "holders": holders}
    return found


def _clocked(
    mesh: Any, name: str, ids: dict[str, str] | None = None, **given: Any
) -> tuple[float, Any]:
    from atoll.mesh.operations.calls import Caller
    from atoll.mesh.service import OPERATIONS

    operation = OPERATIONS[name]
    caller = Caller(_administrator(mesh), "bench", frozenset({"admin"}))
    start = time.perf_counter()
    answer = mesh.performer.perform(operation, caller, ids or {}, operation.ask(**given))
    return time.perf_counter() - start, answer


def _administrator(mesh: Any) -> str:
    from atoll.mesh.model.people import UserProfile

    with mesh.store.reading() as reader:
        return str(reader.one(UserProfile, name="administrator").id)


def run(
    scratch: Path, data: str | None, sizes: Sizes, say: Callable[[str], None]
) -> tuple[dict[str, Any], list[Row]]:
    """Run the bench; see `bench.__main__`."""
    folder = str(scratch / "home")
    built = fresh(build, folder=folder, events=sizes.events)
    say(f"{sizes.events // 10:,} events sealed in {built['wall_s']:.0f} s")
    verified = fresh(verify, folder=folder)
    say(f"verified in {verified['times_s']}")
    copied = fresh(multiply, folder=folder)
    say(f"copied in {copied['wall_s']:.0f} s, {copied['bytes'] >> 20:,} MiB")
    found = fresh(who, folder=folder)
    rows = [
        measured(
            NAME,
            f"who has access among {sizes.events:,} events, the slowest kind of question",
            max(one["most_s"] for one in found.values() if isinstance(one, dict)),
            "s",
            most=WHO_BAR_S,
            note=f"{CHANGES:,} changes of one asset, of one project; the worst of {TIMES} times",
        ),
        measured(
            NAME,
            f"verifying {verified['events']:,} events",
            statistics.median(verified["times_s"]),
            "s",
            most=VERIFY_BAR_S,
            note="the median of 3 times",
        ),
    ]
    return {"built": built, "verified": verified, "copied": copied, "who": found}, rows
