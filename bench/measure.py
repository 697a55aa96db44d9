"""Runs each measured variant in a fresh process and reads what it used."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
MIB = 1 << 20
ROOT = Path(__file__).resolve().parent.parent


class Meter:
    """Clocks the body of a `with`: threads and ended child processes count.

    After the body, `figures` holds wall_s, cpu_s (user and system, processes waited for included),
    peak_rss_mib (the most this process ever held, its imports included), load (average of one
    minute at the start).
    """

    def __enter__(self) -> Meter:
        self._load = os.getloadavg()[0]
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.figures: Figures = {
            "wall_s": round(time.perf_counter() - self._wall, 3),
            "cpu_s": round(_cpu_seconds() - self._cpu, 3),
            "peak_rss_mib": round(_peak_bytes() / MIB, 1),
            "load": round(self._load, 2),
        }


def _cpu_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _peak_bytes() -> int:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


class TreePeak:
    """Watches the body of a `with`: the most that this process's descendants held together.

    After the body, `bytes` is the largest sum of their resident memory, looked at five times a
    second. Pages that they share count for each.
    """

    LOOK_SECONDS = 0.2

    def __enter__(self) -> TreePeak:
        self.bytes = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        is_done = False
        while not is_done:
            self.bytes = max(self.bytes, _descendants_bytes(os.getpid()))
            is_done = self._done.wait(self.LOOK_SECONDS)


def _descendants_bytes(root: int) -> int:
    """Sum up the resident memory of all processes below one, from Linux's /proc."""
    held = _tree(root)
    return sum(held[number] for number in held.keys() - {root})


def pss_bytes(root: int) -> int:
    """Sum up what a process and those below it hold; what processes share counts in part."""
    total = 0
    for number in _tree(root):
        with suppress(OSError):  # it may end while it is looked at
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


def _tree(root: int) -> dict[int, int]:
    """Return the resident memory of a process and of all below it, by their numbers."""
    parents: dict[int, int] = {}
    held: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may end while it is looked at
            # The name, in brackets, may hold anything; the fields follow the last bracket.
            fields = path.read_text().rpartition(")")[2].split()
            number = int(path.parent.name)
            parents[number] = int(fields[1])
            held[number] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    below = {root}
    while more := {n for n, parent in parents.items() if parent in below} - below:
        below |= more
    return {number: held.get(number, 0) for number in below}


class _Child:
    """A process that calls functions of modules of bench/, one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.child"],
            env=os.environ | {"LANCE_LOG": "error", "LANCEDB_LOG": "error"},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def call(self, work: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        name = f"{work.__module__}:{work.__qualname__}"
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return json.loads(answer)
        raise subprocess.CalledProcessError(self._process.wait(), name)


_only: _Child | None = None


@contextmanager
def one_process() -> Iterator[None]:
    """Have `fresh` use one process for all calls within the block, where figures do not count."""
    global _only
    with _Child() as _only:
        yield
    _only = None


def fresh(work: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function of a module of bench/ in a new process; arguments and result are JSON.

    This process stays small on purpose: a child's ru_maxrss starts from its parent's.
    """
    if _only is not None:
        return _only.call(work, arguments)
    with _Child() as child:
        return child.call(work, arguments)


def alternate(
    repeats: int, variants: Mapping[str, Callable[[], Figures]], say: Callable[[str], None]
) -> dict[str, list[Figures]]:
    """Run the variants in turn, several times over, so that other load meets them all alike."""
    found: dict[str, list[Figures]] = {name: [] for name in variants}
    for number in range(repeats):
        for name, run in variants.items():
            figures = run()
            found[name].append(figures)
            say(
                f"{name} ({number + 1} of {repeats}): {figures['wall_s']:.1f} s,"
                f" {figures['cpu_s']:.1f} CPU-s, {figures['peak_rss_mib']:.0f} MiB"
            )
    return found


def median(runs: Sequence[Figures], key: str) -> float:
    return float(statistics.median(run[key] for run in runs))


def quantiles(times: Sequence[float]) -> Figures:
    """Tell the times, in ms, that 50, 95 and 99 of 100 keep within."""
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50_ms": cuts[49], "p95_ms": cuts[94], "p99_ms": cuts[98]}


def size_bytes(folder: str | Path) -> int:
    """Sum up the files below a folder: what is on storage, indexes and manifests included."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
