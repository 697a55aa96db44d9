"""Runs each measured variant in a fresh process and reads what it used."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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


def fresh(work: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function of a module of bench/ in a new process; arguments and result are JSON.

    This process stays small on purpose: a child's ru_maxrss starts from its parent's.
    """
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
        answer = Path(folder) / "answer.json"
        name = f"{work.__module__}:{work.__qualname__}"
        command = [sys.executable, "-m", "bench.child", name, json.dumps(arguments), str(answer)]
        environment = os.environ | {"LANCE_LOG": "error", "LANCEDB_LOG": "error"}
        subprocess.run(command, env=environment, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return json.loads(answer.read_text())


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
