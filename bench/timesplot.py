"""Draw time against k from the JSON of the bench `remote`: `python -m bench.timesplot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.report import ROOT

COLORS = ("#c2410c", "#0e7490")
PICTURE = ROOT / "docs" / "pictures" / "time-k.png"


def main() -> None:
    """Read the last run, write the picture of the documentation."""
    facts = json.loads((ROOT / "bench" / "results" / "remote.json").read_text())
    draw(facts["curve"], facts["delay_s"], PICTURE)
    print(PICTURE)


def draw(curve: dict[str, Any], delay_s: float, path: Path) -> None:
    """Draw seconds against k: measured as lines, estimated dashed, what linear would be dotted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8, 4.8), dpi=100, layout="constrained")
    axes = figure.subplots()
    ks = curve["ks"]
    for each, color in zip(curve["curves"], COLORS, strict=True):
        count = each["buckets"]
        name = f"{count} bucket{'s' if count > 1 else ''}"
        axes.plot(ks, each["seconds"], color=color, marker="o", markersize=4, label=name)
        axes.plot(
            ks, each["estimated"], color=color, linestyle="--", linewidth=1,
            label=f"{name}, estimated",
        )  # fmt: skip
    least = min(each["seconds"][0] for each in curve["curves"])
    axes.plot(ks, [least * k / ks[0] for k in ks], color="gray", linestyle=":", label="linear in k")
    tallest = max(max(each["seconds"] + each["estimated"]) for each in curve["curves"])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(None, 2 * tallest)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("neighbours asked for")
    axes.set_ylabel("seconds: plan, slowest steps of a bucket, refine")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", framealpha=1, edgecolor="none", fontsize=9)
    axes.set_title(
        f"buckets of {curve['rows']:,} x 960 on Ceph, {1000 * delay_s:.0f} ms a request;"
        " estimate: Lambda, functions started",
        fontsize=10,
    )
    FigureCanvasAgg(figure)
    figure.savefig(path)


if __name__ == "__main__":
    main()
