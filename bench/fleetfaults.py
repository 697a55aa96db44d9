"""What faults cost a fleet: seconds until another master serves, until all is whole, work lost.

    python -m bench.fleetfaults [--only FIGURE] [--runs 20] [--chaos 100] [--soak 30] [--seed 0]

Each run is one fault, chosen by its seed, on a cluster of three primaries and a worker of this
machine's local cloud, as its specification's defaults have it. Every run is a line of the log: what
is there is not run again, so a bench that was cut off goes on. At the end all runs of the log are
summed up, with the machine's load at each.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from atoll.fleet.host.server import CLOUD
from atoll.fleet.model import Role
from atoll.fleet.providers.local.claims import home_key
from atoll.fleet.providers.local.processes import marked
from atoll.fleet.providers.reach import reach
from bench import report
from bench.fleetbuild import Build
from bench.fleetclusters import (
    AGENT,
    MASTER,
    SMALL,
    ZOOKEEPER,
    Cluster,
    Job,
    await_,
    fleet_host,
)  # fmt: skip

NAME = "fleetfaults"
LOG = report.ROOT / "bench" / "results" / "local-fleetfaults.jsonl"
USUAL = SMALL.replace("health: {{primary_grace_s: 3, worker_grace_s: 3}}\n", "")
ILLNESSES = ("full disk", "hung master", "hung ZooKeeper", "frozen machine")
CHAOS = (
    "crash active",
    "crash standby",
    "crash driver",
    "crash worker",
    "kill master",
    "kill ZooKeeper",
    "kill controller",
    "kill host",
    "cut active",
)


def kill_master(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """Kill -9 the active master's process."""
    return failed_over(cluster, lambda old: cluster.fault("kill", old, pattern=MASTER))


def crash_active(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """Stop the active primary's machine, its disk kept."""
    return lost(cluster, cluster.active_machine())


def crash_leader(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """Stop the machine of ZooKeeper's leader."""
    return lost(cluster, cluster.leader_machine())


def freeze_master(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """SIGSTOP the active master; its machine is found ill and replaced."""
    old = cluster.active_machine()
    found = failed_over(cluster, lambda one: cluster.fault("freeze", one, pattern=MASTER))
    return found | until_replaced(cluster, old, found.pop("begun"))


def unhealthy(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """Make a primary ill, in one of four ways; it must be found and replaced."""
    how, old = dice.choice(ILLNESSES), dice.choice([*cluster.primaries().values()])
    begun = time.monotonic()
    if how == "full disk":
        cluster.fault("fill_disk", old, percent=95)
    else:
        patterns = {"hung master": MASTER, "hung ZooKeeper": ZOOKEEPER, "frozen machine": ""}
        cluster.fault("freeze", old, pattern=patterns[how])
    return {"how": how, **until_replaced(cluster, old, begun)}


def two_lost(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """End two primaries and their disks; repair from the third's."""
    step = cluster.completed(cluster.submit("true"))
    lost = dice.sample([*cluster.primaries().values()], 2)
    ids, record = [one.id for one in lost], cluster.record
    before = len(cluster.events("NO_QUORUM"))
    reach(record.desired.provider).terminate(ids, epoch=record.epoch, reason="the bench")
    await_("the loss", lambda: len(cluster.events("NO_QUORUM")) > before)
    begun = time.monotonic()
    cluster.repair()
    await_("an active master", cluster.active)
    recovered_s = time.monotonic() - begun
    await_("a whole cluster", cluster.is_whole)
    is_known = step.id in [one.id for one in cluster.record.steps]
    whole_s = time.monotonic() - begun
    return {"recovered_s": recovered_s, "whole_s": whole_s, "is_right": is_known}


def step_moved(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """Lose the primary on which a job's driver runs."""
    job = Job(cluster, out, partitions=10).begun()
    where = cluster.step(job.step_id).machine_id
    old = next(one for one in cluster.primaries().values() if one.id == where)
    return lost(cluster, old) | {"is_right": job.is_exact()}


def chaos(cluster: Cluster, dice: random.Random, out: Path) -> dict:
    """Let one to three random faults happen while a collection is built.

    The build is a step, whose driver runs on a primary; what it has made is compared row by row.
    """
    build = Build(cluster, out, dice.randrange(1 << 32)).begun()
    faults, met = [dice.choice(CHAOS) for _ in range(dice.randint(1, 3))], 0
    for fault in faults:
        time.sleep(dice.uniform(0, 5))
        await_("a whole cluster", cluster.is_whole)
        met += not build.is_over()
        _happen(cluster, fault, build)
    is_right = build.is_exact()
    shutil.rmtree(out)
    return {"how": ", ".join(faults), "met_the_build": met, "is_right": is_right}


def _happen(cluster: Cluster, fault: str, build: Build) -> None:
    match fault:
        case "crash driver":
            where = cluster.step(build.step_id).machine_id
            driver = [one for one in cluster.primaries().values() if one.id == where]
            _lose(cluster, "crash", driver[0] if driver else cluster.active_machine())
        case "crash active":
            _lose(cluster, "crash", cluster.active_machine())
        case "crash standby":
            _lose(cluster, "crash", cluster.standby_machine())
        case "kill master":
            cluster.fault("kill", cluster.active_machine(), pattern=MASTER)
        case "kill ZooKeeper":
            cluster.fault("kill", cluster.leader_machine(), pattern=ZOOKEEPER)
        case "crash worker":
            cluster.fault("crash", cluster.serving(Role.CORE)[0].machine)
        case "kill controller":
            cluster.fault("kill", cluster.controller_machine(), pattern=AGENT)
        case "kill host":
            cluster.host.kill()
            cluster.host.start()
        case "cut active":
            _lose(cluster, "cut", cluster.active_machine())


def _lose(cluster: Cluster, kind: str, machine) -> None:
    """Lose a primary, and let that be seen: a second one lost before is another figure."""
    cluster.fault(kind, machine)
    await_("the loss", lambda: machine.id not in {one.id for one in cluster.primaries().values()})


FIGURES: dict[str, Callable[[Cluster, random.Random, Path], dict]] = {
    "kill-master": kill_master,
    "crash-active": crash_active,
    "crash-leader": crash_leader,
    "freeze-master": freeze_master,
    "unhealthy": unhealthy,
    "two-lost": two_lost,
    "step-moved": step_moved,
    "chaos": chaos,
}
NAMES = [*FIGURES, "start", "demo", "soak"]
# Figure, what of it and what the issue asks for: of the 95th percentile, or (MOST) of all runs.
P95, MOST = 0.95, 1.0
ASKED = (
    ("kill-master", "failover_s", P95, 5.0),
    ("crash-active", "failover_s", P95, 5.0),
    ("crash-leader", "failover_s", P95, 5.0),
    ("freeze-master", "failover_s", P95, 5.0),
    ("crash-active", "replaced_s", P95, 15.0),
    ("crash-leader", "replaced_s", P95, 15.0),
    ("step-moved", "replaced_s", P95, 15.0),
    ("freeze-master", "replaced_s", MOST, 30.0),
    ("unhealthy", "replaced_s", MOST, 30.0),
    ("two-lost", "recovered_s", MOST, 30.0),
    ("two-lost", "whole_s", MOST, None),
    ("start", "up_s", MOST, 20.0),
    ("start", "primaries_rss_gib", MOST, 1.0),
    ("start", "primaries_pss_gib", MOST, None),
    ("demo", "took_s", MOST, 180.0),
)


def failed_over(cluster: Cluster, fault: Callable) -> dict:
    """Measure how long after a fault another master is active."""
    old = cluster.active_machine()
    with cluster.watched(every_s=0.05) as watched:
        begun = time.monotonic()
        fault(old)

        def others() -> list[float]:
            return [
                one.first
                for one in watched.reigns
                if one.first > begun and one.machine_id != old.id
            ]

        first = min(await_("another active master", others))
    return {"failover_s": first - begun, "begun": begun, "two_active": len(watched.doubles())}


def lost(cluster: Cluster, old) -> dict:
    """Crash a machine, and measure until another master is active and all three serve again."""
    is_active = cluster.active() == old.private_ip
    begun, found = time.monotonic(), {}
    if is_active:
        found = failed_over(cluster, lambda one: cluster.fault("crash", one))
        begun = found.pop("begun")
    else:
        cluster.fault("crash", old)
    return {"was_active": is_active, **found, **until_replaced(cluster, old, begun)}


def until_replaced(cluster: Cluster, old, begun: float) -> dict:
    """Measure until another machine serves at the same address and name."""
    cluster.replaced(old)
    return {"replaced_s": time.monotonic() - begun}


def started(cluster: Cluster, begun: float) -> dict:
    """Measure a start, and what three primaries take of this machine's memory."""
    up_s = time.monotonic() - begun
    primaries = {one.id for one in cluster.primaries().values()}
    pids = [
        pid
        for pid, machine in marked(home_key(cluster.host.home / CLOUD)).items()
        if machine in primaries
    ]
    sizes = [_memory(pid) for pid in pids]
    gib = {kind: sum(one.get(kind, 0) for one in sizes) / 2**20 for kind in ("Rss", "Pss")}
    return {
        "up_s": up_s,
        "primaries_rss_gib": gib["Rss"],
        "primaries_pss_gib": gib["Pss"],
    }


def demonstrated(out: Path) -> dict:
    """Run `atoll fleet demo` from its first line to its last."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "atoll", "fleet", "demo", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    shutil.rmtree(out, ignore_errors=True)
    return {"took_s": time.monotonic() - begun, "is_right": done.returncode == 0}


def _memory(pid: int) -> dict[str, int]:
    """Return a process's memory in KiB, by kind."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def soaked(cluster: Cluster, minutes: float) -> dict:
    """Keep a cluster busy, and every processor of this machine, and count false alarms."""
    before = _alarmed(cluster)
    machine = cluster.standby_machine()
    cluster.fault("busy", machine, loops=os.cpu_count(), seconds=60 * minutes)
    until, active, jobs = time.monotonic() + 60 * minutes, cluster.active(), 0
    with cluster.watched() as watched, TemporaryDirectory() as folder:
        while time.monotonic() < until:
            job = Job(cluster, Path(folder) / str(jobs), partitions=20).begun()
            assert job.is_exact()
            jobs += 1
    after = _alarmed(cluster)
    return {
        "minutes": minutes,
        "jobs": jobs,
        **{what: after[what] - count for what, count in before.items()},
        "failed_over": len({one.machine_id for one in watched.reigns}) - 1,
        "is_right": cluster.active() == active,
    }


def _alarmed(cluster: Cluster) -> dict[str, int]:
    """Count what tells of trouble among a cluster's events."""
    kinds = {"suspected": "SUSPECT", "replaced": "REPLACED", "blocked": "BLOCKED"}
    return {what: len(cluster.events(kind)) for what, kind in kinds.items()}


class Runs:
    """The log of runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[dict]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def has(self, figure: str, seed: int) -> bool:
        return any((one["figure"], one["seed"]) == (figure, seed) for one in self.all())

    def add(self, figure: str, seed: int, found: dict) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        run = {"figure": figure, "seed": seed, "at": at, "load": os.getloadavg()[0], **found}
        with self._path.open("a") as file:
            file.write(json.dumps(run) + "\n")
        print(json.dumps(run), flush=True)


def main() -> None:
    options = _options()
    runs = Runs(options.log)
    for figure in options.only or NAMES:
        count = {"chaos": options.chaos, "soak": 1, "demo": 3}.get(figure, options.runs)
        seeds = range(options.seed, options.seed + count)
        left = [seed for seed in seeds if not runs.has(figure, seed)]
        while left:
            left = _on_one_cluster(figure, left, runs, options)
    rows = summed_up(runs.all())
    report.write(options.out, NAME, {"runs": runs.all(), "machine": report.machine()}, rows)
    print(report.table(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.fleetfaults")
    parser.add_argument("--only", action="append", choices=NAMES, help="one figure; repeatable")
    parser.add_argument("--runs", type=int, default=20, help="of each figure")
    parser.add_argument("--chaos", type=int, default=100, help="runs under random faults")
    parser.add_argument("--soak", type=float, default=30.0, help="minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--log", type=Path, default=LOG, help="where runs are kept, line by line")
    parser.add_argument("--out", type=Path, default=LOG.parent, help="folder of the JSON")
    return parser.parse_args()


def _on_one_cluster(figure: str, seeds: list[int], runs: Runs, options) -> list[int]:
    """Run as many as one cluster lasts for; a failed run is written down and ends it.

    Returns:
        The seeds that are left.
    """
    with ExitStack() as undo:
        folder = Path(undo.enter_context(TemporaryDirectory(prefix="atoll-faults-")))
        if figure == "demo":
            runs.add(figure, seeds[0], demonstrated(folder / "demo"))
            return seeds[1:]
        host = undo.enter_context(fleet_host(folder / "home"))
        begun = time.monotonic()
        cluster = host.create(USUAL.format(name="faults")).ready()
        if figure == "start":
            runs.add(figure, seeds[0], started(cluster, begun))
            return seeds[1:]
        for number, seed in enumerate(seeds):
            try:
                # Every 0.2 s, from the first fault to the whole cluster; figures look closer.
                with cluster.watched() as watched:
                    found = _run(cluster, figure, seed, folder / str(seed), options)
                # A watch that could not look says so here, too.
                found["two_active"] = found.get("two_active", 0) + len(watched.doubles())
            # Whatever it was, a run gone wrong is written down, and the next one is made.
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                runs.add(figure, seed, {"is_right": False, "error": told[:500]})
                return seeds[number + 1 :]
            runs.add(figure, seed, found)
    return []


def _run(cluster: Cluster, figure: str, seed: int, out: Path, options) -> dict:
    await_("a whole cluster", cluster.is_whole)
    if figure == "soak":
        return soaked(cluster, options.soak)
    found = FIGURES[figure](cluster, random.Random(seed), out)
    await_("a whole cluster", cluster.is_whole)
    found.pop("begun", None)
    return {"is_right": True, **found}


def summed_up(runs: list[dict]) -> list[report.Row]:
    """Make the table: what the issue asks for of each figure, and what must be nought."""
    rows = []
    for figure, what, share, most in ASKED:
        values = [one[what] for one in runs if one["figure"] == figure and what in one]
        if values:
            rows.append(_row(figure, what, values, share, most))
    for figure in dict.fromkeys(one["figure"] for one in runs):
        own = [one for one in runs if one["figure"] == figure]
        wrong = sum(not one.get("is_right", True) for one in own)
        told = f"{len(own)} runs, {_loads(own)}"
        rows.append(report.measured(NAME, f"{figure}: runs gone wrong", wrong, most=0, note=told))
    built = [one for one in runs if "met_the_build" in one]
    if built:
        late = sum(not one["met_the_build"] for one in built)
        rows.append(report.measured(NAME, "chaos: builds over before the first fault", late))
    for one in runs:
        if one["figure"] == "soak":
            told = f"{one['minutes']:.0f} min, {one['jobs']} jobs, load {one['load']:.0f}"
            for what in ("suspected", "replaced", "blocked", "failed_over"):
                row = report.measured(NAME, f"soak: {what}", one[what], most=0, note=told)
                rows.append(row)
    twice = sum(one.get("two_active", 0) for one in runs)
    rows.append(report.measured(NAME, "two masters active at once", twice, most=0))
    return rows


def _row(
    figure: str, what: str, values: list[float], share: float, most: float | None
) -> report.Row:
    values = sorted(values)
    value = values[math.ceil(share * len(values)) - 1]
    name, _, unit = what.rpartition("_")
    note = f"p50 {statistics.median(values):.2f}, max {values[-1]:.2f}, {len(values)} runs"
    what = f"{figure}: {name.replace('_', ' ')}, {'p95' if share < 1 else 'max'}"
    return report.measured(NAME, what, value, unit.replace("gib", "GiB"), most=most, note=note)


def _loads(runs: list[dict]) -> str:
    loads = [one["load"] for one in runs]
    return f"load {min(loads):.0f} to {max(loads):.0f}"


if __name__ == "__main__":
    main()
