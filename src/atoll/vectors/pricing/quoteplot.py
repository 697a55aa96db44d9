"""Draws a quote: time and money against k, for one bucket and for all; the post's graph."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.core.files import whole_file, writing
from atoll.vectors.pricing.bill import cost
from atoll.vectors.pricing.prices import Prices
from atoll.vectors.pricing.searchcost import search_cost
from atoll.vectors.pricing.shape import CollectionShape, SearchSettings

KS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
COLORS = ("#c2410c", "#0e7490")


@dataclass(frozen=True)
class Point:
    """What a run comes to at one k.

    Attributes:
        k: hits wanted.
        latency_s: from start to end, nothing warm.
        usd: of the run.
    """

    k: int
    latency_s: float
    usd: float


def curve(
    shape: CollectionShape, settings: SearchSettings, prices: Prices, ks: Sequence[int] = KS
) -> list[Point]:
    """Tell time and money at several k."""
    found = [search_cost(shape, replace(settings, k=k)) for k in ks]
    return [
        Point(k, each.latency_s, cost(each.bill, prices)) for k, each in zip(ks, found, strict=True)
    ]


def one_bucket(shape: CollectionShape) -> CollectionShape:
    """Take one of its buckets alone."""
    return replace(shape, rows=round(shape.bucket_rows), buckets=1)


def draw(shape: CollectionShape, settings: SearchSettings, prices: Prices, path: Path) -> None:
    """Draw two panels, seconds and US dollars, against k.

    Raises:
        Forbidden, Unavailable: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(10, 4.6), dpi=100, layout="constrained")
    time, money = figure.subplots(1, 2)
    shapes = [shape] if shape.buckets == 1 else [one_bucket(shape), shape]
    for each, color in zip(shapes, COLORS, strict=False):
        points = curve(each, settings, prices)
        name = f"{each.buckets:,} bucket{'s' if each.buckets > 1 else ''}"
        style = {"color": color, "marker": "o", "markersize": 3, "linewidth": 1.3, "label": name}
        time.plot([p.k for p in points], [p.latency_s for p in points], **style)
        money.plot([p.k for p in points], [p.usd for p in points], **style)
    for axes, label in ((time, "seconds, nothing warm"), (money, "US dollars a run")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("neighbours asked for")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.legend(loc="upper left", frameon=False)
    figure.suptitle(
        f"estimated, not measured: buckets of {shape.bucket_rows:,.0f} x {shape.dim} "
        f"{shape.dtype}, {shape.index.kind}, nprobes {settings.nprobes}, refine factor "
        f"{settings.refine_factor}",
        fontsize=10,
    )
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png")
    with writing(path), whole_file(path) as file:
        file.write(out.getvalue())
