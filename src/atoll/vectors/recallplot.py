"""Draws a calibration: recall against what a query reads."""

from __future__ import annotations

import io
from pathlib import Path

from atoll.core.errors import InvalidInput
from atoll.core.files import whole_file, writing
from atoll.vectors.calibration import choose
from atoll.vectors.model import Calibration, CalibrationPoint

LOWEST_SHOWN = 0.5
WISHES = (0.9, 0.95, 0.99)
COLORS = ("#0e7490", "#c2410c", "#1e3a5f", "#6b7280")


def check_can_draw(path: Path) -> None:
    """Make sure that a picture can be drawn into a file, before the work is done.

    Raises:
        InvalidInput: the name does not end in .png, its folder is not there, or matplotlib is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise InvalidInput("pictures are drawn with matplotlib: install atoll[plot]") from error
    if path.suffix.lower() != ".png":
        raise InvalidInput(f"{path} does not end in .png; name the picture so")
    if not path.parent.is_dir():
        raise InvalidInput(f"there is no folder {path.parent}; make it first")


def frontier(points: list[CalibrationPoint]) -> list[CalibrationPoint]:
    """Keep the points that find more than any that reads less, in order of bytes."""
    kept: list[CalibrationPoint] = []
    for point in sorted(points, key=lambda point: (point.bytes, -point.recall)):
        if not kept or point.recall > kept[-1].recall:
            kept.append(point)
    return kept


def draw(calibration: Calibration, path: Path) -> None:
    """Draw one line for each k, with intervals, and the settings chosen for three wishes.

    Raises:
        Forbidden, Unavailable: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(10, 6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    ks = sorted({point.k for point in calibration.points})
    for k, color in zip(ks, COLORS * len(ks), strict=False):
        mine = [point for point in calibration.points if point.k == k]
        line = [point for point in frontier(mine) if point.recall >= LOWEST_SHOWN]
        axes.errorbar(
            [point.bytes / 1e6 for point in line],
            [point.recall for point in line],
            yerr=(
                [max(0.0, point.recall - point.low) for point in line],
                [max(0.0, point.high - point.recall) for point in line],
            ),
            color=color,
            marker="o",
            markersize=3,
            linewidth=1.3,
            elinewidth=0.8,
            capsize=2,
            label=f"{k} nearest",
        )
        _mark_choices(axes, calibration, k, color)
    for wish in WISHES:
        axes.axhline(wish, color="#9ca3af", linewidth=0.7, linestyle=":", zorder=0)
    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(LOWEST_SHOWN, 1.01)
    axes.set_xlabel("MB that a query reads when nothing is cached")
    axes.set_ylabel("share of the true nearest neighbours found")
    wishes = ", ".join(f"{wish:.2f}" for wish in WISHES)
    axes.set_title(
        f"{calibration.queries:,} queries ({calibration.source}) against "
        f"{calibration.searched_rows:,} rows; bars: 95 % confidence\n"
        f"diamonds: nprobes / refine factor taken for recall {wishes}",
        fontsize=10,
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    out = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(out, format="png")
    with writing(path), whole_file(path) as file:
        file.write(out.getvalue())


def _mark_choices(axes: object, calibration: Calibration, k: int, color: str) -> None:
    """Mark what is taken for each wish that can be had."""
    for wish in WISHES:
        try:
            point = choose(calibration, k, wish)
        except InvalidInput:
            continue
        axes.plot(  # type: ignore[attr-defined]
            point.bytes / 1e6,
            point.recall,
            marker="D",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=color,
            markeredgewidth=1.8,
        )
        axes.annotate(  # type: ignore[attr-defined]
            f"{point.nprobes} / {point.refine_factor}",
            (point.bytes / 1e6, point.recall),
            textcoords="offset points",
            xytext=(7, -13),
            fontsize=8,
            color=color,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )
