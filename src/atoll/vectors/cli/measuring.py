"""Commands that measure: bench-here this machine, calibrate a collection."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from atoll.core.config import Settings
from atoll.core.terminal import progress_bars
from atoll.core.text import counted, printable
from atoll.vectors.cli.common import at_wish, json_option, print_lines, uri_argument
from atoll.vectors.model import Calibration
from atoll.vectors.output import write_table

# What people ask for, and what `calibrate` shows.
SHOWN_WISHES = (0.9, 0.95, 0.99)


@click.command("bench-here")
@click.option("--dim", "dims", type=click.IntRange(2), multiple=True,
              help="Also measure vectors of this length; may be repeated.")  # fmt: skip
@click.option("--uri", help="Also measure how fast this store takes bytes.")
@json_option
@click.pass_obj
def bench_here(
    settings: Settings, /, dims: tuple[int, ...], uri: str | None, as_json: bool
) -> None:
    """Measure what a build costs on this machine and keep it for `atoll plan`."""
    import msgspec

    from atoll.vectors.benchhere import measure
    from atoll.vectors.machine import save_rates

    with progress_bars(settings.quiet) as on_progress:
        rates = measure(settings, dims=dims, uri=uri, on_progress=on_progress)
    if settings.rates:
        save_rates(settings.rates, rates)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rates), indent=2).decode())
        return
    lines = [
        {
            "stage": each.stage,
            "dim": each.dim,
            "partitions": str(each.partitions or ""),
            "CPU us a row": each.cpu_s.mid * 1e6,
            "from": each.cpu_s.low * 1e6,
            "to": each.cpu_s.high * 1e6,
            "us by the clock": each.wall_s.mid * 1e6,
        }
        for each in rates.timings
    ]
    write_table(pa.Table.from_pylist(lines), sys.stdout)
    for store, second in rates.stores.items():
        click.echo(f"{store}: {1e-6 / second.mid:,.0f} MB/s ({1e-6 / second.high:,.0f} to "
                   f"{1e-6 / second.low:,.0f})")  # fmt: skip
    click.echo(f"{rates.machine}; kept in {settings.rates}")


@click.command()
@uri_argument
@click.argument("queries", required=False)
@click.option("-k", "ks", type=click.IntRange(1), multiple=True,
              help="Hits per query; may be repeated.  [default: 1, 10, 100]")  # fmt: skip
@click.option("--num-queries", type=click.IntRange(1), default=1000, show_default=True,
              help="Stored rows to query with, where no QUERIES are given.")  # fmt: skip
@click.option("--max-rows", type=click.IntRange(1), default=20_000_000, show_default=True,
              help="Search only some buckets, of at most so many rows together.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Draws rows and buckets.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png",
              help="Draw recall against bytes read.")  # fmt: skip
@json_option
@click.pass_obj
def calibrate(
    settings: Settings,
    /,
    uri: str,
    queries: str | None,
    ks: tuple[int, ...],
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Measure what share of the true neighbours searches of URI find, for `search --recall`.

    Searches with stored rows, or with QUERIES (as for `search`), at many settings, and exactly. The
    result is stored with the collection.
    """
    from atoll.vectors.service import open_collection

    if plot is not None:
        from atoll.vectors.recallplot import check_can_draw, draw

        check_can_draw(plot)
    if ks:
        given["k"] = ks
    collection = open_collection(uri, settings)
    with progress_bars(settings.quiet) as on_progress:
        found = collection.calibrate(queries, on_progress=on_progress, **given)
    if plot is not None:
        draw(found, plot)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        _print_calibration(found)


def _print_calibration(found: Calibration) -> None:
    lines = []
    for k in sorted({point.k for point in found.points}):
        for wish in SHOWN_WISHES:
            lines.append({"k": k, "recall": f"{wish:.2f}", **at_wish(found, k, wish)})
    print_lines(lines)
    part = "" if found.searched_rows == found.rows else f"{found.searched_rows:,} of "
    click.echo(
        f"measured with {counted(found.queries, 'query', 'queries')} ({printable(found.source)}) "
        f"on {part}{counted(found.rows, 'row')} in {found.cpu_s:.1f} CPU seconds; near: true "
        f"neighbours within distance {found.within:.3f}"
    )
