"""Rows of the table, what ran where, and the JSON of a bench."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "atoll",
    "pylance",
    "lancedb",
    "pyarrow",
    "numpy",
    "h5py",
    "numba",
    "faiss-cpu",
    "usearch",
    "hnswlib",
    "tantivy",
)
HEADER = ("bench", "what", "measured", "baseline", "ratio", "bar", "goal", "met")

# A bar, or a bar and a goal; None where nothing is asked.
Bounds = float | tuple[float | None, float | None] | None


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        bench: which bench.
        what: what was measured, of which baseline.
        ours, baseline: the figures; None where there is none.
        unit: of both.
        ratio: ours / baseline.
        bar: what must be reached, in words; empty where nothing is asked.
        goal: what should be reached.
        is_met: whether the bar is; None where nothing is asked, or nothing was measured.
        reaches_goal: the same of the goal.
        note: why it was skipped, or what else to know.
    """

    bench: str
    what: str
    ours: float | None = None
    baseline: float | None = None
    unit: str = ""
    ratio: float | None = None
    bar: str = ""
    goal: str = ""
    is_met: bool | None = None
    reaches_goal: bool | None = None
    note: str = ""

    @property
    def result(self) -> str:
        """The last column."""
        words = [
            {True: "bar met", False: "bar MISSED", None: ""}[self.is_met],
            {True: "goal met", False: "goal missed", None: ""}[self.reaches_goal],
        ]
        return ", ".join(filter(None, (*words, self.note)))

    def cells(self) -> tuple[str, ...]:
        """Write the columns of the table, in order."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (
            self.bench,
            self.what,
            _figure(self.ours, self.unit),
            _figure(self.baseline, self.unit),
            ratio,
            self.bar,
            self.goal,
            self.result,
        )


def unjudged(row: Row) -> Row:
    """Return the row without a verdict: bars are for the real sizes."""
    return replace(row, is_met=None, reaches_goal=None)


def skipped(bench: str, what: str, why: str) -> Row:
    return Row(bench, what, note=f"skipped: {why}")


def compared(
    bench: str,
    what: str,
    ours: float,
    baseline: float,
    unit: str = "",
    *,
    least: Bounds = None,
    most: Bounds = None,
    note: str = "",
) -> Row:
    """Make a row whose bar and goal are on the ratio."""
    ratio = ours / baseline
    judged = _judged(ratio, least, most, "ratio ")
    return Row(bench, what, ours, baseline, unit, ratio, *judged, note)


def measured(
    bench: str,
    what: str,
    ours: float,
    unit: str = "",
    *,
    least: Bounds = None,
    most: Bounds = None,
    note: str = "",
) -> Row:
    """Make a row whose bar and goal, if any, are on the figure itself."""
    judged = _judged(ours, least, most, "")
    return Row(bench, what, ours, None, unit, None, *judged, note)


def _judged(
    value: float, least: Bounds, most: Bounds, of: str
) -> tuple[str, str, bool | None, bool | None]:
    """Word the bar and the goal, and hold the value against both."""
    given = least if most is None else most
    bounds = given if isinstance(given, tuple) else (given, None)
    sign = ">=" if most is None else "<="

    def judge(bound: float | None) -> tuple[str, bool | None]:
        if bound is None:
            return "", None
        return f"{of}{sign} {bound:g}", value >= bound if most is None else value <= bound

    (bar, is_met), (goal, reaches_goal) = map(judge, bounds)
    return bar, goal, is_met, reaches_goal


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def table(rows: list[Row]) -> str:
    """Draw the rows as a Markdown table, columns aligned."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    drawn = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *drawn[1:]])


def machine() -> dict[str, Any]:
    """Describe the machine; the load average is that of the last minute."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    named = facts.get("model name", platform.processor())
    where = "".join(f", {key} {facts[key]}" for key in ("cpu family", "model") if key in facts)
    return f"{named}{where}{', AVX-512' if 'avx512f' in facts.get('flags', '') else ''}"


def versions() -> dict[str, str]:
    """List what was measured: Python, the packages, the commit."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"commit": _commit()}


def _commit() -> str:
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "src", "bench/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} with changes" if changed else name


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write(out: Path, bench: str, result: dict[str, Any], rows: list[Row]) -> Path:
    """Write one bench's JSON."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{bench}.json"
    facts = {
        "bench": bench,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        **result,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(facts, indent=1) + "\n")
    return path
